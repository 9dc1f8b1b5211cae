//! `[log_upload]`: logs that apps send after feedback.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::{ByteSize, duration};

/// Where uploaded logs go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogUpload {
    /// Folder for the logs; empty to count and discard them.
    pub dir: PathBuf,
    /// Size of all logs in the folder; above it new ones are discarded.
    pub quota: ByteSize,
    /// How long a log is kept.
    #[serde(with = "duration")]
    pub keep: Duration,
}

impl Default for LogUpload {
    fn default() -> Self {
        Self { dir: PathBuf::new(), quota: ByteSize::gib(1), keep: Duration::from_secs(30 * 86_400) }
    }
}
