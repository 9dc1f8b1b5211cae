//! What each network's providers did, by quarters of an hour, kept for a week: what their owners look at.

use super::reliability::NetworkBucket;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::NetworkId;
use crate::store::StoreError;
use crate::store::table::{Table, TableValue};

/// The buckets of each network, a day in a row.
pub const NETWORK_RELIABILITY: Table<(NetworkId, u32), BucketDay> = Table::new(112, "network_reliability");

/// Seconds of a bucket.
pub const BUCKET_SECS: u64 = 900;

/// Buckets of the window that is shown.
pub const WINDOW_BUCKETS: u32 = 7 * BUCKETS_PER_DAY;

const BUCKETS_PER_DAY: u32 = 96;

/// Days that the window may touch.
const DAYS: u32 = 8;

const FORMAT: u8 = 1;

/// Bytes of an entry: the bucket of the day, the weight, two counts.
const ENTRY_BYTES: usize = 13;

/// The buckets of a day, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BucketDay(Vec<DayEntry>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct DayEntry {
    bucket_of_day: u8,
    weight: f32,
    valid_count: u32,
    total_count: u32,
}

impl TableValue for BucketDay {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        for entry in &self.0 {
            out.push(entry.bucket_of_day);
            out.extend(entry.weight.to_be_bytes());
            out.extend(entry.valid_count.to_be_bytes());
            out.extend(entry.total_count.to_be_bytes());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&FORMAT, rest) = bytes.split_first()? else { return None };
        let (entries, []) = rest.as_chunks::<ENTRY_BYTES>() else { return None };
        let entry = |bytes: &[u8; ENTRY_BYTES]| {
            let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            DayEntry {
                bucket_of_day: bytes[0],
                weight: f32::from_be_bytes(word(1)),
                valid_count: u32::from_be_bytes(word(5)),
                total_count: u32::from_be_bytes(word(9)),
            }
        };
        Some(Self(entries.iter().map(entry).collect()))
    }
}

/// Writes buckets that have ended, and lets go of those that have left the window.
#[derive(Debug)]
pub struct WriteBuckets<'b>(pub &'b [NetworkBucket]);

impl Operation for WriteBuckets<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        for bucket in self.0 {
            let (day, bucket_of_day) = (bucket.bucket / BUCKETS_PER_DAY, (bucket.bucket % BUCKETS_PER_DAY) as u8);
            let key = (bucket.network_id, day);
            let mut row = match tx.get(&NETWORK_RELIABILITY, &key)? {
                Some(row) => row,
                None => {
                    // A new day: as many old ones as may have been left while the server was down.
                    for old in day.saturating_sub(2 * DAYS)..=day.saturating_sub(DAYS) {
                        tx.delete(&NETWORK_RELIABILITY, &(bucket.network_id, old))?;
                    }
                    BucketDay::default()
                }
            };
            row.0.retain(|entry| entry.bucket_of_day != bucket_of_day);
            row.0.push(DayEntry {
                bucket_of_day,
                weight: bucket.weight,
                valid_count: bucket.valid_count,
                total_count: bucket.total_count,
            });
            row.0.sort_by_key(|entry| entry.bucket_of_day);
            tx.put(&NETWORK_RELIABILITY, &key, &row)?;
        }
        Ok(())
    }
}

/// Reads the buckets of a network over the last week, the running one left out; those without providers are missing.
#[derive(Clone, Copy, Debug)]
pub struct ReadBuckets(
    /// The network.
    pub NetworkId,
);

impl Operation for ReadBuckets {
    type Output = Vec<NetworkBucket>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<NetworkBucket>, DomainError> {
        let running = (tx.now.as_secs() / BUCKET_SECS) as u32;
        let first = running.saturating_sub(WINDOW_BUCKETS);
        let mut buckets = Vec::new();
        for day in first / BUCKETS_PER_DAY..=running / BUCKETS_PER_DAY {
            let Some(row) = tx.get(&NETWORK_RELIABILITY, &(self.0, day))? else { continue };
            buckets.extend(row.0.into_iter().map(|entry| NetworkBucket {
                network_id: self.0,
                bucket: day * BUCKETS_PER_DAY + u32::from(entry.bucket_of_day),
                weight: entry.weight,
                valid_count: entry.valid_count,
                total_count: entry.total_count,
            }));
        }
        buckets.retain(|bucket| (first..running).contains(&bucket.bucket));
        Ok(buckets)
    }
}

/// Forgets the buckets of a network that is removed.
pub fn remove_all(tx: &mut Tx<'_>, network_id: NetworkId) -> Result<(), StoreError> {
    let today = tx.now.day_number();
    for day in today.saturating_sub(2 * DAYS)..=today {
        tx.delete(&NETWORK_RELIABILITY, &(network_id, day))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::testing::{TestDomain, id};
    use crate::time::DAY;

    fn bucket(number: u32) -> NetworkBucket {
        NetworkBucket { network_id: id(1), bucket: number, weight: 1.5, valid_count: 2, total_count: 3 }
    }

    fn running(domain: &TestDomain) -> u32 {
        (domain.clock.now().as_secs() / BUCKET_SECS) as u32
    }

    #[tokio::test]
    async fn the_window_holds_a_week_of_ended_buckets() {
        let domain = TestDomain::new();
        let first = running(&domain);
        domain.run(&WriteBuckets(&[bucket(first)])).await.unwrap();
        assert!(domain.service.read(&ReadBuckets(id(1))).unwrap().is_empty(), "it is still running");
        domain.clock.advance(Duration::from_secs(BUCKET_SECS));
        domain.run(&WriteBuckets(&[bucket(first), bucket(first - 1)])).await.unwrap();
        assert_eq!(domain.service.read(&ReadBuckets(id(1))).unwrap(), [bucket(first - 1), bucket(first)]);
        assert!(domain.service.read(&ReadBuckets(id(2))).unwrap().is_empty());
        domain.clock.advance(DAY * 7);
        assert!(domain.service.read(&ReadBuckets(id(1))).unwrap().is_empty());
    }

    #[tokio::test]
    async fn old_days_leave_the_store() {
        let domain = TestDomain::new();
        let first = running(&domain);
        let day = first / BUCKETS_PER_DAY;
        domain.run(&WriteBuckets(&[bucket(first)])).await.unwrap();
        for later in 1..DAYS {
            domain.run(&WriteBuckets(&[bucket(first + later * BUCKETS_PER_DAY)])).await.unwrap();
            assert!(domain.get(&NETWORK_RELIABILITY, &(id(1), day)).is_some());
        }
        domain.run(&WriteBuckets(&[bucket(first + DAYS * BUCKETS_PER_DAY)])).await.unwrap();
        assert!(domain.get(&NETWORK_RELIABILITY, &(id(1), day)).is_none());
    }

    #[test]
    fn a_day_survives_the_store() {
        let entry = DayEntry { bucket_of_day: 95, weight: 0.25, valid_count: 7, total_count: u32::MAX };
        let day = BucketDay(vec![entry, entry]);
        let bytes = day.encode();
        assert_eq!(BucketDay::decode(&bytes), Some(day));
        assert_eq!(BucketDay::decode(&bytes[..bytes.len() - 1]), None);
    }
}
