//! Stand-ins for the ports, for the tests of this folder.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::http::Request;
use hyper::http::request::Parts;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use super::drop_reason::{DropReason, EndReason};
use super::ports::{
    AuthFailure, Authenticate, ContractGate, HandleControl, Identity, PortFuture, Proof, Resync, Traffic,
};
use super::{Relay, RelayParts};
use crate::config::Config;
use crate::control::ControlCaller;
use crate::domain::presence::Presence;
use crate::domain::push::PushSink;
use crate::domain::stream::StreamPushes;
use crate::ids::{ClientId, InstanceId, NetworkId};
use crate::time::{Clock, Timestamp};
use crate::wire::messages::{Ack, Frame, Pack, TransferFrame, TransferPath};
use crate::wire::path::peek_path;

/// A gate that a test opens and closes.
#[derive(Clone, Default)]
pub struct TestGate {
    pairs: Arc<Mutex<HashMap<Pair, Arc<TestTraffic>>>>,
}

/// Source and destination.
type Pair = (ClientId, ClientId);

/// One pair of a [`TestGate`].
#[derive(Default)]
pub struct TestTraffic {
    is_open: AtomicBool,
    is_voted: AtomicBool,
    last_frame: AtomicU64,
    bytes: AtomicU64,
}

impl TestGate {
    fn pair(&self, source: ClientId, destination: ClientId) -> Arc<TestTraffic> {
        Arc::clone(self.pairs.lock().entry((source, destination)).or_default())
    }

    pub fn open(&self, source: ClientId, destination: ClientId) {
        self.pair(source, destination).is_open.store(true, Ordering::Relaxed);
    }

    /// What a checkpoint does: flows go on, new ones may not begin.
    pub fn vote(&self, source: ClientId, destination: ClientId) {
        self.pair(source, destination).is_voted.store(true, Ordering::Relaxed);
    }

    pub fn close(&self, source: ClientId, destination: ClientId) {
        self.pair(source, destination).is_open.store(false, Ordering::Relaxed);
    }

    pub fn bytes(&self, source: ClientId, destination: ClientId) -> u64 {
        self.pair(source, destination).bytes.load(Ordering::Relaxed)
    }
}

impl ContractGate for TestGate {
    fn admit(&self, source: ClientId, destination: ClientId, now: Timestamp) -> Option<Arc<dyn Traffic>> {
        let traffic = self.pair(source, destination);
        (traffic.is_live(now) && !traffic.is_voted.load(Ordering::Relaxed)).then_some(traffic as Arc<dyn Traffic>)
    }
}

impl Traffic for TestTraffic {
    fn record(&self, bytes: usize, now: Timestamp) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last_frame.store(now.as_millis(), Ordering::Relaxed);
    }

    fn is_live(&self, _now: Timestamp) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    fn last_frame(&self) -> Timestamp {
        Timestamp::from_millis(self.last_frame.load(Ordering::Relaxed))
    }
}

/// Takes tokens of the form `client.network`, two numbers; `busy` cannot be checked.
#[derive(Default)]
pub struct TestAuthenticator {
    removed: Mutex<HashSet<ClientId>>,
}

impl Authenticate for TestAuthenticator {
    fn authenticate<'a>(&'a self, proof: &'a Proof) -> PortFuture<'a, Result<Identity, AuthFailure>> {
        Box::pin(async move {
            let Proof::Token(token) = proof else { return Err(AuthFailure::Rejected) };
            if token == "busy" {
                return Err(AuthFailure::Unavailable);
            }
            let (client, network) = token.split_once('.').ok_or(AuthFailure::Rejected)?;
            let parse = |text: &str| text.parse::<u8>().map_err(|_| AuthFailure::Rejected);
            let client_id = ClientId::new([parse(client)?; 16]);
            let network_id = NetworkId::new([parse(network)?; 16]);
            let is_removed = self.removed.lock().contains(&client_id);
            if is_removed { Err(AuthFailure::Rejected) } else { Ok(Identity { client_id, network_id }) }
        })
    }
}

