//! Counters over the days: what providers carried and earned, when they were there, how big the network is.
//!
//! The ledger's archive is the source of truth for everything that contracts say: [`follow`] counts it into days,
//! [`recount`] counts it again and compares. What only memory knows (who is connected, who was offered) is written
//! down every [`FLUSH_EVERY`]; a crash may cost that much of it. Answers read the days and add what is not in them
//! yet: [`open`] contracts and running sessions.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, RwLock, Semaphore};
use tokio_util::sync::CancellationToken;

use super::contract::retention::delete_before;
use super::error::DomainError;
use super::presence::{Connection, Presence, PresenceListener};
use super::provider::index::ProviderIndex;
use super::service::Service;
use crate::store::{Commit, Committed, Store, StoreError};
use crate::time::{Clock, DAY, Timestamp};

pub mod answer;
mod census;
mod follow;
pub mod network_wide;
mod open;
pub mod provider;
pub mod providers;
pub mod ranking;
pub mod record;
pub mod recount;
mod rollup;
#[cfg(test)]
mod tests;
mod uptime;
pub mod window;

use network_wide::LastNinety;
use open::{OpenContracts, SNAPSHOT_AGE};
use ranking::Ranking;
use record::{CENSUS_DAYS, CensusDay, INTEREST_DAYS, PEER_DAYS, PROVIDER_DAYS, TRANSFER_DAYS, UPTIME_DAYS};
use rollup::{Write, row};
use uptime::{Change, Uptime};

/// How often memory is written down and the archive followed.
pub const FLUSH_EVERY: Duration = Duration::from_secs(10);

/// How often it is noted who is there.
const CENSUS_EVERY: Duration = Duration::from_secs(60);

/// How often old days are looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(3600);

/// Days kept: the longest window, and a month.
const KEPT_DAYS: u32 = 400;

/// Days for which it is kept how often a provider was offered.
const INTEREST_KEPT_DAYS: u32 = 30;

/// Rows written or deleted in one commit.
const ROWS: usize = 1024;

/// Long answers that are computed at once; others wait.
const ANSWERS_AT_ONCE: usize = 2;

/// The one place of the statistics.
pub struct Stats {
    store: Arc<dyn Store>,
    service: Arc<Service>,
    presence: Arc<Presence>,
    providers: Arc<ProviderIndex>,
    uptime: Uptime,
    /// Held to write by whoever moves figures from one place to another, to read by whoever adds these places up.
    counted: Arc<RwLock<Counted>>,
    answers: Arc<Semaphore>,
    last_ninety: Mutex<Option<Arc<LastNinety>>>,
    ranking: Mutex<Option<Arc<Ranking>>>,
}

/// What belongs to the rows as they are now.
#[derive(Default)]
struct Counted {
    /// With the time it was taken.
    open: Option<(Timestamp, OpenContracts)>,
    next_census: Timestamp,
    next_retention: Timestamp,
}

impl Stats {
    /// Statistics over a store; let them follow the presence, and drive them.
    pub fn new(
        store: Arc<dyn Store>,
        service: Arc<Service>,
        presence: Arc<Presence>,
        providers: Arc<ProviderIndex>,
    ) -> Arc<Self> {
        let uptime = Uptime::new(service.clock().clone());
        let counted = Arc::new(RwLock::new(Counted {
            next_retention: service.clock().now() + RETENTION_EVERY,
            ..Counted::default()
        }));
        Arc::new(Self {
            store,
            service,
            presence,
            providers,
            uptime,
            counted,
            answers: Arc::new(Semaphore::new(ANSWERS_AT_ONCE)),
            last_ninety: Mutex::default(),
            ranking: Mutex::default(),
        })
    }

    /// Ends the sessions that a crash left open; before the first client connects.
    pub async fn recover(&self) -> Result<(), DomainError> {
        let _counted = self.counted.write().await;
        let left_open = self.blocking(uptime::left_open).await?;
        self.write_changes(left_open).await
    }

