//! Keeps what is known of providers' reliability across a restart.
//!
//! Written once an hour and when the server stops, in a few hundred rows of many providers each: 136 bytes a provider.
//! After a crash the minutes since the last writing count for nobody; neither do those in which the server was down.

use std::collections::HashMap;

use super::history::{Blocks, LONGEST};
use super::index::ProviderIndex;
use super::reliability::{Record, TRACKED_MAX, Watch, block_of};
use crate::domain::address_bucket::AddressBucket;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{ClientId, Id, NetworkId};
use crate::store::table::{Table, TableValue};
use crate::time::Timestamp;

/// The histories of the providers whose id ends in this byte.
pub const PROVIDER_HISTORIES: Table<u8, Histories> = Table::new(113, "provider_histories");

/// Which minutes count, and up to when that is known.
pub const WATCHED_BLOCKS: Table<(), WatchedBlocks> = Table::new(114, "watched_blocks");

/// Blocks between two writings.
const PERIOD: u32 = 60;

const FORMAT: u8 = 1;

/// Bytes of one provider: two ids, two blocks, the good ones.
const RECORD_BYTES: usize = 136;

/// Histories of some providers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histories(Vec<History>);

#[derive(Clone, Debug, PartialEq)]
struct History {
    client_id: ClientId,
    network_id: NetworkId,
    first_block: u32,
    last_seen: u32,
    good: Blocks,
}

impl TableValue for Histories {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + self.0.len() * RECORD_BYTES);
        out.push(FORMAT);
        for history in &self.0 {
            out.extend(history.client_id.as_bytes());
            out.extend(history.network_id.as_bytes());
            out.extend(history.first_block.to_be_bytes());
            out.extend(history.last_seen.to_be_bytes());
            out.extend(history.good.to_bytes());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&FORMAT, rest) = bytes.split_first()? else { return None };
        let (records, []) = rest.as_chunks::<RECORD_BYTES>() else { return None };
        records.iter().map(|record| decode_history(record)).collect::<Option<_>>().map(Self)
    }
}

fn decode_history(bytes: &[u8]) -> Option<History> {
    let (client_id, bytes) = bytes.split_first_chunk::<16>()?;
    let (network_id, bytes) = bytes.split_first_chunk::<16>()?;
    let (first_block, bytes) = bytes.split_first_chunk::<4>()?;
    let (last_seen, good) = bytes.split_first_chunk::<4>()?;
    Some(History {
        client_id: ClientId::from_bytes(*client_id),
        network_id: NetworkId::from_bytes(*network_id),
        first_block: u32::from_be_bytes(*first_block),
        last_seen: u32::from_be_bytes(*last_seen),
        good: Blocks::from_bytes(good.try_into().ok()?),
    })
}

/// Which blocks count; those from `until` on are not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WatchedBlocks {
    until: u32,
    counted: Blocks,
}

impl TableValue for WatchedBlocks {
    fn encode(&self) -> Vec<u8> {
        [&[FORMAT][..], &self.until.to_be_bytes(), &self.counted.to_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&FORMAT, rest) = bytes.split_first()? else { return None };
        let (until, counted) = rest.split_first_chunk::<4>()?;
        Some(Self { until: u32::from_be_bytes(*until), counted: Blocks::from_bytes(counted.try_into().ok()?) })
    }
}

impl ProviderIndex {
    /// Writes the histories if it is time.
    pub(super) async fn save_if_due(&self) {
        let is_due = {
            let watch = self.watch.lock();
            watch.block >= watch.saved_block + PERIOD
        };
        if is_due {
            self.save().await;
        }
    }

    /// Writes the histories; call it when the server stops.
    pub async fn save(&self) {
        if let Err(error) = self.try_save().await {
            tracing::warn!(%error, "the reliability of providers could not be written; a restart forgets the last hour");
        }
    }

    async fn try_save(&self) -> Result<(), DomainError> {
        let (rows, watched) = {
            let mut watch = self.watch.lock();
            watch.saved_block = watch.block;
            (rows(&watch), WatchedBlocks { until: watch.block, counted: watch.counted })
        };
        for (number, histories) in rows {
            self.service.run(&WriteHistories(number, histories)).await?;
        }
        // Last, so that no block counts whose bits are not written.
        self.service.run(&WriteWatched(watched)).await
    }

    /// Reads back what a server before this one wrote.
    pub fn restore(&self) -> Result<(), DomainError> {
        let now = self.now();
        let Some((watched, histories)) = self.service.read(&ReadHistories)? else { return Ok(()) };
        self.watch.lock().restore(watched, histories, now);
        Ok(())
    }
}

fn rows(watch: &Watch) -> Vec<(u8, Histories)> {
    let mut rows: HashMap<u8, Histories> = (0..=u8::MAX).map(|number| (number, Histories::default())).collect();
    for (client_id, record) in &watch.records {
        rows.entry(client_id.as_bytes()[15]).or_default().0.push(History {
            client_id: *client_id,
            network_id: record.network_id,
            first_block: record.first_block,
            last_seen: record.last_seen,
            good: record.good,
        });
    }
    rows.into_iter().collect()
}

