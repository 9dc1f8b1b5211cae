//! The balances of every network, and what open contracts reserve from them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::record::{Balance, BalanceKey};
use crate::ids::{BalanceId, NetworkId};
use crate::time::Timestamp;

/// How long a balance is kept after its end; longer while a contract reserves from it.
const KEPT_AFTER_END: Duration = Duration::from_secs(7 * 86_400);

/// When a balance that is still reserved after that is looked at again.
const KEPT_RESERVED: Duration = Duration::from_secs(3600);

/// A balance, and what open and disputed contracts reserve from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) balance: Balance,
    pub(super) reserved: i64,
}

impl Bucket {
    /// Bytes that can still be reserved.
    pub(super) fn available(&self) -> i64 {
        (self.balance.bytes - self.reserved).max(0)
    }
}

/// What a reservation took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reservation {
    /// Bytes per balance, in spend order, none of them 0.
    pub(super) escrow: Vec<(BalanceId, i64)>,
    /// Share of paid balances among them, 0 to 100.
    pub(super) priority: u32,
}

/// Every balance of every network.
#[derive(Debug, Default)]
pub(super) struct Balances {
    /// Sorted by network, then in spend order.
    buckets: BTreeMap<BalanceKey, Bucket>,
    keys: HashMap<BalanceId, BalanceKey>,
    /// When each balance may go.
    expiry: BTreeSet<(Timestamp, BalanceId)>,
}

impl Balances {
    /// Adds a balance with nothing reserved.
    pub(super) fn insert(&mut self, key: BalanceKey, balance: Balance) {
        self.keys.insert(key.balance_id, key);
        self.expiry.insert((key.end_time + KEPT_AFTER_END, key.balance_id));
        self.buckets.insert(key, Bucket { balance, reserved: 0 });
    }

    /// Where a balance stands.
    pub(super) fn key(&self, id: BalanceId) -> Option<BalanceKey> {
        self.keys.get(&id).copied()
    }

    /// A balance.
    pub(super) fn get(&self, key: &BalanceKey) -> Option<&Bucket> {
        self.buckets.get(key)
    }

    /// A balance by its id.
    pub(super) fn by_id(&mut self, id: BalanceId) -> Option<(BalanceKey, &mut Bucket)> {
        let key = *self.keys.get(&id)?;
        self.buckets.get_mut(&key).map(|bucket| (key, bucket))
    }

    /// The balances of a network that are usable now, in spend order.
    pub(super) fn usable(&self, network: NetworkId, now: Timestamp) -> impl Iterator<Item = (&BalanceKey, &Bucket)> {
        let (from, to) = usable_range(network, now);
        self.buckets.range(from..=to).filter(move |(key, _)| key.start_time <= now)
    }

    /// Whether the network has the Pro entitlement now.
    pub(super) fn is_pro(&self, network: NetworkId, now: Timestamp) -> bool {
        self.usable(network, now).any(|(_, bucket)| bucket.balance.is_pro)
    }

    /// Reserves `bytes` from the balances that end first, or nothing when they do not suffice.
    pub(super) fn reserve(&mut self, network: NetworkId, bytes: i64, now: Timestamp) -> Option<Reservation> {
        let mut missing = bytes;
        let mut taken = Vec::new();
        let mut paid = 0;
        for (key, bucket) in self.usable(network, now) {
            if missing == 0 {
                break;
            }
            let take = missing.min(bucket.available());
            if take > 0 {
                missing -= take;
                paid += u32::from(bucket.balance.is_paid());
                taken.push((*key, take));
            }
        }
        if missing > 0 {
            return None;
        }
        for (key, take) in &taken {
            if let Some(bucket) = self.buckets.get_mut(key) {
                bucket.reserved += take;
            }
        }
        let priority = (100 * paid).checked_div(taken.len() as u32).unwrap_or(0);
        let escrow = taken.into_iter().map(|(key, take)| (key.balance_id, take)).collect();
        Some(Reservation { escrow, priority })
    }

    /// Removes balances that ended long ago, at most `limit`; returns their keys.
    pub(super) fn remove_expired(&mut self, now: Timestamp, limit: usize) -> Vec<BalanceKey> {
        let mut removed = Vec::new();
        while removed.len() < limit
            && let Some(&(due, id)) = self.expiry.first()
            && due <= now
        {
            self.expiry.pop_first();
            let Some(key) = self.key(id) else { continue };
            if self.get(&key).is_some_and(|bucket| bucket.reserved > 0) {
                self.expiry.insert((now + KEPT_RESERVED, id));
                continue;
            }
            self.keys.remove(&id);
            self.buckets.remove(&key);
            removed.push(key);
        }
        removed
    }

