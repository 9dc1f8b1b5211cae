//! What the tests of this folder share: operations over a store in memory, a clock that stands still, and the
//! effects that left.

use std::sync::Arc;

use parking_lot::Mutex;

use super::client::ClientRecord;
use super::effect::{Effect, EffectSink};
use super::error::DomainError;
use super::operation::{Operation, Tx};
use super::seal::SealKey;
use super::service::Service;
use crate::config::Config;
use crate::ids::{DeviceId, Id, NetworkId};
use crate::store::memory::MemoryStore;
use crate::store::table::{Table, TableKey, TableValue};
use crate::time::{Clock, Timestamp};

/// A domain with nothing in it.
pub struct TestDomain {
    pub service: Arc<Service>,
    pub store: Arc<MemoryStore>,
    pub clock: Clock,
    effects: Arc<Collector>,
}

#[derive(Default)]
struct Collector(Mutex<Vec<Effect>>);

impl EffectSink for Collector {
    fn apply(&self, effect: Effect) {
        self.0.lock().push(effect);
    }
}

/// Forgets every effect.
pub struct NoEffects;

impl EffectSink for NoEffects {
    fn apply(&self, _: Effect) {}
}

impl TestDomain {
    pub fn new() -> Self {
        Self::with_config(Config::default())
    }

    pub fn with_config(config: Config) -> Self {
        let clock = Clock::manual(Timestamp::from_secs(1_700_000_000));
        let effects = Arc::new(Collector::default());
        let store = Arc::new(MemoryStore::new());
        let service =
            Service::new(store.clone(), clock.clone(), Arc::new(config), SealKey::ephemeral(), effects.clone());
        Self { service: Arc::new(service), store, clock, effects }
    }

    pub async fn run<O: Operation>(&self, operation: &O) -> Result<O::Output, DomainError> {
        self.service.run(operation).await
    }

    /// Writes a row directly.
    pub async fn put<K, V>(&self, table: &Table<K, V>, key: &K, value: &V)
    where
        K: TableKey + Sync,
        V: TableValue + Sync,
    {
        self.run(&Put { table, key, value }).await.unwrap();
    }

    /// Reads a row directly.
    pub fn get<K, V>(&self, table: &Table<K, V>, key: &K) -> Option<V>
    where
        K: TableKey + Sync,
        V: TableValue + Send,
    {
        self.service.read(&Get { table, key }).unwrap()
    }

    /// The effects since the last call.
    pub fn take_effects(&self) -> Vec<Effect> {
        std::mem::take(&mut *self.effects.0.lock())
    }
}

struct Put<'a, K, V> {
    table: &'a Table<K, V>,
    key: &'a K,
    value: &'a V,
}

impl<K: TableKey + Sync, V: TableValue + Sync> Operation for Put<'_, K, V> {
    type Output = ();
    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        Ok(tx.put(self.table, self.key, self.value)?)
    }
}

struct Get<'a, K, V> {
    table: &'a Table<K, V>,
    key: &'a K,
}

impl<K: TableKey + Sync, V: TableValue + Send> Operation for Get<'_, K, V> {
    type Output = Option<V>;
    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<V>, DomainError> {
        Ok(tx.get(self.table, self.key)?)
    }
}

/// An id of one repeated byte.
pub fn id<I: Id>(byte: u8) -> I {
    I::from_bytes([byte; 16])
}

/// An active top-level client of a network.
pub fn client_record(network: u8) -> ClientRecord {
    ClientRecord {
        network_id: id::<NetworkId>(network),
        device_id: id::<DeviceId>(network),
        source_client_id: None,
        description: String::new(),
        create_time: Timestamp::ZERO,
        auth_time: Timestamp::ZERO,
        seen_time: Timestamp::ZERO,
        active: true,
        deactivate_time: None,
        roles: Vec::new(),
        principal: String::new(),
    }
}
