//! Loads the real binary from outside and reports what it costs the server: CPU per relayed frame and memory per idle
//! client.
//!
//! `cargo bench --bench relay_load -- [frames] [idle] [--quick]`; without a name, both. CPU is the
//! server's own (`/proc/PID/task/*/schedstat`) divided by the frames that arrived, so neighbours on the machine and the
//! generator's cost do not count. Linux only. With two cores or more the server is pinned to the first one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench stops at a surprise"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use prost::Message;
use tokio::sync::Notify;
mod support;

use support::{Party, Server};
use warren::client::api::AuthClient;
use warren::client::dial::{Credentials, Dialer, Route};
use warren::client::tls::Trust;
use warren::client::transport::{Incoming, Reader, Writer};
use warren::ids::{ClientId, Id, InstanceId};
use warren::wire::control_message::Request;
use warren::wire::messages::{
    Contract, CreateContract, CreateContractResult, ProvideMode, StoredContract, TransferFrame, TransferPath,
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
        let server = Server::start(tls, true);
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
type RouteOf = fn(&Server) -> Route;

const TRANSPORTS: [(&str, bool, RouteOf); 3] =
    [("websocket", false, websocket), ("websocket tls", true, websocket), ("quic", false, quic)];

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
        let server = Server::start(tls, true);
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

fn websocket(server: &Server) -> Route {
    let scheme = if server.tls { "wss" } else { "ws" };
    Route::WebSocket(format!("{scheme}://localhost:{}/", server.address("http").port()))
}

fn quic(server: &Server) -> Route {
    Route::Quic(server.address("quic").to_string())
}

impl Party {
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
}

impl Server {
    fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    async fn dial(&self, token: String, route: RouteOf) -> (Reader, Writer) {
        let instance = InstanceId::from_bytes(rand::random());
        let dialer = Dialer::new(route(self), Credentials::of_token(token, instance), &Trust::Any);
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
}

/// Whether a frame came from the load, not from the control id.
fn is_relayed(frame: &Bytes) -> bool {
    warren::wire::path::peek_path(frame).is_ok_and(|path| !path.source.is_control())
}
