//! Loads the real binary from outside and reports what it costs the server: CPU per relayed frame, memory per idle
//! client, and contracts per second over the API.
//!
//! `cargo bench --bench relay_load -- [frames] [idle] [contracts] [--quick]`; without a name, all three. CPU is the
//! server's own (`/proc/PID/task/*/schedstat`) divided by the frames that arrived, so neighbours on the machine and the
//! generator's cost do not count. Linux only. With two cores or more the server is pinned to the first one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench stops at a surprise"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use prost::Message;
use tokio::sync::Notify;
use warren::client::api::{Api, AuthClient, NetworkCreate};
use warren::client::dial::{Credentials, Dialer, Route};
use warren::client::tls::Trust;
use warren::client::transport::{Incoming, Reader, Writer};
use warren::ids::{ClientId, Id, InstanceId};
use warren::wire::control_message::Request;
use warren::wire::messages::{
    CloseContract, Contract, CreateContract, CreateContractResult, Provide, ProvideKey, ProvideMode, StoredContract,
    TransferFrame, TransferPath,
};

/// Sender and receiver pairs of the frame cells.
const PAIRS: usize = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        // `cargo test` also builds and starts benches; this one is only for `cargo bench`.
        return;
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let named: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| named.is_empty() || named.contains(&name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if wanted("frames") {
            frames(quick).await;
        }
        if wanted("idle") {
            idle(if quick { 1_000 } else { 10_000 }).await;
        }
        if wanted("contracts") {
            contracts(Duration::from_secs(if quick { 2 } else { 10 })).await;
        }
    });
}

/// CPU per relayed frame by transport, size and batch.
async fn frames(quick: bool) {
    println!("CPU microseconds of the server per relayed frame, {PAIRS} pairs, median of the runs");
    println!(
        "{:<16} {:>6} {:>10} {:>10} {:>10} {:>12}",
        "transport", "bytes", "batch 1", "batch 16", "full", "frames/s"
    );
    let (seconds, runs) = if quick { (0.5, 1) } else { (1.5, 3) };
    for (name, tls, route) in TRANSPORTS {
        let server = Server::start(tls);
        let pairs = server.pairs(PAIRS, route).await;
        for size in [100, 1400, 4096] {
            let mut cells = Vec::new();
            let mut rate = 0.0;
            for window in [1, 16, 512] {
                let mut costs = Vec::new();
                for _ in 0..runs {
                    let (cost, frames) =
                        saturate(&server, &pairs, size, window, Duration::from_secs_f64(seconds)).await;
                    costs.push(cost);
                    rate = frames / seconds;
                }
                costs.sort_by(f64::total_cmp);
                cells.push(costs[costs.len() / 2]);
            }
            let [one, some, full] = cells[..] else { unreachable!() };
            println!("{name:<16} {size:>6} {one:>10.2} {some:>10.2} {full:>10.2} {rate:>12.0}");
        }
    }
}

/// How a client reaches the relay.
type RouteOf = fn(&Addresses, bool) -> Route;

const TRANSPORTS: [(&str, bool, RouteOf); 3] = [
    ("websocket", false, Addresses::websocket),
    ("websocket tls", true, Addresses::websocket),
    ("quic", false, Addresses::quic),
];

/// Sends for a while on every pair, at most `window` frames ahead of the receiver; gives CPU microseconds per frame
/// and the frames that arrived.
async fn saturate(server: &Server, pairs: &[Pair], size: usize, window: u64, time: Duration) -> (f64, f64) {
    let stop = Arc::new(AtomicBool::new(false));
    let received = || pairs.iter().map(|pair| pair.received.load(Ordering::Relaxed)).sum::<u64>();
    let senders: Vec<_> = pairs.iter().map(|pair| tokio::spawn(pair.send(size, window, stop.clone()))).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (cpu, before) = (server.cpu(), received());
    tokio::time::sleep(time).await;
    let (cpu, frames) = (server.cpu() - cpu, received() - before);
    stop.store(true, Ordering::Relaxed);
    for (pair, sender) in pairs.iter().zip(senders) {
        pair.progress.notify_one();
        sender.await.unwrap();
    }
    assert!(frames > 0, "no frame arrived");
    (cpu.as_secs_f64() * 1e6 / frames as f64, frames as f64)
}

