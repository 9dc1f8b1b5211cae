//! `[store]`: where state lives.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::units::ByteSize;

/// Which database holds the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Embedded, in the data folder.
    Sled,
}

/// Settings of the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Which database holds the state.
    pub engine: Engine,
    /// The data folder: database, keys and certificates.
    pub path: PathBuf,
    /// Memory for the database's page cache.
    pub cache: ByteSize,
}

impl Default for Store {
    fn default() -> Self {
        Self { engine: Engine::Sled, path: PathBuf::from("data"), cache: ByteSize::mib(64) }
    }
}
