//! Stand-ins for the ports, for the tests of this folder.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::ports::{ContractGate, Traffic};
use crate::ids::ClientId;
use crate::time::Timestamp;

/// A gate that a test opens and closes.
#[derive(Clone, Default)]
pub struct TestGate {
    pairs: Arc<Mutex<HashMap<(ClientId, ClientId), Arc<TestTraffic>>>>,
}

/// One pair of a [`TestGate`].
#[derive(Default)]
pub struct TestTraffic {
    is_open: AtomicBool,
    is_voted: AtomicBool,
    last_frame: AtomicU64,
    bytes: AtomicU64,
}

impl TestGate {
    fn pair(&self, source: ClientId, destination: ClientId) -> Arc<TestTraffic> {
        Arc::clone(self.pairs.lock().entry((source, destination)).or_default())
    }

    pub fn open(&self, source: ClientId, destination: ClientId) {
        self.pair(source, destination).is_open.store(true, Ordering::Relaxed);
    }

    /// What a checkpoint does: flows go on, new ones may not begin.
    pub fn vote(&self, source: ClientId, destination: ClientId) {
        self.pair(source, destination).is_voted.store(true, Ordering::Relaxed);
    }

    pub fn close(&self, source: ClientId, destination: ClientId) {
        self.pair(source, destination).is_open.store(false, Ordering::Relaxed);
    }

    pub fn bytes(&self, source: ClientId, destination: ClientId) -> u64 {
        self.pair(source, destination).bytes.load(Ordering::Relaxed)
    }
}

impl ContractGate for TestGate {
    fn admit(&self, source: ClientId, destination: ClientId, now: Timestamp) -> Option<Arc<dyn Traffic>> {
        let traffic = self.pair(source, destination);
        (traffic.is_live(now) && !traffic.is_voted.load(Ordering::Relaxed)).then_some(traffic as Arc<dyn Traffic>)
    }
}

impl Traffic for TestTraffic {
    fn record(&self, bytes: usize, now: Timestamp) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last_frame.store(now.as_millis(), Ordering::Relaxed);
    }

    fn is_live(&self, _now: Timestamp) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    fn last_frame(&self) -> Timestamp {
        Timestamp::from_millis(self.last_frame.load(Ordering::Relaxed))
    }
}
