//! What a batch changed, as keys; the rows themselves are read from memory when the batch closes, once each.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::record::{ARCHIVE, ArchiveBlob, BALANCES, BalanceKey, CONTRACTS, CREDITS, NETWORK_DAYS, Settled};
use super::state::State;
use crate::ids::{ContractId, NetworkId};
use crate::store::table::{Table, TableKey, TableValue};
use crate::store::{Commit, Key};
use crate::time::Timestamp;

/// Settled contracts in one archive row, so that its value stays well under 100 kB.
const BLOB_CONTRACTS: usize = 256;

/// Keys touched since the last commit.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) contracts: HashSet<ContractId>,
    pub(super) balances: HashSet<BalanceKey>,
    pub(super) credits: HashSet<NetworkId>,
    pub(super) days: HashSet<(u32, NetworkId)>,
    pub(super) settled: Vec<Settled>,
    /// Rows of what changes at human speed, as they are to be written; `None` deletes.
    rows: HashMap<Key, Option<Bytes>>,
}

impl Changes {
    /// Whether there is nothing to commit.
    pub(super) fn is_empty(&self) -> bool {
        self.contracts.is_empty()
            && self.balances.is_empty()
            && self.credits.is_empty()
            && self.days.is_empty()
            && self.settled.is_empty()
            && self.rows.is_empty()
    }

    /// Writes a row.
    pub(super) fn put<K: TableKey, V: TableValue>(&mut self, table: &Table<K, V>, key: &K, value: &V) {
        self.rows.insert(table.key(key), Some(value.encode().into()));
    }

    /// Deletes a row.
    pub(super) fn delete<K: TableKey, V: TableValue>(&mut self, table: &Table<K, V>, key: &K) {
        self.rows.insert(table.key(key), None);
    }
}

impl State {
    /// The writes of everything that changed since the last call; `None` when nothing did. Memory is ahead of the
    /// store until this commit is durable.
    pub(super) fn take_commit(&mut self) -> Option<Commit> {
        let changes = std::mem::take(&mut self.changes);
        if changes.is_empty() {
            return None;
        }
        let mut writes: Vec<(Key, Option<Bytes>)> = Vec::with_capacity(changes.contracts.len() + 16);
        for id in changes.contracts {
            writes.push(row(&CONTRACTS, &id, self.contracts.get(&id).map(|contract| &contract.record)));
        }
        for key in changes.balances {
            writes.push(row(&BALANCES, &key, self.balances.get(&key).map(|bucket| &bucket.balance)));
        }
        for network in changes.credits {
            writes.push(row(&CREDITS, &network, self.accounts.get(&network).map(|account| &account.credit)));
        }
        for key in changes.days {
            writes.push(row(&NETWORK_DAYS, &key, self.days.get(&key)));
        }
        writes.extend(changes.rows);
        let mut settled = changes.settled;
        while !settled.is_empty() {
            let rest = settled.split_off(settled.len().min(BLOB_CONTRACTS));
            let key = (hour(self.now), self.next_archive_sequence());
            writes.push(row(&ARCHIVE, &key, Some(&ArchiveBlob(settled))));
            settled = rest;
        }
        let today = self.now.day_number();
        self.days.retain(|(day, _), _| *day >= today);
        Some(Commit { reads: Vec::new(), writes })
    }

    /// Archive rows of one hour must not overwrite each other, not even across restarts: the sequence follows the time.
    fn next_archive_sequence(&mut self) -> u64 {
        self.archive_sequence = (self.archive_sequence + 1).max(self.now.as_millis() << 16);
        self.archive_sequence
    }
}

/// The hour that an archive row is filed under.
pub(super) fn hour(at: Timestamp) -> u32 {
    at.hour_number()
}

fn row<K: TableKey, V: TableValue>(table: &Table<K, V>, key: &K, value: Option<&V>) -> (Key, Option<Bytes>) {
    (table.key(key), value.map(|value| value.encode().into()))
}