/// Memory and connect cost of clients that only keep their transport alive.
async fn idle(clients: usize) {
    println!("\n{clients} idle clients");
    println!("{:<16} {:>16} {:>20}", "transport", "bytes per client", "CPU µs per connect");
    for (name, tls, route) in TRANSPORTS {
        let server = Server::start(tls);
        let mut tokens = Vec::new();
        // Networks of the size people have: presence and peers are kept per network.
        while tokens.len() < clients {
            let user = server.network().await;
            for _ in 0..100.min(clients - tokens.len()) {
                tokens.push(user.auth_client(&AuthClient::default()).await.unwrap().by_client_jwt);
            }
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (memory, cpu) = (server.resident_bytes(), server.cpu());
        let open: Vec<_> = stream::iter(tokens)
            .map(|token| async { server.dial(token, route).await })
            .buffer_unordered(16)
            .collect()
            .await;
        let cpu = server.cpu() - cpu;
        let kept: Vec<_> = open.into_iter().map(|(reader, writer)| tokio::spawn(keep_alive(reader, writer))).collect();
        tokio::time::sleep(Duration::from_secs(12)).await;
        let memory = server.resident_bytes().saturating_sub(memory);
        assert!(kept.iter().all(|kept| !kept.is_finished()), "an idle transport was closed");
        let per = |total: f64| total / clients as f64;
        println!("{name:<16} {:>16.0} {:>20.0}", per(memory as f64), per(cpu.as_secs_f64() * 1e6));
        for kept in kept {
            kept.abort();
        }
    }
}

/// Reads what the server sends and writes a keepalive every 5 seconds, as the apps do.
async fn keep_alive(mut reader: Reader, mut writer: Writer) {
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            incoming = reader.next() => match incoming {
                Ok(Incoming::Echo(probe)) => writer.write(&mut vec![probe]).await.unwrap(),
                Ok(Incoming::Frame(_)) => {}
                Err(_) => return,
            },
            _ = tick.tick() => if writer.write(&mut vec![Bytes::new()]).await.is_err() { return },
        }
    }
}

/// Contracts created and closed by both parties over `/connect/control`, each answer durable.
async fn contracts(time: Duration) {
    println!("\ncontracts created, voted on twice and settled over the API, per second");
    for callers in [1, 16, 256] {
        let server = Server::start(false);
        let (payer, provider) = (server.network().await, server.network().await);
        let (source, destination) = (Party::new(&payer).await, Party::new(&provider).await);
        destination.provide(ProvideMode::Public).await;
        let until = Instant::now() + time;
        let cpu = server.cpu();
        let lives = stream::iter(0..callers)
            .map(|_| async {
                let mut lives = 0u64;
                while Instant::now() < until {
                    let contract = source.contract(&destination).await;
                    source.close(&contract).await;
                    destination.close(&contract).await;
                    lives += 1;
                }
                lives
            })
            .buffer_unordered(callers)
            .collect::<Vec<_>>()
            .await;
        let lives: u64 = lives.iter().sum();
        let cpu = (server.cpu() - cpu).as_secs_f64() * 1e6 / lives as f64;
        println!("{callers:>4} callers: {:>8.0}/s, {cpu:.0} CPU µs each", lives as f64 / time.as_secs_f64());
    }
}

/// A client with its token.
struct Party {
    id: ClientId,
    api: Api,
    token: String,
}

impl Party {
    async fn new(user: &Api) -> Self {
        let client = user.auth_client(&AuthClient::default()).await.unwrap();
        Self { id: client.client_id, api: user.with_token(&client.by_client_jwt), token: client.by_client_jwt }
    }

    async fn provide(&self, mode: ProvideMode) {
        let key = ProvideKey { mode: mode.into(), provide_secret_key: Bytes::from_static(&[7; 32]) };
        let frame = Request::Provide(Provide { keys: vec![key] }).to_frame();
        self.api.connect_control(vec![frame]).await.unwrap();
    }

