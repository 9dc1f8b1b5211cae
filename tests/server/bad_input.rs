//! Clients that send what they may not, say who they are not, or do not read: each is a counted drop or a clean
//! close, and the others keep flowing.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use warren::client::api::{Api, ApiError, AuthClient, ClientToken, NetworkCreate};
use warren::client::dial::{Credentials, DialError, Dialer, Route};
use warren::client::tls::Trust;
use warren::client::transport::{Incoming, Reader, Writer};
use warren::config::auth::Verify;
use warren::domain::token::TokenKeys;
use warren::ids::{ClientId, Id, InstanceId};
use warren::time::{Clock, DAY};
use warren::wire::MAX_FRAME_BYTES;
use warren::wire::control_message::Request;
use warren::wire::messages::{CreateContract, Provide, ProvideKey, ProvideMode, TransferFrame, TransferPath};

use crate::support::{PATIENCE, TestServer, eventually};

/// A client of one network with a transport of its own.
struct Raw {
    api: Api,
    client: ClientToken,
    reader: Reader,
    writer: Writer,
}

impl Raw {
    fn id(&self) -> ClientId {
        self.client.client_id
    }

    async fn send(&mut self, frame: impl Into<Bytes>) {
        self.writer.write(&mut vec![frame.into()]).await.unwrap();
    }

    /// The next frame of another client.
    async fn next(&mut self) -> Bytes {
        let relayed = async {
            loop {
                if let Incoming::Frame(frame) = self.reader.next().await.unwrap()
                    && !warren::wire::path::peek_path(&frame).unwrap().source.is_control()
                {
                    return frame;
                }
            }
        };
        tokio::time::timeout(PATIENCE, relayed).await.expect("a frame arrives")
    }

    /// Whether the server ends the transport in time.
    async fn has_ended(mut self) -> bool {
        let ended = async { while self.reader.next().await.is_ok() {} };
        tokio::time::timeout(PATIENCE, ended).await.is_ok()
    }
}

/// A server with a sender, and a receiver that it has a contract with.
struct Scene {
    test: TestServer,
    user: Api,
}

impl Scene {
    async fn start(change: impl FnOnce(&mut warren::config::Config)) -> Self {
        let test = TestServer::start_with(|config| {
            config.auth.verify = Verify::Auto;
            change(config);
        })
        .await;
        let api = Api::new(&format!("http://{}", test.server.addresses().http), &Trust::Any).unwrap();
        let new = NetworkCreate { terms: true, ..NetworkCreate::default() };
        let token = api.network_create(&new).await.unwrap().network.by_jwt.unwrap();
        Self { test, user: api.with_token(&token) }
    }

    fn routes(&self) -> [Route; 2] {
        let addresses = self.test.server.addresses();
        [Route::WebSocket(format!("ws://{}/", addresses.http)), Route::Quic(addresses.quic.unwrap().to_string())]
    }

    async fn dial(&self, route: &Route, token: &str) -> Result<(Reader, Writer), DialError> {
        let instance = InstanceId::from_bytes(rand::random());
        let credentials = Credentials::of_token(token, instance);
        Dialer::new(route.clone(), credentials, &Trust::Any).unwrap().dial().await
    }

    async fn client(&self, route: &Route) -> Raw {
        let client = self.user.auth_client(&AuthClient::default()).await.unwrap();
        let api = self.user.with_token(&client.by_client_jwt);
        let (reader, writer) = self.dial(route, &client.by_client_jwt).await.unwrap();
        Raw { api, client, reader, writer }
    }

    /// Two clients and a contract from the first to the second.
    async fn pair(&self, route: &Route) -> (Raw, Raw) {
        let (from, to) = (self.client(route).await, self.client(route).await);
        let key = ProvideKey { mode: ProvideMode::Network.into(), provide_secret_key: Bytes::from_static(&[7; 32]) };
        let provide = Request::Provide(Provide { keys: vec![key] });
        to.api.connect_control(vec![provide.to_frame()]).await.unwrap();
        let wanted = CreateContract { destination_id: Some(to.id().into()), ..CreateContract::default() };
        let answer = from.api.connect_control(vec![Request::CreateContract(wanted).to_frame()]).await.unwrap();
        assert_eq!((answer.frames.len(), answer.error), (1, None));
        (from, to)
    }

