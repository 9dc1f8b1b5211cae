//! What the answers have in common: the figures of one provider in a window, from the days and from what is not in
//! them yet.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::Stats;
use super::open::{OpenContract, OpenContracts};
use super::record::{Hours, INTEREST_DAYS, PEER_DAYS, PROVIDER_DAYS, PeerDay, UPTIME_DAYS, UptimeDay};
use super::rollup::hour_bit;
use super::uptime::Days;
use super::window::Window;
use crate::domain::error::DomainError;
use crate::ids::ClientId;
use crate::store::{Store, StoreError};

/// Rows read at once.
const PAGE: usize = 1024;

/// What a provider did in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes carried for those who pay, by the time their contracts were closed.
    pub bytes: i64,
    /// Its share of the revenue, nano-cents.
    pub revenue: i64,
    /// How often it was offered.
    pub interest: u64,
    /// Contracts made, open ones included.
    pub contracts: u64,
    /// Different clients at their other end.
    pub clients: u64,
}

impl Figures {
    /// Adds those of another provider or day.
    pub fn add(&mut self, more: &Self) {
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.revenue = self.revenue.saturating_add(more.revenue);
        self.interest += more.interest;
        self.contracts += more.contracts;
        self.clients += more.clients;
    }
}

/// Everything that an answer may look at, while nothing moves.
pub(super) struct View<'a> {
    pub(super) stats: &'a Stats,
    pub(super) window: Window,
    open: &'a OpenContracts,
}

impl Stats {
    /// Computes an answer away from the threads that serve; few at a time, whether or not anyone still waits.
    pub(super) async fn answer<T: Send + 'static>(
        self: &Arc<Self>,
        window: Window,
        compute: impl FnOnce(&View<'_>) -> Result<T, DomainError> + Send + 'static,
    ) -> Result<T, DomainError> {
        let permit = Arc::clone(&self.answers).acquire_owned().await.map_err(|_| DomainError::Unavailable)?;
        self.look_at_open().await?;
        let counted = Arc::clone(&self.counted).read_owned().await;
        let stats = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let nothing = OpenContracts::default();
            let open = counted.open.as_ref().map_or(&nothing, |(_, open)| open);
            compute(&View { stats: &stats, window, open })
        });
        task.await.map_err(|_| DomainError::Unavailable)?
    }
}

impl<'a> View<'a> {
    pub(super) fn store(&self) -> &'a dyn Store {
        &*self.stats.store
    }

    /// Looks at one provider.
    pub(super) fn provider(&'a self, client_id: ClientId) -> ProviderView<'a> {
        let mut open: BTreeMap<u32, Vec<OpenContract>> = BTreeMap::new();
        for contract in self.open.of(client_id) {
            let day = contract.create_time.day_number();
            if hour_bit(contract.create_time) & self.window.hour_mask(day) != 0 {
                open.entry(day).or_default().push(*contract);
            }
        }
        ProviderView { view: self, client_id, open, recent: self.stats.uptime.recent(client_id) }
    }
}

/// One provider in a window.
pub(super) struct ProviderView<'a> {
    view: &'a View<'a>,
    client_id: ClientId,
    /// Open contracts made in the window, by day.
    open: BTreeMap<u32, Vec<OpenContract>>,
    recent: Days,
}

impl ProviderView<'_> {
    /// Its figures on one day of the window.
    pub(super) fn figures(&self, day: u32) -> Result<Figures, StoreError> {
        let mut figures = self.sums(day)?;
        let window = &self.view.window;
        if !window.is_whole(day) {
            let mut clients = HashSet::new();
            self.each_client(day, &mut clients)?;
            figures.clients = clients.len() as u64;
            return Ok(figures);
        }
        let mut unsettled = HashSet::new();
        for contract in self.open.get(&day).into_iter().flatten() {
            let key = (day, self.client_id, contract.other);
            if unsettled.insert(contract.other)
                && PEER_DAYS.get(self.view.store(), &key)?.is_none_or(|peer| peer.made_in == 0)
            {
                figures.clients += 1;
            }
        }
        Ok(figures)
    }

    /// Its figures on one day of the window; how many clients is told for whole days only, and without those that
    /// have open contracts alone.
    pub(super) fn sums(&self, day: u32) -> Result<Figures, StoreError> {
        let (store, key) = (self.view.store(), (day, self.client_id));
        let hours = self.view.window.hours(day);
        let mut figures = Figures::default();
        if let Some(stored) = PROVIDER_DAYS.get(store, &key)? {
            figures.clients = u64::from(stored.clients);
            for hour in &stored.hours.0[hours.clone()] {
                figures.bytes = figures.bytes.saturating_add(hour.bytes);
                figures.revenue = figures.revenue.saturating_add(hour.revenue);
                figures.contracts += u64::from(hour.contracts);
            }
        }
        if let Some(interest) = INTEREST_DAYS.get(store, &key)? {
            figures.interest = interest.0[hours].iter().map(|count| u64::from(*count)).sum();
        }
        figures.contracts += self.open.get(&day).map_or(0, |open| open.len() as u64);
        Ok(figures)
    }

    /// Adds the clients at the other end of the contracts that were made on one day of the window.
    pub(super) fn each_client(&self, day: u32, clients: &mut HashSet<ClientId>) -> Result<(), StoreError> {
        clients.extend(self.open.get(&day).into_iter().flatten().map(|contract| contract.other));
        let mask = self.view.window.hour_mask(day);
        self.each_peer(day, |other, peer| {
            if peer.made_in & mask != 0 {
                clients.insert(other);
            }
        })
    }

    /// Shows what it carried for each client on one day.
    pub(super) fn each_peer(&self, day: u32, mut see: impl FnMut(ClientId, PeerDay)) -> Result<(), StoreError> {
        let prefix = PEER_DAYS.prefix(&(day, self.client_id));
        PEER_DAYS.each(self.view.store(), &prefix, None, PAGE, |(_, _, other), peer| {
            see(other, peer);
            ControlFlow::Continue(())
        })
    }

    /// When it was connected on one day, what is not written yet included.
    pub(super) fn uptime(&self, day: u32) -> Result<UptimeDay, StoreError> {
        let mut uptime = UPTIME_DAYS.get(self.view.store(), &(day, self.client_id))?.unwrap_or_default();
        if let Some(recent) = self.recent.get(&day) {
            uptime.add(recent);
        }
        let mut clipped = Hours::default();
        for hour in self.view.window.hours(day) {
            let most = self.view.window.millis_of(day, hour);
            clipped.0[hour] = u64::from(uptime.hours.0[hour]).min(most) as u32;
        }
        Ok(UptimeDay { hours: clipped, ..uptime })
    }
}

/// The sum of the hours of a day.
pub(super) fn millis(day: &UptimeDay) -> u64 {
    day.hours.0.iter().map(|millis| u64::from(*millis)).sum()
}
