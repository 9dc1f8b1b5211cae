//! The embedded engine: sled, with commits gathered into batches that one thread checks, writes and syncs.
//!
//! While a batch is on its way to the disk the next one gathers, so a lone commit waits for one sync and many
//! concurrent ones share it. sled's own `flush` leaves the data in the drive's cache, so each batch also syncs the
//! database file itself. Every row is stored as its version, then its value.

use std::collections::HashMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::cache::RowCache;
use super::watermark::{BATCH_KEY, Watermark};
use super::{Commit, CommitFuture, Committed, Key, Row, Store, StoreError, Version, migration};
use crate::config::store::Store as Settings;
use crate::time::Clock;

/// Commits that may wait for the committing thread. The callers bound themselves far below this.
const QUEUE_COMMITS: usize = 16_384;

/// Commits that share one sync.
const BATCH_COMMITS: usize = 2048;

const VERSION_BYTES: usize = 8;

type Reply = oneshot::Sender<Result<Committed, StoreError>>;

/// A store in a folder of this machine. Dropping it waits for the commits submitted so far.
pub struct SledStore {
    tree: sled::Tree,
    cache: Arc<RowCache>,
    submit: Option<SyncSender<(Commit, Reply)>>,
    committer: Option<JoinHandle<()>>,
    has_failed: Arc<AtomicBool>,
}

impl SledStore {
    /// Opens the store in `settings.path`, making the folder when it does not exist, and brings its schema up to date.
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        let path = &settings.path;
        let (database, tree) = open_database(settings)?;
        migration::migrate(&tree, &database.open_tree("about").map_err(failed)?, path)?;
        let file = File::open(path.join("db")).map_err(|error| StoreError::Failed(error.to_string()))?;
        let watermark = Watermark::open(&tree, path)?;
        let has_failed = Arc::new(AtomicBool::new(false));
        let (submit, queue) = sync_channel(QUEUE_COMMITS);
        let cache = Arc::new(RowCache::default());
        let committer = Committer {
            _database: database,
            tree: tree.clone(),
            cache: Arc::clone(&cache),
            file,
            watermark,
            // Versions are compared within one process only; the clock keeps those of earlier ones apart.
            last_version: Clock::system().now().as_millis() << 20,
            has_failed: Arc::clone(&has_failed),
        };
        let committer = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || committer.run(&queue))
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(Self { tree, cache, submit: Some(submit), committer: Some(committer), has_failed })
    }

    /// Whether a write has failed; nothing is accepted from then on.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.submit = None;
        if let Some(committer) = self.committer.take()
            && committer.join().is_err()
        {
            tracing::error!("the store's committing thread panicked");
        }
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.tree.get(key).map_err(failed)?.map(|stored| decode_row(&stored)).transpose()
    }

    fn cache(&self) -> &RowCache {
        &self.cache
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Key, Row)>, StoreError> {
        use std::ops::Bound;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut rows = Vec::new();
        for entry in self.tree.range::<&[u8], _>((from, Bound::Unbounded)) {
            if rows.len() == limit {
                break;
            }
            let (key, stored) = entry.map_err(failed)?;
            if !key.starts_with(prefix) {
                break;
            }
            if key == BATCH_KEY {
                continue;
            }
            rows.push((key.to_vec(), decode_row(&stored)?));
        }
        Ok(rows)
    }

    fn commit(&self, commit: Commit) -> CommitFuture {
        let (reply, outcome) = oneshot::channel();
        let refusal = match self.submit.as_ref().map(|submit| submit.try_send((commit, reply))) {
            Some(Ok(())) => None,
            Some(Err(TrySendError::Full(_))) => Some("too many commits are waiting"),
            Some(Err(TrySendError::Disconnected(_))) | None => Some("the store is closed"),
        };
        Box::pin(async move {
            if let Some(refusal) = refusal {
                return Err(StoreError::Failed(refusal.into()));
            }
            outcome.await.unwrap_or_else(|_| Err(StoreError::Failed("the store is closed".into())))
        })
    }
}

/// The thread that owns all writes.
struct Committer {
    // Held so that the database, and with it the lock on the folder, lives as long as the thread.
    _database: sled::Db,
    tree: sled::Tree,
    cache: Arc<RowCache>,
    file: File,
    watermark: Watermark,
    last_version: u64,
    has_failed: Arc<AtomicBool>,
}

/// What a batch is about to write, by key.
type Overlay = HashMap<Key, (Version, Option<Bytes>)>;

impl Committer {
    fn run(mut self, queue: &Receiver<(Commit, Reply)>) {
        let mut batch = Vec::new();
        while let Ok(first) = queue.recv() {
            batch.push(first);
            while batch.len() < BATCH_COMMITS
                && let Ok(next) = queue.try_recv()
            {
                batch.push(next);
            }
            self.commit_batch(&mut batch);
        }
    }

