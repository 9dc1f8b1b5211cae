//! One optimistic transaction: it remembers what it read and holds back what it wrote.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::table::{Table, TableKey, TableValue};
use super::{Commit, Key, Store, StoreError, Version};

/// Rows a transaction may scan at once; callers that need more page with their own keys.
pub const SCAN_LIMIT: usize = 1 << 20;

/// Table number of the guard rows, which make scans conflict with inserts and deletes under the same prefix.
pub const GUARD_TABLE: u16 = 0xffff;

/// Reads and writes of one attempt of an operation.
pub struct Transaction<'s> {
    store: &'s dyn Store,
    reads: BTreeMap<Key, Version>,
    writes: BTreeMap<Key, Option<Bytes>>,
}

impl<'s> Transaction<'s> {
    /// A transaction that has read nothing yet.
    pub fn new(store: &'s dyn Store) -> Self {
        Self { store, reads: BTreeMap::new(), writes: BTreeMap::new() }
    }

    /// The value under a key, this transaction's own writes included.
    pub fn get<K: TableKey, V: TableValue>(&mut self, table: &Table<K, V>, key: &K) -> Result<Option<V>, StoreError> {
        let stored = table.key(key);
        if let Some(written) = self.writes.get(&stored) {
            return written.as_ref().map(|value| table.decode_value(value)).transpose();
        }
        let (version, value) = match self.store.cache().get::<V>(&stored) {
            Ok(known) => known,
            Err(ticket) => {
                let row = self.store.get(&stored)?;
                let version = row.as_ref().map_or(Version::ABSENT, |row| row.version);
                let value = row.map(|row| table.decode_value(&row.value)).transpose()?.map(Arc::new);
                self.store.cache().keep(&stored, ticket, version, value.clone());
                (version, value)
            }
        };
        // The first version seen counts: a row that changed between two reads must conflict.
        self.reads.entry(stored).or_insert(version);
        Ok(value.map(Arc::unwrap_or_clone))
    }

    /// Writes a value.
    pub fn put<K: TableKey, V: TableValue>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        value: &V,
    ) -> Result<(), StoreError> {
        let stored = table.key(key);
        self.touch_guard(table, &stored, true)?;
        self.writes.insert(stored, Some(value.encode().into()));
        Ok(())
    }

    /// Deletes a key; one that does not exist is no error.
    pub fn delete<K: TableKey, V: TableValue>(&mut self, table: &Table<K, V>, key: &K) -> Result<(), StoreError> {
        let stored = table.key(key);
        self.touch_guard(table, &stored, false)?;
        self.writes.insert(stored, None);
        Ok(())
    }

    /// Every row whose key starts with `prefix`, in key order, this transaction's own writes included. The prefix
    /// must be at least as long as the table's guard.
    pub fn scan<P: TableKey, K: TableKey, V: TableValue>(
        &mut self,
        table: &Table<K, V>,
        prefix: &P,
    ) -> Result<Vec<(K, V)>, StoreError> {
        let prefix = table.prefix(prefix);
        if table.guard_bytes > 0 {
            let guard = guard_key(&prefix, table.guard_bytes);
            self.get_raw(guard)?;
        }
        let mut rows: BTreeMap<Key, Bytes> = BTreeMap::new();
        for (key, row) in self.store.scan(&prefix, None, SCAN_LIMIT)? {
            self.reads.entry(key.clone()).or_insert(row.version);
            rows.insert(key, row.value);
        }
        for (key, written) in self.writes.range(prefix.clone()..) {
            if !key.starts_with(&prefix) {
                break;
            }
            match written {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        rows.into_iter().map(|(key, value)| Ok((table.decode_key(&key)?, table.decode_value(&value)?))).collect()
    }

    /// Every stored row whose key starts with `prefix`, in key order. That they change before the commit is no
    /// conflict: for busy rows of others, where a moment old is new enough.
    pub fn scan_snapshot<P: TableKey, K: TableKey, V: TableValue>(
        &self,
        table: &Table<K, V>,
        prefix: &P,
    ) -> Result<Vec<(K, V)>, StoreError> {
        let rows = self.store.scan(&table.prefix(prefix), None, SCAN_LIMIT)?;
        rows.into_iter().map(|(key, row)| Ok((table.decode_key(&key)?, table.decode_value(&row.value)?))).collect()
    }

    /// Stored rows of a table behind the key `after`, in key order, at most `count`; as [`Transaction::scan_snapshot`].
    pub fn page_snapshot<K: TableKey, V: TableValue>(
        &self,
        table: &Table<K, V>,
        after: Option<&K>,
        count: usize,
    ) -> Result<Vec<(K, V)>, StoreError> {
        let after = after.map(|key| table.key(key));
        let rows = self.store.scan(&table.prefix(&()), after.as_deref(), count)?;
        rows.into_iter().map(|(key, row)| Ok((table.decode_key(&key)?, table.decode_value(&row.value)?))).collect()
    }

    /// Whether anything was written.
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// What to hand to [`Store::commit`].
    pub fn into_commit(self) -> Commit {
        Commit { reads: self.reads.into_iter().collect(), writes: self.writes.into_iter().collect() }
    }

    fn get_raw(&mut self, stored: Key) -> Result<Option<Bytes>, StoreError> {
        if let Some(written) = self.writes.get(&stored) {
            return Ok(written.clone());
        }
        let row = self.store.get(&stored)?;
        let version = row.as_ref().map_or(Version::ABSENT, |row| row.version);
        // The first version seen counts: a row that changed between two reads must conflict.
        self.reads.entry(stored).or_insert(version);
        Ok(row.map(|row| row.value))
    }

    /// Rewrites the guard row of a guarded prefix when a key under it comes or goes.
    fn touch_guard<K, V>(&mut self, table: &Table<K, V>, stored: &[u8], inserting: bool) -> Result<(), StoreError> {
        if table.guard_bytes == 0 || self.get_raw(stored.to_vec())?.is_some() == inserting {
            return Ok(());
        }
        self.writes.insert(guard_key(stored, table.guard_bytes), Some(Bytes::from_static(&[1])));
        Ok(())
    }
}

fn guard_key(stored: &[u8], guard_bytes: usize) -> Key {
    let mut key = GUARD_TABLE.to_be_bytes().to_vec();
    key.extend(stored.iter().take(2 + guard_bytes));
    key
}
