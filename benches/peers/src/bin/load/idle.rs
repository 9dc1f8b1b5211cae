//! Many clients that only answer the relay: its memory at a quarter, at half and at all of them, what a connect costs
//! it, and what all of them do while nothing happens. Who could not connect or was lost comes again, as any client
//! would, and the memory counts when everybody stands.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use peers::Args;
use peers::machine::{Mark, resident_kib};
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::connect::{Connection, Generator};
use crate::protocol::{Kind, Proto};

/// Connects under way at once: at first, and at most.
const FIRST_UNDERWAY: usize = 16;
const MOST_UNDERWAY: usize = 128;
/// A connect that takes longer found the relay or this process busy: those who stand have to be served as well.
const SLOW: Duration = Duration::from_millis(40);
/// Until a client that was refused or lost comes again.
const PAUSE: Duration = Duration::from_millis(500);
/// Without a client more for so long, not all will stand.
const PATIENCE: Duration = Duration::from_secs(40);

/// Keeps as many connects under way as go quickly: one more when all of a round were, one less for each that was not.
struct Pace {
    places: Semaphore,
    allowed: AtomicUsize,
    quick: AtomicUsize,
}

impl Pace {
    fn new() -> Self {
        Self {
            places: Semaphore::new(FIRST_UNDERWAY),
            allowed: AtomicUsize::new(FIRST_UNDERWAY),
            quick: AtomicUsize::new(0),
        }
    }

    async fn connect(&self, generator: &Generator, client: u64) -> io::Result<Connection> {
        let place = self.places.acquire().await.expect("never closed");
        let began = Instant::now();
        let connected = generator.connect(client).await;
        let is_quick = connected.is_ok() && began.elapsed() < SLOW;
        let allowed = self.allowed.load(Relaxed);
        if !is_quick && allowed > 1 {
            self.allowed.store(allowed - 1, Relaxed);
            place.forget();
        } else if is_quick && self.quick.fetch_add(1, Relaxed) + 1 >= allowed && allowed < MOST_UNDERWAY {
            self.quick.store(0, Relaxed);
            self.allowed.store(allowed + 1, Relaxed);
            self.places.add_permits(1);
        }
        connected
    }
}

/// The clients, and what became of them.
struct Crowd {
    generator: Arc<Generator>,
    pace: Pace,
    standing: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
    complaint: Once,
}

impl Crowd {
    /// Stands, and comes again.
    async fn stand(self: Arc<Self>, client: u64) {
        loop {
            match self.pace.connect(&self.generator, client).await {
                Ok(connection) => {
                    self.standing.fetch_add(1, Relaxed);
                    answer(self.generator.proto, connection).await;
                    self.standing.fetch_sub(1, Relaxed);
                    self.lost.fetch_add(1, Relaxed);
                }
                Err(error) => {
                    self.failed.fetch_add(1, Relaxed);
                    self.complaint.call_once(|| eprintln!("a client could not connect at first: {error}"));
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Waits until so many stand, or no more come.
    async fn wait_for(&self, clients: u64) {
        let (mut most, mut since) = (0, Instant::now());
        while self.standing.load(Relaxed) < clients && since.elapsed() < PATIENCE {
            if self.standing.load(Relaxed) > most {
                (most, since) = (self.standing.load(Relaxed), Instant::now());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The measurement.
pub async fn idle(generator: Arc<Generator>, args: &Args) {
    let (process, clients) = (args.number("--pid", 0), args.number("--clients", 10_000));
    let ms = |name, default| Duration::from_millis(args.number(name, default));
    let (settle, watch) = (ms("--settle-ms", 12_000), ms("--watch-ms", 10_000));
    let memory = resident_kib(process);
    let unused = watched(process, watch).await;
    let [standing, failed, lost] = [(); 3].map(|()| AtomicU64::new(0));
    let crowd = Arc::new(Crowd { generator, pace: Pace::new(), standing, failed, lost, complaint: Once::new() });
    let (mut connecting, mut seconds, mut grown) = (0.0, 0.0, Vec::new());
    let began = Mark::new(process, 0);
    for (from, to) in [(0, clients / 4), (clients / 4, clients / 2), (clients / 2, clients)] {
        let before = Mark::new(process, 0);
        (from..to).for_each(|client| drop(tokio::spawn(crowd.clone().stand(client))));
        crowd.wait_for(to).await;
        let after = Mark::new(process, 0);
        connecting += after.relay - before.relay;
        seconds += (after.ns - before.ns) as f64 / 1e9;
        // What a connect leaves behind for a moment is gone, and every client has been greeted.
        sleep(settle).await;
        grown.push(resident_kib(process).saturating_sub(memory));
    }
    let connected = Mark::new(process, 0);
    let idle = watched(process, watch).await;
    let each = |at: usize, part: u64| grown[at] as f64 * 1024.0 / (clients / part) as f64;
    println!(
        "{{\"cell\":\"idle\",\"clients\":{clients},\"standing\":{},\"bytes_per_client\":{:.0},\"bytes_at_half\":{:.0},\
         \"bytes_at_quarter\":{:.0},\"resident_kib\":{},\"connect_us\":{:.1},\"connects_per_s\":{:.0},\
         \"idle_ms\":{idle:.2},\"unused_ms\":{unused:.2},\"failed\":{},\"ended\":{},\"underway\":{},{}}}",
        crowd.standing.load(Relaxed),
        each(2, 1),
        each(1, 2),
        each(0, 4),
        grown[2] + memory,
        connecting / clients as f64,
        clients as f64 / seconds,
        crowd.failed.load(Relaxed),
        crowd.lost.load(Relaxed),
        crowd.pace.allowed.load(Relaxed),
        connected.since(&began)
    );
}

/// CPU milliseconds that a process takes in a second.
async fn watched(process: u64, time: Duration) -> f64 {
    let before = Mark::new(process, 0);
    sleep(time).await;
    let after = Mark::new(process, 0);
    (after.relay - before.relay) * 1e6 / (after.ns - before.ns) as f64
}

/// Answers what the relay asks of a client that has nothing to say, until the connection ends.
pub async fn answer(proto: Proto, mut connection: Connection) {
    let (mut buffer, mut filled) = (vec![0u8; 2048], connection.left.len());
    buffer[..filled].copy_from_slice(&connection.left);
    loop {
        let mut at = 0;
        while let Some(found) = proto.parse(&buffer[at..filled]) {
            if found.kind == Kind::Ping {
                let pong = proto.pong(&buffer[at + found.payload.start..at + found.payload.end]);
                let _ = connection.write(&pong).await;
            }
            at += found.used;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        match connection.r.read(&mut buffer[filled..]).await {
            Ok(read @ 1..) => filled += read,
            _ => return,
        }
    }
}
