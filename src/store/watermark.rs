//! Notices a store that has lost its end.
//!
//! sled drops whatever it cannot read at the end of its log, so a damaged or truncated file opens as an older store.
//! Every batch therefore carries a number, and a small file beside the database repeats the number of the last batch
//! that was synced. The file is written after the sync and never synced itself: it may lag behind, and is never ahead
//! of a healthy database.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::StoreError;

/// The row of the batch number. Table 0 belongs to the engine and is never shown to readers.
pub(super) const BATCH_KEY: [u8; 2] = [0, 0];

/// The number of the last synced batch, in a file.
pub(super) struct Watermark {
    file: File,
    batch: u64,
}

impl Watermark {
    /// Compares the file with the database; a file that does not exist yet is made.
    pub(super) fn open(rows: &sled::Tree, folder: &Path) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| StoreError::Failed(format!("{}: {error}", folder.display()));
        let stored = rows.get(BATCH_KEY).map_err(|error| StoreError::Failed(error.to_string()))?;
        let batch = match stored.as_deref().map(<[u8; 8]>::try_from) {
            Some(Ok(bytes)) => u64::from_be_bytes(bytes),
            Some(Err(_)) => {
                return Err(StoreError::Damaged(folder.to_owned(), "its batch number is unreadable".into()));
            }
            None => 0,
        };
        let file = File::options().read(true).write(true).create(true).truncate(false).open(folder.join("watermark"));
        let file = file.map_err(failed)?;
        let mut bytes = [0; 8];
        let seen = match file.read_at(&mut bytes, 0).map_err(failed)? {
            8 => u64::from_be_bytes(bytes),
            _ => 0,
        };
        if seen > batch {
            let lost = seen - batch;
            let what = format!("the last {lost} batches of commits are missing from its files");
            return Err(StoreError::Damaged(folder.to_owned(), what));
        }
        Ok(Self { file, batch })
    }

    /// The number for the next batch, to be written with it.
    pub(super) fn next(&mut self) -> u64 {
        self.batch += 1;
        self.batch
    }

    /// Repeats the number in the file, once its batch is on disk.
    pub(super) fn synced(&self) -> std::io::Result<()> {
        self.file.write_all_at(&self.batch.to_be_bytes(), 0)
    }
}
