//! Streams from outside: contracts that carry one, the neighbours that every node is told, signals between them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use prost::Message as _;
use tokio::sync::broadcast::Receiver;
use warren::client::session::{Client, Inbox, Received};
use warren::ids::{ClientId, ContractId, StreamId};
use warren::transfer::lane::Lane;
use warren::transfer::output::SendOptions;
use warren::wire::control_message::{Request, frame};
use warren::wire::messages::{
    CloseContract, CreateContract, CreateContractResult, ExchangeSignal, ExchangeSignals, Frame, MessageType,
    ProvideMode, SignalType, StoredContract, StreamClose, StreamOpen, StreamReset,
};

use crate::client::{Party, Platform};
use crate::support::{PATIENCE, get};

/// Time within which a change must reach its nodes.
const PROMPT: Duration = Duration::from_secs(1);

/// The hop before and the one behind.
type Hop = (Option<ClientId>, Option<ClientId>);

/// What one client knows of its streams, from what the platform pushed.
struct Hops {
    pushes: Receiver<Frame>,
    known: BTreeMap<StreamId, Hop>,
    resets: usize,
}

impl Hops {
    fn of(client: &Client) -> Self {
        Self { pushes: client.pushes(), known: BTreeMap::new(), resets: 0 }
    }

    async fn hear(&mut self) {
        let id = |bytes: Option<&[u8]>| bytes.map(|bytes| ClientId::from_slice(bytes).unwrap());
        let stream = |bytes: &[u8]| StreamId::from_slice(bytes).unwrap();
        let hop = |open: &StreamOpen| (id(open.source_id.as_deref()), id(open.destination_id.as_deref()));
        let push = tokio::time::timeout(PATIENCE, self.pushes.recv()).await.expect("in time").unwrap();
        let body = push.message_bytes.clone();
        match push.message_type() {
            MessageType::TransferStreamOpen => {
                let open = StreamOpen::decode(body).unwrap();
                self.known.insert(stream(&open.stream_id), hop(&open));
            }
            MessageType::TransferStreamClose => {
                self.known.remove(&stream(&StreamClose::decode(body).unwrap().stream_id));
            }
            MessageType::TransferStreamReset => {
                self.resets += 1;
                let hops = StreamReset::decode(body).unwrap().streams;
                self.known = hops.iter().map(|open| (stream(&open.stream_id), hop(open))).collect();
            }
            _ => {}
        }
    }

    /// Waits for the first full list since the last call.
    async fn reset(&mut self) {
        self.resets = 0;
        while self.resets == 0 {
            self.hear().await;
        }
    }

    /// Waits until exactly these are known.
    async fn until<const N: usize>(&mut self, hops: [(StreamId, Hop); N]) {
        let wanted = BTreeMap::from(hops);
        while self.known != wanted {
            self.hear().await;
        }
    }
}

/// A client, what it hears and what it is told.
struct Node {
    client: Client,
    inbox: Inbox,
    hops: Hops,
}

impl Node {
    async fn start(platform: &Platform, party: &Party, modes: &[ProvideMode]) -> Self {
        let (client, inbox) = party.start(vec![platform.websocket()]);
        // These tests run on one thread, so that nothing can be pushed before this.
        let mut hops = Hops::of(&client);
        client.provide(modes).await.unwrap();
        hops.reset().await;
        Self { client, inbox, hops }
    }

    async fn receive(&mut self) -> Received {
        tokio::time::timeout(PATIENCE, self.inbox.recv()).await.expect("in time").unwrap()
    }
}

fn signals(stream_id: StreamId, signal_type: SignalType) -> Vec<Frame> {
    let signal = ExchangeSignal { signal_type: signal_type.into(), sdp: Some("{}".into()), ice_candidate: None };
    let message = ExchangeSignals { stream_id: stream_id.into(), signals: vec![signal], ..ExchangeSignals::default() };
    vec![frame(MessageType::TransferExchangeSignals, &message)]
}

fn signal_type(received: &Received, stream_id: StreamId) -> SignalType {
    assert_eq!(received.frames[0].message_type(), MessageType::TransferExchangeSignals);
    let message = ExchangeSignals::decode(received.frames[0].message_bytes.clone()).unwrap();
    assert_eq!(&message.stream_id[..], stream_id.as_bytes());
    message.signals[0].signal_type()
}

/// The pair in the order of their ids, with what each must be told: the smaller one sees a destination only.
fn roles(stream_id: StreamId, a: ClientId, b: ClientId) -> impl Fn(ClientId) -> [(StreamId, Hop); 1] {
    move |client| {
        let other = if client == a { b } else { a };
        [(stream_id, if client < other { (None, Some(other)) } else { (Some(other), None) })]
    }
}

