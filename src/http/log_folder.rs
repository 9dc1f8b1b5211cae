//! The folder of logs that apps have sent: `<network>/<upload>.log`, within a quota.
//!
//! A log stays as long as its row in the store: the hourly round forgets old rows, then removes every file without
//! one, so that logs go with their network too. Without a folder nothing is kept.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::config::log_upload::LogUpload;
use crate::domain::error::DomainError;
use crate::domain::log_upload::{FindOld, Forget, IsKept};
use crate::domain::service::Service;
use crate::ids::{NetworkId, RecordId};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(3600);

/// Rows forgotten in one transaction.
const FORGOTTEN_AT_ONCE: usize = 64;

/// The folder, if the operator wants one.
pub struct LogFolder {
    /// Empty for none.
    dir: PathBuf,
    quota: u64,
    used: AtomicU64,
}

/// A log that is being written; removed unless it is kept in the end.
pub struct LogFile<'f> {
    folder: &'f LogFolder,
    file: tokio::fs::File,
    path: PathBuf,
    bytes: u64,
    is_kept: bool,
}

impl LogFolder {
    /// The folder of the settings, with what lies there already counted.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(settings: &LogUpload) -> io::Result<Self> {
        let folder = Self { dir: settings.dir.clone(), quota: settings.quota.0, used: AtomicU64::new(0) };
        let used = folder.files()?.iter().map(|(_, path)| size(path)).sum();
        folder.used.store(used, Ordering::Relaxed);
        Ok(folder)
    }

    /// A file for a log; none when logs are not kept, or it cannot be made.
    pub async fn create(&self, network_id: NetworkId, id: RecordId) -> Option<LogFile<'_>> {
        if self.dir.as_os_str().is_empty() {
            return None;
        }
        let folder = self.dir.join(network_id.to_string());
        let path = folder.join(format!("{id}.log"));
        let made = match tokio::fs::create_dir_all(&folder).await {
            Ok(()) => tokio::fs::File::create_new(&path).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(file) => Some(LogFile { folder: self, file, path, bytes: 0, is_kept: false }),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a log cannot be kept");
                None
            }
        }
    }

    /// Removes the files that `is_kept` does not say yes to, and says how many.
    fn sweep(&self, is_kept: impl Fn(NetworkId, RecordId) -> Result<bool, DomainError>) -> io::Result<usize> {
        let mut removed = 0;
        for ((network_id, id), path) in self.files()? {
            if is_kept(network_id, id).map_err(io::Error::other)? {
                continue;
            }
            let bytes = size(&path);
            std::fs::remove_file(&path)?;
            self.give_back(bytes);
            removed += 1;
            // Refused while other logs are in it.
            let _ = path.parent().map(std::fs::remove_dir);
        }
        Ok(removed)
    }

    /// Every log in the folder; what has other names is none.
    fn files(&self) -> io::Result<Vec<((NetworkId, RecordId), PathBuf)>> {
        let mut files = Vec::new();
        if self.dir.as_os_str().is_empty() {
            return Ok(files);
        }
        for network in std::fs::read_dir(&self.dir)? {
            let network = network?.path();
            let Some(network_id) = id_of(&network) else { continue };
            for log in std::fs::read_dir(&network)? {
                let log = log?.path();
                files.extend(id_of(&log).map(|id| ((network_id, id), log)));
            }
        }
        Ok(files)
    }

    fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.quota);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |data| data.len())
}

fn id_of<I: std::str::FromStr>(path: &Path) -> Option<I> {
    path.file_stem()?.to_str()?.parse().ok()
}

impl LogFile<'_> {
    /// Adds bytes; `false` when they did not fit or could not be written, and the log cannot be kept.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let count = bytes.len() as u64;
        if !self.folder.take(count) {
            tracing::warn!("log_upload.quota is used up; a log is not kept");
            return false;
        }
        self.bytes += count;
        match self.file.write_all(bytes).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "a log cannot be written");
                false
            }
        }
    }

    /// The log is whole and stays.
    pub async fn keep(mut self) {
        match self.file.flush().await {
            Ok(()) => self.is_kept = true,
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "a log cannot be written"),
        }
    }
}

impl Drop for LogFile<'_> {
    fn drop(&mut self) {
        // One that cannot be removed now counts on, and goes with the next round.
        if !self.is_kept && std::fs::remove_file(&self.path).is_ok() {
            self.folder.give_back(self.bytes);
        }
    }
}

/// A round every hour; runs until dropped.
pub async fn drive(folder: Arc<LogFolder>, service: Arc<Service>) {
    loop {
        tokio::time::sleep(ROUND).await;
        if let Err(error) = run(&folder, &service).await {
            tracing::warn!(%error, "old logs could not be removed; the next round tries again");
        }
    }
}

/// One round: forgets old uploads and removes the files of all that are forgotten; says how many files.
pub async fn run(folder: &Arc<LogFolder>, service: &Arc<Service>) -> io::Result<usize> {
    // Whole tables and folders are read away from the threads that serve.
    let reading = Arc::clone(service);
    let found = tokio::task::spawn_blocking(move || reading.read(&FindOld)).await;
    let old = found.map_err(io::Error::other)?.map_err(io::Error::other)?;
    for keys in old.chunks(FORGOTTEN_AT_ONCE) {
        service.run(&Forget { keys }).await.map_err(io::Error::other)?;
    }
    let (folder, service) = (Arc::clone(folder), Arc::clone(service));
    let sweep = move || folder.sweep(|network_id, id| service.read(&IsKept { network_id, id }));
    tokio::task::spawn_blocking(sweep).await.map_err(io::Error::other)?
}
