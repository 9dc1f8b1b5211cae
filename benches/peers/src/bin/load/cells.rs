//! The measurements.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use peers::Args;
use peers::machine::{Mark, now_ns};
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::connect::{Connection, Generator};
use crate::protocol::{Kind, Proto};

/// First and last byte of every payload, so that a relay that mixes frames up is noticed.
const MARKER: u8 = 0x5a;
/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;
/// Connects at once.
const CONNECTING: usize = 64;

/// Reads frames until `stop`: gives the payload of each to `each`, and says so after each read to `after`.
pub async fn pump(
    proto: Proto,
    connection: &mut Connection,
    stop: &AtomicBool,
    mut each: impl FnMut(&[u8]),
    mut after: impl FnMut(),
) -> io::Result<()> {
    let mut buffer = vec![0u8; READ_BYTES];
    let mut filled = connection.left.len();
    buffer[..filled].copy_from_slice(&connection.left);
    while !stop.load(Relaxed) {
        let read = connection.r.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        let mut at = 0;
        while let Some(found) = proto.parse(&buffer[at..filled]) {
            let payload = &buffer[at + found.payload.start..at + found.payload.end];
            match found.kind {
                Kind::Data => each(payload),
                Kind::Ping => connection.write(&proto.pong(payload)).await?,
                Kind::Other => {}
            }
            at += found.used;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        after();
    }
    Ok(())
}

/// Connects clients `from..to`, several at once, in order, and does with each what is to be done at once.
pub async fn connect_all<T: Send + 'static>(
    generator: &Arc<Generator>,
    from: u64,
    to: u64,
    then: impl Fn(Connection) -> T + Clone + Send + 'static,
) -> Vec<io::Result<T>> {
    let permits = Arc::new(Semaphore::new(CONNECTING));
    let mut connecting = JoinSet::new();
    for client in from..to {
        let permit = permits.clone().acquire_owned().await.unwrap();
        let (generator, then) = (generator.clone(), then.clone());
        connecting.spawn(async move {
            let connection = generator.connect(client).await;
            drop(permit);
            (client, connection.map(then))
        });
    }
    let mut connected = connecting.join_all().await;
    connected.sort_by_key(|(client, _)| *client);
    connected.into_iter().map(|(_, connection)| connection).collect()
}

#[derive(Default)]
struct Pair {
    sent: AtomicU64,
    received: AtomicU64,
    progress: Notify,
}

/// Every pair sends as fast as its window allows.
pub async fn frames(generator: Arc<Generator>, args: &Args) {
    let (pairs, window, size) = (args.number("--pairs", 1), args.number("--window", 256), args.number("--size", 1400));
    let batch = args.number("--batch", (window / 2).max(1));
    let (process, proto) = (args.number("--pid", 0), generator.proto);
    let length = proto.payload(size as usize);
    let stop = Arc::new(AtomicBool::new(false));
    let mut all = Vec::new();
    let mut connected = connect_all(&generator, 0, 2 * pairs, |connection| connection).await.into_iter();
    for at in 0..pairs {
        let mut sender = connected.next().unwrap().expect("a sender");
        let mut receiver = connected.next().unwrap().expect("a receiver");
        let pair = Arc::new(Pair::default());
        all.push(pair.clone());
        let mut payload = vec![0u8; length];
        payload[0] = MARKER;
        payload[length - 1] = MARKER;
        let mut frame = Vec::new();
        proto.encode(&generator.id(2 * at), &generator.id(2 * at + 1), &payload, &mut frame);
        let bytes = frame.repeat(batch as usize);
        let (shared, stopped) = (pair.clone(), stop.clone());
        tokio::spawn(async move {
            while !stopped.load(Relaxed) {
                let free = window - (shared.sent.load(Relaxed) - shared.received.load(Relaxed));
                if free < batch {
                    shared.progress.notified().await;
                    continue;
                }
                shared.sent.fetch_add(batch, Relaxed);
                sender.write(&bytes).await.expect("a write");
            }
            std::future::pending::<()>().await;
        });
        let stopped = stop.clone();
        tokio::spawn(async move {
            let counted = AtomicU64::new(0);
            let each = |payload: &[u8]| {
                assert!(payload.len() == length && payload[0] == MARKER && payload[length - 1] == MARKER);
                counted.store(counted.load(Relaxed) + 1, Relaxed);
            };
            let after = || {
                pair.received.fetch_add(counted.swap(0, Relaxed), Relaxed);
                if pair.sent.load(Relaxed) - pair.received.load(Relaxed) <= window - batch {
                    pair.progress.notify_one();
                }
            };
            let ended = pump(proto, &mut receiver, &AtomicBool::new(false), each, after).await;
            assert!(stopped.load(Relaxed), "a receiver ended: {ended:?}");
        });
    }
    let sum = |count: fn(&Pair) -> &AtomicU64| all.iter().map(|pair| count(pair).load(Relaxed)).sum::<u64>();
    let received = || sum(|pair| &pair.received);
    tokio::time::sleep(Duration::from_millis(args.number("--warm-ms", 300))).await;
    let before = Mark::new(process, received());
    tokio::time::sleep(Duration::from_millis(args.number("--ms", 800))).await;
    let after = Mark::new(process, received());
    stop.store(true, Relaxed);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if received() == sum(|pair| &pair.sent) {
            break;
        }
    }
    let frames = after.frames - before.frames;
    println!(
        "{{\"cell\":\"frames\",\"size\":{size},\"pairs\":{pairs},\"window\":{window},\"batch\":{batch},\"us\":{:.4},\
         \"frames_per_s\":{:.0},\"lost\":{},{}}}",
        (after.relay - before.relay) / frames as f64,
        frames as f64 * 1e9 / (after.ns - before.ns) as f64,
        sum(|pair| &pair.sent) - received(),
        after.since(&before)
    );
}

