//! The providers of all networks: clients that are connected and provide to everyone, or to their own network.
//!
//! A client is looked at anew whenever it connects, disconnects or changes; what is kept is derived from presence and
//! the store, so nothing here can be lost. A new candidate waits `relay.announce_delay` before it is offered. Several
//! addresses are normal (dual stack); the newest transport says where a provider is.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::blocked;
use super::candidates::{Candidate, Candidates};
use super::interest::SearchInterest;
use super::measure;
use super::reliability::Watch;
use crate::domain::address_bucket::AddressBucket;
use crate::domain::client;
use crate::domain::error::DomainError;
use crate::domain::location::directory::Directory;
use crate::domain::location::geoip::Geography;
use crate::domain::operation::{Operation, Tx};
use crate::domain::presence::{Connection, Presence, PresenceListener};
use crate::domain::provide;
use crate::domain::service::Service;
use crate::ids::{ClientId, LocationId, NetworkId};
use crate::time::Timestamp;
use crate::wire::messages::ProvideMode;

/// Locks that keep changes of one client in their order.
const ORDERS: usize = 64;

/// Candidates that begin to be offered before others may look.
const ANNOUNCED_AT_ONCE: usize = 256;

/// Who asks, as far as offers depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its network, whose own providers it may use.
    pub network_id: NetworkId,
    /// The top-level client it is or is derived from; never offered to itself.
    pub top_level_id: Option<ClientId>,
}

/// The candidates of all networks.
pub struct ProviderIndex {
    pub(super) service: Arc<Service>,
    pub(super) presence: Arc<Presence>,
    geography: RwLock<Arc<Geography>>,
    interest: SearchInterest,
    directory: Mutex<Directory>,
    /// Of two changes to one client the later one must also be the last one seen.
    orders: [Mutex<()>; ORDERS],
    pub(super) watch: Mutex<Watch>,
    pub(super) candidates: RwLock<Candidates>,
}

impl ProviderIndex {
    /// An empty index. Let it follow the presence, and tell it of every `Effect::ClientChanged` and
    /// `Effect::ClientRemoved`.
    pub fn new(service: Arc<Service>, presence: Arc<Presence>, geography: Geography) -> Arc<Self> {
        let mut directory = Directory::new();
        directory.add(geography.override_places());
        let watch = Mutex::new(Watch::new(service.clock().now()));
        Arc::new(Self {
            service,
            presence,
            geography: RwLock::new(Arc::new(geography)),
            interest: SearchInterest::default(),
            directory: Mutex::new(directory),
            orders: std::array::from_fn(|_| Mutex::default()),
            watch,
            candidates: RwLock::default(),
        })
    }

    /// Replaces the address tables and moves every candidate to where it is now. Takes long when there are many.
    pub fn set_geography(&self, geography: Geography) {
        self.directory.lock().add(geography.override_places());
        *self.geography.write() = Arc::new(geography);
        let client_ids: Vec<_> = self.candidates.read().iter().map(|candidate| candidate.client_id).collect();
        for client_id in client_ids {
            self.look_at(client_id);
        }
    }

    /// The address tables in use.
    pub fn geography(&self) -> Arc<Geography> {
        Arc::clone(&self.geography.read())
    }

    /// Looks anew at a client that may have changed what it provides, or was removed.
    pub fn refresh(&self, client_id: ClientId) {
        let (was_public, is_public) = self.look_at(client_id);
        if was_public != is_public {
            self.watch.lock().provide_changed(client_id);
        }
    }

    /// Looks at every connected client of a network anew.
    pub fn refresh_network(&self, network_id: NetworkId) {
        for client_id in self.presence.connected(network_id) {
            self.refresh(client_id);
        }
    }

    /// How often providers were offered.
    pub fn interest(&self) -> &SearchInterest {
        &self.interest
    }

    /// The time now, as operations see it.
    pub fn now(&self) -> Timestamp {
        self.service.clock().now()
    }

