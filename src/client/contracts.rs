//! Contracts of this client as a sender: asking the platform for one, and what it answered.
//!
//! The transfer protocol says when a contract is needed, asks again when none comes, checks what was granted and
//! counts its use; the session carries that here. Requests go over `/connect/control`, the only way that is answered.

use prost::Message as _;
use tokio::task::JoinSet;

use super::api::{Api, ApiError};
use crate::ids::ClientId;
use crate::transfer::lane::Lane;
use crate::wire::control_message::Request;
use crate::wire::messages::{Contract, ContractError, CreateContract, CreateContractResult, MessageType};

/// Requests on their way at once; one more is not begun, and the transfer protocol asks again.
const MAX_REQUESTS: usize = 256;

/// Streams are understood: what the platform says about them is passed on.
const STREAM_VERSION: u32 = 1;

/// A wish for a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContractRequest {
    /// Who shall receive.
    pub to: ClientId,
    /// The lane that waits for it. Its companion bit makes the other side pay for a reply.
    pub lane: Lane,
    /// Bytes asked for; the server may grant more or fewer.
    pub bytes: u64,
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
    /// The server answered neither with a contract nor with an error.
    #[error("the server did not say whether there is a contract to {to}")]
    NoAnswer {
        /// Who should have received.
        to: ClientId,
    },
    /// The request failed.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// Asks once.
pub async fn ask(api: &Api, request: ContractRequest) -> Result<Contract, ContractFailure> {
    let to = request.to;
    let create = CreateContract {
        destination_id: Some(to.into()),
        transfer_byte_count: request.bytes,
        companion: request.lane.companion_contract,
        force_stream: request.lane.force_stream.then_some(true),
        stream_version: Some(STREAM_VERSION),
        ..CreateContract::default()
    };
    let answer = api.connect_control(vec![Request::CreateContract(create).to_frame()]).await?;
    let wanted = i32::from(MessageType::TransferCreateContractResult);
    let frame = answer.frames.into_iter().find(|frame| frame.message_type == wanted);
    let result = frame.and_then(|frame| CreateContractResult::decode(frame.message_bytes).ok());
    match result {
        Some(CreateContractResult { error: Some(code), .. }) => {
            let reason = ContractError::try_from(code).unwrap_or(ContractError::Setup);
            Err(ContractFailure::Refused { to, reason })
        }
        Some(CreateContractResult { contract: Some(contract), .. }) => Ok(contract),
        _ => Err(ContractFailure::NoAnswer { to }),
    }
}

/// Requests on their way, one per destination and lane. Dropping it gives them up.
#[derive(Debug)]
pub struct ContractRequests {
    api: Api,
    waiting: Vec<ContractRequest>,
    tasks: JoinSet<(ContractRequest, Result<Contract, ContractFailure>)>,
}

impl ContractRequests {
    /// Requests of the client whose token `api` carries.
    pub fn new(api: Api) -> Self {
        Self { api, waiting: Vec::new(), tasks: JoinSet::new() }
    }

    /// Begins to ask. Nothing happens while the same lane waits for an answer already, or too many others do: every
    /// answered request is a reservation, and the transfer protocol asks again anyway.
    pub fn begin(&mut self, request: ContractRequest) {
        let is_waiting = self.waiting.iter().any(|other| (other.to, other.lane) == (request.to, request.lane));
        if is_waiting || self.waiting.len() >= MAX_REQUESTS {
            return;
        }
        self.waiting.push(request);
        let api = self.api.clone();
        self.tasks.spawn(async move { (request, ask(&api, request).await) });
    }

    /// Whether any request waits for its answer.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next answer; waits for ever while nothing is on its way. Cancelling loses nothing.
    pub async fn next(&mut self) -> (ContractRequest, Result<Contract, ContractFailure>) {
        loop {
            match self.tasks.join_next().await {
                Some(Ok((request, outcome))) => {
                    self.waiting.retain(|other| *other != request);
                    return (request, outcome);
                }
                // Only a panic gets here; its lane must not wait for ever.
                Some(Err(error)) => {
                    tracing::error!(%error, "a contract request failed");
                    self.waiting.clear();
                }
                None => std::future::pending().await,
            }
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

    const PEER: ClientId = ClientId::new([2; 16]);

    fn request() -> ContractRequest {
        ContractRequest { to: PEER, lane: Lane::default(), bytes: 1 << 20 }
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
        let failure = ask(&server(vec![refusal]).await, request()).await.unwrap_err();
        assert!(matches!(failure, ContractFailure::Refused { reason: ContractError::NoPermission, .. }));
        let failure = ask(&server(vec![CreateContractResult::default()]).await, request()).await.unwrap_err();
        assert!(matches!(failure, ContractFailure::NoAnswer { to: PEER }));
    }

    #[tokio::test]
    async fn a_lane_asks_once_at_a_time_and_again_after_the_answer() {
        let answer = |secret| CreateContractResult {
            contract: Some(Contract { stored_contract_hmac: vec![secret].into(), ..Contract::default() }),
            ..CreateContractResult::default()
        };
        let mut requests = ContractRequests::new(server(vec![answer(1), answer(2)]).await);
        for expected in [1, 2] {
            requests.begin(request());
            requests.begin(request());
            let (asked, outcome) = requests.next().await;
            assert_eq!((asked, &outcome.unwrap().stored_contract_hmac[..]), (request(), &[expected][..]));
            assert!(requests.is_empty());
        }
    }
}
