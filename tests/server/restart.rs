//! A restart with everybody connected: all come back at once and all get in, while those who are back already go on.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use prost::Message as _;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use warren::client::api::{Api, AuthClient, NetworkCreate};
use warren::client::dial::{Credentials, Dialer, Route};
use warren::client::session::{Client, ClientOptions, Inbox};
use warren::client::tls::Trust;
use warren::client::transport::{Reader, Writer};
use warren::ids::{ClientId, Id, InstanceId};
use warren::wire::control_message::Request;
use warren::wire::messages::{CreateContract, CreateContractResult, Provide, ProvideKey, ProvideMode};

use crate::client::message;
use crate::storm::{dial_patiently, passes};
use crate::support::{PATIENCE, Process, eventually, install_crypto, metric};

/// Pairs of raw sessions; those with an even number over WebSocket, the others over QUIC.
const PAIRS: usize = 80;
/// Those of them that are back first, one on each transport.
const FIRST: usize = 2;
/// Pairs of our own client, on both transports.
const OWN_PAIRS: usize = 6;
/// Pairs of one network, which is a household.
const NETWORK_PAIRS: usize = 5;
/// Networks made at the same time.
const MADE_AT_ONCE: usize = 4;
/// Handshakes under way at once, and transports that have not proven who they are: far fewer than come.
const PLACES: &str = "24";
const CONTRACT_BYTES: u64 = 16 << 20;

const LISTENERS: [(&str, &str); 3] = [
    ("http", "WARREN__HTTP__LISTEN"),
    ("quic", "WARREN__RELAY__QUIC_LISTEN"),
    ("telemetry", "WARREN__TELEMETRY__LISTEN"),
];

/// A server of its own process, which begins again on the same store and ports.
struct Scene {
    process: Process,
    addresses: [String; LISTENERS.len()],
    folder: TempDir,
}

impl Scene {
    fn start() -> Self {
        install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let process = begin(&folder, LISTENERS.map(|_| "127.0.0.1:0"));
        let addresses = process.addresses();
        let addresses = LISTENERS.map(|(name, _)| addresses[name].as_str().unwrap().to_owned());
        Self { process, addresses, folder }
    }

    fn restart(&mut self, signal: &str) {
        self.process.signal(signal);
        self.process.wait();
        self.process = begin(&self.folder, self.addresses.each_ref().map(String::as_str));
    }

    fn websocket(&self) -> Route {
        Route::WebSocket(format!("wss://{}/", self.addresses[0]))
    }

    fn quic(&self) -> Route {
        Route::Quic(self.addresses[1].clone())
    }

    async fn metric(&self, name: &str) -> u64 {
        metric(&format!("http://{}/metrics", self.addresses[2]), name).await
    }

    /// A network's pairs; the first of each has a contract with the second.
    async fn network(&self) -> Vec<[Party; 2]> {
        let api = Api::new(&format!("https://{}", self.addresses[0]), &Trust::Any).unwrap();
        let new = NetworkCreate { terms: true, ..NetworkCreate::default() };
        let user = api.with_token(&api.network_create(&new).await.unwrap().network.by_jwt.unwrap());
        let mut pairs = Vec::new();
        for _ in 0..NETWORK_PAIRS {
            let [from, to] = [Party::new(&user).await, Party::new(&user).await];
            to.provide().await;
            from.contract(&to).await;
            pairs.push([from, to]);
        }
        pairs
    }

    async fn pairs(&self, count: usize) -> Vec<[Party; 2]> {
        let networks = stream::iter(0..count.div_ceil(NETWORK_PAIRS)).map(|_| self.network());
        networks.buffer_unordered(MADE_AT_ONCE).concat().await
    }
}

fn begin(folder: &TempDir, addresses: [&str; LISTENERS.len()]) -> Process {
    Process::start(folder.path(), |command| {
        command.envs(LISTENERS.map(|(_, name)| name).into_iter().zip(addresses));
        command.env("WARREN__TLS__MODE", "self_signed").env("WARREN__AUTH__VERIFY", "auto");
        command.env("WARREN__AUTH__ATTEMPT_LIMITS", "false").env("WARREN__TELEMETRY__LOG_FILTER", "warn");
        command.env("WARREN__HTTP__MAX_HANDSHAKES", PLACES).env("WARREN__RELAY__MAX_UNAUTHENTICATED", PLACES);
        // Raw sessions say nothing by themselves.
        command.env("WARREN__RELAY__READ_TIMEOUT", "10m");
    })
}

/// A client with its token.
struct Party {
    id: ClientId,
    api: Api,
}

impl Party {
    async fn new(user: &Api) -> Self {
        let client = user.auth_client(&AuthClient::default()).await.unwrap();
        Self { id: client.client_id, api: user.with_token(&client.by_client_jwt) }
    }

    async fn provide(&self) {
        let key = ProvideKey { mode: ProvideMode::Network.into(), provide_secret_key: vec![7; 32].into() };
        let frame = Request::Provide(Provide { keys: vec![key] }).to_frame();
        self.api.connect_control(vec![frame]).await.unwrap();
    }

    async fn contract(&self, to: &Self) {
        let create = CreateContract {
            destination_id: Some(to.id.into()),
            transfer_byte_count: CONTRACT_BYTES,
            ..CreateContract::default()
        };
        let answer = self.api.connect_control(vec![Request::CreateContract(create).to_frame()]).await.unwrap();
        let result = CreateContractResult::decode(answer.frames[0].message_bytes.clone()).unwrap();
        assert!(result.contract.is_some(), "{:?}", result.error);
    }