impl Watch {
    fn restore(&mut self, watched: WatchedBlocks, histories: Vec<History>, now: Timestamp) {
        let block = block_of(now);
        self.counted = watched.counted;
        for unknown in (watched.until..=block).rev().take(LONGEST as usize + 1) {
            self.counted.set(unknown, false);
        }
        for history in histories {
            let is_recent = history.last_seen <= block && history.last_seen + LONGEST >= block;
            if is_recent && self.records.len() < TRACKED_MAX {
                // The address is not written; the next sighting brings it.
                let mut record =
                    Record::new(history.network_id, AddressBucket::default(), history.first_block, history.last_seen);
                record.good = history.good;
                self.records.insert(history.client_id, record);
            }
        }
    }
}

struct WriteHistories(u8, Histories);

impl Operation for WriteHistories {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        if self.1.0.is_empty() {
            if tx.get(&PROVIDER_HISTORIES, &self.0)?.is_some() {
                tx.delete(&PROVIDER_HISTORIES, &self.0)?;
            }
            return Ok(());
        }
        Ok(tx.put(&PROVIDER_HISTORIES, &self.0, &self.1)?)
    }
}

struct WriteWatched(WatchedBlocks);

impl Operation for WriteWatched {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        Ok(tx.put(&WATCHED_BLOCKS, &(), &self.0)?)
    }
}

struct ReadHistories;

impl Operation for ReadHistories {
    type Output = Option<(WatchedBlocks, Vec<History>)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let Some(watched) = tx.get(&WATCHED_BLOCKS, &())? else { return Ok(None) };
        let mut histories = Vec::new();
        for number in 0..=u8::MAX {
            histories.extend(tx.get(&PROVIDER_HISTORIES, &number)?.unwrap_or_default().0);
        }
        Ok(Some((watched, histories)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::domain::location::geoip::Geography;
    use crate::domain::presence::Presence;
    use crate::domain::provider::reliability::Sighting;
    use crate::domain::testing::{TestDomain, id};

    fn index(domain: &TestDomain) -> Arc<ProviderIndex> {
        let presence = Presence::new(domain.clock.clone());
        let geography = Geography::open(&domain.service.config().geoip).unwrap();
        ProviderIndex::new(Arc::clone(&domain.service), presence, geography)
    }

    /// Two samples of each block, in the last of which the provider is not there.
    fn watch(index: &ProviderIndex, domain: &TestDomain, blocks: u32) {
        for at in 0..2 * blocks {
            let mut watch = index.watch.lock();
            watch.advance(domain.clock.now(), &mut Vec::new());
            watch.watched();
            if at < 2 * (blocks - 1) {
                watch.seen(&Sighting {
                    client_id: id(1),
                    network_id: id(1),
                    bucket: AddressBucket::of([10, 0, 0, 1].into()),
                    last_message: domain.clock.now(),
                });
            }
            domain.clock.advance(Duration::from_secs(30));
        }
        index.watch.lock().advance(domain.clock.now(), &mut Vec::new());
    }

    #[tokio::test]
    async fn a_restart_keeps_what_is_known_and_the_time_between_does_not_count() {
        let domain = TestDomain::new();
        let before = index(&domain);
        watch(&before, &domain, 21);
        let shares = before.watch.lock().reliability(id(1)).shares;
        assert_eq!(shares[1], 19.0 / 20.0);
        before.save().await;
        domain.clock.advance(Duration::from_secs(3600));
        let after = index(&domain);
        assert_eq!(after.watch.lock().reliability(id(1)).shares, [1.0; 3]);
        after.restore().unwrap();
        let restored = after.watch.lock().reliability(id(1)).shares;
        assert_eq!((restored[1], restored[2]), (1.0, shares[2]), "the last hour was not watched");
    }

    #[tokio::test]
    async fn the_forgotten_leave_the_store() {
        let domain = TestDomain::new();
        let before = index(&domain);
        watch(&before, &domain, 2);
        before.save().await;
        assert_eq!(domain.get(&PROVIDER_HISTORIES, &1).unwrap().0.len(), 1);
        before.watch.lock().records.clear();
        before.save().await;
        assert_eq!(domain.get(&PROVIDER_HISTORIES, &1), None);
    }

    #[test]
    fn rows_survive_the_store() {
        let mut good = Blocks::default();
        good.set(77, true);
        let history = History { client_id: id(1), network_id: id(2), first_block: 3, last_seen: 4, good };
        let histories = Histories(vec![history.clone(), history]);
        let bytes = histories.encode();
        assert_eq!(bytes.len(), 1 + 2 * RECORD_BYTES);
        assert_eq!(Histories::decode(&bytes), Some(histories));
        assert_eq!(Histories::decode(&bytes[..50]), None);
        let watched = WatchedBlocks { until: 9, counted: good };
        assert_eq!(WatchedBlocks::decode(&watched.encode()), Some(watched));
    }
}
