//! Counting the archive again, to prove that the days say what it says, or to make them.
//!
//! A day can be counted again while every contract closed on it or after it is in the archive. A contract that was made
//! on a day is closed on it or later, so one rule fits both. Open contracts are in no day and need no counting. The
//! ledger's own totals per network are compared too, for days that are over; they are never rewritten here.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::ops::{ControlFlow, RangeInclusive};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Stats;
use super::follow;
use super::record::{PEER_DAYS, PROVIDER_DAYS, TRANSFER_DAYS};
use super::rollup::{Rollup, Write, row};
use crate::domain::contract::record::{ARCHIVE_MARKS, ARCHIVE_START, ArchivePosition, Credit, NETWORK_DAYS, Settled};
use crate::domain::error::DomainError;
use crate::ids::NetworkId;
use crate::store::table::{Table, TableKey, TableValue};
use crate::store::{Store, StoreError};
use crate::time::Timestamp;

/// Differences that are told; all are counted.
pub const MAX_TOLD: usize = 100;

/// How long after midnight a day of the ledger may still change: what was decided before it is written after it.
const SETTLING: Duration = Duration::from_secs(600);

/// Rows read or written at once.
const PAGE: usize = 1024;

/// What a recount found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recount {
    /// The first day counted, `YYYY-MM-DD`; days before it are no longer complete in the archive.
    pub first_day: String,
    /// The last one.
    pub last_day: String,
    /// Contracts in the archive.
    pub contract_count: u64,
    /// Rows that were compared.
    pub row_count: u64,
    /// Rows that say something else than the archive.
    pub difference_count: u64,
    /// Of these, those that were rewritten.
    pub fixed_count: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
}

/// A row that says something else than the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// The row.
    pub key: String,
    /// What it says; empty when there is none.
    pub stored: String,
    /// What the archive says; empty when it knows nothing of it.
    pub counted: String,
}

impl Stats {
    /// Counts every day again that is complete in the archive, compares, and rewrites what differs if told to. Nothing
    /// is counted meanwhile and answers wait.
    pub async fn recount(&self, fix: bool) -> Result<Recount, DomainError> {
        let mut counted = self.counted.write().await;
        while self.follow(&mut counted).await? {}
        let now = self.now();
        // The archive grows on; what comes behind this place is in no day yet.
        let (end, _) = self.blocking(follow::counted_up_to).await?;
        let (days, contract_count) = self.blocking(move |store| countable_days(store, end, now)).await?;
        let mut recount = Recount {
            first_day: Timestamp::of_day(*days.start()).to_date(),
            last_day: Timestamp::of_day(*days.end()).to_date(),
            contract_count,
            ..Recount::default()
        };
        for day in days {
            let is_over = day < now.before(SETTLING).day_number();
            let found = self.blocking(move |store| compare_day(store, day, end, is_over)).await?;
            recount.row_count += found.row_count;
            recount.difference_count += found.difference_count;
            let room = MAX_TOLD - recount.differences.len();
            recount.differences.extend(found.differences.into_iter().take(room));
            if fix {
                recount.fixed_count += found.writes.len() as u64;
                for writes in found.writes.chunks(PAGE) {
                    self.commit(writes.to_vec()).await?;
                }
            }
        }
        Ok(recount)
    }
}

/// The days that the archive still tells everything about, and how many contracts it holds.
fn countable_days(
    store: &dyn Store,
    end: Option<ArchivePosition>,
    now: Timestamp,
) -> Result<(RangeInclusive<u32>, u64), StoreError> {
    let (mut first, mut last, mut contracts) = (now.day_number(), now.day_number(), 0);
    each_between(store, None, end, |settled| {
        first = first.min(settled.contract.create_time.day_number());
        last = last.max(settled.close_time.day_number());
        contracts += 1;
    })?;
    for prefix in [PROVIDER_DAYS.prefix(&()), PEER_DAYS.prefix(&()), TRANSFER_DAYS.prefix(&())] {
        // All three begin with the day.
        if let Some((key, _)) = store.scan(&prefix, None, 1)?.first() {
            first = first.min(<(u32, ())>::decode_from(&mut &key[2..]).map_or(first, |(day, ())| day));
        }
    }
    let start = ARCHIVE_MARKS.get(store, &ARCHIVE_START)?.map_or(0, |start| start.hour.div_ceil(24));
    let first = first.max(start);
    Ok((first..=last.max(first), contracts))
}

/// What one day's comparison found.
#[derive(Default)]
struct Found {
    row_count: u64,
    difference_count: u64,
    differences: Vec<Difference>,
    writes: Vec<Write>,
}