/// One pair, one frame at a time, at a fixed rate.
pub async fn lone(generator: Arc<Generator>, args: &Args) {
    let (rate, size) = (args.number("--rate", 2000), args.number("--size", 1400));
    let (process, proto) = (args.number("--pid", 0), generator.proto);
    let length = proto.payload(size as usize);
    let warm = rate / 4;
    let total = warm + rate * args.number("--ms", 1500) / 1000;
    let mut connected = connect_all(&generator, 0, 2, |connection| connection).await.into_iter();
    let mut sender = connected.next().unwrap().expect("a sender");
    let mut receiver = connected.next().unwrap().expect("a receiver");
    let received = Arc::new(AtomicU64::new(0));
    let counter = received.clone();
    let reading = tokio::spawn(async move {
        let stop = AtomicBool::new(false);
        let mut latencies: Vec<u64> = Vec::with_capacity(total as usize);
        let each = |payload: &[u8]| {
            assert_eq!(payload.len(), length);
            latencies.push(now_ns() - u64::from_le_bytes(*payload.first_chunk().unwrap()));
            counter.fetch_add(1, Relaxed);
            stop.store(latencies.len() as u64 == total, Relaxed);
        };
        pump(proto, &mut receiver, &stop, each, || {}).await.expect("a receiver");
        latencies
    });
    let mut timer = Ticks::every(rate);
    let (source, destination) = (generator.id(0), generator.id(1));
    let (mut payload, mut bytes) = (vec![MARKER; length], Vec::new());
    let (mut sent, mut before) = (0, None);
    while sent < total {
        for _ in 0..timer.due().await.min(total - sent) {
            if sent >= warm && before.is_none() {
                before = Some(Mark::new(process, received.load(Relaxed)));
            }
            payload[..8].copy_from_slice(&now_ns().to_le_bytes());
            bytes.clear();
            proto.encode(&source, &destination, &payload, &mut bytes);
            sender.write(&bytes).await.expect("a write");
            sent += 1;
        }
    }
    let latencies = tokio::time::timeout(Duration::from_secs(3), reading).await;
    let (before, after) = (before.unwrap(), Mark::new(process, received.load(Relaxed)));
    let mut latencies = latencies.map(|latencies| latencies.unwrap()).unwrap_or_default();
    let mut latencies = latencies.split_off((warm as usize).min(latencies.len()));
    latencies.sort_unstable();
    let quantile = |part: f64| {
        let at = (latencies.len() as f64 * part) as usize;
        latencies.get(at.min(latencies.len().saturating_sub(1))).map_or(0.0, |ns| *ns as f64 / 1e3)
    };
    println!(
        "{{\"cell\":\"lone\",\"size\":{size},\"rate\":{rate},\"us\":{:.3},\"p50\":{:.1},\"p99\":{:.1},\"lost\":{},{}}}",
        (after.relay - before.relay) / (after.frames - before.frames) as f64,
        quantile(0.5),
        quantile(0.99),
        total - received.load(Relaxed),
        after.since(&before)
    );
}

/// A timer of the system: those of the runtime are as coarse as a millisecond.
pub struct Ticks(AsyncFd<OwnedFd>);

impl Ticks {
    /// So many a second from now on.
    pub fn every(rate: u64) -> Self {
        let every = libc::timespec { tv_sec: 0, tv_nsec: (1_000_000_000 / rate) as i64 };
        let spec = libc::itimerspec { it_interval: every, it_value: every };
        // SAFETY: the descriptor is new and nobody else's.
        let timer = unsafe {
            let timer = libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK);
            libc::timerfd_settime(timer, 0, &spec, std::ptr::null_mut());
            OwnedFd::from_raw_fd(timer)
        };
        // SAFETY: the descriptor is owned by what is registered, so it stays open as long.
        Self(unsafe { AsyncFd::register(timer) }.unwrap())
    }

    /// Waits until some are due; gives how many.
    pub async fn due(&mut self) -> u64 {
        loop {
            let mut ready = self.0.readable().await.unwrap();
            let mut due = [0u8; 8];
            // SAFETY: as many bytes as there is room for.
            if unsafe { libc::read(self.0.get_ref().as_raw_fd(), due.as_mut_ptr().cast(), 8) } == 8 {
                return u64::from_ne_bytes(due);
            }
            ready.clear_ready();
        }
    }
}