    async fn contract(&self, to: &Party) -> StoredContract {
        let wanted = CreateContract {
            destination_id: Some(to.id.into()),
            transfer_byte_count: 1 << 20,
            ..CreateContract::default()
        };
        let answer = self.api.connect_control(vec![Request::CreateContract(wanted).to_frame()]).await.unwrap();
        let result = CreateContractResult::decode(answer.frames[0].message_bytes.clone()).unwrap();
        let contract: Contract = result.contract.unwrap_or_else(|| panic!("no contract: error {:?}", result.error));
        StoredContract::decode(contract.stored_contract_bytes).unwrap()
    }

    async fn close(&self, contract: &StoredContract) {
        let close =
            CloseContract { contract_id: contract.contract_id.clone(), acked_byte_count: 1000, ..Default::default() };
        let answer = self.api.connect_control(vec![Request::CloseContract(close).to_frame()]).await.unwrap();
        assert_eq!(answer.error, None);
    }
}

/// A sender and a receiver with a contract between them.
struct Pair {
    source: ClientId,
    destination: ClientId,
    writer: Arc<tokio::sync::Mutex<Writer>>,
    received: Arc<AtomicU64>,
    progress: Arc<Notify>,
}

impl Pair {
    /// Sends frames of `size` bytes until told to stop, `window` at most on their way, in batches of up to 64.
    fn send(&self, size: usize, window: u64, stop: Arc<AtomicBool>) -> impl Future<Output = ()> + Send + 'static {
        let frame = frame_of(self.source, self.destination, size);
        let (writer, received, progress) = (self.writer.clone(), self.received.clone(), self.progress.clone());
        async move {
            let mut writer = writer.lock().await;
            let mut sent = received.load(Ordering::Relaxed);
            let mut stalled = 0;
            while !stop.load(Ordering::Relaxed) {
                let room = window.saturating_sub(sent.saturating_sub(received.load(Ordering::Relaxed))).min(64);
                if room < window.min(64) {
                    if tokio::time::timeout(Duration::from_millis(500), progress.notified()).await.is_err() {
                        // A frame was dropped: count from what arrived, and give up when nothing does.
                        sent = received.load(Ordering::Relaxed);
                        stalled += 1;
                        assert!(stalled < 20, "frames are lost");
                    }
                    continue;
                }
                writer.write(&mut vec![frame.clone(); room as usize]).await.unwrap();
                sent += room;
            }
            // What is still on its way must not count for the next cell.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// An encoded TransferFrame of exactly `size` bytes; the payload is opaque to a relay.
fn frame_of(source: ClientId, destination: ClientId, size: usize) -> Bytes {
    let path = TransferPath {
        source_id: Some(source.into()),
        destination_id: Some(destination.into()),
        ..TransferPath::default()
    };
    let mut frame = TransferFrame { transfer_path: Some(path), ..TransferFrame::default() };
    let mut filler = size;
    loop {
        frame.encrypted_transfer_frame = Some(vec![0x5a; filler].into());
        match frame.encoded_len().cmp(&size) {
            std::cmp::Ordering::Greater => filler -= frame.encoded_len() - size,
            _ => return frame.encode_to_vec().into(),
        }
    }
}

#[derive(serde::Deserialize)]
struct Addresses {
    http: SocketAddr,
    quic: SocketAddr,
}

impl Addresses {
    fn websocket(&self, tls: bool) -> Route {
        Route::WebSocket(format!("{}://localhost:{}/", if tls { "wss" } else { "ws" }, self.http.port()))
    }

    fn quic(&self, _: bool) -> Route {
        Route::Quic(self.quic.to_string())
    }
}

/// The binary under load, in a temporary folder; killed when dropped.
struct Server {
    child: Child,
    addresses: Addresses,
    tls: bool,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready.json");
        let binary = env!("CARGO_BIN_EXE_warren");
        let pinned = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        let mut command = if pinned { Command::new("taskset") } else { Command::new(binary) };
        if pinned {
            command.args(["-c", "0", binary]);
        }
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        command
            .args(["serve", "--data"])
            .arg(folder.path().join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .stdout(Stdio::null())
            .stderr(log)
            .env("WARREN__HTTP__LISTEN", "127.0.0.1:0")
            .env("WARREN__RELAY__QUIC_LISTEN", "127.0.0.1:0")
            .env("WARREN__TELEMETRY__LISTEN", "127.0.0.1:0")
            .env("WARREN__TLS__MODE", if tls { "self_signed" } else { "off" })
            .env("WARREN__AUTH__VERIFY", "auto")
            .env("WARREN__AUTH__ATTEMPT_LIMITS", "false")
            .env("WARREN__TELEMETRY__LOG_FILTER", "warn");
        let child = command.spawn().unwrap();
        let addresses = wait_for(&ready, folder.path());
        Self { child, addresses, tls, _folder: folder }
    }

    async fn network(&self) -> Api {
        let scheme = if self.tls { "https" } else { "http" };
        let api = Api::new(&format!("{scheme}://localhost:{}", self.addresses.http.port()), &Trust::Any).unwrap();
        let created = api.network_create(&NetworkCreate { terms: true, ..NetworkCreate::default() }).await.unwrap();
        api.with_token(&created.network.by_jwt.unwrap())
    }

    async fn dial(&self, token: String, route: RouteOf) -> (Reader, Writer) {
        let instance = InstanceId::from_bytes(rand::random());
        let dialer = Dialer::new(route(&self.addresses, self.tls), Credentials { token, instance }, &Trust::Any);
        dialer.unwrap().dial().await.unwrap()
    }

    async fn pairs(&self, count: usize, route: RouteOf) -> Vec<Pair> {
        let user = self.network().await;
        let mut pairs = Vec::new();
        for _ in 0..count {
            let (from, to) = (Party::new(&user).await, Party::new(&user).await);
            to.provide(ProvideMode::Network).await;
            from.contract(&to).await;
            let (mut from_reader, from_writer) = self.dial(from.token.clone(), route).await;
            let (mut to_reader, mut to_writer) = self.dial(to.token.clone(), route).await;
            let (received, progress) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
            tokio::spawn(async move { while from_reader.next().await.is_ok() {} });
            let (counter, wake) = (received.clone(), progress.clone());
            tokio::spawn(async move {
                let mut tick = tokio::time::interval(Duration::from_secs(5));
                loop {
                    let incoming = tokio::select! {
                        incoming = to_reader.next() => match incoming {
                            Ok(incoming) => incoming,
                            // The server of these cells was stopped.
                            Err(_) => return,
                        },
                        // The relay closes a transport that says nothing for 30 s.
                        _ = tick.tick() => {
                            if to_writer.write(&mut vec![Bytes::new()]).await.is_err() {
                                return;
                            }
                            continue;
                        }
                    };
                    match incoming {
                        Incoming::Frame(frame) if is_relayed(&frame) => {
                            counter.fetch_add(1, Ordering::Relaxed);
                            wake.notify_one();
                        }
                        Incoming::Frame(_) => {}
                        Incoming::Echo(probe) => to_writer.write(&mut vec![probe]).await.unwrap(),
                    }
                }
            });
            let writer = Arc::new(tokio::sync::Mutex::new(from_writer));
            pairs.push(Pair { source: from.id, destination: to.id, writer, received, progress });
        }
        pairs
    }

    /// CPU time of all threads so far.
    fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanos = tasks.filter_map(|task| {
            let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            stat.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Whether a frame came from the load, not from the control id.
fn is_relayed(frame: &Bytes) -> bool {
    warren::wire::path::peek_path(frame).is_ok_and(|path| !path.source.is_control())
}

fn wait_for(ready: &PathBuf, folder: &Path) -> Addresses {
    for _ in 0..200 {
        if let Ok(text) = std::fs::read_to_string(ready)
            && let Ok(addresses) = serde_json::from_str(&text)
        {
            return addresses;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the server is not ready: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
}
