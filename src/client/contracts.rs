//! Contracts of this client as a sender: how many bytes to ask for, asking until one is granted, checking the grant.
//!
//! The transfer protocol says when a contract is needed and when one is used up; the session carries that here.
//! Requests go over `/connect/control`, the only way that is answered.

use std::time::Duration;

use prost::Message as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::api::{Api, ApiError};
use crate::ids::{ClientId, ContractId};
use crate::wire::control_message::Request;
use crate::wire::messages::{
    Contract, ContractError, CreateContract, CreateContractResult, MessageType, StoredContract,
};

/// Requests on their way at once; one more is not begun, and the transfer protocol asks again.
const MAX_REQUESTS: usize = 256;

/// Pauses after the first tries of one request.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Pause after each further try.
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Time after which a request is given up, and with it what waits for the contract.
const GIVE_UP: Duration = Duration::from_secs(30);

/// How many bytes to ask for: the n-th contract towards a destination asks for the n-th size, further ones for the
/// last. The default is the ladder of the apps (`connect/transfer_contract_manager.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractSizes(Vec<u64>);

impl Default for ContractSizes {
    fn default() -> Self {
        Self(vec![1_048_576, 34_340_864, 67_633_152, 100_925_440, 134_217_728])
    }
}

impl ContractSizes {
    /// Every contract asks for the same size, in bytes.
    pub fn constant(bytes: u64) -> Self {
        Self(vec![bytes])
    }

    /// The size of the n-th contract, never less than what waits.
    pub fn size(&self, nth: usize, waiting: u64) -> u64 {
        self.0.get(nth).or(self.0.last()).copied().unwrap_or_default().max(waiting)
    }
}

/// A wish for a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContractRequest {
    /// Who shall receive.
    pub to: ClientId,
    /// Bytes asked for; the server may grant more or fewer.
    pub bytes: u64,
    /// Bytes below which a grant is of no use.
    pub at_least: u64,
    /// A reply to a contract in the other direction, paid by the other side.
    pub companion: bool,
}

/// A contract that was granted and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// Its id.
    pub id: ContractId,
    /// Bytes it permits.
    pub bytes: u64,
    /// What the receiver is shown.
    pub contract: Contract,
}

/// Why a contract was not granted.
#[derive(Debug, thiserror::Error)]
pub enum ContractFailure {
    /// The server refused.
    #[error("the server refuses a contract to {to}: {reason:?}")]
    Refused {
        /// Who should have received.
        to: ClientId,
        /// Why.
        reason: ContractError,
    },
    /// The server granted something else than what was asked.
    #[error("the contract to {to} is not usable: {reason}")]
    Unusable {
        /// Who should have received.
        to: ClientId,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The request failed.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// Asks once.
pub async fn ask(api: &Api, source: ClientId, request: ContractRequest) -> Result<Grant, ContractFailure> {
    let create = CreateContract {
        destination_id: Some(request.to.into()),
        transfer_byte_count: request.bytes,
        companion: request.companion,
        ..CreateContract::default()
    };
    let answer = api.connect_control(vec![Request::CreateContract(create).to_frame()]).await?;
    let unusable = |reason| ContractFailure::Unusable { to: request.to, reason };
    let wanted = i32::from(MessageType::TransferCreateContractResult);
    let frame = answer.frames.into_iter().find(|frame| frame.message_type == wanted);
    let frame = frame.ok_or_else(|| unusable("the server did not answer"))?;
    let result = CreateContractResult::decode(frame.message_bytes).map_err(|_| unusable("undecodable"))?;
    if let Some(code) = result.error {
        let reason = ContractError::try_from(code).unwrap_or(ContractError::Setup);
        return Err(ContractFailure::Refused { to: request.to, reason });
    }
    let contract = result.contract.ok_or_else(|| unusable("neither contract nor error"))?;
    check(contract, source, request).map_err(unusable)
}

/// Checks a grant as the apps do before they show it to the receiver.
fn check(contract: Contract, source: ClientId, request: ContractRequest) -> Result<Grant, &'static str> {
    let stored = StoredContract::decode(contract.stored_contract_bytes.clone()).map_err(|_| "undecodable terms")?;
    let id = ContractId::from_slice(&stored.contract_id).ok_or("bad id")?;
    let party = |id: &Option<bytes::Bytes>| id.as_deref().and_then(ClientId::from_slice);
    if party(&stored.source_id) != Some(source) {
        return Err("another source");
    }
    if party(&stored.destination_id) != Some(request.to) {
        return Err("another destination");
    }
    if stored.transfer_byte_count < request.at_least {
        return Err("too small");
    }
    Ok(Grant { id, bytes: stored.transfer_byte_count, contract })
}

/// Requests on their way. Dropping it gives them up.
#[derive(Debug)]
pub struct ContractRequests {
    api: Api,
    source: ClientId,
    tasks: JoinSet<(ContractRequest, Result<Grant, ContractFailure>)>,
}

impl ContractRequests {
    /// Requests of the client `source`, whose token `api` carries.
    pub fn new(api: Api, source: ClientId) -> Self {
        Self { api, source, tasks: JoinSet::new() }
    }

