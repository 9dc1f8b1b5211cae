//! Durable state as ordered keys with versions, and atomic commits that notice conflicts.
//!
//! This module knows nothing of what is stored: `table` gives keys and values their types, `tables` declares every
//! table of the product, `transaction` gathers what an operation read and wrote. Only the engine files name an engine.
//! A commit that has returned is on disk.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use bytes::Bytes;

use self::cache::RowCache;

pub mod cache;
pub mod memory;
pub mod migration;
pub mod sled;
pub mod table;
pub mod tables;
pub mod transaction;
mod watermark;

/// A stored key: two bytes of table number, then the table's own key. Table 0 is the engine's own.
pub type Key = Vec<u8>;

/// Which commit wrote a row. Compared for equality only; never 0 for a row that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Version(pub u64);

impl Version {
    /// The version of a row that does not exist.
    pub const ABSENT: Version = Version(0);
}

/// A stored value and the commit that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which commit wrote it.
    pub version: Version,
    /// The encoded value.
    pub value: Bytes,
}

/// Writes to make together, on condition that what was read is still current.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Every key read and the version found, [`Version::ABSENT`] for none.
    pub reads: Vec<(Key, Version)>,
    /// Every key written; `None` deletes.
    pub writes: Vec<(Key, Option<Bytes>)>,
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Written, and on disk.
    Yes,
    /// Something read has changed since; nothing was written.
    Conflict,
}

/// Why the store failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the folder.
    #[error("the data folder {0} is in use by another process; stop it, or choose another folder with --data")]
    InUse(PathBuf),
    /// The files cannot be read.
    #[error("the store in {0} is damaged: {1}; restore a copy of the folder, or choose another with --data")]
    Damaged(PathBuf, String),
    /// Written by a later release.
    #[error("the store in {path} has schema version {found}, this release knows {known}; use a newer release")]
    Newer {
        /// The data folder.
        path: PathBuf,
        /// Version found in the store.
        found: u32,
        /// Newest version this release knows.
        known: u32,
    },
    /// A value that does not decode.
    #[error("table {0} holds a value that cannot be read")]
    BadValue(&'static str),
    /// The engine refused; after a failed write the process must stop.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// The future of a commit.
pub type CommitFuture = Pin<Box<dyn Future<Output = Result<Committed, StoreError>> + Send>>;

/// An engine. Reads see every commit that has returned, and may see later ones.
pub trait Store: Send + Sync + 'static {
    /// The row under a key.
    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError>;

    /// Decoded rows, which this engine forgets as commits change them.
    fn cache(&self) -> &RowCache;

    /// Rows whose key starts with `prefix` and is greater than `after`, in key order, at most `limit`.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Key, Row)>, StoreError>;

    /// Submits a commit. Commits take effect in the order of these calls, whether or not the futures are awaited;
    /// the future resolves once the outcome is on disk.
    fn commit(&self, commit: Commit) -> CommitFuture;
}
