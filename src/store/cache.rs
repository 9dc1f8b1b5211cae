//! Decoded rows, kept until a commit changes them: what every request asks for (who is this client, does the session
//! stand, what does it provide) neither searches the engine nor parses JSON again.
//!
//! An engine owns one and calls [`RowCache::forget`] once a commit can be read and before it is answered, so whoever
//! has seen a commit return sees its rows. A row read from the engine while it was changing is not kept: the
//! [`Ticket`] of the miss is older than the change then. Rows that do not exist are remembered as such.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Key, Version};

const SHARDS: usize = 64;

/// Rows of a shard's younger generation; the older one holds as many.
const ROWS_PER_GENERATION: usize = 1024;

/// A row as it was found: its version, and its value unless it does not exist.
#[derive(Clone)]
pub struct CachedRow {
    /// Which commit wrote it, [`Version::ABSENT`] for none.
    pub version: Version,
    value: Option<Arc<dyn Any + Send + Sync>>,
}

impl CachedRow {
    /// A row to keep.
    pub fn new<V: Any + Send + Sync>(version: Version, value: Option<Arc<V>>) -> Self {
        Self { version, value: value.map(|value| value as Arc<dyn Any + Send + Sync>) }
    }

    /// The value; `Err` when it was kept as another type.
    fn value<V: Any + Send + Sync>(&self) -> Result<Option<Arc<V>>, ()> {
        match &self.value {
            None => Ok(None),
            Some(value) => Arc::clone(value).downcast().map(Some).map_err(|_| ()),
        }
    }
}

/// How far changes had come when a row was not found here.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    shard: usize,
    changes: u64,
}

/// Decoded rows by their stored key, at most 131,072 of them.
pub struct RowCache {
    shards: Vec<RwLock<Shard>>,
    hasher: RandomState,
}

/// Two generations: when the younger is full it becomes the older, whose rows are dropped unless used.
#[derive(Default)]
struct Shard {
    changes: u64,
    younger: HashMap<Key, CachedRow>,
    older: HashMap<Key, CachedRow>,
}

impl Default for RowCache {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect(), hasher: RandomState::new() }
    }
}

impl RowCache {
    /// The row under a key: its version and value, or what [`RowCache::keep`] needs once it was read elsewhere.
    pub fn get<V: Any + Send + Sync>(&self, key: &[u8]) -> Result<(Version, Option<Arc<V>>), Ticket> {
        let at = self.shard(key);
        let (older, ticket) = {
            let shard = self.shards[at].read();
            let ticket = Ticket { shard: at, changes: shard.changes };
            if let Some(row) = shard.younger.get(key) {
                return row.value().map(|value| (row.version, value)).map_err(|()| ticket);
            }
            (shard.older.get(key).cloned(), ticket)
        };
        let row = older.ok_or(ticket)?;
        let (version, value) = (row.version, row.value().map_err(|()| ticket)?);
        self.insert(key, ticket, row);
        Ok((version, value))
    }

    /// Keeps a row that was read after its miss, unless anything has changed in between.
    pub fn keep<V: Any + Send + Sync>(&self, key: &[u8], ticket: Ticket, version: Version, value: Option<Arc<V>>) {
        self.insert(key, ticket, CachedRow::new(version, value));
    }

    /// Drops rows that a commit has changed.
    pub fn forget<'k>(&self, keys: impl Iterator<Item = &'k Key>) {
        for key in keys {
            let mut shard = self.shards[self.shard(key)].write();
            shard.changes += 1;
            shard.younger.remove(key);
            shard.older.remove(key);
        }
    }

    fn insert(&self, key: &[u8], ticket: Ticket, row: CachedRow) {
        let mut shard = self.shards[ticket.shard].write();
        if shard.changes != ticket.changes {
            return;
        }
        if shard.younger.len() >= ROWS_PER_GENERATION {
            shard.older = std::mem::take(&mut shard.younger);
        }
        shard.older.remove(key);
        shard.younger.insert(key.to_vec(), row);
    }

    fn shard(&self, key: &[u8]) -> usize {
        self.hasher.hash_one(key) as usize % SHARDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(cache: &RowCache, key: &[u8]) -> Option<(Version, Option<u32>)> {
        cache.get::<u32>(key).ok().map(|(version, value)| (version, value.map(|value| *value)))
    }

    fn keep(cache: &RowCache, key: &[u8], value: u32) {
        let Err(ticket) = cache.get::<u32>(key) else { return };
        cache.keep(key, ticket, Version(u64::from(value)), Some(Arc::new(value)));
    }

    #[test]
    fn a_row_is_kept_until_it_changes() {
        let cache = RowCache::default();
        assert_eq!(kept(&cache, b"a"), None);
        keep(&cache, b"a", 7);
        assert_eq!(kept(&cache, b"a"), Some((Version(7), Some(7))));
        cache.forget([&b"a".to_vec()].into_iter());
        assert_eq!(kept(&cache, b"a"), None);
    }

    #[test]
    fn a_missing_row_is_remembered_as_missing() {
        let cache = RowCache::default();
        let Err(ticket) = cache.get::<u32>(b"a") else { panic!("nothing was kept yet") };
        cache.keep::<u32>(b"a", ticket, Version::ABSENT, None);
        assert_eq!(kept(&cache, b"a"), Some((Version::ABSENT, None)));
    }

    #[test]
    fn what_was_read_while_it_changed_is_not_kept() {
        let cache = RowCache::default();
        let Err(ticket) = cache.get::<u32>(b"a") else { panic!("nothing was kept yet") };
        cache.forget([&b"a".to_vec()].into_iter());
        cache.keep(b"a", ticket, Version(1), Some(Arc::new(1u32)));
        assert_eq!(kept(&cache, b"a"), None);
    }

    #[test]
    fn a_row_kept_as_another_type_is_read_again() {
        let cache = RowCache::default();
        keep(&cache, b"a", 7);
        assert!(cache.get::<u64>(b"a").is_err());
    }

    #[test]
    fn rows_are_bounded_and_the_used_ones_stay() {
        let cache = RowCache::default();
        keep(&cache, b"used", 1);
        for number in 0..4 * (SHARDS * ROWS_PER_GENERATION) as u32 {
            keep(&cache, &number.to_be_bytes(), number);
            assert!(kept(&cache, b"used").is_some(), "{number}");
        }
        let rows: usize =
            cache.shards.iter().map(|shard| shard.read()).map(|shard| shard.younger.len() + shard.older.len()).sum();
        assert!(rows <= 2 * SHARDS * ROWS_PER_GENERATION, "{rows}");
    }
}
