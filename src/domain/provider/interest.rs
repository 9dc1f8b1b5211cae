//! How often each provider was offered, by the hour, until someone writes it down.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::ids::ClientId;
use crate::time::Timestamp;

/// Counters held at once; above it new ones are not begun until the others are taken.
const COUNTERS_MAX: usize = 1 << 17;

/// Hours since 1970.
pub type Hour = u32;

/// The counters of the hours that nobody has taken yet.
#[derive(Debug, Default)]
pub struct SearchInterest(Mutex<HashMap<(Hour, ClientId), u32>>);

impl SearchInterest {
    /// Counts one offer of each of these providers.
    pub fn record(&self, now: Timestamp, client_ids: impl Iterator<Item = ClientId>) {
        let hour: Hour = now.hour_number();
        let mut counters = self.0.lock();
        for client_id in client_ids {
            if counters.len() < COUNTERS_MAX || counters.contains_key(&(hour, client_id)) {
                *counters.entry((hour, client_id)).or_default() += 1;
            }
        }
    }

    /// Takes all counters, in no order.
    pub fn take(&self) -> Vec<((Hour, ClientId), u32)> {
        self.0.lock().drain().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::id;

    #[test]
    fn offers_are_counted_by_hour_until_taken() {
        let interest = SearchInterest::default();
        interest.record(Timestamp::from_secs(7199), [id(1), id(2)].into_iter());
        interest.record(Timestamp::from_secs(3600), [id(1)].into_iter());
        interest.record(Timestamp::from_secs(7200), [id(1)].into_iter());
        let mut counters = interest.take();
        counters.sort();
        assert_eq!(counters, [((1, id(1)), 2), ((1, id(2)), 1), ((2, id(1)), 1)]);
        assert!(interest.take().is_empty());
    }
}