/// Shows every contract between two places of the archive, the last one included.
fn each_between(
    store: &dyn Store,
    after: Option<ArchivePosition>,
    end: Option<ArchivePosition>,
    mut see: impl FnMut(&Settled),
) -> Result<(), StoreError> {
    follow::each_after(store, after, |at, contracts| {
        if Some(at) > end {
            return ControlFlow::Break(());
        }
        contracts.iter().for_each(&mut see);
        ControlFlow::Continue(())
    })
}

fn compare_day(store: &dyn Store, day: u32, end: Option<ArchivePosition>, is_over: bool) -> Result<Found, StoreError> {
    let (mut rollup, mut networks) = (Rollup::default(), HashMap::new());
    // Whatever concerns the day was archived on it or later.
    let day_start = ArchivePosition { hour: day * 24, sequence: 0 };
    each_between(store, Some(day_start), end, |settled| {
        rollup.add_on(settled, |of| of == day);
        if settled.close_time.day_number() == day {
            add_credits(&mut networks, settled);
        }
    })?;
    let mut found = Found::default();
    found.compare(store, &PROVIDER_DAYS, day, rollup.provider_days(), true)?;
    found.compare(store, &TRANSFER_DAYS, day, rollup.transfers, true)?;
    found.compare(store, &PEER_DAYS, day, rollup.peers, true)?;
    if is_over {
        let networks = networks.into_iter().map(|(network, credit)| ((day, network), credit)).collect();
        found.compare(store, &NETWORK_DAYS, day, networks, false)?;
    }
    Ok(found)
}

impl Found {
    /// Compares the rows of a day with what they should be.
    fn compare<K, V>(
        &mut self,
        store: &dyn Store,
        table: &'static Table<K, V>,
        day: u32,
        mut counted: HashMap<K, V>,
        may_fix: bool,
    ) -> Result<(), StoreError>
    where
        K: TableKey + Debug + Eq + Hash,
        V: TableValue + Debug + PartialEq,
    {
        table.each(store, &table.prefix(&day), None, PAGE, |key, stored| {
            let is = counted.remove(&key);
            self.row_count += 1;
            if is.as_ref() != Some(&stored) {
                self.differs(table, &key, Some(&stored), is.as_ref(), may_fix);
            }
            ControlFlow::Continue(())
        })?;
        self.row_count += counted.len() as u64;
        counted.iter().for_each(|(key, is)| self.differs(table, key, None, Some(is), may_fix));
        Ok(())
    }

    fn differs<K: TableKey + Debug, V: TableValue + Debug>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        stored: Option<&V>,
        counted: Option<&V>,
        may_fix: bool,
    ) {
        self.difference_count += 1;
        if self.differences.len() < MAX_TOLD {
            let text = |value: Option<&V>| value.map(|value| format!("{value:?}")).unwrap_or_default();
            let (stored, counted) = (text(stored), text(counted));
            self.differences.push(Difference { table: table.name.into(), key: format!("{key:?}"), stored, counted });
        }
        if may_fix {
            self.writes.push(match counted {
                Some(value) => row(table, key, value),
                None => (table.key(key), None),
            });
        }
    }
}

/// What the ledger does to the totals of its networks when a contract is settled.
fn add_credits(networks: &mut HashMap<NetworkId, Credit>, settled: &Settled) {
    let Some(payer) = settled.contract.payer.filter(|_| settled.used_bytes > 0) else { return };
    networks.entry(payer).or_default().used_bytes += settled.used_bytes;
    let payee = networks.entry(settled.contract.payee()).or_default();
    payee.provided_bytes += settled.used_bytes;
    payee.provided_revenue += settled.payouts.iter().map(|payout| payout.revenue).sum::<i64>();
    payee.provided_contracts += 1;
}

#[cfg(test)]
mod tests {
    use super::super::tests::{World, contract, settled};
    use super::*;
    use crate::domain::testing::id;

    #[tokio::test]
    async fn what_is_archived_meanwhile_is_no_difference() {
        let mut world = World::new();
        for number in 1..=3 {
            let contract = contract(1, 2, Some(1), world.now());
            let settled = settled(id(number), contract, world.now(), 1000, 0);
            world.archive(vec![settled]).await;
            if number == 2 {
                world.stats.flush().await.unwrap();
            }
        }
        let (end, _) = follow::counted_up_to(world.store()).unwrap();
        let (days, contracts) = countable_days(world.store(), end, world.now()).unwrap();
        assert_eq!(contracts, 2);
        for day in days {
            let found = compare_day(world.store(), day, end, false).unwrap();
            assert_eq!((found.difference_count, found.row_count), (0, 3));
        }
    }
}