    /// Begins to ask; false when too many requests are on their way.
    pub fn begin(&mut self, request: ContractRequest) -> bool {
        if self.tasks.len() >= MAX_REQUESTS {
            return false;
        }
        let (api, source) = (self.api.clone(), self.source);
        self.tasks.spawn(async move { (request, ask_until_granted(&api, source, request).await) });
        true
    }

    /// The next outcome; waits for ever while nothing is on its way. Cancelling loses nothing.
    pub async fn next(&mut self) -> (ContractRequest, Result<Grant, ContractFailure>) {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(outcome)) => return outcome,
                Some(Err(error)) => tracing::error!(%error, "a contract request failed"),
                None => std::future::pending().await,
            }
        }
    }
}

/// Asks again and again, as the provider may register, or the balance be filled, a moment later.
async fn ask_until_granted(api: &Api, source: ClientId, request: ContractRequest) -> Result<Grant, ContractFailure> {
    let give_up = Instant::now() + GIVE_UP;
    let mut pauses = PAUSES.into_iter();
    loop {
        let outcome = ask(api, source, request).await;
        let pause = pauses.next().unwrap_or(LAST_PAUSE);
        match outcome {
            Err(failure) if Instant::now() + pause < give_up => {
                tracing::debug!(client = %source, to = %request.to, %failure, "no contract yet");
                sleep(pause).await;
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Json;
    use axum::routing::post;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::*;
    use crate::client::tls::Trust;
    use crate::wire::control_message::Push;
    use crate::wire::messages::{Frame, Pack};

    const OWN: ClientId = ClientId::new([1; 16]);
    const PEER: ClientId = ClientId::new([2; 16]);

    fn request() -> ContractRequest {
        ContractRequest { to: PEER, bytes: 1 << 20, at_least: 1000, companion: false }
    }

    fn contract(source: ClientId, destination: ClientId, bytes: u64) -> Contract {
        let stored = StoredContract {
            contract_id: vec![3; 16].into(),
            transfer_byte_count: bytes,
            source_id: Some(source.into()),
            destination_id: Some(destination.into()),
            ..StoredContract::default()
        };
        Contract { stored_contract_bytes: stored.encode_to_vec().into(), ..Contract::default() }
    }

    #[test]
    fn sizes_follow_the_ladder_and_hold_what_waits() {
        let sizes = ContractSizes::default();
        assert_eq!([0, 1, 4, 9].map(|nth| sizes.size(nth, 0)), [1_048_576, 34_340_864, 134_217_728, 134_217_728]);
        assert_eq!(sizes.size(0, 2_000_000), 2_000_000);
        assert_eq!(ContractSizes::constant(7).size(3, 0), 7);
    }

    #[test]
    fn a_grant_for_others_or_too_small_is_not_used() {
        assert_eq!(check(contract(OWN, PEER, 1000), OWN, request()).unwrap().bytes, 1000);
        assert_eq!(check(contract(PEER, PEER, 1000), OWN, request()), Err("another source"));
        assert_eq!(check(contract(OWN, OWN, 1000), OWN, request()), Err("another destination"));
        assert_eq!(check(contract(OWN, PEER, 999), OWN, request()), Err("too small"));
    }

    /// A server that gives `answers` in turn, the last one for ever.
    async fn server(answers: Vec<CreateContractResult>) -> Api {
        let count = Arc::new(AtomicUsize::new(0));
        let control = post(async move |Json(body): Json<serde_json::Value>| {
            let pack = BASE64.decode(body["pack"].as_str().unwrap()).unwrap();
            let asked = CreateContract::decode(Pack::decode(&pack[..]).unwrap().frames[0].message_bytes.clone());
            assert_eq!(asked.unwrap().destination_id.as_deref(), Some(&PEER.as_bytes()[..]));
            let nth = count.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
            let frame: Frame = Push::CreateContractResult(Box::new(answers[nth].clone())).to_frame();
            let pack = Pack { frames: vec![frame], ..Pack::default() };
            Json(serde_json::json!({ "pack": BASE64.encode(pack.encode_to_vec()), "error": null }))
        });
        let router = axum::Router::new().route("/connect/control", control);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Api::new(&format!("http://{address}"), &Trust::Any).unwrap()
    }

    #[tokio::test]
    async fn a_refusal_names_its_reason_even_when_it_is_the_zero_value() {
        let refusal = CreateContractResult { error: Some(0), ..CreateContractResult::default() };
        let api = server(vec![refusal]).await;
        let failure = ask(&api, OWN, request()).await.unwrap_err();
        assert!(matches!(failure, ContractFailure::Refused { reason: ContractError::NoPermission, .. }));
    }

    #[tokio::test]
    async fn a_grant_comes_back_with_its_request() {
        let granted = CreateContractResult { contract: Some(contract(OWN, PEER, 5000)), ..Default::default() };
        let mut requests = ContractRequests::new(server(vec![granted]).await, OWN);
        assert!(requests.begin(request()));
        let (asked, outcome) = requests.next().await;
        assert_eq!((asked, outcome.unwrap().bytes), (request(), 5000));
    }
}
