//! The control conversation of many clients: what a message costs that the server pushes to one of them, what a pack
//! costs that one sends to the control id, beside a relayed frame of the same size and beside encoding and decoding
//! alone; how many frames there are for it; what is left in memory; and how bursts of CloseContract share commits.
//!
//! `cargo bench --bench control_road -- [messages] [sockets] [memory] [closes]`; without a name, all four. Of `messages`
//! and `sockets`, the same over TCP, names of columns and numbers of clients take a part: `messages push pack 10000`. The
//! real relay on one thread of its own, with read and write loops, WebSocket and control links; its clients are in the
//! same process and write to memory instead of sockets, and their thread is not counted. Linux only.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a bench stops at a surprise")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use tokio::runtime::{Handle, Runtime};
use warren::config::Config;
use warren::control::{Control, ControlCaller};
use warren::domain::contract::Ledger;
use warren::ids::ClientId;
use warren::relay::Relay;
use warren::relay::ports::{HandleControl, PortFuture};
use warren::wire::control_message::{Push, Request};
use warren::wire::messages::{
    CloseContract, CreateContract, Frame, NetworkPeer, NetworkPeersUpdate, StoredContract, TransferFrame,
};

mod support {
    pub mod ledger;
    pub mod pipe;
}

use support::ledger;
use support::pipe::{self, Client, Over, server_cpu};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Clients that something happens to at the same time.
const WAVE: usize = 1000;
const WAVES: usize = 40;
/// Messages of one client in the cells with several.
const BURST: usize = 16;
/// Time in which a client may send another pack: of more, all but a few are paced.
const PAUSE: Duration = Duration::from_millis(6);
/// What a patient client waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes everything and does nothing.
struct Nothing;

impl HandleControl for Nothing {
    fn handle<'a>(&'a self, _: ControlCaller, _: &'a [Frame]) -> PortFuture<'a, bool> {
        Box::pin(std::future::ready(true))
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.relay.transports_per_address = usize::MAX;
    config.relay.max_unauthenticated = usize::MAX >> 8;
    // Silence belongs to other cells.
    config.relay.keepalive = Duration::from_secs(300);
    config.relay.read_timeout = Duration::from_secs(900);
    config
}

fn id(number: u64) -> ClientId {
    ledger::client(1, number as u32)
}

/// What every client is told: a peer has come.
fn push() -> Push {
    let peer = NetworkPeer {
        client_id: Bytes::from_static(&[9; 16]),
        provide_modes: vec![1, 2],
        device_name: "a device".into(),
        device_spec: "linux amd64".into(),
        ..NetworkPeer::default()
    };
    Push::NetworkPeersUpdate(NetworkPeersUpdate { peers: vec![peer] })
}

/// A relay and its clients.
struct Node {
    runtime: Handle,
    relay: Arc<Relay>,
    clients: Vec<Client>,
    next: usize,
}

/// What a cell shows.
#[derive(Clone, Copy)]
struct Cost {
    micros: f64,
    /// Frames that the server sent for each message.
    frames: f64,
}

impl Node {
    fn new(runtime: &Handle, config: Config, control: Arc<dyn HandleControl>, ids: &[ClientId], over: Over) -> Self {
        let _context = runtime.enter();
        let (relay, presence) = pipe::relay(config, control);
        let clients: Vec<Client> = ids.iter().map(|id| Client::connect(runtime, &relay, *id, over)).collect();
        wait(|| presence.client_count() == clients.len());
        Self { runtime: runtime.clone(), relay, clients, next: 0 }
    }

    /// Clients of the next wave, some distance apart.
    fn wave(&mut self) -> Vec<usize> {
        let count = self.clients.len();
        let step = (count / WAVE).max(1);
        self.next += 1;
        (0..count.min(WAVE)).map(|at| (at * step + self.next) % count).collect()
    }

    /// `messages` to each client of a wave, which acks the last; per message, its share of the ack included.
    fn pushes(&mut self, messages: usize) -> Cost {
        let waves: Vec<Vec<usize>> = (0..WAVES).map(|_| self.wave()).collect();
        let (mut sent, mut frames, before) = (0, 0, server_cpu());
        for wave in &waves {
            let (relay, pushes) = (Arc::clone(&self.relay), vec![push()]);
            let ids: Vec<ClientId> = wave.iter().map(|at| self.clients[*at].id).collect();
            sent += ids.len() * messages;
            self.runtime.spawn(async move {
                for id in ids {
                    for _ in 0..messages {
                        assert!(relay.push(id, pushes.clone()), "the client is here");
                    }
                }
            });
            for at in wave {
                let client = &mut self.clients[*at];
                let mut packs = Vec::new();
                wait(|| {
                    packs.extend(client.receive().packs);
                    packs.len() >= messages
                });
                frames += packs.len();
                client.write(&[client.ack(packs.last().unwrap())]);
            }
        }
        settle();
        Cost { micros: micros(before, sent), frames: frames as f64 / sent as f64 }
    }

