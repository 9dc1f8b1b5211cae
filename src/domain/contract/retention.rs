//! Deletes what nobody may ask for any more: archived contracts and daily totals. Runs beside the ledger's writing
//! task, on rows that it only ever adds, and in small commits.

use std::sync::Arc;
use std::time::Duration;

use super::changes::hour;
use super::record::{ARCHIVE, ARCHIVE_MARKS, ARCHIVE_START, ArchivePosition, COUNTED_UP_TO, NETWORK_DAYS};
use crate::store::table::{Table, TableKey, TableValue};
use crate::store::{Commit, Store, StoreError};
use crate::time::{Clock, DAY, Timestamp};

/// How often old rows are looked for.
const EVERY: Duration = Duration::from_secs(3600);

/// Days whose totals are kept: the statistics reach back a year and a month.
const TOTALS_DAYS: u32 = 400;

/// Archive rows deleted at once; each may be tens of kilobytes long, and a scan reads them.
const ARCHIVE_ROWS: usize = 32;

/// Daily rows deleted at once.
const DAY_ROWS: usize = 1000;

/// Deletes old rows for as long as it is polled.
pub(super) async fn run(store: Arc<dyn Store>, clock: Clock, archive_days: u32) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = delete_old(&store, clock.now(), archive_days).await {
            tracing::warn!(%error, "old contracts cannot be deleted");
        }
    }
}

/// Deletes every row that is older than it may be.
pub(super) async fn delete_old(store: &Arc<dyn Store>, now: Timestamp, archive_days: u32) -> Result<(), StoreError> {
    let first_hour = move_archive_start(store, hour(now.before(DAY * archive_days))).await?;
    delete_before(store, &ARCHIVE, ARCHIVE_ROWS, move |(at, _)| *at < first_hour).await?;
    let first_day = now.before(DAY * TOTALS_DAYS).day_number();
    delete_before(store, &NETWORK_DAYS, DAY_ROWS, move |(day, _)| *day < first_day).await
}

/// Says where the archive will begin, before anything is deleted: not behind what the statistics have still to count,
/// and never earlier than said before.
async fn move_archive_start(store: &Arc<dyn Store>, wanted: u32) -> Result<u32, StoreError> {
    let mark = |mark| ARCHIVE_MARKS.get(&**store, &mark);
    let before = mark(ARCHIVE_START)?.map_or(0, |start| start.hour);
    let hour = mark(COUNTED_UP_TO)?.map_or(wanted, |counted| wanted.min(counted.hour)).max(before);
    if hour > before {
        let start = ArchivePosition { hour, sequence: 0 }.encode().into();
        let writes = vec![(ARCHIVE_MARKS.key(&ARCHIVE_START), Some(start))];
        store.commit(Commit { reads: Vec::new(), writes }).await?;
    }
    Ok(hour)
}

/// Deletes the leading rows of a table whose key `is_old`, `page` at a time.
pub(in crate::domain) async fn delete_before<K: TableKey, V: TableValue>(
    store: &Arc<dyn Store>,
    table: &'static Table<K, V>,
    page: usize,
    is_old: impl Fn(&K) -> bool,
) -> Result<(), StoreError> {
    loop {
        let (from, prefix) = (Arc::clone(store), table.prefix(&()));
        let scan = tokio::task::spawn_blocking(move || from.scan(&prefix, None, page));
        let rows = scan.await.map_err(|error| StoreError::Failed(error.to_string()))??;
        let found = rows.len();
        let mut writes = Vec::new();
        for (key, _) in rows {
            if is_old(&table.decode_key(&key)?) {
                writes.push((key, None));
            }
        }
        let is_last = writes.len() < found || found < page;
        if !writes.is_empty() {
            store.commit(Commit { reads: Vec::new(), writes }).await?;
        }
        if is_last {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{ArchiveBlob, Credit};
    use super::*;
    use crate::ids::NetworkId;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn old_archives_and_totals_go_and_the_rest_stays() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let now = Timestamp::from_secs(500 * 86_400);
        let mut writes = Vec::new();
        for age_hours in 0..300u64 {
            let at = now.before(Duration::from_secs(3600 * age_hours));
            writes.push((ARCHIVE.key(&(hour(at), age_hours)), Some(ArchiveBlob::default().encode().into())));
        }
        for age_days in 0..450u32 {
            let key = (now.day_number() - age_days, NetworkId::new([1; 16]));
            writes.push((NETWORK_DAYS.key(&key), Some(Credit::default().encode().into())));
        }
        store.commit(Commit { reads: Vec::new(), writes }).await.unwrap();
        delete_old(&store, now, 7).await.unwrap();
        let count = |prefix: Vec<u8>| store.scan(&prefix, None, 1000).unwrap().len();
        assert_eq!(count(ARCHIVE.prefix(&())), 7 * 24 + 1);
        assert_eq!(count(NETWORK_DAYS.prefix(&())), 401);
        let start = ARCHIVE_MARKS.get(&*store, &ARCHIVE_START).unwrap().unwrap();
        assert_eq!(start.hour, hour(now) - 7 * 24);
    }

    #[tokio::test]
    async fn what_was_not_counted_yet_stays_however_old() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let now = Timestamp::from_secs(500 * 86_400);
        let counted = ArchivePosition { hour: hour(now) - 250, sequence: 250 };
        let mut writes = vec![(ARCHIVE_MARKS.key(&COUNTED_UP_TO), Some(counted.encode().into()))];
        for age in 0..300 {
            let key = (hour(now) - age, u64::from(age));
            writes.push((ARCHIVE.key(&key), Some(ArchiveBlob::default().encode().into())));
        }
        store.commit(Commit { reads: Vec::new(), writes }).await.unwrap();
        delete_old(&store, now, 7).await.unwrap();
        assert_eq!(store.scan(&ARCHIVE.prefix(&()), None, 1000).unwrap().len(), 251);
        let start = ARCHIVE_MARKS.get(&*store, &ARCHIVE_START).unwrap().unwrap();
        assert_eq!(start.hour, counted.hour);
    }
}
