//! Settled contracts counted into days, durable on the embedded store. One element is a contract: the archive of a
//! second at 30 000 settlements, with clients that come again and with clients that never do.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench stops at a surprise")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use warren::config::Config;
use warren::config::geoip::GeoIp;
use warren::domain::contract::record::{ARCHIVE, ArchiveBlob, ContractRecord, Outcome, Payout, Settled, Side};
use warren::domain::effect::{Effect, EffectSink};
use warren::domain::location::geoip::Geography;
use warren::domain::presence::Presence;
use warren::domain::provider::index::ProviderIndex;
use warren::domain::seal::SealKey;
use warren::domain::service::Service;
use warren::domain::stats::Stats;
use warren::ids::{BalanceId, ClientId, ContractId, NetworkId};
use warren::store::sled::SledStore;
use warren::store::table::TableValue;
use warren::store::{Commit, Store};
use warren::time::Clock;

/// Contracts settled in a second.
const SECOND: u64 = 30_000;

/// Contracts in one archive row.
const ROW: u64 = 256;

const PROVIDERS: u64 = 100;

struct NoEffects;

impl EffectSink for NoEffects {
    fn apply(&self, _: Effect) {}
}

fn client(side: u8, number: u64) -> ClientId {
    let mut bytes = [side; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    ClientId::new(bytes)
}

/// A contract between one of the providers and one of so many consumers.
fn settled(number: u64, consumers: u64, clock: &Clock) -> Settled {
    let (consumers_network, providers_network) = (NetworkId::new([1; 16]), NetworkId::new([2; 16]));
    let contract = ContractRecord {
        source: Side { client_id: client(1, number % consumers), network_id: consumers_network },
        destination: Side { client_id: client(2, number / 7 % PROVIDERS), network_id: providers_network },
        transfer_bytes: 1 << 20,
        anchor: None,
        payer: Some(consumers_network),
        priority: 0,
        provide_mode: 3,
        create_time: clock.now(),
        dispute_time: None,
        escrow: vec![(BalanceId::new([1; 16]), 1 << 20)],
        votes: [None, None],
        stream: None,
    };
    let payouts = vec![Payout { balance_id: BalanceId::new([1; 16]), bytes: 1000, revenue: 10 }];
    let contract_id = ContractId::new(*client(3, number).as_bytes());
    Settled { contract_id, contract, close_time: clock.now(), used_bytes: 1000, outcome: Outcome::Settled, payouts }
}

struct Bench {
    store: Arc<dyn Store>,
    stats: Arc<Stats>,
    clock: Clock,
    next: u64,
}

impl Bench {
    fn open(folder: &std::path::Path) -> Self {
        let mut config = Config::default();
        config.store.path = folder.to_owned();
        let store: Arc<dyn Store> = Arc::new(SledStore::open(&config.store).unwrap());
        let clock = Clock::system();
        let service = Arc::new(Service::new(
            store.clone(),
            clock.clone(),
            Arc::new(config),
            SealKey::ephemeral(),
            Arc::new(NoEffects),
        ));
        let presence = Presence::new(clock.clone());
        let geography = Geography::open(&GeoIp::default()).unwrap();
        let providers = ProviderIndex::new(service.clone(), presence.clone(), geography);
        let stats = Stats::new(store.clone(), service, presence, providers);
        Self { store, stats, clock, next: 0 }
    }

    /// What the ledger leaves behind in a second.
    async fn archive(&mut self, consumers: u64) {
        let mut left = SECOND;
        while left > 0 {
            let count = left.min(ROW);
            let row = (0..count).map(|at| settled(self.next + at, consumers, &self.clock)).collect();
            self.next += count;
            left -= count;
            let key = ARCHIVE.key(&(self.clock.now().hour_number(), self.next));
            let writes = vec![(key, Some(ArchiveBlob(row).encode().into()))];
            self.store.commit(Commit { reads: Vec::new(), writes }).await.unwrap();
        }
    }
}

fn followed(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("archive_followed");
    group.sample_size(10).measurement_time(Duration::from_secs(5)).throughput(Throughput::Elements(SECOND));
    for (name, consumers) in [("returning", 100), ("new", u64::MAX)] {
        let folder = tempfile::tempdir().unwrap();
        let mut bench = Bench::open(&folder.path().join("data"));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|count| {
                runtime.block_on(async {
                    let mut taken = Duration::ZERO;
                    for _ in 0..count {
                        bench.archive(consumers).await;
                        let started = Instant::now();
                        bench.stats.flush().await.unwrap();
                        taken += started.elapsed();
                    }
                    taken
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, followed);
criterion_main!(benches);
