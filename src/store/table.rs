//! Types for keys and values: a [`Table`] names its number, its key and its value.

use std::marker::PhantomData;
use std::ops::ControlFlow;

use super::{Key, Store, StoreError};
use crate::ids::Id;

/// A key with an order-preserving byte form.
pub trait TableKey: Sized {
    /// Appends the byte form.
    fn encode_into(&self, out: &mut Vec<u8>);
    /// Takes one key off the front of `bytes`.
    fn decode_from(bytes: &mut &[u8]) -> Option<Self>;
}

/// A value with a byte form whose first byte is its schema version.
pub trait TableValue: Sized + Clone + Send + Sync + 'static {
    /// The byte form.
    fn encode(&self) -> Vec<u8>;
    /// Reads the byte form; `None` when it is of another shape.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// A table: a range of keys under one number, and the types of what it holds.
#[derive(Debug)]
pub struct Table<K, V> {
    /// Leading two bytes of every key; never reused.
    pub number: u16,
    /// For messages and `warren admin`.
    pub name: &'static str,
    /// How many bytes of the key form a guarded prefix: inserts and deletes under it conflict with scans of it.
    /// 0 for tables that no transaction scans.
    pub guard_bytes: usize,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: TableKey, V: TableValue> Table<K, V> {
    /// A table that transactions read by key only.
    pub const fn new(number: u16, name: &'static str) -> Self {
        Self::guarded(number, name, 0)
    }

    /// A table that transactions scan by prefixes of `guard_bytes`.
    pub const fn guarded(number: u16, name: &'static str, guard_bytes: usize) -> Self {
        Self { number, name, guard_bytes, types: PhantomData }
    }

    /// The stored key.
    pub fn key(&self, key: &K) -> Key {
        let mut out = self.number.to_be_bytes().to_vec();
        key.encode_into(&mut out);
        out
    }

    /// The stored prefix of all keys that start with `prefix`.
    pub fn prefix<P: TableKey>(&self, prefix: &P) -> Key {
        let mut out = self.number.to_be_bytes().to_vec();
        prefix.encode_into(&mut out);
        out
    }

    /// Splits a stored key back into the table's own.
    pub fn decode_key(&self, stored: &[u8]) -> Result<K, StoreError> {
        stored.get(2..).and_then(|mut bytes| K::decode_from(&mut bytes)).ok_or(StoreError::BadValue(self.name))
    }

    /// The row under a key as it is now, outside any transaction.
    pub fn get(&self, store: &dyn Store, key: &K) -> Result<Option<V>, StoreError> {
        store.get(&self.key(key))?.map(|row| self.decode_value(&row.value)).transpose()
    }

    /// Shows every row whose stored key starts with `prefix` and is greater than `after`, in key order, until it has
    /// seen enough. Reads `page` rows at a time, outside any transaction: rows that come meanwhile may be among them.
    pub fn each(
        &self,
        store: &dyn Store,
        prefix: &[u8],
        mut after: Option<Key>,
        page: usize,
        mut see: impl FnMut(K, V) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        loop {
            let rows = store.scan(prefix, after.as_deref(), page)?;
            let is_last = rows.len() < page;
            for (key, row) in &rows {
                if see(self.decode_key(key)?, self.decode_value(&row.value)?).is_break() {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
            after = rows.into_iter().next_back().map(|(key, _)| key);
        }
    }

    /// Reads a stored value.
    pub fn decode_value(&self, stored: &[u8]) -> Result<V, StoreError> {
        V::decode(stored).ok_or(StoreError::BadValue(self.name))
    }
}

/// Stores a serde type as its version byte and JSON: for records written at human speed.
#[macro_export]
macro_rules! json_record {
    ($type:ty, $version:literal) => {
        impl $crate::store::table::TableValue for $type {
            fn encode(&self) -> Vec<u8> {
                let mut out = vec![$version];
                serde_json::to_writer(&mut out, self).expect("plain records serialize");
                out
            }
            fn decode(bytes: &[u8]) -> Option<Self> {
                match bytes.split_first()? {
                    (&$version, json) => serde_json::from_slice(json).ok(),
                    _ => None,
                }
            }
        }
    };
}

/// A digest or a key.
impl TableValue for [u8; 32] {
    fn encode(&self) -> Vec<u8> {
        [&[1], &self[..]].concat()
    }
    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (1, value) => value.try_into().ok(),
            _ => None,
        }
    }
}

/// An index entry: the key says it all.
impl TableValue for () {
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }
    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }
}

/// The empty key: a table of one row, or the prefix of a whole table.
impl TableKey for () {
    fn encode_into(&self, _: &mut Vec<u8>) {}
    fn decode_from(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

impl<I: Id> TableKey for I {
    fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }
    fn decode_from(bytes: &mut &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(I::from_bytes(*id))
    }
}

/// A string runs to the end of the key, so it can only come last.
impl TableKey for String {
    fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
    fn decode_from(bytes: &mut &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.to_owned();
        *bytes = &[];
        Some(text)
    }
}

impl TableKey for [u8; 32] {
    fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn decode_from(bytes: &mut &[u8]) -> Option<Self> {
        let (hash, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(*hash)
    }
}

macro_rules! integer_key {
    ($($type:ty),*) => {$(
        impl TableKey for $type {
            fn encode_into(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn decode_from(bytes: &mut &[u8]) -> Option<Self> {
                let (number, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(<$type>::from_be_bytes(*number))
            }
        }
    )*};
}
integer_key!(u8, u32, u64);

impl<A: TableKey, B: TableKey> TableKey for (A, B) {
    fn encode_into(&self, out: &mut Vec<u8>) {
        self.0.encode_into(out);
        self.1.encode_into(out);
    }
    fn decode_from(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::decode_from(bytes)?, B::decode_from(bytes)?))
    }
}

impl<A: TableKey, B: TableKey, C: TableKey> TableKey for (A, B, C) {
    fn encode_into(&self, out: &mut Vec<u8>) {
        self.0.encode_into(out);
        self.1.encode_into(out);
        self.2.encode_into(out);
    }
    fn decode_from(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::decode_from(bytes)?, B::decode_from(bytes)?, C::decode_from(bytes)?))
    }
}
