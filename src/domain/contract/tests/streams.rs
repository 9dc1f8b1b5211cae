//! Streams as contracts give them out: who may ask for what, which stream comes, when the nodes hear of it.

use parking_lot::Mutex;

use super::super::create::{NewContract, Payment};
use super::super::record::Side;
use super::ledger::Broken;
use super::votes::{Machine, SIZE};
use super::*;
use crate::domain::client::ClientRecord;
use crate::domain::push::PushSink;
use crate::domain::stream::StreamPushes;
use crate::domain::stream::members::StreamWish;
use crate::ids::StreamId;
use crate::wire::control_message::Push;

/// Two more clients, of the provider's network.
const NEAR: u8 = 5;
const FAR: u8 = 7;

/// Remembers what was pushed; every client is here.
#[derive(Default)]
struct Heard(Mutex<Vec<(u8, Push)>>);

impl PushSink for Heard {
    fn push(&self, client_id: ClientId, pushes: Vec<Push>) -> bool {
        self.0.lock().extend(pushes.into_iter().map(|push| (client_id.as_bytes()[0], push)));
        true
    }
}

impl Heard {
    fn of(streams: &StreamPushes) -> Arc<Self> {
        let heard = Arc::new(Self::default());
        let sink: Arc<dyn PushSink> = heard.clone();
        streams.deliver_to(Arc::downgrade(&sink));
        heard
    }

    /// Who heard what since the last call: `+` for an open, `-` for a close, the streams of a reset.
    fn take(&self) -> Vec<(u8, String)> {
        let name = |id: &[u8]| StreamId::from_slice(id).unwrap().to_string();
        let say = |push: Push| match push {
            Push::StreamOpen(open) => format!("+{}", name(&open.stream_id)),
            Push::StreamClose(close) => format!("-{}", name(&close.stream_id)),
            Push::StreamReset(reset) => reset.streams.iter().map(|open| name(&open.stream_id)).collect(),
            other => panic!("unexpected {other:?}"),
        };
        std::mem::take(&mut *self.0.lock()).into_iter().map(|(client, push)| (client, say(push))).collect()
    }
}

async fn world() -> World {
    let world = World::new(100_000 * MIB).await;
    for client in [NEAR, FAR] {
        world.domain.put(&CLIENTS, &id(client), &client_record(network_of(PROVIDER))).await;
    }
    world
}

/// A request of a client that knows streams.
fn wants(destination: u8, forced: bool, between: &[u8]) -> CreateContract {
    CreateContract {
        force_stream: forced.then_some(true),
        stream_version: Some(1),
        intermediary_ids: between.iter().map(|node| client(*node).into()).collect(),
        ..request(destination, false)
    }
}

fn replies(destination: u8) -> CreateContract {
    CreateContract { companion: true, ..wants(destination, false, &[]) }
}

async fn make(world: &World, source: u8, request: CreateContract) -> Made {
    world.ledger.create(id(source), &request).await.map(Made::new).unwrap()
}

fn stream_of(made: &Made) -> Option<StreamId> {
    made.stored.stream_id.as_deref().map(|id| StreamId::from_slice(id).unwrap())
}

async fn close_both(world: &World, made: &Made) {
    for party in [&made.stored.source_id, &made.stored.destination_id] {
        world.close(party.as_ref().unwrap()[0], made.id, 1).await;
    }
}

#[tokio::test]
async fn a_paid_stream_and_its_reply_share_an_id_until_the_last_close() {
    let world = world().await;
    let heard = Heard::of(world.ledger.streams());
    let origin = make(&world, CONSUMER, wants(PROVIDER, true, &[])).await;
    let stream = stream_of(&origin).unwrap();
    let opened = format!("+{stream}");
    assert_eq!(heard.take(), [(CONSUMER, opened.clone()), (PROVIDER, opened)]);
    let reply = make(&world, PROVIDER, replies(CONSUMER)).await;
    assert_eq!(stream_of(&reply), Some(stream));
    close_both(&world, &origin).await;
    assert_eq!(heard.take(), []);
    let late = make(&world, PROVIDER, replies(CONSUMER)).await;
    assert_eq!(stream_of(&late), Some(stream), "its origin is closed, the stream is not");
    close_both(&world, &reply).await;
    close_both(&world, &late).await;
    let closed = format!("-{stream}");
    assert_eq!(heard.take(), [(CONSUMER, closed.clone()), (PROVIDER, closed)]);
    let too_late = make(&world, PROVIDER, replies(CONSUMER)).await;
    assert_eq!(stream_of(&too_late), None, "a dead stream is not joined");
    assert_ne!(stream_of(&make(&world, CONSUMER, wants(PROVIDER, true, &[])).await), Some(stream));
    assert_eq!(world.ledger.streams().stream_count(), 1);
    assert_eq!(world.ledger.streams().pushed_count(), 6);
}