    /// Writes and counts every [`FLUSH_EVERY`], until stopped.
    pub async fn drive(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(FLUSH_EVERY) => {}
                () = stop.cancelled() => return,
            }
            let done = async {
                self.flush().await?;
                self.take_census().await?;
                self.delete_old().await
            };
            if let Err(error) = done.await {
                tracing::warn!(%error, "statistics could not be written; the next round tries again");
            }
        }
    }

    /// Writes down what memory knows and counts the archive to its end. What was only in memory is gone when this
    /// fails; what the archive says is counted the next time.
    pub async fn flush(&self) -> Result<(), DomainError> {
        {
            let _counted = self.counted.write().await;
            self.write_changes(self.uptime.take()).await?;
            self.write_interest().await?;
        }
        // Answers get a turn between two pages.
        while self.follow(&mut *self.counted.write().await).await? {}
        Ok(())
    }

    /// The last flush, once nobody is connected and the ledger has stopped.
    pub async fn shutdown(&self) {
        if let Err(error) = self.flush().await {
            tracing::warn!(%error, "the last statistics could not be written");
        }
    }

    /// Counts one page of the archive; says whether it goes on.
    async fn follow(&self, counted: &mut Counted) -> Result<bool, DomainError> {
        let page = self.blocking(|store| follow::next_page(store, follow::PAGE_ROWS)).await?;
        let Some(page) = page else { return Ok(false) };
        if self.store.commit(page.commit).await? == Committed::Conflict {
            return Err(StoreError::Failed("somebody else counts the archive".into()).into());
        }
        if let Some((_, open)) = &mut counted.open {
            page.settled.iter().for_each(|(provider, contract)| open.remove(*provider, *contract));
        }
        Ok(page.is_more)
    }

    async fn write_changes(&self, changes: Vec<Change>) -> Result<(), DomainError> {
        for changes in changes.chunks(ROWS / 4) {
            let changes = changes.to_vec();
            let writes = self.blocking(move |store| {
                let (mut writes, new) = uptime::merge(store, &changes)?;
                for (day, new) in new {
                    writes.push(census::add_devices(store, day, new)?);
                }
                Ok(writes)
            });
            self.commit(writes.await?).await?;
        }
        if self.uptime.is_anyone_connected() {
            self.commit(vec![uptime::heartbeat(self.now())]).await?;
        }
        Ok(())
    }

    async fn write_interest(&self) -> Result<(), DomainError> {
        let mut offers = self.providers.interest().take();
        // Hours of one day lie together, so that its row is read and written once.
        offers.sort_unstable_by_key(|((hour, client_id), _)| (hour / 24, *client_id));
        let days: Vec<_> =
            offers.chunk_by(|(a, _), (b, _)| (a.0 / 24, a.1) == (b.0 / 24, b.1)).map(<[_]>::to_vec).collect();
        for days in days.chunks(ROWS) {
            let days = days.to_vec();
            let writes = self.blocking(move |store| {
                days.iter()
                    .map(|offers| {
                        let ((hour, client_id), _) = offers[0];
                        let key = (hour / 24, client_id);
                        let mut day = INTEREST_DAYS.get(store, &key)?.unwrap_or_default();
                        for ((hour, _), count) in offers {
                            *day.at(*hour) = day.at(*hour).saturating_add(*count);
                        }
                        Ok(row(&INTEREST_DAYS, &key, &day))
                    })
                    .collect()
            });
            self.commit(writes.await?).await?;
        }
        Ok(())
    }

    /// Notes who is there, when it is time.
    pub async fn take_census(&self) -> Result<(), DomainError> {
        let mut counted = self.counted.write().await;
        let now = self.now();
        if now < counted.next_census {
            return Ok(());
        }
        counted.next_census = now + CENSUS_EVERY;
        let census = self.look_around().await?;
        let write = self.blocking(move |store| census::merge(store, now.day_number(), &census)).await?;
        self.commit(write.into_iter().collect()).await
    }

    /// Who is there now; `devices` is left 0.
    async fn look_around(&self) -> Result<CensusDay, DomainError> {
        let networks = self.blocking(census::count_networks).await?;
        Ok(CensusDay { networks, ..census::look_around(&self.providers) })
    }

    /// Deletes old days, when it is time.
    pub async fn delete_old(&self) -> Result<(), DomainError> {
        let mut counted = self.counted.write().await;
        let now = self.now();
        if now < counted.next_retention {
            return Ok(());
        }
        counted.next_retention = now + RETENTION_EVERY;
        let first = now.before(DAY * KEPT_DAYS).day_number();
        let store = &self.store;
        delete_before(store, &PROVIDER_DAYS, ROWS, move |(day, _)| *day < first).await?;
        delete_before(store, &PEER_DAYS, ROWS, move |(day, ..)| *day < first).await?;
        delete_before(store, &TRANSFER_DAYS, ROWS, move |day| *day < first).await?;
        delete_before(store, &UPTIME_DAYS, ROWS, move |(day, _)| *day < first).await?;
        delete_before(store, &CENSUS_DAYS, ROWS, move |day| *day < first).await?;
        let first = now.before(DAY * INTEREST_KEPT_DAYS).day_number();
        delete_before(store, &INTEREST_DAYS, ROWS, move |(day, _)| *day < first).await?;
        Ok(())
    }

    /// Makes sure that a recent snapshot of the open contracts is there.
    async fn look_at_open(&self) -> Result<(), DomainError> {
        let is_recent =
            |counted: &Counted| counted.open.as_ref().is_some_and(|(at, _)| self.now().since(*at) < SNAPSHOT_AGE);
        if is_recent(&*self.counted.read().await) {
            return Ok(());
        }
        let mut counted = self.counted.write().await;
        if is_recent(&counted) {
            return Ok(());
        }
        while self.follow(&mut counted).await? {}
        let at = self.now();
        counted.open = Some((at, self.blocking(OpenContracts::read).await?));
        Ok(())
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), DomainError> {
        if !writes.is_empty() {
            self.store.commit(Commit { reads: Vec::new(), writes }).await?;
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.clock().now()
    }

    fn clock(&self) -> &Clock {
        self.service.clock()
    }

    /// Reads a lot, away from the threads that serve.
    fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> impl Future<Output = Result<T, DomainError>> + Send + 'static {
        let store = Arc::clone(&self.store);
        let task = tokio::task::spawn_blocking(move || read(&*store));
        async move { Ok(task.await.map_err(|_| DomainError::Unavailable)??) }
    }
}

impl PresenceListener for Stats {
    fn attached(&self, connection: &Connection) {
        self.uptime.attached(connection);
    }

    fn detached(&self, connection: &Connection) {
        self.uptime.detached(connection);
    }
}