    /// Looks at the candidates, those that are due offered.
    pub fn with_candidates<R>(&self, look: impl FnOnce(&Candidates) -> R) -> R {
        let now = self.now();
        loop {
            let candidates = self.candidates.read();
            if !candidates.is_due(now) {
                return look(&candidates);
            }
            drop(candidates);
            self.candidates.write().announce(now, ANNOUNCED_AT_ONCE);
        }
    }

    /// Looks at the names of places, new ones included.
    pub fn with_directory<R>(&self, look: impl FnOnce(&mut Directory) -> R) -> R {
        let has_fresh = self.with_candidates(Candidates::has_fresh_places);
        let fresh = if has_fresh { self.candidates.write().take_fresh_places() } else { Vec::new() };
        let mut directory = self.directory.lock();
        directory.add(fresh);
        look(&mut directory)
    }

    /// The service's settings.
    pub fn config(&self) -> &crate::config::Config {
        self.service.config()
    }

    /// Whether the client provided to everyone before, and whether it does now.
    fn look_at(&self, client_id: ClientId) -> (bool, bool) {
        let order = usize::from(client_id.as_bytes()[15]) % ORDERS;
        let _order = self.orders[order].lock();
        let candidate = self.load(client_id);
        let is_public = candidate.as_ref().is_some_and(|candidate| candidate.is_public);
        let mut candidates = self.candidates.write();
        let was_public = candidates.get(client_id).is_some_and(|candidate| candidate.is_public);
        match candidate {
            Some(candidate) => candidates.insert(candidate),
            None => drop(candidates.remove(client_id)),
        }
        (was_public, is_public)
    }

    fn load(&self, client_id: ClientId) -> Option<Candidate> {
        let connections = self.presence.connections(client_id);
        let oldest = connections.first()?;
        let newest = connections.last()?;
        let provides = match self.service.read(&LoadProvider(client_id)) {
            Ok(provides) => provides,
            Err(error) => {
                tracing::error!(client = %client_id, %error, "cannot read a provider");
                None
            }
        };
        let is_public = provides.as_ref().is_some_and(|provides| provides.is_public);
        connections.iter().for_each(|connection| connection.vitals.set_provider(is_public));
        let provides = provides?;
        let geography = self.geography();
        let located = geography.locate(newest.entry.address);
        let reliability = self.watch.lock().reliability(client_id);
        let health = measure::health(&connections, located.as_deref(), geography.server(), reliability);
        Some(Candidate {
            top_level_id: provides.top_level_id,
            is_public,
            blocked_ids: provides.blocked_ids,
            health,
            bucket: AddressBucket::of(newest.entry.address),
            announce_time: oldest.connect_time + self.service.config().relay.announce_delay,
            ..Candidate::new(client_id, provides.network_id, newest.entry.address, located)
        })
    }
}

impl PresenceListener for ProviderIndex {
    fn attached(&self, connection: &Connection) {
        self.watch.lock().connected(connection.entry.client_id);
        self.look_at(connection.entry.client_id);
    }
    fn detached(&self, connection: &Connection) {
        self.look_at(connection.entry.client_id);
    }
}

/// Reads whether a client may be a candidate.
struct LoadProvider(ClientId);

struct Provides {
    network_id: NetworkId,
    top_level_id: ClientId,
    is_public: bool,
    blocked_ids: Vec<LocationId>,
}

impl Operation for LoadProvider {
    type Output = Option<Provides>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Provides>, DomainError> {
        let set = provide::provide_set(tx, self.0)?;
        let is_public = set.contains(ProvideMode::Public);
        if !is_public && !set.contains(ProvideMode::Network) {
            return Ok(None);
        }
        // A removed client may still be connected for a moment.
        let Some(client) = client::active(tx, &self.0)? else { return Ok(None) };
        let top_level_id = client.source_client_id.unwrap_or(self.0);
        let blocked_ids = blocked::blocked(tx, client.network_id)?;
        Ok(Some(Provides { network_id: client.network_id, top_level_id, is_public, blocked_ids }))
    }
}