/// Remembers what was sent to the control id.
#[derive(Default)]
pub struct TestControl {
    pub handled: Mutex<Vec<(ClientId, Vec<Frame>)>>,
    /// How long the effects of a pack take to be durable.
    pub delay: Mutex<Duration>,
    /// Whether the store takes nothing.
    pub is_failing: Mutex<bool>,
    /// Whether the handler is broken.
    pub is_panicking: Mutex<bool>,
    /// What happens when a pack has been handled.
    pub then: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl HandleControl for TestControl {
    fn handle<'a>(&'a self, caller: ControlCaller, frames: &'a [Frame]) -> PortFuture<'a, bool> {
        let delay = *self.delay.lock();
        Box::pin(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            assert!(!*self.is_panicking.lock(), "as wanted");
            self.handled.lock().push((caller.client_id, frames.to_vec()));
            if let Some(then) = &*self.then.lock() {
                then();
            }
            !*self.is_failing.lock()
        })
    }
}

/// Remembers who needed full lists.
#[derive(Default)]
pub struct TestPeers {
    pub resynced: Mutex<Vec<ClientId>>,
    /// Whether they are broken.
    pub is_panicking: Mutex<bool>,
}

impl Resync for TestPeers {
    fn resync(&self, client_id: ClientId) {
        assert!(!*self.is_panicking.lock(), "as wanted");
        self.resynced.lock().push(client_id);
    }
}

/// The relay's clock follows tokio's in such steps.
const CLOCK_STEP: Duration = Duration::from_millis(5);

/// A relay over stand-ins, with clients on in-memory pipes.
pub struct TestRelay {
    pub relay: Arc<Relay>,
    pub gate: TestGate,
    pub authenticator: Arc<TestAuthenticator>,
    pub control: Arc<TestControl>,
    pub peers: Arc<TestPeers>,
    /// The real thing: it needs nothing but the relay.
    pub streams: Arc<StreamPushes>,
    pub presence: Arc<Presence>,
}

/// One WebSocket client of a [`TestRelay`].
pub struct TestClient {
    pub socket: WebSocketStream<DuplexStream>,
    pub served: JoinHandle<EndReason>,
}

impl TestRelay {
    pub fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let (gate, authenticator) = (TestGate::default(), Arc::new(TestAuthenticator::default()));
        let (control, peers) = (Arc::new(TestControl::default()), Arc::new(TestPeers::default()));
        let clock = Clock::manual(Timestamp::from_secs(1_800_000_000));
        let (presence, streams) = (Presence::new(clock.clone()), Arc::new(StreamPushes::default()));
        let driven = clock.clone();
        // The tests pause tokio's time; this makes the relay's clock follow it.
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(CLOCK_STEP).await;
                driven.advance(CLOCK_STEP);
            }
        });
        let relay = Relay::new(RelayParts {
            config: Arc::new(config),
            clock,
            authenticator: authenticator.clone(),
            control: control.clone(),
            gate: Arc::new(gate.clone()),
            presence: presence.clone(),
            peers: peers.clone(),
            streams: streams.clone(),
            metrics: super::metrics(&mut prometheus_client::registry::Registry::default()),
        });
        let sink: Weak<dyn PushSink> = Arc::<Relay>::downgrade(&relay);
        streams.deliver_to(sink);
        Self { relay, gate, authenticator, control, peers, streams, presence }
    }

    /// Makes the client's token invalid from now on.
    pub fn revoke(&self, client: u8) {
        self.authenticator.removed.lock().insert(id(client));
    }

    /// An upgrade request with these credentials.
    pub fn upgrade(token: Option<&str>, instance: u8) -> Parts {
        let mut request = Request::builder()
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        if let Some(token) = token {
            let instance = InstanceId::new([instance; 16]);
            request = request.header("authorization", format!("Bearer {token}"));
            request = request.header("x-ur-instanceid", instance.to_string());
        }
        request.body(()).unwrap().into_parts().0
    }

    /// Upgrades over a pipe that holds `pipe_bytes` in each direction.
    pub fn dial(&self, token: Option<&str>, instance: u8, pipe_bytes: usize) -> TestClient {
        self.dial_with(Self::upgrade(token, instance), pipe_bytes)
    }

    /// As [`TestRelay::dial`], with any request.
    pub fn dial_with(&self, request: Parts, pipe_bytes: usize) -> TestClient {
        let (_, ticket) = self.relay.websocket_response(&request, [127, 0, 0, 1].into(), None).unwrap();
        let (client, server) = tokio::io::duplex(pipe_bytes);
        let relay = self.relay.clone();
        let (read, write) = tokio::io::split(server);
        let served = tokio::spawn(async move { relay.serve_websocket(read, write, &[], ticket).await });
        TestClient { socket: ClientBuilder::new().take_over(client), served }
    }

    /// A client of network 9, routable when this returns.
    pub async fn connect(&self, client: u8, instance: u8) -> TestClient {
        let newest = || self.presence.connections(id(client)).last().map(|open| open.entry.connection_id);
        let known = newest();
        let dialed = self.dial(Some(&format!("{client}.9")), instance, 1 << 20);
        while newest().is_none() || newest() == known {
            tokio::task::yield_now().await;
        }
        dialed
    }

    /// How many frames were dropped for a reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.relay.metrics.frames_dropped[reason.index()].get()
    }
}

