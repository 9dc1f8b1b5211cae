//! How long a lone pair's frames take, alone and then beside others: floods, a reader that stopped, a storm of connects,
//! and the storm after a restart of the relay.

use std::future::pending;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use peers::Args;
use peers::machine::{Mark, now_ns};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::cells::{connect_all, pump};
use crate::connect::{Connection, Generator};
use crate::idle::answer;
use crate::telemetry::wait_for_clients;

/// Message sizes of the pair and of a flood, by which the receiver tells them apart.
const LONE_BYTES: usize = 400;
const FLOOD_BYTES: usize = 1400;
/// Frames per write of a flood.
const FLOOD_BATCH: usize = 16;
/// Frames a second of the lone pair.
const RATE: u64 = 500;
/// Who is connected before a storm: the pair, and two that have a part beside it otherwise.
const BEFORE: u64 = 4;
/// Until everybody who stands before a restart has been greeted.
const GREETING: Duration = Duration::from_secs(2);
/// Until a client that was refused comes again, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A frame that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pair's frames, which are numbered.
#[derive(Default)]
struct Watched {
    sent: AtomicU64,
    /// Number and nanoseconds of each that arrived.
    arrived: std::sync::Mutex<Vec<(u64, u64)>>,
    /// Nanoseconds by which each was sent later than it was due: what this process is late by itself.
    late: std::sync::Mutex<Vec<u64>>,
    is_stopped: AtomicBool,
    /// The sender's connection ended.
    is_over: AtomicBool,
}

impl Watched {
    /// How long frames of these numbers took, in order.
    fn latencies(&self, from: u64, to: u64) -> Vec<u64> {
        let arrived = self.arrived.lock().unwrap();
        let mut latencies: Vec<u64> =
            arrived.iter().filter(|(number, _)| (from..to).contains(number)).map(|(_, ns)| *ns).collect();
        latencies.sort_unstable();
        latencies
    }

