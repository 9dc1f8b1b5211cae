//! How many transports one address bucket may hold at once. Loopback is exempt.

use std::net::IpAddr;
use std::sync::Arc;

use dashmap::DashMap;

use crate::domain::address_bucket::AddressBucket;

/// Counts of open transports by address bucket.
#[derive(Debug)]
pub struct AddressLimit {
    limit: usize,
    open: DashMap<AddressBucket, usize>,
}

/// One counted transport; its drop takes it off the count.
#[derive(Debug)]
pub struct AddressPermit {
    limit: Arc<AddressLimit>,
    bucket: Option<AddressBucket>,
}

impl AddressLimit {
    /// At most `limit` transports per bucket; 0 for no limit.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, open: DashMap::new() })
    }

    /// Counts one more transport from `address`; none when the bucket is full.
    pub fn try_acquire(self: &Arc<Self>, address: IpAddr) -> Option<AddressPermit> {
        if self.limit == 0 || address.to_canonical().is_loopback() {
            return Some(AddressPermit { limit: Arc::clone(self), bucket: None });
        }
        let bucket = AddressBucket::of(address);
        let mut open = self.open.entry(bucket).or_default();
        if *open >= self.limit {
            return None;
        }
        *open += 1;
        drop(open);
        Some(AddressPermit { limit: Arc::clone(self), bucket: Some(bucket) })
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        if let Some(bucket) = self.bucket {
            self.limit.open.remove_if_mut(&bucket, |_, open| {
                *open = open.saturating_sub(1);
                *open == 0
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_full_until_a_permit_is_dropped_and_loopback_never_is() {
        let limit = AddressLimit::new(2);
        let acquire = |text: &str| limit.try_acquire(text.parse().unwrap());
        let permits = [acquire("203.0.113.1"), acquire("203.0.113.2")];
        assert!(permits.iter().all(Option::is_some));
        assert!(acquire("203.0.113.3").is_none());
        assert!(acquire("203.0.113.9").is_some());
        let local: Vec<_> = (0..5).map(|_| acquire("127.0.0.1")).collect();
        assert!(local.iter().all(Option::is_some));
        drop(permits);
        assert!(acquire("203.0.113.3").is_some());
        assert!(limit.open.is_empty());
    }
}