#[tokio::test]
async fn the_kind_of_a_contract_decides_its_stream() {
    let world = world().await;
    assert_eq!(stream_of(&make(&world, CONSUMER, wants(PROVIDER, false, &[])).await), None, "paid, not asked for");
    assert_eq!(stream_of(&make(&world, CONSUMER, wants(SIBLING, false, &[])).await), None, "free, none to join");
    let forced = stream_of(&make(&world, CONSUMER, wants(SIBLING, true, &[])).await);
    assert!(forced.is_some());
    let joined = make(&world, SIBLING, wants(CONSUMER, false, &[])).await;
    assert_eq!(stream_of(&joined), forced, "free, one to join");
    let way = stream_of(&make(&world, CONSUMER, wants(PROVIDER, false, &[NEAR, FAR])).await);
    assert!(way.is_some(), "paid, over intermediaries");
    let back = make(&world, PROVIDER, replies(CONSUMER)).await;
    assert_eq!(stream_of(&back), way, "any of the pair when the origin has none");
    let old = CreateContract { stream_version: None, ..wants(SIBLING, true, &[]) };
    assert_eq!(stream_of(&make(&world, CONSUMER, old).await), None, "a client that knows none");
}

#[tokio::test]
async fn a_way_is_paid_for_each_of_its_hops() {
    let world = world().await;
    let before = world.available(CONSUMER).await;
    let made = make(&world, CONSUMER, wants(PROVIDER, false, &[NEAR, FAR])).await;
    assert_eq!(made.stored.transfer_byte_count, 3 * MIB as u64);
    assert_eq!(before - world.available(CONSUMER).await, 3 * MIB);
    let huge = CreateContract { transfer_byte_count: u64::MAX, ..wants(PROVIDER, false, &[NEAR]) };
    assert_eq!(make(&world, CONSUMER, huge).await.stored.transfer_byte_count, 512 * MIB as u64);
}

#[tokio::test]
async fn ways_that_cannot_be_gone_answer_setup() {
    let world = world().await;
    let removed = ClientRecord { active: false, ..client_record(network_of(PROVIDER)) };
    world.domain.put(&CLIENTS, &id(8), &removed).await;
    for node in 20..29 {
        world.domain.put(&CLIENTS, &id(node), &client_record(network_of(PROVIDER))).await;
    }
    let nine: Vec<u8> = (20..29).collect();
    let cases: [(&str, &[u8]); 8] = [
        ("nine", &nine),
        ("the source", &[CONSUMER]),
        ("the destination", &[NEAR, PROVIDER]),
        ("twice the same", &[NEAR, FAR, NEAR]),
        ("the control id", &[0]),
        ("unknown", &[99]),
        ("removed", &[8]),
        ("one of them unknown", &[NEAR, 99]),
    ];
    for (case, between) in cases {
        let refused = world.ledger.create(id(CONSUMER), &wants(PROVIDER, true, between)).await;
        assert_eq!(refused, Err(ContractError::Setup), "{case}");
    }
    for length in [0, 15, 17] {
        let bad = CreateContract { intermediary_ids: vec![vec![9; length].into()], ..wants(PROVIDER, false, &[]) };
        assert_eq!(world.ledger.create(id(CONSUMER), &bad).await, Err(ContractError::Setup), "{length} bytes");
    }
    for version in [None, Some(0)] {
        let old = CreateContract { stream_version: version, ..wants(PROVIDER, false, &[NEAR]) };
        assert_eq!(world.ledger.create(id(CONSUMER), &old).await, Err(ContractError::Setup), "{version:?}");
    }
    assert_eq!(world.available(CONSUMER).await, 100_000 * MIB);
    assert_eq!(world.ledger.streams().stream_count(), 0);
    assert!(stream_of(&make(&world, CONSUMER, wants(PROVIDER, false, &nine[..8])).await).is_some(), "eight may be");
}

#[tokio::test]
async fn a_refused_contract_opens_no_stream() {
    let world = World::new(MIB).await;
    let heard = Heard::of(world.ledger.streams());
    let large = CreateContract { transfer_byte_count: 2 * MIB as u64, ..wants(PROVIDER, true, &[]) };
    let refused = world.ledger.create(id(CONSUMER), &large).await;
    assert_eq!(refused, Err(ContractError::InsufficientBalance));
    assert_eq!((world.ledger.streams().stream_count(), heard.take()), (0, vec![]));
}

#[tokio::test]
async fn nobody_hears_of_a_stream_that_is_not_durable() {
    let world = world().await;
    let config = world.domain.service.config().clone();
    let service = world.domain.service.clone();
    let ledger = Ledger::open(service, Arc::new(Broken::default()), world.domain.clock.clone(), config).unwrap();
    let heard = Heard::of(ledger.streams());
    let refused = ledger.create(id(CONSUMER), &wants(SIBLING, true, &[])).await;
    assert_eq!(refused, Err(ContractError::Setup));
    ledger.streams().resync(id(SIBLING));
    assert_eq!(heard.take(), [(SIBLING, String::new())]);
}