    async fn session(self, route: Route) -> Session {
        let token = self.api.token().unwrap();
        let credentials = Credentials::of_token(token, InstanceId::from_bytes(rand::random()));
        let dialer = Dialer::new(route, credentials, &Trust::Any).unwrap();
        let (_, (reader, writer)) = dial_patiently(&dialer).await;
        Session { id: self.id, dialer, reader, writer }
    }

    async fn start(self, routes: Vec<Route>) -> (Client, Inbox) {
        let mut options = ClientOptions::new(self.api, self.id);
        options.routes = routes;
        options.trust = Trust::Any;
        let (client, inbox) = Client::start(options).unwrap();
        client.provide(&[ProvideMode::Network]).await.unwrap();
        (client, inbox)
    }
}

/// A raw transport of a client.
struct Session {
    id: ClientId,
    dialer: Dialer,
    reader: Reader,
    writer: Writer,
}

impl Session {
    /// Notices that the server is not the one that it was connected to, and dials until it is in again; gives how often
    /// it was refused.
    async fn come_back(&mut self) -> usize {
        // Over QUIC nobody hears of a crash who says nothing.
        let _ = self.writer.write(&mut vec![Bytes::new()]).await;
        while self.reader.next().await.is_ok() {}
        let (refusals, (reader, writer)) = dial_patiently(&self.dialer).await;
        (self.reader, self.writer) = (reader, writer);
        refusals
    }
}

async fn frame_passes([from, to]: &mut [Session; 2], byte: u8) {
    passes((from.id, &mut from.writer), (to.id, &mut to.reader), byte).await;
}

/// Exchanges frames until told to stop, each one on its way alone, so that none may be lost; gives how many passed.
async fn exchange(mut pair: [Session; 2], stop: CancellationToken) -> ([Session; 2], usize) {
    let mut passed = 0;
    while !stop.is_cancelled() {
        frame_passes(&mut pair, passed as u8).await;
        pair.reverse();
        passed += 1;
    }
    (pair, passed)
}

/// Everybody at once.
async fn at_once<T: Send + 'static>(futures: impl Iterator<Item = impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let all: JoinSet<T> = futures.collect();
    timeout(PATIENCE, all.join_all()).await.expect("all in time")
}

async fn everybody_comes_back_after(signal: &str) {
    let mut scene = Scene::start();
    let mut parties = scene.pairs(PAIRS + OWN_PAIRS).await;
    let mut own = Vec::new();
    for [from, to] in parties.split_off(PAIRS) {
        let routes = || vec![scene.websocket(), scene.quic()];
        own.push([from.start(routes()).await, to.start(routes()).await]);
    }
    let sessions = parties.into_iter().enumerate().map(|(number, [from, to])| {
        let route = if number % 2 == 0 { scene.websocket() } else { scene.quic() };
        async move { [from.session(route.clone()).await, to.session(route).await] }
    });
    let mut pairs = at_once(sessions).await;
    let everybody = 2 * (pairs.len() + own.len()) as u64;
    let connected = async |scene: &Scene| scene.metric("warren_clients_connected").await;
    eventually("all are there", async || connected(&scene).await == everybody).await;
    for pair in &mut pairs {
        frame_passes(pair, 1).await;
    }
    for [(from, _), (to, _)] in &own {
        timeout(PATIENCE, from.send_acked(to.id(), message(0, 500))).await.expect("in time").unwrap();
    }

    scene.restart(signal);
    let others = pairs.split_off(FIRST);
    let first = pairs.into_iter().map(|mut pair| async move {
        for session in &mut pair {
            session.come_back().await;
        }
        pair
    });
    let first = at_once(first).await;
    // A client is let in before its token is checked; our own ones come back by themselves.
    let there = 2 * (FIRST + own.len()) as u64;
    eventually("the first are back", async || connected(&scene).await == there).await;
    let stop = CancellationToken::new();
    let established: Vec<_> = first.into_iter().map(|pair| tokio::spawn(exchange(pair, stop.clone()))).collect();
    let storm = others.into_iter().map(|mut pair| async move {
        let [from, to] = &mut pair;
        let (one, other) = tokio::join!(from.come_back(), to.come_back());
        (pair, one + other)
    });
    let arrived = at_once(storm).await;
    eventually("all are back", async || connected(&scene).await == everybody).await;
    stop.cancel();
    for exchanging in established {
        let (mut pair, passed) = exchanging.await.expect("no frame of those who were back is lost");
        assert!(passed > 1, "frames passed during the storm");
        frame_passes(&mut pair, 3).await;
    }
    // Whoever is back is served, under the contract of before.
    let mut refusals = 0;
    for (mut pair, refused) in arrived {
        frame_passes(&mut pair, 4).await;
        refusals += refused;
    }
    for [(from, _), (to, _)] in &own {
        timeout(PATIENCE, from.send_acked(to.id(), message(0, 500))).await.expect("in time").unwrap();
    }
    assert!(refusals > 0, "more came than there are places");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_comes_back_at_once_after_a_crash_beside_who_is_back_already() {
    everybody_comes_back_after("KILL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_comes_back_at_once_after_a_stop_beside_who_is_back_already() {
    everybody_comes_back_after("TERM").await;
}