    /// Moves the end of a balance, which also moves it in the order of spending; returns its old and new key.
    pub(super) fn end_at(&mut self, id: BalanceId, end_time: Timestamp) -> Option<(BalanceKey, BalanceKey)> {
        let old = *self.keys.get(&id)?;
        let bucket = self.buckets.remove(&old)?;
        let new = BalanceKey { end_time, ..old };
        self.buckets.insert(new, bucket);
        self.keys.insert(id, new);
        self.expiry.remove(&(old.end_time + KEPT_AFTER_END, id));
        self.expiry.insert((end_time + KEPT_AFTER_END, id));
        Some((old, new))
    }

    /// Every balance.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&BalanceKey, &Bucket)> {
        self.buckets.iter()
    }
}

/// Keys of a network whose end is after `now`: a balance is not usable at its end.
fn usable_range(network_id: NetworkId, now: Timestamp) -> (BalanceKey, BalanceKey) {
    let from = BalanceKey {
        network_id,
        end_time: now + Duration::from_millis(1),
        start_time: Timestamp::ZERO,
        balance_id: BalanceId::new([0; 16]),
    };
    let to = BalanceKey {
        network_id,
        end_time: Timestamp::from_millis(u64::MAX),
        start_time: Timestamp::from_millis(u64::MAX),
        balance_id: BalanceId::new([0xff; 16]),
    };
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: NetworkId = NetworkId::new([1; 16]);

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn key(id: u8, start: u64, end: u64) -> BalanceKey {
        BalanceKey {
            network_id: NETWORK,
            end_time: at(end),
            start_time: at(start),
            balance_id: BalanceId::new([id; 16]),
        }
    }

    fn bytes(bytes: i64, net_revenue: i64) -> Balance {
        Balance { start_bytes: bytes, bytes, net_revenue, ..Balance::default() }
    }

    #[test]
    fn what_ends_first_is_spent_first_and_zero_takes_do_not_count() {
        let mut balances = Balances::default();
        balances.insert(key(1, 0, 300), bytes(100, 9));
        balances.insert(key(2, 0, 100), bytes(50, 0));
        balances.insert(key(3, 0, 50), bytes(0, 9));
        let reservation = balances.reserve(NETWORK, 60, at(10)).unwrap();
        assert_eq!(reservation.escrow, [(BalanceId::new([2; 16]), 50), (BalanceId::new([1; 16]), 10)]);
        assert_eq!(reservation.priority, 50);
        assert_eq!(balances.reserve(NETWORK, 90, at(10)).unwrap().priority, 100);
        assert_eq!(balances.reserve(NETWORK, 1, at(10)), None);
    }

    #[test]
    fn a_short_balance_reserves_nothing() {
        let mut balances = Balances::default();
        balances.insert(key(1, 0, 300), bytes(100, 0));
        assert_eq!(balances.reserve(NETWORK, 101, at(10)), None);
        assert_eq!(balances.reserve(NETWORK, 100, at(10)).unwrap().priority, 0);
    }

    #[test]
    fn a_balance_is_usable_at_its_start_and_not_at_its_end() {
        let mut balances = Balances::default();
        balances.insert(key(1, 10, 20), bytes(100, 0));
        for (now, is_usable) in [(9, false), (10, true), (19, true), (20, false)] {
            assert_eq!(balances.usable(NETWORK, at(now)).count() == 1, is_usable, "{now}");
        }
    }

    #[test]
    fn an_old_balance_goes_unless_something_is_reserved_from_it() {
        let mut balances = Balances::default();
        balances.insert(key(1, 0, 10), bytes(100, 0));
        balances.insert(key(2, 0, 11), bytes(100, 0));
        balances.reserve(NETWORK, 150, at(5)).unwrap();
        balances.by_id(BalanceId::new([1; 16])).unwrap().1.reserved = 0;
        let later = at(11) + KEPT_AFTER_END;
        assert_eq!(balances.remove_expired(at(9) + KEPT_AFTER_END, 10), []);
        assert_eq!(balances.remove_expired(later, 10), [key(1, 0, 10)]);
        balances.by_id(BalanceId::new([2; 16])).unwrap().1.reserved = 0;
        assert_eq!(balances.remove_expired(later + KEPT_RESERVED, 10), [key(2, 0, 11)]);
        assert!(balances.buckets.is_empty() && balances.keys.is_empty());
    }
}