#[tokio::test]
async fn a_restart_brings_the_same_streams_back() {
    let mut world = world().await;
    let way = make(&world, CONSUMER, wants(PROVIDER, false, &[FAR, NEAR])).await;
    let direct = make(&world, SIBLING, wants(CONSUMER, true, &[])).await;
    let closed = make(&world, SIBLING, wants(PROVIDER, true, &[])).await;
    close_both(&world, &closed).await;
    world.reopen().await;
    let heard = Heard::of(world.ledger.streams());
    let [way_id, direct_id] = [&way, &direct].map(|made| stream_of(made).unwrap().to_string());
    for client in [CONSUMER, SIBLING, PROVIDER, NEAR] {
        world.ledger.streams().resync(id(client));
    }
    let expected = [
        (CONSUMER, format!("{way_id}{direct_id}")),
        (SIBLING, direct_id.clone()),
        (PROVIDER, way_id.clone()),
        (NEAR, way_id.clone()),
    ];
    assert_eq!(heard.take(), expected);
    let reply = make(&world, PROVIDER, replies(CONSUMER)).await;
    assert_eq!(stream_of(&reply), stream_of(&way));
    assert_eq!(stream_of(&make(&world, PROVIDER, replies(SIBLING)).await), None, "what was dead stays dead");
    world.ledger.streams().resync(id(FAR));
    let Some((FAR, Push::StreamReset(reset))) = heard.0.lock().pop() else { panic!("no reset") };
    let [hop] = &reset.streams[..] else { panic!("one hop") };
    assert_eq!((hop.source_id(), hop.destination_id()), (&[CONSUMER; 16][..], &[NEAR; 16][..]));
    close_both(&world, &way).await;
    close_both(&world, &reply).await;
    let gone = format!("-{way_id}");
    assert_eq!(heard.take(), [CONSUMER, PROVIDER, NEAR, FAR].map(|client| (client, gone.clone())));
}

#[tokio::test]
async fn a_contract_leaves_its_stream_on_every_way_out_of_open() {
    let world = world().await;
    let heard = Heard::of(world.ledger.streams());
    let large = CreateContract { transfer_byte_count: 64 * MIB as u64, ..wants(PROVIDER, true, &[]) };
    for outcome in ["settled", "disputed", "swept", "expired"] {
        let made = make(&world, CONSUMER, large.clone()).await;
        let stream = stream_of(&made).unwrap();
        heard.take();
        match outcome {
            "settled" => close_both(&world, &made).await,
            "disputed" => {
                world.close(CONSUMER, made.id, 0).await;
                world.close(PROVIDER, made.id, 64 * MIB).await;
            }
            "swept" => {
                world.domain.clock.advance(Duration::from_secs(400));
                world.ledger.sweep().await.unwrap();
            }
            _ => {
                // The contract stays open: somebody came back just now.
                world.domain.clock.advance(Duration::from_secs(8 * 3600));
                world.ledger.connected(id(CONSUMER));
                world.ledger.sweep().await.unwrap();
                assert_eq!(world.ledger.balance(network(CONSUMER)).await.unwrap().open_bytes, 64 * MIB);
            }
        }
        let closed = format!("-{stream}");
        assert_eq!(heard.take(), [(CONSUMER, closed.clone()), (PROVIDER, closed)], "{outcome}");
        assert_eq!(world.ledger.streams().stream_count(), 0, "{outcome}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_nodes_hear_within_a_second_of_a_stream_that_time_closes() {
    let world = world().await;
    let heard = Heard::of(world.ledger.streams());
    make(&world, CONSUMER, wants(PROVIDER, true, &[])).await;
    heard.take();
    world.domain.clock.advance(Duration::from_secs(8 * 3600));
    tokio::time::sleep(Duration::from_secs(1) + Duration::from_millis(1)).await;
    assert_eq!(heard.take().len(), 2);
}

/// A plain contract that only the payee reports, of a pair with a stream or without.
fn claimed_alone(before: bool, after: bool) -> Option<i64> {
    let mut machine = Machine::new();
    let side = |party| Side { client_id: client(party), network_id: network(party) };
    let forced = |is_forced| NewContract {
        source: side(CONSUMER),
        destination: side(PROVIDER),
        transfer_bytes: SIZE,
        provide_mode: ProvideMode::Public,
        payment: Payment::Source,
        stream: Some(StreamWish { is_forced, intermediary_ids: Vec::new() }),
    };
    if before {
        machine.state.create(&forced(true)).unwrap();
    }
    let contract = machine.state.create(&forced(false)).unwrap().contract_id;
    if after {
        machine.state.create(&forced(true)).unwrap();
    }
    machine.report(PROVIDER, contract, SIZE, false);
    machine.pass(361);
    machine.sweep(contract)
}

#[test]
fn the_relayed_count_bounds_no_claim_of_a_pair_that_may_have_gone_around_the_relay() {
    assert_eq!(claimed_alone(false, false), Some(0));
    assert_eq!(claimed_alone(true, false), Some(SIZE));
    assert_eq!(claimed_alone(false, true), Some(SIZE));
}
