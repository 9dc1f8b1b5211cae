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
use tokio::time::sleep;

use crate::cells::{Ticks, connect_all, pump};
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
/// Frames of a quarter of a second. On a shared machine others take about one percent of the relay's core, a few
/// milliseconds now and then: a percentile of quarters is the relay's in most of them, one of the whole time is theirs.
const QUARTER: u64 = RATE / 4;
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

    /// A quantile of each quarter of a second, and of these the median.
    fn typical(&self, from: u64, to: u64, part: f64) -> f64 {
        let quarters = (from..to).step_by(QUARTER as usize).map(|at| self.latencies(at, to.min(at + QUARTER)));
        let mut each: Vec<_> = quarters.filter(|some| !some.is_empty()).map(|some| quantile(&some, part)).collect();
        each.sort_unstable_by(f64::total_cmp);
        each[each.len() / 2]
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
    let connected = connect_all(&generator, 0, 2, |connection| connection).await;
    let mut connected = connected.into_iter().map(|client| client.expect("a client"));
    let [sender, receiver] = [(); 2].map(|()| connected.next().unwrap());
    let others = others(generator.clone(), kind.clone(), clients).await;
    let watched = Arc::new(Watched::default());
    tokio::spawn(send_steadily(generator.clone(), sender, watched.clone()));
    tokio::spawn(receive(generator.clone(), receiver, watched.clone()));
    sleep(Duration::from_millis(500)).await;
    let (first, lonely) = (watched.sent.load(Relaxed), Mark::new(process, 0));
    sleep(time).await;
    let (middle, before) = (watched.sent.load(Relaxed), Mark::new(process, 0));
    let (mut retries, began) = (0, Instant::now());
    others.begin.send(()).expect("the others are there");
    let is_storm = matches!(kind.as_str(), "storm" | "restart");
    if is_storm {
        retries = others.done.await.expect("the others end");
        if let Some(address) = args.get("--telemetry") {
            let counted = wait_for_clients(address.parse().unwrap(), BEFORE + clients).await.expect("metrics");
            assert!(counted >= BEFORE + clients, "the relay counts {counted} clients");
        }
    }
    let all_in = began.elapsed();
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
    let quarters = [watched.typical(first, middle, 0.99), watched.typical(middle, last, 0.99)];
    println!(
        "{{\"cell\":\"fairness\",\"beside\":\"{kind}\",\"clients\":{newcomers},\"alone_p50\":{:.1},\
         \"alone_p99\":{:.1},\"p50\":{:.1},\"p99\":{:.1},\"ratio\":{:.3},\"alone_quarter_p99\":{:.1},\
         \"quarter_p99\":{:.1},\"quarter_ratio\":{:.3},\"lost\":{},\"retries\":{retries},\"seconds\":{:.2},\
         \"underway\":{underway},\"late_p99\":{:.1},\"connect_us\":{:.1},\"ended\":{},{}}}",
        quantile(&alone, 0.5),
        quantile(&alone, 0.99),
        quantile(&with, 0.5),
        quantile(&with, 0.99),
        quantile(&with, 0.99) / quantile(&alone, 0.99),
        quarters[0],
        quarters[1],
        quarters[1] / quarters[0],
        watched.sent.load(Relaxed) - first - arrived,
        all_in.as_secs_f64(),
        quantile(&late, 0.99),
        (after.relay - before.relay - pair) / newcomers.max(1) as f64,
        watched.is_over.load(Relaxed),
        after.since(&before)
    );
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
    let (began, every) = (now_ns(), 1_000_000_000 / RATE);
    let (mut ticks, mut due) = (Ticks::every(RATE), 0);
    loop {
        for _ in 0..ticks.due().await {
            due += every;
            watched.late.lock().unwrap().push((now_ns() - began).saturating_sub(due));
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

/// Whoever is beside the pair.
struct Others {
    /// Has them do their part.
    begin: oneshot::Sender<()>,
    /// How often somebody was refused until all of a storm were in; a flood does not end.
    done: oneshot::Receiver<u64>,
}

/// Connects 2 and 3, on a thread that makes way for the pair's and with sockets of their own: so the pair waits for the
/// relay, and neither for our own floods and handshakes nor behind their packets.
async fn others(generator: Arc<Generator>, kind: String, clients: u64) -> Others {
    let (stand, standing) = oneshot::channel();
    let (begin, begun) = oneshot::channel();
    let (end, done) = oneshot::channel();
    thread::spawn(move || {
        // Only then does a thread that wakes go first at once; a low priority alone lets it wait for a millisecond.
        let none = libc::sched_param { sched_priority: 0 };
        // SAFETY: zero is the calling thread, and the parameter outlives the call.
        assert_eq!(unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &none) }, 0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let generator = Arc::new(generator.apart(clients));
            let connected = connect_all(&generator, 2, BEFORE, |connection| connection).await;
            let mut connected = connected.into_iter().map(|client| client.expect("a client"));
            let [noisy, other] = [(); 2].map(|()| connected.next().unwrap());
            let _ = stand.send(());
            begun.await.expect("a beginning");
            match kind.as_str() {
                "storm" | "restart" => drop(end.send(connect_patiently(&generator, clients).await)),
                "flood" => {
                    tokio::spawn(receive(generator.clone(), other, Arc::default()));
                    flood(generator, noisy, 3).await;
                }
                "same" => flood(generator, noisy, 1).await,
                "deaf" => flood(generator, noisy, 3).await,
                name => panic!("beside {name:?}"),
            }
            pending::<()>().await;
        });
    });
    standing.await.expect("the others are connected");
    Others { begin, done }
}

async fn flood(generator: Arc<Generator>, mut sender: Connection, to: u64) {
    let proto = generator.proto;
    let mut frame = Vec::new();
    proto.encode(&generator.id(2), &generator.id(to), &vec![0; proto.payload(FLOOD_BYTES)], &mut frame);
    let frames = frame.repeat(FLOOD_BATCH);
    while sender.write(&frames).await.is_ok() {
        // Whoever reads on the same thread has its turn.
        tokio::task::yield_now().await;
    }
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