    /// `messages` packs of each client of a wave at once, and their acks.
    fn packs(&mut self, messages: usize) -> Cost {
        let waves: Vec<Vec<usize>> = (0..WAVES).map(|_| self.wave()).collect();
        let (mut sent, mut frames, before) = (0, 0, server_cpu());
        for wave in &waves {
            for at in wave {
                let client = &mut self.clients[*at];
                let packs: Vec<Vec<u8>> = (0..messages).map(|_| client.pack(Request::ProvidePing.to_frame())).collect();
                client.write(&packs);
                sent += messages;
            }
            for at in wave {
                let client = &mut self.clients[*at];
                let acked = client.acked + messages as u64;
                let mut acks = 0;
                let is_acked = arrives(|| {
                    acks += client.receive().acks;
                    client.acked == acked
                });
                assert!(is_acked, "client {at}: {} of {acked} packs are acked, by {acks} acks", client.acked);
                frames += acks;
            }
            if messages > 1 || wave.len() == self.clients.len() {
                std::thread::sleep(PAUSE * messages as u32);
            }
        }
        Cost { micros: micros(before, sent), frames: frames as f64 / sent as f64 }
    }

    /// `messages` frames of each client of a wave to the next client.
    fn relayed(&mut self, messages: usize, bytes: usize) -> Cost {
        let waves: Vec<Vec<usize>> = (0..WAVES).map(|_| self.wave()).collect();
        let (mut sent, mut before) = (0, server_cpu());
        for round in 0..2 {
            // The first round opens the flows.
            (sent, before) = if round == 0 { (0, before) } else { (0, server_cpu()) };
            for wave in &waves {
                let count = self.clients.len();
                let next = |at: usize| (at + 1) % count;
                for at in wave {
                    let to = self.clients[next(*at)].id;
                    let client = &mut self.clients[*at];
                    client.write(&vec![client.relayed(to, bytes); messages]);
                    sent += messages;
                }
                for at in wave.iter().map(|at| next(*at)).collect::<Vec<_>>() {
                    let mut arrived = 0;
                    wait(|| {
                        arrived += self.clients[at].receive().relayed;
                        arrived == messages
                    });
                }
            }
        }
        settle();
        Cost { micros: micros(before, sent), frames: 1.0 }
    }
}

fn wait(is_done: impl FnMut() -> bool) {
    assert!(arrives(is_done), "something does not arrive");
}

fn arrives(mut is_done: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !is_done() {
        if started.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    true
}

/// Lets the server finish what nobody sees.
fn settle() {
    std::thread::sleep(Duration::from_millis(50));
}

fn micros(before: Duration, count: usize) -> f64 {
    (server_cpu() - before).as_secs_f64() * 1e6 / count as f64
}

/// Encoding and decoding the two frames that a message and its ack are, and nothing else.
fn codec(client: &mut Client, pack: &[u8], message: &dyn Fn() -> Frame) -> f64 {
    const ROUNDS: usize = 200_000;
    let pack = TransferFrame::decode(pack).unwrap();
    let ack: Bytes = client.ack(pack.pack.as_ref().unwrap()).into();
    let started = Instant::now();
    for _ in 0..ROUNDS {
        let mut frame = pack.clone();
        frame.pack.as_mut().unwrap().frames = vec![message()];
        std::hint::black_box(frame.encode_to_vec());
        std::hint::black_box(TransferFrame::decode(std::hint::black_box(ack.clone())).unwrap());
    }
    started.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64
}

/// The columns of `messages`.
const COLUMNS: [&str; 6] = ["push", "push-x16", "pack", "pack-x16", "relayed", "relayed-x16"];
/// Its rows.
const COUNTS: [u64; 3] = [100, 10_000, 100_000];
/// The rows of `sockets`: with these a process may have 1,024 files open.
const SOCKET_COUNTS: [u64; 2] = [100, 400];

/// CPU and frames of pushes and packs, one at a time and several at once.
fn messages(runtime: &Handle, chosen: &Chosen) {
    measure(runtime, chosen, &COUNTS, Over::Memory);
}

/// The same with what the kernel takes, without TLS.
fn sockets(runtime: &Handle, chosen: &Chosen) {
    measure(runtime, chosen, &SOCKET_COUNTS, Over::Sockets);
}

fn measure(runtime: &Handle, chosen: &Chosen, counts: &[u64], over: Over) {
    let mut probe = Node::new(runtime, config(), Arc::new(Nothing), &[id(0)], Over::Memory);
    let pack = probe.clients[0].pack(push().to_frame());
    let bytes = pack.len();
    println!("a pack of {} bytes: encoding it and decoding its ack {:.2} us", pack.len(), {
        codec(&mut probe.clients[0], &pack, &|| push().to_frame())
    });
    println!("CPU us per message with its ack (frames that the server sends per message)");
    println!("{:>8} {}", "clients", COLUMNS.map(|column| format!("{column:>14}")).join(" "));
    let rows: Vec<String> = counts.iter().map(u64::to_string).collect();
    for count in counts.iter().copied().filter(|count| chosen.takes(&count.to_string(), &rows)) {
        let ids: Vec<ClientId> = (0..count).map(id).collect();
        let mut node = Node::new(runtime, config(), Arc::new(Nothing), &ids, over);
        let shown = COLUMNS.map(|column| {
            if !chosen.takes(column, &COLUMNS) {
                return format!("{:>14}", "-");
            }
            let mut cell = || match column {
                "push" => node.pushes(1),
                "push-x16" => node.pushes(BURST),
                "pack" => node.packs(1),
                "pack-x16" => node.packs(BURST),
                "relayed" => node.relayed(1, bytes),
                _ => node.relayed(BURST, bytes),
            };
            // The first run warms up.
            let mut costs: Vec<Cost> = (0..4).map(|_| cell()).skip(1).collect();
            costs.sort_by(|a, b| a.micros.total_cmp(&b.micros));
            let Cost { micros, frames } = costs[costs.len() / 2];
            format!("{:>14}", format!("{micros:.2} ({frames:.3})"))
        });
        println!("{count:>8} {}", shown.join(" "));
        runtime.block_on(node.relay.drain());
    }
}

/// What 100,000 clients leave that were told something and have sent something.
fn memory(runtime: &Handle, _: &Chosen) {
    const COUNT: u64 = 100_000;
    let mut config = config();
    config.relay.keepalive = Duration::from_secs(5);
    let ids: Vec<ClientId> = (0..COUNT).map(id).collect();
    let mut node = Node::new(runtime, config, Arc::new(Nothing), &ids, Over::Memory);
    let mut talk = |burst: usize| {
        for wave in 0..COUNT as usize / WAVE {
            let (relay, pushes) = (Arc::clone(&node.relay), vec![push()]);
            let ids: Vec<ClientId> = (0..WAVE).map(|at| node.clients[wave * WAVE + at].id).collect();
            node.runtime.spawn(async move {
                for id in ids {
                    (0..burst).for_each(|_| assert!(relay.push(id, pushes.clone())));
                }
            });
            for client in &mut node.clients[wave * WAVE..(wave + 1) * WAVE] {
                let mut packs = Vec::new();
                wait(|| {
                    packs.extend(client.receive().packs);
                    packs.len() >= burst
                });
                let mut messages = vec![client.ack(packs.last().unwrap())];
                messages.extend((0..burst).map(|_| client.pack(Request::ProvidePing.to_frame())));
                client.write(&messages);
            }
        }
        // The keepalive comes after 5 s of silence, and gives back what is left.
        std::thread::sleep(Duration::from_secs(12));
        node.clients.iter_mut().for_each(|client| drop(client.receive()));
        resident_bytes()
    };
    // Every client is told and says something soon after it has come.
    let before = talk(1);
    let after = talk(BURST);
    println!(
        "{COUNT} clients, {BURST} pushes and packs each: {:.0} bytes a client more than before",
        (after - before) / COUNT as f64
    );
    runtime.block_on(node.relay.drain());
}

/// Resident memory of this process.
fn resident_bytes() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

/// Contracts of the burst, each with a source of its own.
const CONTRACTS: u32 = 10_000;
/// Destinations that share them.
const DESTINATIONS: u32 = 100;
/// Contracts that a client alone closes.
const ALONE: u32 = 2_000;
/// Packs that a client leaves unacked.
const WINDOW: u64 = 32;

async fn create(ledger: &Ledger, source: ClientId, destination: ClientId) -> Bytes {
    let request = CreateContract {
        destination_id: Some(destination.into()),
        transfer_byte_count: 1 << 20,
        ..CreateContract::default()
    };
    let contract = ledger.create(source, &request).await.unwrap();
    StoredContract::decode(contract.stored_contract_bytes).unwrap().contract_id
}

/// Makes contracts between these pairs, all at once.
async fn create_all(ledger: &Arc<Ledger>, pairs: Vec<(ClientId, ClientId)>) -> Vec<Bytes> {
    let tasks: Vec<_> = pairs
        .into_iter()
        .map(|(source, destination)| {
            let ledger = Arc::clone(ledger);
            tokio::spawn(async move { create(&ledger, source, destination).await })
        })
        .collect();
    let mut contracts = Vec::new();
    for task in tasks {
        contracts.push(task.await.unwrap());
    }
    contracts
}

/// Closes of 10,000 clients with a contract each, of 100 with 100 each, of one with 2,000.
fn closes(runtime: &Handle, _: &Chosen) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // The number of the last batch that was synced stands there.
    let synced = || {
        let bytes = std::fs::read(data.join("watermark")).unwrap();
        u64::from_be_bytes(bytes.try_into().unwrap())
    };
    let (service, ledger) = runtime.block_on(ledger::open(&data, [CONTRACTS, DESTINATIONS + 1]));
    let (source, destination) = (|at| ledger::client(1, at), |at| ledger::client(2, at));
    let pairs = (0..CONTRACTS).map(|at| (source(at), destination(at % DESTINATIONS))).collect();
    let shared = runtime.block_on(create_all(&ledger, pairs));
    let pairs = (0..ALONE).map(|at| (source(at), destination(DESTINATIONS))).collect();
    let alone = runtime.block_on(create_all(&ledger, pairs));

    let ids: Vec<ClientId> = (0..CONTRACTS).map(source).chain((0..=DESTINATIONS).map(destination)).collect();
    let control = Arc::new(Control::new(service, Arc::clone(&ledger)));
    let mut node = Node::new(runtime, config(), control, &ids, Over::Memory);
    let (sources, rest) = node.clients.split_at_mut(CONTRACTS as usize);
    let (destinations, last) = rest.split_at_mut(DESTINATIONS as usize);
    println!(
        "{:>8} {:>8} {:>10} {:>8} {:>14} {:>16}",
        "clients", "closes", "ms", "batches", "acks per close", "CPU us per close"
    );
    let each = |clients: &mut [Client], contracts: &[Bytes]| {
        let mut queues = vec![VecDeque::new(); clients.len()];
        contracts.iter().enumerate().for_each(|(at, contract)| queues[at % clients.len()].push_back(contract.clone()));
        let (batches, cpu, started) = (synced(), server_cpu(), Instant::now());
        let acks = close_all(clients, queues);
        let (count, elapsed) = (contracts.len(), started.elapsed().as_secs_f64() * 1e3);
        println!(
            "{:>8} {count:>8} {elapsed:>10.0} {:>8} {:>14.3} {:>16.1}",
            clients.len(),
            synced() - batches,
            acks as f64 / count as f64,
            micros(cpu, count)
        );
    };
    each(sources, &shared);
    each(destinations, &shared);
    each(last, &alone);
    runtime.block_on(async {
        node.relay.drain().await;
        ledger.shutdown().await;
    });
}

/// Each client closes its contracts, a pack for each, a window of them at a time; says how many acks there were.
fn close_all(clients: &mut [Client], mut queues: Vec<VecDeque<Bytes>>) -> usize {
    let (mut acks, goals): (usize, Vec<u64>) =
        (0, clients.iter().zip(&queues).map(|(client, queue)| client.acked + queue.len() as u64).collect());
    let mut sent: Vec<u64> = clients.iter().map(|client| client.acked).collect();
    wait(|| {
        let mut is_done = true;
        for (at, client) in clients.iter_mut().enumerate() {
            acks += client.receive().acks;
            let mut packs = Vec::new();
            while sent[at] < client.acked + WINDOW
                && let Some(contract_id) = queues[at].pop_front()
            {
                let close = CloseContract { contract_id, acked_byte_count: 1000, ..CloseContract::default() };
                packs.push(client.pack(Request::CloseContract(close).to_frame()));
                sent[at] += 1;
            }
            if !packs.is_empty() {
                client.write(&packs);
            }
            is_done &= client.acked == goals[at];
        }
        is_done
    });
    acks
}

/// What the command line names.
struct Chosen(Vec<String>);

impl Chosen {
    /// Whether `one` of `all` is wanted: it is named, or none of them is.
    fn takes(&self, one: &str, all: &[impl AsRef<str>]) -> bool {
        let is_named = |name: &str| self.0.iter().any(|named| named == name);
        is_named(one) || !all.iter().any(|name| is_named(name.as_ref()))
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        // `cargo test` also builds and starts benches; this one is only for `cargo bench`.
        return;
    }
    let chosen = Chosen(arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect());
    let runtime: Runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let cells =
        [("messages", messages as fn(&Handle, &Chosen)), ("sockets", sockets), ("memory", memory), ("closes", closes)];
    for (name, cell) in cells {
        if chosen.takes(name, &cells.map(|(name, _)| name)) {
            cell(runtime.handle(), &chosen);
        }
    }
}
