//! An engine that forgets everything at the end of the process: for tests of what stands above the store.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::Mutex;

use super::cache::RowCache;
use super::{Commit, CommitFuture, Committed, Key, Row, Store, StoreError, Version};

/// Rows in a sorted map.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    cache: RowCache,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Key, Row>,
    last_version: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many commits there were.
    pub fn commits(&self) -> u64 {
        self.state.lock().last_version
    }

    fn apply(&self, commit: Commit) -> Committed {
        let mut state = self.state.lock();
        let is_current = |(key, version): &(Key, Version)| {
            state.rows.get(key).map_or(Version::ABSENT, |row| row.version) == *version
        };
        if !commit.reads.iter().all(is_current) {
            return Committed::Conflict;
        }
        state.last_version += 1;
        let version = Version(state.last_version);
        for (key, value) in &commit.writes {
            match value {
                Some(value) => state.rows.insert(key.clone(), Row { version, value: Bytes::clone(value) }),
                None => state.rows.remove(key),
            };
        }
        self.cache.forget(commit.writes.iter().map(|(key, _)| key));
        Committed::Yes
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        Ok(self.state.lock().rows.get(key).cloned())
    }

    fn cache(&self) -> &RowCache {
        &self.cache
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Key, Row)>, StoreError> {
        let state = self.state.lock();
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        Ok(state
            .rows
            .range::<[u8], _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, row)| (key.clone(), Row { version: row.version, value: Bytes::clone(&row.value) }))
            .collect())
    }

    fn commit(&self, commit: Commit) -> CommitFuture {
        let committed = self.apply(commit);
        Box::pin(std::future::ready(Ok(committed)))
    }
}