impl TestClient {
    pub async fn send(&mut self, message: impl Into<Bytes>) {
        self.socket.send(Message::binary(message.into())).await.unwrap();
    }

    /// The next message that is no keepalive and not from the control id.
    pub async fn receive(&mut self) -> Bytes {
        loop {
            let message = self.socket.next().await.expect("the connection has ended").unwrap();
            let payload = Bytes::from(message.into_payload());
            if peek_path(&payload).is_ok_and(|path| !path.source.is_control()) {
                return payload;
            }
        }
    }

    /// The next frame of the control id.
    pub async fn receive_control(&mut self) -> TransferFrame {
        loop {
            let message = self.socket.next().await.expect("the connection has ended").unwrap();
            let payload = Bytes::from(message.into_payload());
            if peek_path(&payload).is_ok_and(|path| path.source.is_control()) {
                return TransferFrame::decode(payload).unwrap();
            }
        }
    }

    /// The next pack of the control id.
    pub async fn receive_pack(&mut self) -> Pack {
        loop {
            if let Some(pack) = self.receive_control().await.pack {
                return pack;
            }
        }
    }

    /// Acks a pack of the control id.
    pub async fn ack(&mut self, client: u8, pack: &Pack) {
        self.send(ack(client, pack)).await;
    }

    /// Everything until the connection ends.
    pub async fn ended(mut self) -> EndReason {
        while let Some(Ok(_)) = self.socket.next().await {}
        self.served.await.unwrap()
    }
}

pub fn id(client: u8) -> ClientId {
    ClientId::new([client; 16])
}

/// The ack of a pack of the control id.
pub fn ack(client: u8, pack: &Pack) -> Vec<u8> {
    let ack = Ack { message_id: pack.message_id.clone(), sequence_id: pack.sequence_id.clone(), ..Ack::default() };
    let path = TransferPath { source_id: Some(id(client).into()), ..TransferPath::default() };
    let frame = TransferFrame { transfer_path: Some(path), ack: Some(ack), ..TransferFrame::default() };
    frame.encode_to_vec()
}

/// A frame with a payload that tells it from others.
pub fn frame(source: u8, destination: u8, payload: &[u8]) -> Bytes {
    let path = TransferPath {
        source_id: (source > 0).then(|| id(source).into()),
        destination_id: (destination > 0).then(|| id(destination).into()),
        stream_id: None,
    };
    let frame = TransferFrame {
        transfer_path: Some(path),
        encrypted_transfer_frame: Some(Bytes::copy_from_slice(payload)),
        ..Default::default()
    };
    frame.encode_to_vec().into()
}
