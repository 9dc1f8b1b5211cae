//! The ledger on the embedded store, as the server runs it: what a contract's whole durable life costs (create with its
//! signature, the source's close, the destination's close, settled), whether that stays so as the archive grows, and
//! what an open contract occupies.
//!
//! `cargo bench --bench operations -- [lives] [archive] [memory] [--full]`; without a name, all three. CPU is that of
//! the whole process (ledger, store and callers), so neighbours on the machine do not count. `--full` lets the archive
//! grow to ten million contracts, a few gigabytes. Linux only.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a bench stops at a surprise")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use tokio::runtime::Runtime;
use warren::domain::contract::Ledger;
use warren::ids::ClientId;
use warren::wire::messages::{CloseContract, CreateContract, StoredContract};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod support {
    pub mod ledger;
}

use support::ledger::{client, open};

/// Consumers and providers; each pair of them has contracts of its own.
const CLIENTS_PER_SIDE: u32 = 100;

/// Makes a contract; returns its parties and its id.
async fn create(ledger: &Ledger, number: u64) -> (ClientId, ClientId, Bytes) {
    let source = client(1, (number % u64::from(CLIENTS_PER_SIDE)) as u32);
    let destination = client(2, (number / 7 % u64::from(CLIENTS_PER_SIDE)) as u32);
    let request = CreateContract {
        destination_id: Some(destination.into()),
        transfer_byte_count: 1 << 20,
        ..CreateContract::default()
    };
    let contract = ledger.create(source, &request).await.unwrap();
    let stored = StoredContract::decode(contract.stored_contract_bytes).unwrap();
    (source, destination, stored.contract_id)
}

/// One contract from beginning to end.
async fn life(ledger: &Ledger, number: u64) {
    let (source, destination, contract_id) = create(ledger, number).await;
    let close = CloseContract { contract_id, acked_byte_count: 1000, ..CloseContract::default() };
    ledger.close(source, &close).await.unwrap();
    ledger.close(destination, &close).await.unwrap();
}

/// `count` lives, at most `at_once` of them at a time; returns lives per second and CPU microseconds per life.
async fn lives(ledger: &Arc<Ledger>, count: u64, at_once: u64) -> (f64, f64) {
    let (started, cpu) = (Instant::now(), cpu());
    let workers: Vec<_> = (0..at_once.min(count))
        .map(|worker| {
            let ledger = Arc::clone(ledger);
            tokio::spawn(async move {
                for number in (worker..count).step_by(at_once as usize) {
                    life(&ledger, number).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let cpu = (self::cpu() - cpu).as_secs_f64() * 1e6 / count as f64;
    (count as f64 / started.elapsed().as_secs_f64(), cpu)
}

/// What a life costs by how many are lived at once: the median of five runs each.
async fn by_callers(ledger: &Arc<Ledger>) {
    println!("{:>8} {:>10} {:>16}", "at once", "lives/s", "CPU us per life");
    for (at_once, count) in [(1, 1_000), (64, 20_000), (1024, 100_000), (4096, 100_000)] {
        let mut runs = Vec::new();
        for _ in 0..5 {
            runs.push(lives(ledger, count, at_once).await);
        }
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let per_second = median(runs.iter().map(|run| run.0).collect());
        let cpu = median(runs.iter().map(|run| run.1).collect());
        println!("{at_once:>8} {per_second:>10.0} {cpu:>16.1}");
    }
}

/// What a life costs by how many contracts the archive holds.
async fn by_archive(ledger: &Arc<Ledger>, most: u64) {
    println!("{:>12} {:>10} {:>16}", "archived", "lives/s", "CPU us per life");
    let mut archived = 0;
    for size in [1_000, 10_000, 100_000, 1_000_000, 10_000_000] {
        if size > most {
            break;
        }
        // The last tenth, and at least enough to measure, is what is shown.
        let shown = (size / 10).clamp(1_000, 100_000);
        lives(ledger, size.saturating_sub(archived + shown), 1024).await;
        let (per_second, cpu) = lives(ledger, shown, 1024).await;
        archived = archived.max(size);
        println!("{size:>12} {per_second:>10.0} {cpu:>16.1}");
    }
}

/// Memory of contracts that stay open.
async fn memory(ledger: &Arc<Ledger>) {
    const OPEN: u64 = 500_000;
    let before = resident_bytes();
    let workers: Vec<_> = (0..1024)
        .map(|worker| {
            let ledger = Arc::clone(ledger);
            tokio::spawn(async move {
                for number in (worker..OPEN).step_by(1024) {
                    create(&ledger, number).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let each = (resident_bytes() - before) as f64 / OPEN as f64;
    println!("{each:.0} bytes of resident memory per open contract, the store's cache included");
}

/// User and system time of this process.
fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let spent = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        // `cargo test` also builds and starts benches; this one is only for `cargo bench`.
        return;
    }
    let named: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| named.is_empty() || named.contains(&name);
    let most = if arguments.iter().any(|argument| argument == "--full") { 10_000_000 } else { 1_000_000 };
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        // A store of its own each, so that they do not see each other's rows.
        for name in ["lives", "archive", "memory"].into_iter().filter(|name| wanted(name)) {
            let folder = tempfile::tempdir().unwrap();
            let (_, ledger) = open(&folder.path().join("data"), [CLIENTS_PER_SIDE; 2]).await;
            match name {
                "lives" => by_callers(&ledger).await,
                "archive" => by_archive(&ledger, most).await,
                _ => memory(&ledger).await,
            }
            ledger.shutdown().await;
        }
    });
}
