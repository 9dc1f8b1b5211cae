//! More newcomers at once than the server takes: who is connected stays, and everybody else gets in at last.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use warren::client::api::{Api, AuthClient, NetworkCreate};
use warren::client::dial::{Credentials, DialError, Dialer, Route};
use warren::client::tls::Trust;
use warren::client::transport::{Incoming, Reader, Writer};
use warren::config::auth::Verify;
use warren::config::tls::TlsMode;
use warren::ids::{ClientId, Id, InstanceId};
use warren::wire::messages::{TransferFrame, TransferPath};

use crate::support::{PATIENCE, TestServer, eventually};

/// Handshakes under way at once.
const PLACES: usize = 16;
/// Those that find no place.
const TOO_MANY: usize = 40;
/// Clients that come at once.
const CLIENTS: usize = 48;

const REFUSED: &str = "warren_http_connections_refused_total";

struct Scene {
    test: TestServer,
    user: Api,
}

impl Scene {
    async fn start() -> Self {
        let test = TestServer::start_with(|config| {
            config.auth.verify = Verify::Auto;
            config.tls.mode = TlsMode::SelfSigned;
            config.relay.contract_gate = false;
            config.http.max_handshakes = PLACES;
            // Nobody's time runs out within the test.
            config.http.header_timeout = Duration::from_secs(120);
        })
        .await;
        let api = Api::new(&format!("https://{}", test.server.addresses().http), &Trust::Any).unwrap();
        let new = NetworkCreate { terms: true, ..NetworkCreate::default() };
        let user = api.with_token(&api.network_create(&new).await.unwrap().network.by_jwt.unwrap());
        Self { test, user }
    }

    async fn client(&self) -> (ClientId, Dialer) {
        let client = self.user.auth_client(&AuthClient::default()).await.unwrap();
        let route = Route::WebSocket(format!("wss://{}/", self.test.server.addresses().http));
        let credentials = Credentials::of_token(client.by_client_jwt, InstanceId::from_bytes(rand::random()));
        (client.client_id, Dialer::new(route, credentials, &Trust::Any).unwrap())
    }
}

/// Dials until it gets in; gives its number of refusals too.
pub async fn dial_patiently(dialer: &Dialer) -> (usize, (Reader, Writer)) {
    let mut refusals = 0;
    loop {
        match dialer.dial().await {
            Ok(transport) => return (refusals, transport),
            Err(_) => refusals += 1,
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// One frame from the first to the second.
pub async fn passes(from: (ClientId, &mut Writer), to: (ClientId, &mut Reader), byte: u8) {
    let path = TransferPath { source_id: Some(from.0.into()), destination_id: Some(to.0.into()), stream_id: None };
    let sealed = Some(vec![byte; 100].into());
    let frame = TransferFrame { transfer_path: Some(path), encrypted_transfer_frame: sealed, ..Default::default() };
    let frame: Bytes = frame.encode_to_vec().into();
    from.1.write(&mut vec![frame.clone()]).await.unwrap();
    let arrived = async { while to.1.next().await.unwrap() != Incoming::Frame(frame.clone()) {} };
    timeout(PATIENCE, arrived).await.expect("the frame arrives");
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomers_beyond_the_bound_are_refused_and_all_get_in_beside_who_is_connected() {
    let scene = Scene::start().await;
    let ((me, mine), (you, yours)) = (scene.client().await, scene.client().await);
    let mut others = Vec::new();
    for _ in 0..CLIENTS {
        others.push(scene.client().await.1);
    }
    let (_my_reader, mut my_writer) = mine.dial().await.unwrap();
    let (mut your_reader, _your_writer) = yours.dial().await.unwrap();
    // A client is let in before its token is checked; frames to one that is not there yet are dropped.
    let connected = async || scene.test.metric("warren_clients_connected").await;
    eventually("both are there", async || connected().await == 2).await;
    passes((me, &mut my_writer), (you, &mut your_reader), 1).await;

    // Newcomers that say nothing take every place.
    let address = scene.test.server.addresses().http;
    let before = scene.test.metric(REFUSED).await;
    let mut silent = Vec::new();
    for _ in 0..PLACES + TOO_MANY {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    eventually("the others are refused", async || scene.test.metric(REFUSED).await == before + TOO_MANY as u64).await;
    let refused: Result<_, DialError> = mine.dial().await;
    assert!(refused.is_err(), "no place is left");
    passes((me, &mut my_writer), (you, &mut your_reader), 2).await;

    // They go, and a storm begins in which each comes back until it is in.
    drop(silent);
    let mut storm = JoinSet::new();
    for dialer in others {
        storm.spawn(async move { dial_patiently(&dialer).await });
    }
    let arrived = timeout(PATIENCE, storm.join_all()).await.expect("all get in");
    assert_eq!(arrived.len(), CLIENTS);
    passes((me, &mut my_writer), (you, &mut your_reader), 3).await;
    eventually("all are counted", async || connected().await == CLIENTS as u64 + 2).await;
    let refusals = arrived.iter().map(|(refusals, _)| *refusals as u64).sum::<u64>();
    // The refused dial of before is the one more.
    assert!(scene.test.metric(REFUSED).await <= before + TOO_MANY as u64 + 1 + refusals);
}