    /// Sends nothing more and waits for what is on its way.
    async fn stop(&self, from: u64) {
        self.is_stopped.store(true, Relaxed);
        let began = Instant::now();
        while (self.latencies(from, u64::MAX).len() as u64) < self.sent.load(Relaxed) - from
            && began.elapsed() < PATIENCE
        {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The measurement: the pair is 0 and 1, whoever is beside it 2 and 3, the storm all from 4 on.
pub async fn beside(generator: Arc<Generator>, args: &Args) {
    let (kind, mut process) = (args.get("--beside").expect("--beside").to_owned(), args.number("--pid", 0));
    let (time, clients) = (Duration::from_millis(args.number("--ms", 3000)), args.number("--clients", 2000));
    if kind == "restart" {
        process = restarted(&generator, BEFORE + clients).await;
    }
    let connected = connect_all(&generator, 0, BEFORE, |connection| connection).await;
    let mut connected = connected.into_iter().map(|client| client.expect("a client"));
    let [sender, receiver, noisy, deaf] = [(); 4].map(|()| connected.next().unwrap());
    let watched = Arc::new(Watched::default());
    tokio::spawn(send_steadily(generator.clone(), sender, watched.clone()));
    tokio::spawn(receive(generator.clone(), receiver, watched.clone()));
    sleep(Duration::from_millis(500)).await;
    let (first, lonely) = (watched.sent.load(Relaxed), Mark::new(process, 0));
    sleep(time).await;
    let (middle, before) = (watched.sent.load(Relaxed), Mark::new(process, 0));
    let (mut retries, began) = (0, Instant::now());
    // Kept, so that nobody leaves before the end.
    let mut kept = Vec::new();
    match kind.as_str() {
        "storm" | "restart" => {
            retries = storm(generator.clone(), clients).await;
            if let Some(address) = args.get("--telemetry") {
                let counted = wait_for_clients(address.parse().unwrap(), BEFORE + clients).await.expect("metrics");
                assert!(counted >= BEFORE + clients, "the relay counts {counted} clients");
            }
        }
        "flood" => {
            tokio::spawn(receive(generator.clone(), deaf, Arc::default()));
            tokio::spawn(flood(generator.clone(), noisy, 3));
        }
        "same" => drop(tokio::spawn(flood(generator.clone(), noisy, 1))),
        "deaf" => {
            kept.push(deaf);
            tokio::spawn(flood(generator.clone(), noisy, 3));
        }
        other => panic!("beside {other:?}"),
    }
    let all_in = began.elapsed();
    let is_storm = matches!(kind.as_str(), "storm" | "restart");
    if !is_storm {
        sleep(time).await;
    }
    let (last, after) = (watched.sent.load(Relaxed), Mark::new(process, 0));
    let underway = last - first - watched.latencies(first, last).len() as u64;
    let mut late = watched.late.lock().unwrap()[middle as usize..last as usize].to_vec();
    late.sort_unstable();
    watched.stop(first).await;
    let (alone, with) = (watched.latencies(first, middle), watched.latencies(middle, last));
    let arrived = watched.latencies(first, u64::MAX).len() as u64;
    // What the pair costs alone is not the newcomers'.
    let pair = (before.relay - lonely.relay) * (after.ns - before.ns) as f64 / (before.ns - lonely.ns) as f64;
    let newcomers = if is_storm { clients } else { 0 };
    println!(
        "{{\"cell\":\"fairness\",\"beside\":\"{kind}\",\"clients\":{newcomers},\"alone_p50\":{:.1},\"alone_p99\":{:.1},\
         \"p50\":{:.1},\"p99\":{:.1},\"ratio\":{:.3},\"lost\":{},\"retries\":{retries},\"seconds\":{:.2},\
         \"underway\":{underway},\"late_p99\":{:.1},\"connect_us\":{:.1},\"ended\":{},{}}}",
        quantile(&alone, 0.5),
        quantile(&alone, 0.99),
        quantile(&with, 0.5),
        quantile(&with, 0.99),
        quantile(&with, 0.99) / quantile(&alone, 0.99),
        watched.sent.load(Relaxed) - first - arrived,
        all_in.as_secs_f64(),
        quantile(&late, 0.99),
        (after.relay - before.relay - pair) / newcomers.max(1) as f64,
        watched.is_over.load(Relaxed),
        after.since(&before)
    );
    drop(kept);
}

fn quantile(sorted: &[u64], part: f64) -> f64 {
    assert!(!sorted.is_empty(), "no frame of the pair arrived");
    sorted[((sorted.len() - 1) as f64 * part) as usize] as f64 / 1e3
}

/// Connects everybody, has the relay started again by whoever started this, and lets go of the old connections; gives
/// the new process.
async fn restarted(generator: &Arc<Generator>, clients: u64) -> u64 {
    let proto = generator.proto;
    let mut standing = JoinSet::new();
    for connection in connect_all(generator, 0, clients, |connection| connection).await {
        standing.spawn(answer(proto, connection.expect("a client")));
    }
    sleep(GREETING).await;
    assert!(standing.try_join_next().is_none(), "a client was lost before the restart");
    println!("standing");
    io::stdout().flush().unwrap();
    let told = tokio::task::spawn_blocking(|| io::stdin().lock().lines().next());
    let process = told.await.unwrap().expect("a process").unwrap();
    standing.shutdown().await;
    process.trim().parse().expect("a process")
}

async fn send_steadily(generator: Arc<Generator>, mut sender: Connection, watched: Arc<Watched>) {
    let proto = generator.proto;
    let mut payload = vec![0; proto.payload(LONE_BYTES)];
    let mut ticks = interval(Duration::from_nanos(1_000_000_000 / RATE));
    loop {
        let due = ticks.tick().await;
        watched.late.lock().unwrap().push(due.elapsed().as_nanos() as u64);
        if watched.is_stopped.load(Relaxed) {
            return pending().await;
        }
        let number = watched.sent.fetch_add(1, Relaxed);
        payload[..8].copy_from_slice(&now_ns().to_le_bytes());
        payload[8..16].copy_from_slice(&number.to_le_bytes());
        let mut frame = Vec::new();
        proto.encode(&generator.id(0), &generator.id(1), &payload, &mut frame);
        if sender.write(&frame).await.is_err() {
            return watched.is_over.store(true, Relaxed);
        }
    }
}

/// Reads everything, and notes how long the pair's frames took.
async fn receive(generator: Arc<Generator>, mut receiver: Connection, watched: Arc<Watched>) -> io::Result<()> {
    let length = generator.proto.payload(LONE_BYTES);
    let each = |payload: &[u8]| {
        if payload.len() == length {
            let [sent, number] = [0, 8].map(|at| u64::from_le_bytes(*payload[at..].first_chunk().unwrap()));
            watched.arrived.lock().unwrap().push((number, now_ns() - sent));
        }
    };
    pump(generator.proto, &mut receiver, &AtomicBool::new(false), each, || {}).await
}

async fn flood(generator: Arc<Generator>, mut sender: Connection, to: u64) {
    let proto = generator.proto;
    let mut frame = Vec::new();
    proto.encode(&generator.id(2), &generator.id(to), &vec![0; proto.payload(FLOOD_BYTES)], &mut frame);
    let frames = frame.repeat(FLOOD_BATCH);
    while sender.write(&frames).await.is_ok() {
        // The pair of the same thread has its turn.
        tokio::task::yield_now().await;
    }
}

/// Connects everybody at once, again until they are in; gives how often somebody was refused. On a thread of its own that
/// makes way for the pair's, so that the pair waits for the relay and not for our own handshakes.
async fn storm(generator: Arc<Generator>, clients: u64) -> u64 {
    let (done, all_in) = oneshot::channel();
    thread::spawn(move || {
        // SAFETY: plain numbers; zero is the calling thread.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let refused = connect_patiently(&generator, clients).await;
            let _ = done.send(refused);
            pending::<()>().await;
        });
    });
    all_in.await.expect("the storm's thread")
}

/// Gives how often somebody was refused once all are in, and lets them stay.
async fn connect_patiently(generator: &Arc<Generator>, clients: u64) -> u64 {
    let mut coming = JoinSet::new();
    for client in BEFORE..BEFORE + clients {
        let generator = generator.clone();
        coming.spawn(async move {
            let (mut refused, mut pause) = (0, FIRST_PAUSE);
            loop {
                if let Ok(connection) = generator.connect(client).await {
                    tokio::spawn(answer(generator.proto, connection));
                    return refused;
                }
                refused += 1;
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        });
    }
    coming.join_all().await.into_iter().sum()
}
