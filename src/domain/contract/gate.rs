//! Which clients may exchange frames now: the relay's view of the open contracts.
//!
//! The ledger publishes and withdraws contracts here before it answers; the relay looks up once per flow and then asks
//! the flow's [`PairTraffic`] alone. Nothing here waits: lookups take one shard of a concurrent map, the rest is atomics.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;

use crate::ids::ClientId;
use crate::time::Timestamp;

/// The open contracts by ordered pair.
#[derive(Debug)]
pub struct Gate {
    pairs: DashMap<(ClientId, ClientId), Arc<PairTraffic>>,
    linger: Duration,
}

/// What flows from one client to another: counted by the relay, read by the ledger. One per ordered pair; both
/// directions share what makes them live.
#[derive(Debug)]
pub struct PairTraffic {
    bytes: AtomicU64,
    last_frame: AtomicU64,
    pair: Arc<Pair>,
}

/// What both directions of a pair share.
#[derive(Debug)]
struct Pair {
    /// Open contracts that no party has voted on, in either direction.
    voteless: AtomicU32,
    /// Open contracts in either direction.
    open: AtomicU32,
    /// Unix milliseconds of the last close.
    closed_at: AtomicU64,
    linger: Duration,
}

impl Gate {
    /// A gate that admits nobody yet; `linger` is how long a pair stays live after its last contract has closed.
    pub fn new(linger: Duration) -> Self {
        Self { pairs: DashMap::new(), linger }
    }

    /// Asks whether a flow from `source` to `destination` may begin: yes while a contract between the two, in either
    /// direction, is open and nobody has voted on it. The answer carries what the relay needs from then on.
    pub fn admit(&self, source: ClientId, destination: ClientId, _now: Timestamp) -> Option<Arc<PairTraffic>> {
        let traffic = self.pairs.get(&(source, destination))?;
        traffic.is_admitting().then(|| Arc::clone(&traffic))
    }

    /// Pairs known, both directions counted.
    pub fn pair_count(&self) -> usize {
        self.pairs.len()
    }

    /// With how many others each of some clients has an open contract, in either direction. Takes a look at every pair.
    pub fn partner_counts(&self, clients: &HashSet<ClientId>) -> HashMap<ClientId, usize> {
        let mut counts = HashMap::new();
        for entry in &self.pairs {
            let (_, client) = entry.key();
            if clients.contains(client) && entry.value().pair.open.load(Ordering::Relaxed) > 0 {
                *counts.entry(*client).or_default() += 1;
            }
        }
        counts
    }

    /// Publishes a contract; the direction's traffic is what [`PairTraffic::record_vote`] and
    /// [`PairTraffic::record_close`] take it back from.
    pub(super) fn publish(&self, source: ClientId, destination: ClientId, has_votes: bool) -> Arc<PairTraffic> {
        let traffic = self.traffic(source, destination);
        traffic.pair.open.fetch_add(1, Ordering::Relaxed);
        if !has_votes {
            traffic.pair.voteless.fetch_add(1, Ordering::Relaxed);
        }
        traffic
    }

    /// Keeps a pair live as if a contract had closed at `closed_at`: for contracts of before a restart.
    pub(super) fn publish_closed(&self, source: ClientId, destination: ClientId, closed_at: Timestamp) {
        let traffic = self.traffic(source, destination);
        traffic.pair.closed_at.fetch_max(closed_at.as_millis(), Ordering::Relaxed);
    }

    /// Forgets a pair, in both directions, once it is no longer live.
    pub(super) fn forget(&self, source: ClientId, destination: ClientId, now: Timestamp) {
        for key in [(source, destination), (destination, source)] {
            self.pairs.remove_if(&key, |_, traffic| !traffic.is_live(now));
        }
    }

    fn traffic(&self, source: ClientId, destination: ClientId) -> Arc<PairTraffic> {
        if let Some(traffic) = self.pairs.get(&(source, destination)) {
            return Arc::clone(&traffic);
        }
        let pair = Arc::new(Pair {
            voteless: AtomicU32::new(0),
            open: AtomicU32::new(0),
            closed_at: AtomicU64::new(0),
            linger: self.linger,
        });
        let one_way = || {
            let pair = Arc::clone(&pair);
            Arc::new(PairTraffic { bytes: AtomicU64::new(0), last_frame: AtomicU64::new(0), pair })
        };
        let traffic = one_way();
        self.pairs.insert((source, destination), Arc::clone(&traffic));
        self.pairs.insert((destination, source), one_way());
        traffic
    }
}