#[tokio::test]
async fn two_clients_exchange_signals_on_a_stream_that_closes_with_its_last_contract() {
    let platform = Platform::start().await;
    let (asker, provider) = (platform.party("asker").await, platform.party("provider").await);
    let mut active = Node::start(&platform, &asker, &[ProvideMode::Stream]).await;
    let mut passive = Node::start(&platform, &provider, &[ProvideMode::Public, ProvideMode::Stream]).await;
    assert!(active.hops.known.is_empty() && passive.hops.known.is_empty());

    let options = SendOptions { lane: Lane { force_stream: true, ..Lane::default() }, ..SendOptions::default() };
    // The first message makes the contract, and only then is there a stream to speak about.
    let hello = signals(StreamId::default(), SignalType::NoSignal);
    active.client.reserve(provider.id(), hello, options).await.unwrap().send();
    let received = passive.receive().await;
    let stream_id = received.contract.as_ref().unwrap().stream_id.expect("the contract carries a stream");
    let told = Instant::now();
    let expected = roles(stream_id, asker.id(), provider.id());
    active.hops.until(expected(asker.id())).await;
    passive.hops.until(expected(provider.id())).await;
    assert!(told.elapsed() < PROMPT);

    let offer = signals(stream_id, SignalType::SdpOffer);
    active.client.reserve(provider.id(), offer, options).await.unwrap().send();
    let received = passive.receive().await;
    assert_eq!(signal_type(&received, stream_id), SignalType::SdpOffer);
    passive.client.reply(&received, signals(stream_id, SignalType::SdpAnswer)).await.unwrap();
    let answer = active.receive().await;
    assert_eq!(signal_type(&answer, stream_id), SignalType::SdpAnswer);
    let contract = answer.contract.unwrap();
    assert_eq!((contract.stream_id, contract.provide_mode), (Some(stream_id), ProvideMode::Stream));

    active.client.flush(provider.id()).await.unwrap();
    passive.client.flush(asker.id()).await.unwrap();
    // Both report all their contracts: a run that comes later is told that nothing is left.
    passive.client.close().await.unwrap();
    active.client.close().await.unwrap();
    for party in [&asker, &provider] {
        let again = Node::start(&platform, party, &[ProvideMode::Stream]).await;
        assert_eq!(again.hops.known, BTreeMap::new());
    }
}

/// Asks for a contract over HTTP, as the client of a party.
async fn ask(party: &Party, request: CreateContract) -> StoredContract {
    let api = party.client_api();
    let answer = api.connect_control(vec![Request::CreateContract(request).to_frame()]).await.unwrap();
    let result = CreateContractResult::decode(answer.frames[0].message_bytes.clone()).unwrap();
    let contract = result.contract.unwrap_or_else(|| panic!("{:?}", result.error));
    StoredContract::decode(contract.stored_contract_bytes).unwrap()
}

async fn close(party: &Party, contract_id: ContractId) {
    let close = CloseContract { contract_id: contract_id.into(), ..CloseContract::default() };
    let answer = party.client_api().connect_control(vec![Request::CloseContract(close).to_frame()]).await.unwrap();
    assert_eq!(answer.error, None);
}

fn way(destination: ClientId, between: &[ClientId]) -> CreateContract {
    CreateContract {
        destination_id: Some(destination.into()),
        transfer_byte_count: 1 << 20,
        intermediary_ids: between.iter().map(|id| (*id).into()).collect(),
        stream_version: Some(1),
        ..CreateContract::default()
    }
}

#[tokio::test]
async fn every_node_of_a_way_knows_its_neighbours_also_after_a_restart() {
    let mut platform = Platform::start().await;
    let modes = [ProvideMode::Public, ProvideMode::Stream];
    let (source, between, target) =
        (platform.party("source").await, platform.party("between").await, platform.party("target").await);
    let mut nodes = Vec::new();
    for party in [&source, &between, &target] {
        nodes.push(Node::start(&platform, party, &modes).await);
    }
    let stored = ask(&source, way(target.id(), &[between.id()])).await;
    assert_eq!(stored.transfer_byte_count, 2 << 20, "paid for each hop");
    let stream_id = StreamId::from_slice(stored.stream_id()).unwrap();
    let made = Instant::now();
    let (first, last) = (source.id().min(target.id()), source.id().max(target.id()));
    let expected = |client: ClientId| {
        let hop = match client {
            client if client == first => (None, Some(between.id())),
            client if client == last => (Some(between.id()), None),
            _ => (Some(first), Some(last)),
        };
        [(stream_id, hop)]
    };
    for node in &mut nodes {
        node.hops.until(expected(node.client.id())).await;
    }
    assert!(made.elapsed() < PROMPT);

    let metrics = get(&format!("http://{}/metrics", platform.addresses.telemetry)).await.1;
    let has = |series: &str| metrics.lines().any(|line| line == series);
    assert!(has("warren_streams_open 1"), "{metrics}");
    assert!(has("warren_stream_pushes_total 6"), "a full list and an open for each node: {metrics}");

    platform.stop().await;
    platform.start_again().await;
    for node in &mut nodes {
        node.hops.reset().await;
        assert_eq!(node.hops.known, BTreeMap::from(expected(node.client.id())));
    }
    let reply = ask(&target, CreateContract { companion: true, ..way(source.id(), &[]) }).await;
    assert_eq!(reply.stream_id(), stream_id.as_bytes(), "the reply joins what was there before the restart");

    for stored in [stored, reply] {
        for party in [&source, &target] {
            close(party, ContractId::from_slice(&stored.contract_id).unwrap()).await;
        }
    }
    let closed = Instant::now();
    for node in &mut nodes {
        node.hops.until([]).await;
    }
    assert!(closed.elapsed() < PROMPT);
}

#[tokio::test]
async fn a_node_that_was_away_gets_its_streams_when_it_comes() {
    let platform = Platform::start().await;
    let (source, target) = (platform.party("source").await, platform.party("target").await);
    let modes = [ProvideMode::Public, ProvideMode::Stream];
    drop(Node::start(&platform, &target, &modes).await);
    let stored = ask(&source, CreateContract { force_stream: Some(true), ..way(target.id(), &[]) }).await;
    let stream_id = StreamId::from_slice(stored.stream_id()).unwrap();
    let node = Node::start(&platform, &target, &modes).await;
    assert_eq!(node.hops.known, BTreeMap::from(roles(stream_id, source.id(), target.id())(target.id())));
}
