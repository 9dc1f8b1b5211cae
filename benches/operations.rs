//! Contracts made and closed by both parties, durable on the embedded store, by how many do so at once. One element is
//! a contract's whole life: create with its signature, the source's close, the destination's close.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench stops at a surprise")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use tokio::runtime::Runtime;
use warren::config::Config;
use warren::domain::client::{CLIENTS, ClientRecord};
use warren::domain::contract::Ledger;
use warren::domain::effect::{Effect, EffectSink};
use warren::domain::provide::{PROVIDE_SETS, ProvideSet};
use warren::domain::service::Service;
use warren::ids::{ClientId, DeviceId, NetworkId};
use warren::store::sled::SledStore;
use warren::store::table::{Table, TableKey, TableValue};
use warren::store::{Commit, Store};
use warren::time::{Clock, Timestamp};
use warren::wire::messages::{CloseContract, CreateContract, ProvideMode, StoredContract};

/// Consumers and providers; each pair of them has contracts of its own.
const CLIENTS_PER_SIDE: u8 = 100;

struct NoEffects;

impl EffectSink for NoEffects {
    fn apply(&self, _: Effect) {}
}

fn client(side: u8, number: u8) -> ClientId {
    let mut bytes = [side; 16];
    bytes[15] = number;
    ClientId::new(bytes)
}

async fn put<K: TableKey, V: TableValue>(store: &Arc<dyn Store>, table: &Table<K, V>, key: &K, value: &V) {
    let writes = vec![(table.key(key), Some(value.encode().into()))];
    store.commit(Commit { reads: Vec::new(), writes }).await.unwrap();
}

/// A ledger in `folder` over two networks: one consumes, one provides.
async fn open(folder: &std::path::Path) -> Arc<Ledger> {
    let mut config = Config::default();
    config.store.path = folder.to_owned();
    let store: Arc<dyn Store> = Arc::new(SledStore::open(&config.store).unwrap());
    let config = Arc::new(config);
    for side in [1, 2] {
        for number in 0..CLIENTS_PER_SIDE {
            let record = ClientRecord {
                network_id: NetworkId::new([side; 16]),
                device_id: DeviceId::new([number; 16]),
                source_client_id: None,
                description: "a client of the bench".into(),
                create_time: Timestamp::ZERO,
                auth_time: Timestamp::ZERO,
                seen_time: Timestamp::ZERO,
                active: true,
                deactivate_time: None,
                roles: Vec::new(),
                principal: String::new(),
            };
            put(&store, &CLIENTS, &client(side, number), &record).await;
            let mut set = ProvideSet::default();
            for mode in [ProvideMode::Network, ProvideMode::Public, ProvideMode::Stream] {
                set.insert(mode, vec![side; 32]);
            }
            put(&store, &PROVIDE_SETS, &client(side, number), &set).await;
        }
    }
    let clock = Clock::system();
    let service = Arc::new(Service::new(store.clone(), clock.clone(), config.clone(), Arc::new(NoEffects)));
    Ledger::open(service, store, clock, config).unwrap()
}

/// One contract from beginning to end.
async fn life(ledger: &Ledger, number: u64) {
    let source = client(1, (number % u64::from(CLIENTS_PER_SIDE)) as u8);
    let destination = client(2, (number / 7 % u64::from(CLIENTS_PER_SIDE)) as u8);
    let request = CreateContract {
        destination_id: Some(destination.into()),
        transfer_byte_count: 1 << 20,
        ..CreateContract::default()
    };
    let contract = ledger.create(source, &request).await.unwrap();
    let stored = StoredContract::decode(contract.stored_contract_bytes).unwrap();
    let close = CloseContract { contract_id: stored.contract_id, acked_byte_count: 1000, ..CloseContract::default() };
    ledger.close(source, &close).await.unwrap();
    ledger.close(destination, &close).await.unwrap();
}

/// `count` lives, at most `at_once` of them at a time.
async fn lives(ledger: &Arc<Ledger>, count: u64, at_once: u64) -> Duration {
    let started = Instant::now();
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
    started.elapsed()
}

fn contracts(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ledger = runtime.block_on(open(&folder.path().join("data")));
    let mut group = criterion.benchmark_group("contract_life");
    group.sample_size(10).measurement_time(Duration::from_secs(5)).throughput(Throughput::Elements(1));
    for at_once in [1, 64, 1024] {
        group.bench_with_input(BenchmarkId::from_parameter(at_once), &at_once, |bencher, &at_once| {
            bencher.iter_custom(|count| runtime.block_on(lives(&ledger, count, at_once)));
        });
    }
    group.finish();
    runtime.block_on(ledger.shutdown());
}

criterion_group!(benches, contracts);
criterion_main!(benches);