impl PairTraffic {
    /// Counts a relayed frame of `bytes`.
    #[inline]
    pub fn record(&self, bytes: usize, now: Timestamp) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last_frame.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Whether an admitted flow may go on: a contract of the pair is open, or was less than the linger ago. A flow
    /// that is refused here must ask [`Gate::admit`] again, since the pair may have been forgotten and made anew.
    #[inline]
    pub fn is_live(&self, now: Timestamp) -> bool {
        if self.pair.open.load(Ordering::Relaxed) > 0 {
            return true;
        }
        let closed_at = Timestamp::from_millis(self.pair.closed_at.load(Ordering::Relaxed));
        closed_at > Timestamp::ZERO && now.since(closed_at) < self.pair.linger
    }

    /// Bytes relayed in this direction since the pair became known.
    pub fn relayed_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When the last frame was relayed in this direction; the epoch when none was.
    pub fn last_frame(&self) -> Timestamp {
        Timestamp::from_millis(self.last_frame.load(Ordering::Relaxed))
    }

    /// Whether new flows may begin.
    fn is_admitting(&self) -> bool {
        self.pair.voteless.load(Ordering::Relaxed) > 0
    }

    /// A published contract got its first vote.
    pub(super) fn record_vote(&self) {
        self.pair.voteless.fetch_sub(1, Ordering::Relaxed);
    }

    /// A published contract is no longer open.
    pub(super) fn record_close(&self, had_votes: bool, now: Timestamp) {
        self.pair.closed_at.fetch_max(now.as_millis(), Ordering::Relaxed);
        if !had_votes {
            self.pair.voteless.fetch_sub(1, Ordering::Relaxed);
        }
        self.pair.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ClientId = ClientId::new([1; 16]);
    const B: ClientId = ClientId::new([2; 16]);

    fn gate() -> (Gate, Timestamp) {
        (Gate::new(Duration::from_secs(300)), Timestamp::from_secs(1_000_000))
    }

    #[test]
    fn a_contract_opens_both_directions_until_the_first_vote() {
        let (gate, now) = gate();
        assert!(gate.admit(A, B, now).is_none());
        let contract = gate.publish(A, B, false);
        let reply = gate.admit(B, A, now).unwrap();
        assert!(gate.admit(A, B, now).is_some());
        contract.record_vote();
        assert!(gate.admit(A, B, now).is_none() && gate.admit(B, A, now).is_none());
        assert!(reply.is_live(now), "an admitted flow goes on");
    }

    #[test]
    fn an_admitted_flow_outlives_its_contract_by_the_linger() {
        let (gate, now) = gate();
        gate.publish(A, B, false).record_close(false, now);
        let flow = gate.publish(A, B, false);
        flow.record_close(false, now);
        assert!(flow.is_live(now + Duration::from_secs(299)));
        assert!(!flow.is_live(now + Duration::from_secs(300)));
        gate.forget(A, B, now + Duration::from_secs(299));
        assert_eq!(gate.pair_count(), 2);
        gate.forget(A, B, now + Duration::from_secs(300));
        assert_eq!(gate.pair_count(), 0);
    }

    #[test]
    fn each_direction_counts_its_own_bytes() {
        let (gate, now) = gate();
        gate.publish(A, B, false);
        gate.admit(B, A, now).unwrap().record(1400, now);
        assert_eq!(gate.admit(B, A, now).unwrap().relayed_bytes(), 1400);
        assert_eq!(gate.admit(B, A, now).unwrap().last_frame(), now);
        assert_eq!(gate.admit(A, B, now).unwrap().relayed_bytes(), 0);
    }

    #[test]
    fn a_contract_from_before_a_restart_that_has_votes_admits_nobody() {
        let (gate, now) = gate();
        let contract = gate.publish(A, B, true);
        assert!(gate.admit(A, B, now).is_none());
        contract.record_close(true, now);
        assert!(!gate.pairs.get(&(A, B)).unwrap().is_admitting());
    }
}