    fn commit_batch(&mut self, batch: &mut Vec<(Commit, Reply)>) {
        let mut overlay = Overlay::new();
        let mut outcomes = Vec::with_capacity(batch.len());
        for (commit, reply) in batch.drain(..) {
            let outcome = match self.has_failed.load(Ordering::Relaxed) {
                true => Err(StoreError::Failed("an earlier write failed".into())),
                false => self.check(commit, &mut overlay),
            };
            outcomes.push((outcome, reply));
        }
        let written = if overlay.is_empty() { Ok(()) } else { self.write(overlay) };
        if let Err(error) = &written {
            // What is in memory and what is on disk may now differ: no later commit may build on it.
            tracing::error!(%error, "the store cannot write; nothing more is accepted until a restart");
            self.has_failed.store(true, Ordering::Relaxed);
        }
        for (outcome, reply) in outcomes {
            // A caller that has gone away no longer wants its answer.
            let _ = reply.send(written.clone().and(outcome));
        }
    }

    /// Decides one commit against the store and the commits before it in this batch.
    fn check(&mut self, commit: Commit, overlay: &mut Overlay) -> Result<Committed, StoreError> {
        for (key, version) in &commit.reads {
            let current = match overlay.get(key) {
                Some((version, _)) => *version,
                None => self.stored_version(key)?,
            };
            if current != *version {
                return Ok(Committed::Conflict);
            }
        }
        self.last_version += 1;
        let version = Version(self.last_version);
        overlay.reserve(commit.writes.len());
        for (key, value) in commit.writes {
            let version = if value.is_some() { version } else { Version::ABSENT };
            overlay.insert(key, (version, value));
        }
        Ok(Committed::Yes)
    }

    fn stored_version(&self, key: &[u8]) -> Result<Version, StoreError> {
        match self.tree.get(key).map_err(failed)? {
            Some(stored) => Ok(decode_row(&stored)?.version),
            None => Ok(Version::ABSENT),
        }
    }

    fn write(&mut self, overlay: Overlay) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        batch.insert(&BATCH_KEY, &self.watermark.next().to_be_bytes());
        for (key, (version, value)) in &overlay {
            match value {
                Some(value) => {
                    let mut stored = Vec::with_capacity(VERSION_BYTES + value.len());
                    stored.extend_from_slice(&version.0.to_be_bytes());
                    stored.extend_from_slice(value);
                    batch.insert(key.as_slice(), stored);
                }
                None => batch.remove(key.as_slice()),
            }
        }
        self.tree.apply_batch(batch).map_err(failed)?;
        self.cache.forget(overlay.keys());
        self.tree.flush().map_err(failed)?;
        let synced = self.file.sync_data().and_then(|()| self.watermark.synced());
        synced.map_err(|error| StoreError::Failed(error.to_string()))
    }
}

fn decode_row(stored: &[u8]) -> Result<Row, StoreError> {
    let (version, value) = stored
        .split_first_chunk::<VERSION_BYTES>()
        .ok_or_else(|| StoreError::Failed("a row without a version".into()))?;
    Ok(Row { version: Version(u64::from_be_bytes(*version)), value: Bytes::copy_from_slice(value) })
}

fn failed(error: sled::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}

fn open_database(settings: &Settings) -> Result<(sled::Db, sled::Tree), StoreError> {
    let path = settings.path.clone();
    make_private_folder(&path)?;
    let open = || {
        let database = sled::Config::new()
            .path(&path)
            .cache_capacity(settings.cache.0)
            .mode(sled::Mode::LowSpace)
            // The committing thread flushes; nothing is written behind its back.
            .flush_every_ms(None)
            .open()?;
        let tree = database.open_tree("rows")?;
        Ok((database, tree))
    };
    // sled panics on some damaged files; the operator gets a sentence instead.
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(sled::Error::Io(error))) if error.to_string().contains("lock") => Err(StoreError::InUse(path)),
        Ok(Err(sled::Error::Io(error))) => {
            Err(StoreError::Failed(format!("{} cannot be opened: {error}", path.display())))
        }
        Ok(Err(error)) => Err(StoreError::Damaged(path, error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(StoreError::Damaged(path, text.unwrap_or_else(|| "its files do not fit together".into())))
        }
    }
}

/// Makes the data folder readable for its owner only: it holds keys and codes.
fn make_private_folder(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| StoreError::Failed(format!("the data folder {} cannot be made: {error}", path.display())))
}

/// Where the database file of a folder is, for health figures.
pub fn database_file(folder: &Path) -> PathBuf {
    folder.join("db")
}
