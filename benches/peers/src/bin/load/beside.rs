//! How long a lone pair's frames take, alone and then beside others: floods, a reader that stopped, a storm of connects.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use peers::Args;
use peers::machine::{Mark, now_ns};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::cells::{connect_all, pump};
use crate::connect::{Connection, Generator};

/// Message sizes of the pair and of a flood, by which the receiver tells them apart.
const LONE_BYTES: usize = 400;
const FLOOD_BYTES: usize = 1400;
/// Frames per write of a flood.
const FLOOD_BATCH: usize = 16;
/// Frames a second of the lone pair.
const RATE: u64 = 500;

type Latencies = Arc<std::sync::Mutex<Vec<u64>>>;

/// The measurement: the pair is 0 and 1, whoever is beside it 2 and 3, the storm all from 4 on.
pub async fn beside(generator: Arc<Generator>, args: &Args) {
    let (kind, process) = (args.get("--beside").expect("--beside").to_owned(), args.number("--pid", 0));
    let (time, clients) = (Duration::from_millis(args.number("--ms", 3000)), args.number("--clients", 2000));
    let mut connected = connect_all(&generator, 0, 4, |connection| connection).await.into_iter().map(|client| client.expect("a client"));
    let [sender, receiver, noisy, deaf] = [(); 4].map(|()| connected.next().unwrap());
    let latencies = Latencies::default();
    let (sent, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    tokio::spawn(send_steadily(generator.clone(), sender, sent.clone(), is_over.clone()));
    tokio::spawn(receive(generator.clone(), receiver, latencies.clone()));
    sleep(Duration::from_millis(500)).await;
    latencies.lock().unwrap().clear();
    sleep(time).await;
    let mut alone = std::mem::take(&mut *latencies.lock().unwrap());
    let (sent_before, before) = (sent.load(Relaxed), Mark::new(process, 0));
    let (mut retries, began) = (0, Instant::now());
    // Kept, so that nobody leaves before the end.
    let mut kept = Vec::new();
    match kind.as_str() {
        "storm" => retries = storm(generator.clone(), clients).await,
        "flood" => {
            tokio::spawn(receive(generator.clone(), deaf, Latencies::default()));
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
    if kind != "storm" {
        sleep(time).await;
    }
    let (mut with, after) = (std::mem::take(&mut *latencies.lock().unwrap()), Mark::new(process, 0));
    let sent = sent.load(Relaxed) - sent_before;
    alone.sort_unstable();
    with.sort_unstable();
    println!(
        "{{\"cell\":\"fairness\",\"beside\":\"{kind}\",\"alone_p50\":{:.1},\"alone_p99\":{:.1},\"p50\":{:.1},\"p99\":{:.1},\
         \"ratio\":{:.3},\"lost\":{},\"retries\":{retries},\"seconds\":{:.2},\"ended\":{},{}}}",
        quantile(&alone, 0.5),
        quantile(&alone, 0.99),
        quantile(&with, 0.5),
        quantile(&with, 0.99),
        quantile(&with, 0.99) / quantile(&alone, 0.99),
        // What is on its way just now counts for nothing.
        sent.saturating_sub(with.len() as u64 + 5),
        all_in.as_secs_f64(),
        is_over.load(Relaxed),
        after.since(&before)
    );
    drop(kept);
}

fn quantile(sorted: &[u64], part: f64) -> f64 {
    assert!(!sorted.is_empty(), "no frame of the pair arrived");
    sorted[((sorted.len() - 1) as f64 * part) as usize] as f64 / 1e3
}

async fn send_steadily(
    generator: Arc<Generator>,
    mut sender: Connection,
    sent: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
) {
    let proto = generator.proto;
    let mut payload = vec![0; proto.payload(LONE_BYTES)];
    let mut ticks = interval(Duration::from_nanos(1_000_000_000 / RATE));
    loop {
        ticks.tick().await;
        payload[..8].copy_from_slice(&now_ns().to_le_bytes());
        let mut frame = Vec::new();
        proto.encode(&generator.id(0), &generator.id(1), &payload, &mut frame);
        if sender.write(&frame).await.is_err() {
            return is_over.store(true, Relaxed);
        }
        sent.fetch_add(1, Relaxed);
    }
}

/// Reads everything, and notes how long the pair's frames took.
async fn receive(generator: Arc<Generator>, mut receiver: Connection, latencies: Latencies) -> io::Result<()> {
    let length = generator.proto.payload(LONE_BYTES);
    let each = |payload: &[u8]| {
        if payload.len() == length {
            let sent = u64::from_le_bytes(*payload.first_chunk().unwrap());
            latencies.lock().unwrap().push(now_ns() - sent);
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
            let (_kept, refused) = connect_patiently(&generator, clients).await;
            let _ = done.send(refused);
            pending::<()>().await;
        });
    });
    all_in.await.expect("the storm's thread")
}

async fn connect_patiently(generator: &Arc<Generator>, clients: u64) -> (Vec<Connection>, u64) {
    let refused = Arc::new(Mutex::new(0));
    let mut coming = JoinSet::new();
    for client in 4..4 + clients {
        let (generator, refused) = (generator.clone(), refused.clone());
        coming.spawn(async move {
            loop {
                match generator.connect(client).await {
                    Ok(connection) => return connection,
                    Err(_) => *refused.lock().await += 1,
                }
                sleep(Duration::from_millis(50)).await;
            }
        });
    }
    let connected = coming.join_all().await;
    let refused = *refused.lock().await;
    (connected, refused)
}
