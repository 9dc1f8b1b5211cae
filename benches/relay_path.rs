//! The frame road: from a message that was read (peek) to the receiver's outbox, with 1, 1000 and 100 000 clients to
//! choose from, on one thread and on several. Receivers are emptied as the write loops would, inside the measurement.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use warren::ids::{ClientId, InstanceId, NetworkId};
use warren::relay::admission::Flows;
use warren::relay::frames::{Frames, Walk};
use warren::relay::outbox::{Bounds, Outbox};
use warren::relay::ports::{ContractGate, Identity, Traffic};
use warren::relay::registry::Registry;
use warren::relay::resident::Resident;
use warren::relay::road::Road;
use warren::telemetry::relay_metrics::RelayMetrics;
use warren::time::Timestamp;
use warren::wire::framer;
use warren::wire::messages::{TransferFrame, TransferPath};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
/// Frames a client writes at once to one destination.
const RUN: usize = 8;
/// Destinations of one client at the same time.
const DESTINATIONS: usize = 64;
const FRAME_BYTES: usize = 1400;

/// Every pair has a contract.
struct OpenGate;

/// The traffic of a pair, counted as the ledger's is.
#[derive(Default)]
struct OpenTraffic {
    bytes: std::sync::atomic::AtomicU64,
}

impl ContractGate for OpenGate {
    fn admit(&self, _: ClientId, _: ClientId, _: Timestamp) -> Option<Arc<dyn Traffic>> {
        Some(Arc::<OpenTraffic>::default())
    }
}

impl Traffic for OpenTraffic {
    fn record(&self, bytes: usize, _: Timestamp) {
        self.bytes.fetch_add(bytes as u64, std::sync::atomic::Ordering::Relaxed);
    }
    fn is_live(&self, _: Timestamp) -> bool {
        true
    }
    fn last_frame(&self) -> Timestamp {
        NOW
    }
}

/// Well-spread ids from a fixed seed.
fn id(number: u64) -> ClientId {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed;
    let mut half = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).to_be_bytes()
    };
    let (high, low) = (half(), half());
    ClientId::new(std::array::from_fn(|at| if at < 8 { high[at] } else { low[at - 8] }))
}

fn frame(source: ClientId, destination: ClientId) -> Bytes {
    let path = TransferPath {
        source_id: Some(source.into()),
        destination_id: Some(destination.into()),
        ..TransferPath::default()
    };
    let sealed = Bytes::from(vec![7; FRAME_BYTES]);
    let frame =
        TransferFrame { transfer_path: Some(path), encrypted_transfer_frame: Some(sealed), ..TransferFrame::default() };
    frame.encode_to_vec().into()
}

/// What one read brings: [`RUN`] frames in one piece.
fn run(source: ClientId, destination: ClientId) -> Frames {
    let frame = frame(source, destination);
    let mut packed = BytesMut::new();
    (0..RUN).for_each(|_| framer::encode(&frame, &mut packed));
    Frames::packed(packed.freeze(), RUN as u32, (RUN * frame.len()) as u32)
}

/// A node with `clients` clients, one transport each.
struct Node {
    registry: Arc<Registry>,
    outboxes: Vec<Arc<Outbox>>,
    residents: Vec<Arc<Resident>>,
}

impl Node {
    fn new(clients: usize) -> Self {
        let registry = Arc::new(Registry::default());
        let (mut outboxes, mut residents) = (Vec::new(), Vec::new());
        for number in 0..=clients as u64 {
            let outbox = Arc::new(Outbox::new(Bounds { frames: 1024, bytes: 4 << 20 }));
            let identity = Identity { client_id: id(number), network_id: NetworkId::default() };
            residents.push(registry.join(identity, InstanceId::default(), &outbox, 16).resident);
            outboxes.push(outbox);
        }
        Self { registry, outboxes, residents }
    }

    /// A sender, with runs of frames to some of the others.
    fn sender(&self, number: usize) -> Sender {
        let source = Arc::clone(&self.residents[number % self.residents.len()]);
        let flows = Flows::new(Arc::clone(&source), Arc::clone(&self.registry), Some(Arc::new(OpenGate)), 8192);
        let others: Vec<usize> = (1..=DESTINATIONS)
            .map(|step| (number + step * 1571) % self.residents.len())
            .filter(|other| self.residents[*other].client_id != source.client_id)
            .collect();
        let runs = others
            .iter()
            .map(|other| (run(source.client_id, self.residents[*other].client_id), Arc::clone(&self.outboxes[*other])))
            .collect();
        Sender { road: Road::new(source, flows), runs, batch: VecDeque::new() }
    }
}

struct Sender {
    road: Road,
    runs: Vec<(Frames, Arc<Outbox>)>,
    batch: VecDeque<Frames>,
}

impl Sender {
    /// Sends a run to each destination and empties their outboxes; the frames sent.
    fn turn(&mut self, metrics: &RelayMetrics) -> u64 {
        for (run, outbox) in &self.runs {
            let mut walk = Walk::new(run.clone());
            while walk.step() {
                let _ = black_box(self.road.take(&mut walk, NOW));
            }
            self.road.gather(&mut walk);
            self.road.finish(NOW, metrics);
            let _ = outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut self.batch);
            self.batch.clear();
        }
        (self.runs.len() * RUN) as u64
    }

    /// The time that at least `frames` frames take, scaled to exactly that many.
    fn time(&mut self, frames: u64, metrics: &RelayMetrics) -> Duration {
        let (mut sent, started) = (0, Instant::now());
        while sent < frames {
            sent += self.turn(metrics);
        }
        started.elapsed().mul_f64(frames as f64 / sent as f64)
    }
}

fn relay_path(criterion: &mut Criterion) {
    let metrics = warren::relay::metrics(&mut prometheus_client::registry::Registry::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(4);
    let mut group = criterion.benchmark_group("relay_path");
    group.throughput(Throughput::Elements(1));
    for clients in [1, 1_000, 100_000] {
        let node = Node::new(clients);
        group.bench_function(BenchmarkId::new("one thread", clients), |bencher| {
            let mut sender = node.sender(0);
            bencher.iter_custom(|frames| sender.time(frames, &metrics));
        });
        if clients == 1 {
            continue;
        }
        // Wall time of as many frames on each thread: equal to one thread's when nothing is contended.
        group.bench_function(BenchmarkId::new(format!("{threads} threads"), clients), |bencher| {
            let mut senders: Vec<Sender> = (0..threads).map(|number| node.sender(number)).collect();
            bencher.iter_custom(|frames| {
                std::thread::scope(|scope| {
                    let running: Vec<_> = senders
                        .iter_mut()
                        .map(|sender| {
                            let metrics = &metrics;
                            scope.spawn(move || sender.time(frames, metrics))
                        })
                        .collect();
                    running.into_iter().filter_map(|thread| thread.join().ok()).max().unwrap_or_default()
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, relay_path);
criterion_main!(benches);
