use prost::Message;

use super::*;
use crate::config::Config;
use crate::domain::client::CLIENTS;
use crate::domain::client_key::CLIENT_KEYS;
use crate::domain::effect::Effect;
use crate::domain::provide::PROVIDE_SETS;
use crate::domain::provide::cap::SetProvideCap;
use crate::domain::testing::{TestDomain, client_record, id};
use crate::ids::ContractId;
use crate::wire::control_message::frame;
use crate::wire::messages::{
    ClientKey, CloseContract, EncryptedKey, MessageType, PeerAudit, Provide, ProvideKey, ProvideMode, StoredContract,
};

const CONSUMER: u8 = 1;
const PROVIDER: u8 = 2;

struct World {
    domain: TestDomain,
    control: Control,
}

impl World {
    async fn new(free: &str) -> Self {
        let mut config = Config::default();
        config.plan.free.bytes = crate::config::contracts::Grant::Bytes(free.parse().unwrap());
        let domain = TestDomain::with_config(config);
        for client in [CONSUMER, PROVIDER] {
            domain.put(&CLIENTS, &id(client), &client_record(10 + client)).await;
        }
        let config = domain.service.config().clone();
        let ledger = Ledger::open(domain.service.clone(), domain.store.clone(), domain.clock.clone(), config).unwrap();
        let control = Control::new(domain.service.clone(), ledger);
        Self { domain, control }
    }

    async fn handle(&self, client: u8, requests: &[Request], via: Via) -> ControlReply {
        let frames: Vec<_> = requests.iter().map(Request::to_frame).collect();
        self.control.handle(caller(client), &frames, via).await
    }

    /// Makes a contract from consumer to provider.
    async fn contract(&self) -> ContractId {
        let reply = self.handle(CONSUMER, &[create(PROVIDER)], Via::Http).await;
        let contract = result(&reply).contract.unwrap();
        let stored = StoredContract::decode(contract.stored_contract_bytes).unwrap();
        ContractId::from_slice(&stored.contract_id).unwrap()
    }
}

fn caller(client: u8) -> ControlCaller {
    ControlCaller { client_id: id(client), network_id: id(10 + client) }
}

fn provide(modes: &[ProvideMode]) -> Request {
    let key = |mode: &ProvideMode| ProvideKey { mode: (*mode).into(), provide_secret_key: vec![7; 32].into() };
    Request::Provide(Provide { keys: modes.iter().map(key).collect() })
}

fn create(destination: u8) -> Request {
    let destination = id::<ClientId>(destination);
    Request::CreateContract(CreateContract { destination_id: Some(destination.into()), ..Default::default() })
}

fn close(contract: ContractId, acked: u64) -> Request {
    Request::CloseContract(CloseContract {
        contract_id: contract.into(),
        acked_byte_count: acked,
        ..Default::default()
    })
}

fn result(reply: &ControlReply) -> CreateContractResult {
    assert_eq!(reply.frames.len(), 1, "{reply:?}");
    assert_eq!(reply.frames[0].message_type, i32::from(MessageType::TransferCreateContractResult));
    CreateContractResult::decode(reply.frames[0].message_bytes.clone()).unwrap()
}

#[tokio::test]
async fn a_provide_set_is_stored_before_the_reply_and_peers_are_told() {
    let world = World::new("1GiB").await;
    let modes = [ProvideMode::Public, ProvideMode::Network, ProvideMode::Stream];
    for via in [Via::Http, Via::Relay] {
        assert_eq!(world.handle(PROVIDER, &[provide(&modes)], via).await, ControlReply::default());
    }
    let stored = world.domain.get(&PROVIDE_SETS, &id(PROVIDER)).unwrap();
    assert_eq!(stored.modes(), [ProvideMode::Network, ProvideMode::Public, ProvideMode::Stream]);
    let told = Effect::ClientChanged(id(10 + PROVIDER), id(PROVIDER));
    assert_eq!(world.domain.take_effects(), std::slice::from_ref(&told), "the same set again changes nothing");
    world.handle(PROVIDER, &[provide(&[])], Via::Relay).await;
    assert_eq!(world.domain.get(&PROVIDE_SETS, &id(PROVIDER)), None);
    assert_eq!(world.domain.take_effects(), [told]);
}

#[tokio::test]
async fn a_removed_client_provides_nothing() {
    let world = World::new("1GiB").await;
    let removed = crate::domain::client::ClientRecord { active: false, ..client_record(10 + PROVIDER) };
    world.domain.put(&CLIENTS, &id(PROVIDER), &removed).await;
    let reply = world.handle(PROVIDER, &[provide(&[ProvideMode::Public])], Via::Http).await;
    assert_eq!(reply.errors.len(), 1);
    assert_eq!(world.domain.get(&PROVIDE_SETS, &id(PROVIDER)), None);
}

