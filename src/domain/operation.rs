//! The shape of everything the product does to its state.

use rand::rngs::StdRng;

use super::effect::Effect;
use super::error::DomainError;
use super::seal::SealKey;
use crate::config::Config;
use crate::ids::{Id, IdGenerator};
use crate::store::StoreError;
use crate::store::table::{Table, TableKey, TableValue};
use crate::store::transaction::Transaction;
use crate::time::Timestamp;

/// One thing to do: a struct of inputs. It may be applied several times before one attempt commits, so it does no I/O
/// and takes time and randomness from [`Tx`] only.
pub trait Operation: Send + Sync {
    /// What the caller learns.
    type Output: Send;

    /// Reads and writes through `tx`. An `Err` leaves nothing written.
    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError>;
}

/// One attempt of an operation: the store transaction, the time, randomness, settings, and effects noted so far.
pub struct Tx<'a> {
    /// The time of this attempt.
    pub now: Timestamp,
    /// Settings.
    pub config: &'a Config,
    /// Hides what identifies people.
    pub seal: &'a SealKey,
    /// Randomness from a cryptographic generator.
    pub rng: StdRng,
    pub(super) ids: &'a IdGenerator,
    pub(super) transaction: Transaction<'a>,
    pub(super) effects: Vec<Effect>,
}

impl Tx<'_> {
    /// The value under a key.
    pub fn get<K: TableKey, V: TableValue>(&mut self, table: &Table<K, V>, key: &K) -> Result<Option<V>, StoreError> {
        self.transaction.get(table, key)
    }

    /// Writes a value.
    pub fn put<K: TableKey, V: TableValue>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        value: &V,
    ) -> Result<(), StoreError> {
        self.transaction.put(table, key, value)
    }

    /// Deletes a key.
    pub fn delete<K: TableKey, V: TableValue>(&mut self, table: &Table<K, V>, key: &K) -> Result<(), StoreError> {
        self.transaction.delete(table, key)
    }

    /// Every row whose key starts with `prefix`, in key order.
    pub fn scan<P: TableKey, K: TableKey, V: TableValue>(
        &mut self,
        table: &Table<K, V>,
        prefix: &P,
    ) -> Result<Vec<(K, V)>, StoreError> {
        self.transaction.scan(table, prefix)
    }

    /// As [`Tx::scan`] over stored rows only, and without a conflict when they change before the commit: for busy rows
    /// of others, where a moment old is new enough.
    pub fn scan_snapshot<P: TableKey, K: TableKey, V: TableValue>(
        &self,
        table: &Table<K, V>,
        prefix: &P,
    ) -> Result<Vec<(K, V)>, StoreError> {
        self.transaction.scan_snapshot(table, prefix)
    }

    /// Stored rows of a table behind the key `after`, in key order, at most `count`; without a conflict when they change
    /// before the commit. For lists that are shown in pages.
    pub fn page_snapshot<K: TableKey, V: TableValue>(
        &self,
        table: &Table<K, V>,
        after: Option<&K>,
        count: usize,
    ) -> Result<Vec<(K, V)>, StoreError> {
        self.transaction.page_snapshot(table, after, count)
    }

    /// A fresh time-ordered id.
    pub fn new_id<I: Id>(&mut self) -> I {
        self.ids.next_random(self.now)
    }

    /// Notes something to do once the commit is durable.
    pub fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}
