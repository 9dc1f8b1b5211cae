//! A ledger on the embedded store, as the server runs it, with clients on two sides.

use std::path::Path;
use std::sync::Arc;

use warren::config::Config;
use warren::domain::client::{CLIENTS, ClientRecord};
use warren::domain::contract::Ledger;
use warren::domain::effect::{Effect, EffectSink};
use warren::domain::provide::{PROVIDE_SETS, ProvideSet};
use warren::domain::seal::SealKey;
use warren::domain::service::Service;
use warren::ids::{ClientId, DeviceId, NetworkId};
use warren::store::sled::SledStore;
use warren::store::table::{Table, TableKey, TableValue};
use warren::store::{Commit, Store};
use warren::time::{Clock, Timestamp};
use warren::wire::messages::ProvideMode;

struct NoEffects;

impl EffectSink for NoEffects {
    fn apply(&self, _: Effect) {}
}

/// A client of one side, 1 or 2.
pub fn client(side: u8, number: u32) -> ClientId {
    let mut bytes = [side; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    ClientId::new(bytes)
}

/// Writes of one commit while the clients are made.
const ROWS_AT_ONCE: usize = 1000;

fn row<K: TableKey, V: TableValue>(table: &Table<K, V>, key: &K, value: &V) -> (Vec<u8>, Option<bytes::Bytes>) {
    (table.key(key), Some(value.encode().into()))
}

/// A ledger in `folder` over two networks, of which side 1 consumes and side 2 provides, with as many clients as said.
pub async fn open(folder: &Path, clients: [u32; 2]) -> (Arc<Service>, Arc<Ledger>) {
    let mut config = Config::default();
    config.store.path = folder.to_owned();
    let store: Arc<dyn Store> = Arc::new(SledStore::open(&config.store).unwrap());
    let config = Arc::new(config);
    let mut rows = Vec::new();
    for (side, count) in [(1, clients[0]), (2, clients[1])] {
        let mut set = ProvideSet::default();
        for mode in [ProvideMode::Network, ProvideMode::Public, ProvideMode::Stream] {
            set.insert(mode, vec![side; 32]);
        }
        for number in 0..count {
            let record = ClientRecord {
                network_id: NetworkId::new([side; 16]),
                device_id: DeviceId::new([number as u8; 16]),
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
            rows.push(row(&CLIENTS, &client(side, number), &record));
            rows.push(row(&PROVIDE_SETS, &client(side, number), &set));
        }
    }
    for writes in rows.chunks(ROWS_AT_ONCE) {
        store.commit(Commit { reads: Vec::new(), writes: writes.to_vec() }).await.unwrap();
    }
    let clock = Clock::system();
    let service =
        Arc::new(Service::new(store.clone(), clock.clone(), config.clone(), SealKey::ephemeral(), Arc::new(NoEffects)));
    let ledger = Ledger::open(service.clone(), store, clock, config).unwrap();
    (service, ledger)
}