#[tokio::test]
async fn errors_of_create_are_one_written_field() {
    let world = World::new("0B").await;
    let no_permission = world.handle(CONSUMER, &[create(PROVIDER)], Via::Http).await;
    assert_eq!(&no_permission.frames[0].message_bytes[..], [0x08, 0x00]);
    world.handle(PROVIDER, &[provide(&[ProvideMode::Public])], Via::Http).await;
    let insufficient = world.handle(CONSUMER, &[create(PROVIDER)], Via::Http).await;
    assert_eq!(&insufficient.frames[0].message_bytes[..], [0x08, 0x01]);
    let mut hops = CreateContract { destination_id: Some(id::<ClientId>(PROVIDER).into()), ..Default::default() };
    hops.intermediary_ids = vec![vec![5; 16].into()];
    let setup = world.handle(CONSUMER, &[Request::CreateContract(hops)], Via::Http).await;
    assert_eq!(&setup.frames[0].message_bytes[..], [0x08, 0x02]);
    let invalid = world.handle(CONSUMER, &[create(CONSUMER)], Via::Http).await;
    assert_eq!(&invalid.frames[0].message_bytes[..], [0x08, 0x04]);
    assert!(invalid.errors.is_empty(), "a refusal is an answer, not a failed frame");
}

#[tokio::test]
async fn a_capped_provider_gets_no_contracts_until_the_cap_is_lifted() {
    let world = World::new("1GiB").await;
    world.handle(PROVIDER, &[provide(&[ProvideMode::Public])], Via::Http).await;
    let open = world.contract().await;
    let (network_id, client_id) = (id(10 + PROVIDER), id(PROVIDER));
    let cap = |number| SetProvideCap { network_id, client_id, number };
    world.domain.run(&cap(1)).await.unwrap();
    let refused = world.handle(CONSUMER, &[create(PROVIDER)], Via::Http).await;
    assert_eq!(&refused.frames[0].message_bytes[..], [0x08, 0x00]);
    world.domain.run(&cap(-1)).await.unwrap();
    assert_ne!(world.contract().await, open);
}

#[tokio::test]
async fn a_result_echoes_the_request_of_a_client_that_knows_streams() {
    let world = World::new("1GiB").await;
    world.handle(PROVIDER, &[provide(&[ProvideMode::Public])], Via::Http).await;
    for (version, is_echoed) in [(None, false), (Some(0), false), (Some(1), true)] {
        let destination_id = Some(id::<ClientId>(PROVIDER).into());
        let request = CreateContract { destination_id, stream_version: version, ..Default::default() };
        let reply = world.handle(CONSUMER, &[Request::CreateContract(request.clone())], Via::Http).await;
        assert_eq!(result(&reply).create_contract, is_echoed.then_some(request));
        assert!(result(&reply).contract.is_some());
    }
}

#[tokio::test]
async fn in_band_requests_for_contracts_are_ignored_and_counted() {
    let world = World::new("1GiB").await;
    world.handle(PROVIDER, &[provide(&[ProvideMode::Public])], Via::Http).await;
    let reply = world.handle(CONSUMER, &[create(PROVIDER)], Via::Relay).await;
    assert_eq!(reply, ControlReply::default());
    assert_eq!(world.control.counters().in_band_creates.load(Ordering::Relaxed), 1);
    let gate = world.control.ledger.gate();
    assert!(gate.admit(id(CONSUMER), id(PROVIDER), world.domain.clock.now()).is_none());
}

#[tokio::test]
async fn a_bad_frame_does_not_stop_the_ones_behind_it() {
    let world = World::new("1GiB").await;
    world.handle(PROVIDER, &[provide(&[ProvideMode::Public])], Via::Http).await;
    let contract = world.contract().await;
    let garbage = Frame {
        message_type: MessageType::TransferCloseContract.into(),
        message_bytes: vec![0xff; 9].into(),
        raw: false,
    };
    let frames = [garbage, close(id(99), 5).to_frame(), close(contract, 5).to_frame()];
    for client in [CONSUMER, PROVIDER] {
        let reply = world.control.handle(caller(client), &frames, Via::Relay).await;
        assert_eq!(reply.frames, []);
        assert_eq!(reply.errors.len(), 2);
        assert!(reply.errors[1].starts_with("Contract not found: "), "{:?}", reply.errors);
    }
    let view = world.control.ledger.balance(id(10 + PROVIDER)).await.unwrap();
    assert_eq!(view.provided_bytes, 5);
}

