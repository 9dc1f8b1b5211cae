//! A running server with real sockets: what its threads allocate does not grow with the frames that it relays over TLS.
//! Over QUIC it does: quinn allocates for each packet.
//!
//! The clients are in this process, on threads that are not counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use warren::client::api::{Api, AuthClient, NetworkCreate};
use warren::client::dial::{Credentials, Dialer, Route};
use warren::client::tls::Trust;
use warren::client::transport::{Incoming, Reader, Writer};
use warren::config::Config;
use warren::config::auth::Verify;
use warren::config::tls::TlsMode;
use warren::ids::{ClientId, Id, InstanceId};
use warren::server::{Addresses, Server, ServerOptions};
use warren::wire::messages::{TransferFrame, TransferPath};

const PATIENCE: Duration = Duration::from_secs(60);
const FRAME_BYTES: usize = 1400;
/// Frames on their way at once.
const BATCH: usize = 4;
/// Batches until buffers, queues and tables have the size they need.
const WARM: u64 = 300;
/// Batches of the shorter run; the longer one is four times as long.
const ROUNDS: u64 = 500;

/// Threads whose allocations `count` holds.
fn runtime(count: &'static AtomicU64) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(move || crate::count_in(count))
        .build()
        .unwrap()
}

fn config(folder: &std::path::Path) -> Config {
    let mut config = Config::default();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    config.http.listen = any;
    config.relay.quic_listen = any;
    config.telemetry.listen = any;
    config.store.path = folder.to_owned();
    config.auth.verify = Verify::Auto;
    config.relay.contract_gate = false;
    config.tls.mode = TlsMode::SelfSigned;
    config
}

/// Two clients, and a way from the first to the second.
struct Pair {
    writer: Writer,
    reader: Reader,
    frame: Bytes,
    _others: (Reader, Writer),
}

impl Pair {
    async fn connect(addresses: Addresses, route: &Route) -> Self {
        let api = Api::new(&format!("https://{}", addresses.http), &Trust::Any).unwrap();
        let new = NetworkCreate { terms: true, ..NetworkCreate::default() };
        let user = api.with_token(&api.network_create(&new).await.unwrap().network.by_jwt.unwrap());
        let connect = async || {
            let client = user.auth_client(&AuthClient::default()).await.unwrap();
            let credentials = Credentials::of_token(client.by_client_jwt, InstanceId::from_bytes(rand::random()));
            let transport = Dialer::new(route.clone(), credentials, &Trust::Any).unwrap().dial().await.unwrap();
            (client.client_id, transport)
        };
        let (me, (my_reader, writer)) = connect().await;
        let (you, (reader, your_writer)) = connect().await;
        let mut pair = Self { writer, reader, frame: frame(me, you), _others: (my_reader, your_writer) };
        // A client is let in before its token is checked; frames to one that is not there yet are dropped.
        while timeout(Duration::from_millis(100), pair.rounds(1)).await.is_err() {}
        // What was written while waiting arrives too.
        while timeout(Duration::from_millis(300), pair.reader.next()).await.is_ok() {}
        pair
    }

    /// Sends batches, each when the one before has arrived.
    async fn rounds(&mut self, count: u64) {
        for _ in 0..count {
            self.writer.write(&mut vec![self.frame.clone(); BATCH]).await.unwrap();
            let mut arrived = 0;
            while arrived < BATCH {
                // What else comes is from the control id.
                arrived += usize::from(self.reader.next().await.unwrap() == Incoming::Frame(self.frame.clone()));
            }
        }
    }
}

fn frame(source: ClientId, destination: ClientId) -> Bytes {
    let path =
        TransferPath { source_id: Some(source.into()), destination_id: Some(destination.into()), stream_id: None };
    let of = |length| TransferFrame {
        transfer_path: Some(path.clone()),
        encrypted_transfer_frame: Some(vec![7; length].into()),
        ..TransferFrame::default()
    };
    let around = of(FRAME_BYTES).encoded_len() - FRAME_BYTES;
    of(FRAME_BYTES - around).encode_to_vec().into()
}

/// Allocations of a server for a batch more, as the difference between a long run and a short one: what it does by the
/// clock is in both, and small.
async fn per_round(count: &AtomicU64, mut rounds: impl AsyncFnMut(u64)) -> f64 {
    rounds(WARM).await;
    let mut run = async |length| {
        let before = count.load(Ordering::Relaxed);
        timeout(PATIENCE, rounds(length)).await.expect("the frames arrive");
        count.load(Ordering::Relaxed) - before
    };
    let (short, long) = (run(ROUNDS).await, run(4 * ROUNDS).await);
    (long as f64 - short as f64) / (3 * ROUNDS) as f64
}

/// What a server allocates for a batch of frames over a kind of transport.
fn per_batch(count: &'static AtomicU64, route: impl FnOnce(Addresses) -> Route) -> f64 {
    // For the client of the API.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let running = runtime(count);
    let config = Arc::new(config(folder.path()));
    // Not on this thread, which is not counted.
    let server = running.spawn(Server::start(config, ServerOptions::default()));
    let server = running.block_on(server).unwrap().unwrap();
    let route = route(server.addresses());
    let clients = Builder::new_current_thread().enable_all().build().unwrap();
    let each = clients.block_on(async {
        let mut pair = Pair::connect(server.addresses(), &route).await;
        per_round(count, async |length| pair.rounds(length).await).await
    });
    running.block_on(server.shutdown());
    each
}

#[test]
fn a_server_allocates_nothing_for_a_frame_that_it_relays_over_tls() {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let each = per_batch(&COUNT, |addresses| Route::WebSocket(format!("wss://{}/", addresses.http)));
    assert!(each < 0.1, "{each} allocations for each batch of {BATCH} frames");
}