    async fn dropped(&self, reason: &str) -> u64 {
        self.test.metric(&format!("warren_relay_frames_dropped_total{{reason=\"{reason}\"}}")).await
    }

    async fn ended(&self, reason: &str) -> u64 {
        self.test.metric(&format!("warren_relay_connections_ended_total{{reason=\"{reason}\"}}")).await
    }
}

fn frame(path: TransferPath, payload: usize) -> Vec<u8> {
    let sealed = Some(vec![0x5a; payload].into());
    let frame = TransferFrame { transfer_path: Some(path), encrypted_transfer_frame: sealed, ..Default::default() };
    frame.encode_to_vec()
}

fn path(from: ClientId, to: ClientId) -> TransferPath {
    TransferPath { source_id: Some(from.into()), destination_id: Some(to.into()), stream_id: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_frame_may_not_be_is_dropped_and_counted_and_the_transport_stays() {
    let scene = Scene::start(|_| {}).await;
    for route in scene.routes() {
        let (mut from, mut to) = scene.pair(&route).await;
        let (me, you) = (from.id(), to.id());
        let good = frame(path(me, you), 100);
        let stranger = ClientId::new([9; 16]);
        let short = |length: usize| Some(Bytes::from(vec![1; length]));
        let cases = [
            ("malformed", good[..30].to_vec()),
            ("malformed", vec![0xff; 64]),
            ("malformed", TransferFrame::default().encode_to_vec().into_iter().chain([0x78; 40]).collect()),
            ("bad_id", frame(TransferPath { destination_id: short(15), ..path(me, you) }, 10)),
            ("bad_id", frame(TransferPath { source_id: short(0), ..path(me, you) }, 10)),
            ("repeated", [good.clone(), good.clone()].concat()),
            ("stream", frame(TransferPath { stream_id: short(16), ..path(me, you) }, 10)),
            ("spoofed", frame(path(you, me), 10)),
            ("spoofed", frame(TransferPath { source_id: None, ..path(me, you) }, 10)),
            ("to_self", frame(path(me, me), 10)),
            ("no_contract", frame(path(me, stranger), 10)),
            ("control_malformed", frame(TransferPath { destination_id: None, ..path(me, you) }, 10)),
        ];
        for (reason, bytes) in cases {
            let before = scene.dropped(reason).await;
            from.send(bytes).await;
            eventually(reason, async || scene.dropped(reason).await == before + 1).await;
        }
        from.send(good.clone()).await;
        assert_eq!(to.next().await, good, "only the good frame arrives, as it was sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_left_is_a_counted_drop() {
    let scene = Scene::start(|_| {}).await;
    for route in scene.routes() {
        let (mut from, to) = scene.pair(&route).await;
        let bytes = frame(path(from.id(), to.id()), 100);
        let before = scene.dropped("offline").await;
        to.writer.close().await;
        drop(to.reader);
        eventually("the receiver is gone", async || {
            from.send(bytes.clone()).await;
            scene.dropped("offline").await > before
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_above_the_limit_closes_its_transport_and_no_other() {
    let scene = Scene::start(|_| {}).await;
    for route in scene.routes() {
        let (mut from, mut to) = scene.pair(&route).await;
        let around = frame(path(from.id(), to.id()), 4000).len() - 4000;
        let mut largest = frame(path(from.id(), to.id()), MAX_FRAME_BYTES - around);
        assert_eq!(largest.len(), MAX_FRAME_BYTES);
        from.send(largest.clone()).await;
        assert_eq!(to.next().await, largest);
        let before = scene.ended("oversize").await;
        largest.push(0);
        from.send(largest).await;
        assert!(from.has_ended().await);
        assert_eq!(scene.ended("oversize").await, before + 1);
        let (mut other, _) = scene.pair(&route).await;
        let late = frame(path(other.id(), to.id()), 10);
        let wanted = CreateContract { destination_id: Some(to.id().into()), ..CreateContract::default() };
        other.api.connect_control(vec![Request::CreateContract(wanted).to_frame()]).await.unwrap();
        other.send(late.clone()).await;
        assert_eq!(to.next().await, late, "the receiver's transport is as it was");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_of_every_kind_are_refused_by_api_and_relay() {
    let scene = Scene::start(|_| {}).await;
    let client = scene.user.auth_client(&AuthClient::default()).await.unwrap();
    let removed = scene.user.auth_client(&AuthClient::default()).await.unwrap();
    scene.user.remove_client(removed.client_id).await.unwrap();
    let good = client.by_client_jwt.clone();
    let keys = TokenKeys::load_or_create(scene.test.folder.path()).unwrap();
    let claims = keys.verify_signature(&good).unwrap();
    let mut expired = claims.clone();
    let yesterday = Clock::system().now().before(DAY).as_secs();
    (expired.exp, expired.iat, expired.nbf) = (Some(yesterday), Some(yesterday - 1), Some(yesterday - 1));
    let [head, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let flipped: String = body.chars().rev().collect();
    let kinds = [
        ("garbage", "not a token".to_owned()),
        ("changed after signing", format!("{head}.{flipped}.{signature}")),
        ("unsigned", format!("eyJhbGciOiJub25lIn0.{body}.")),
        ("of another server", TokenKeys::generate().issue(&claims)),
        ("expired", keys.issue(&expired)),
        ("of a user, not a client", scene.user.token().unwrap().to_owned()),
        ("of a removed client", removed.by_client_jwt),
    ];
    for (kind, token) in kinds {
        let answer = scene.user.with_token(&token).connect_control(vec![Request::ControlPing.to_frame()]).await;
        assert!(matches!(answer, Err(ApiError::Status { status, .. }) if status.as_u16() == 401), "{kind}: {answer:?}");
        for route in scene.routes() {
            let before = scene.ended("unauthorized").await;
            match scene.dial(&route, &token).await {
                // Only what follows tells a WebSocket client that its headers were not accepted.
                Ok((mut reader, _writer)) => {
                    let next = tokio::time::timeout(PATIENCE, reader.next()).await.expect("an end in time");
                    assert!(next.is_err(), "{kind}: {next:?}");
                }
                Err(error) => assert!(matches!(error, DialError::Rejected(_)), "{kind}: {error}"),
            }
            eventually(kind, async || scene.ended("unauthorized").await == before + 1).await;
        }
    }
    assert!(scene.dial(&scene.routes()[0], &good).await.is_ok(), "the good token still works");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_loses_its_frames_and_its_transport_while_others_flow() {
    const FLOOD: usize = 20_000;
    let scene = Scene::start(|config| config.relay.write_timeout = Duration::from_millis(500)).await;
    for route in scene.routes() {
        let (mut flooder, deaf) = scene.pair(&route).await;
        let (mut from, mut to) = scene.pair(&route).await;
        let bytes = Bytes::from(frame(path(flooder.id(), deaf.id()), 4000));
        let (full, stalled) = (scene.dropped("queue_full").await, scene.ended("write_timeout").await);
        for at in 0..FLOOD / 50 {
            flooder.writer.write(&mut vec![bytes.clone(); 50]).await.unwrap();
            if at % 40 == 0 {
                let good = frame(path(from.id(), to.id()), at);
                from.send(good.clone()).await;
                assert_eq!(to.next().await, good, "others keep flowing");
            }
        }
        eventually("the queue is full", async || scene.dropped("queue_full").await > full).await;
        eventually("its transport is closed", async || scene.ended("write_timeout").await == stalled + 1).await;
        drop(deaf);
    }
}