#[tokio::test]
async fn the_contract_is_at_the_gate_before_its_reply() {
    let world = World::new("1GiB").await;
    world.handle(PROVIDER, &[provide(&[ProvideMode::Public])], Via::Http).await;
    world.contract().await;
    let gate = world.control.ledger.gate();
    assert!(gate.admit(id(PROVIDER), id(CONSUMER), world.domain.clock.now()).is_some());
}

#[tokio::test]
async fn keys_are_published_and_the_vectors_of_the_protocol_work() {
    let world = World::new("1GiB").await;
    let key = frame(MessageType::TransferClientKey, &ClientKey { public_key: vec![0; 32].into() });
    let ping = Frame { message_type: MessageType::TransferControlPing.into(), ..Default::default() };
    let reply = world.control.handle(caller(CONSUMER), &[key, ping], Via::Http).await;
    assert_eq!(reply, ControlReply::default());
    assert!(world.domain.get(&CLIENT_KEYS, &id(CONSUMER)).is_some());
    let requests = [
        Request::ClientKey(ClientKey { public_key: vec![0; 31].into() }),
        Request::EncryptedKey(EncryptedKey { provide_tls_certificate: vec![vec![1].into()], ..Default::default() }),
        Request::PeerAudit(PeerAudit { abuse: true, ..Default::default() }),
    ];
    assert_eq!(world.handle(CONSUMER, &requests, Via::Relay).await.errors.len(), 2);
}

#[tokio::test]
async fn what_is_no_control_message_is_counted_and_named() {
    let world = World::new("1GiB").await;
    let frames: Vec<_> =
        [MessageType::IpIpPacketToProvider, MessageType::TransferStreamOpen, MessageType::TransferAuth]
            .map(|kind| Frame { message_type: kind.into(), ..Default::default() })
            .into();
    let reply = world.control.handle(caller(CONSUMER), &frames, Via::Http).await;
    assert_eq!(reply.errors.len(), 3);
    assert_eq!(world.control.counters().unknown.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_close_that_the_ledger_could_not_take_is_unfinished_and_a_refused_one_is_not() {
    let world = World::new("1GiB").await;
    world.handle(PROVIDER, &[provide(&[ProvideMode::Public])], Via::Http).await;
    let contract = world.contract().await;
    let close = |contract| Request::CloseContract(CloseContract { contract_id: contract, ..CloseContract::default() });
    let refused = world.handle(CONSUMER, &[close(vec![1; 16].into())], Via::Relay).await;
    assert_eq!((refused.errors.len(), refused.is_unfinished), (1, false));
    world.control.ledger.shutdown().await;
    let lost = world.handle(CONSUMER, &[close(contract.into())], Via::Relay).await;
    assert_eq!((lost.errors.len(), lost.is_unfinished), (1, true));
}

#[tokio::test]
async fn closes_of_one_pack_share_a_commit_and_each_has_its_own_outcome() {
    let world = World::new("100GiB").await;
    world.handle(PROVIDER, &[provide(&[ProvideMode::Public])], Via::Http).await;
    let mut contracts = Vec::new();
    for _ in 0..50 {
        contracts.push(world.contract().await);
    }
    let mut requests: Vec<Request> = contracts.iter().map(|contract| close(*contract, 10)).collect();
    requests.insert(20, close(id(99), 10));
    let before = world.domain.store.commits();
    let reply = world.handle(CONSUMER, &requests, Via::Relay).await;
    assert_eq!(reply.errors, [format!("Contract not found: {}", id::<ContractId>(99))]);
    assert!(!reply.is_unfinished);
    assert_eq!(world.domain.store.commits() - before, 1);
    let again = world.handle(PROVIDER, &requests, Via::Relay).await;
    assert_eq!(again.errors, reply.errors, "every contract was open until its other side closed it");
}

#[tokio::test]
async fn a_checkpoint_before_a_close_in_one_pack_counts_before_it() {
    let world = World::new("1GiB").await;
    world.handle(PROVIDER, &[provide(&[ProvideMode::Public])], Via::Http).await;
    let contract = world.contract().await;
    let checkpoint = Request::CloseContract(CloseContract {
        contract_id: contract.into(),
        acked_byte_count: 40,
        checkpoint: true,
        ..Default::default()
    });
    for party in [CONSUMER, PROVIDER] {
        let reply = world.handle(party, &[checkpoint.clone(), close(contract, 2)], Via::Relay).await;
        assert_eq!(reply, ControlReply::default());
    }
    let used = world.control.ledger.balance(id(10 + CONSUMER)).await.unwrap().used_bytes;
    assert_eq!(used, 42, "a checkpoint behind the close would count nothing");
    let late = world.handle(CONSUMER, &[close(contract, 2), checkpoint], Via::Relay).await;
    assert_eq!(late.errors.len(), 2, "both come too late");
}
