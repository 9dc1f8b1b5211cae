//! The candidates: clients that are connected and provide to everyone, or to their own network.
//!
//! A client is looked at anew whenever it connects, disconnects or changes; what is kept is derived from presence and
//! the store, so nothing here can be lost. A new candidate waits `relay.announce_delay` before it is offered. Several
//! addresses are normal (dual stack); the newest transport says where a provider is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::blocked;
use super::interest::SearchInterest;
use super::rank::Health;
use crate::domain::address_bucket::AddressBucket;
use crate::domain::client;
use crate::domain::error::DomainError;
use crate::domain::location::geoip::{Geography, Located};
use crate::domain::location::place::Place;
use crate::domain::operation::{Operation, Tx};
use crate::domain::presence::{Connection, Presence, PresenceListener};
use crate::domain::provide;
use crate::domain::service::Service;
use crate::ids::{ClientId, LocationId, NetworkId};
use crate::time::Timestamp;
use crate::wire::messages::ProvideMode;

/// A provider that is connected.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its network.
    pub network_id: NetworkId,
    /// The top-level client it is or is derived from.
    pub top_level_id: ClientId,
    /// Whether everyone may use it, or only its own network.
    pub is_public: bool,
    /// Where it is.
    pub located: Option<Arc<Located>>,
    /// The place and what it lies in, by id.
    pub place_ids: Vec<LocationId>,
    /// Countries whose callers its network refuses.
    pub blocked_ids: Vec<LocationId>,
    bucket: AddressBucket,
    announce_time: Timestamp,
}

/// A place with providers that everyone may use.
pub struct KnownPlace {
    /// The place.
    pub place: Place,
    /// Who is there.
    pub providers: Pool,
}

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
    service: Arc<Service>,
    presence: Arc<Presence>,
    geography: RwLock<Arc<Geography>>,
    interest: SearchInterest,
    state: Mutex<Candidates>,
}

/// Everything known, behind the index's lock.
#[derive(Default)]
pub struct Candidates {
    clients: HashMap<ClientId, Candidate>,
    /// Candidates that are not offered yet, by the time they will be.
    waiting: BTreeSet<(Timestamp, ClientId)>,
    public: Pool,
    places: HashMap<LocationId, KnownPlace>,
    /// Offered candidates that only their network may use.
    private: HashMap<NetworkId, Pool>,
    buckets: HashMap<AddressBucket, usize>,
}

/// A set that can be sampled by position.
#[derive(Debug, Default)]
pub struct Pool {
    members: Vec<ClientId>,
    positions: HashMap<ClientId, usize>,
}

impl Pool {
    /// The members, in no order that means anything.
    pub fn members(&self) -> &[ClientId] {
        &self.members
    }

    fn insert(&mut self, client_id: ClientId) {
        if let std::collections::hash_map::Entry::Vacant(entry) = self.positions.entry(client_id) {
            entry.insert(self.members.len());
            self.members.push(client_id);
        }
    }

    fn remove(&mut self, client_id: ClientId) {
        let Some(at) = self.positions.remove(&client_id) else { return };
        self.members.swap_remove(at);
        if let Some(moved) = self.members.get(at) {
            self.positions.insert(*moved, at);
        }
    }
}

impl ProviderIndex {
    /// An empty index. Let it follow the presence, and tell it of every `Effect::ClientChanged` and
    /// `Effect::ClientRemoved`.
    pub fn new(service: Arc<Service>, presence: Arc<Presence>, geography: Geography) -> Arc<Self> {
        let geography = RwLock::new(Arc::new(geography));
        Arc::new(Self { service, presence, geography, interest: SearchInterest::default(), state: Mutex::default() })
    }

    /// Replaces the address tables; candidates move when they are next looked at.
    pub fn set_geography(&self, geography: Geography) {
        *self.geography.write() = Arc::new(geography);
    }

    /// The address tables in use.
    pub fn geography(&self) -> Arc<Geography> {
        Arc::clone(&self.geography.read())
    }

    /// Looks at a client anew.
    pub fn refresh(&self, client_id: ClientId) {
        // Everything is read under the lock, so that of two changes the later one is also the last one seen.
        let mut state = self.state.lock();
        let candidate = self.load(client_id);
        let before = state.remove(client_id);
        if let Some(mut candidate) = candidate {
            // One that was offered stays so while its transports replace each other.
            if let Some(before) = before {
                candidate.announce_time = candidate.announce_time.min(before.announce_time);
            }
            state.insert(client_id, candidate);
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

    /// Looks at the candidates that are due to be offered.
    pub fn with_candidates<R>(&self, look: impl FnOnce(&Candidates) -> R) -> R {
        let mut state = self.state.lock();
        state.announce(self.now());
        look(&state)
    }

    /// The service's settings.
    pub fn config(&self) -> &crate::config::Config {
        self.service.config()
    }

    fn load(&self, client_id: ClientId) -> Option<Candidate> {
        let connections = self.presence.connections(client_id);
        let oldest = connections.first()?;
        let newest = connections.last()?;
        let provides = match self.service.read(&LoadProvider(client_id)) {
            Ok(provides) => provides?,
            Err(error) => {
                tracing::error!(client = %client_id, %error, "cannot read a provider");
                return None;
            }
        };
        let located = self.geography().locate(newest.entry.address);
        let place_ids = located.iter().flat_map(|located| located.place.levels()).map(|(id, _)| id).collect();
        Some(Candidate {
            network_id: provides.network_id,
            top_level_id: provides.top_level_id,
            is_public: provides.is_public,
            located,
            place_ids,
            blocked_ids: provides.blocked_ids,
            bucket: AddressBucket::of(newest.entry.address),
            announce_time: oldest.connect_time + self.service.config().relay.announce_delay,
        })
    }
}

impl PresenceListener for ProviderIndex {
    fn attached(&self, connection: &Connection) {
        self.refresh(connection.entry.client_id);
    }
    fn detached(&self, connection: &Connection) {
        self.refresh(connection.entry.client_id);
    }
}

impl Candidates {
    /// A candidate, offered or not.
    pub fn get(&self, client_id: ClientId) -> Option<&Candidate> {
        self.clients.get(&client_id)
    }

    /// Candidates behind `after`, offered or not, in the order of their ids; at most `count`.
    pub fn page(&self, after: Option<ClientId>, count: usize) -> BTreeMap<ClientId, &Candidate> {
        let mut page = BTreeMap::new();
        for (client_id, candidate) in &self.clients {
            if after.is_none_or(|after| *client_id > after) {
                page.insert(*client_id, candidate);
                if page.len() > count {
                    page.pop_last();
                }
            }
        }
        page
    }

    /// Everyone whom all may use.
    pub fn public(&self) -> &Pool {
        &self.public
    }

    /// Those whom all may use in a place.
    pub fn public_at(&self, place: LocationId) -> Option<&Pool> {
        self.places.get(&place).map(|known| &known.providers)
    }

    /// Those whom only their own network may use.
    pub fn private(&self, network_id: NetworkId) -> &[ClientId] {
        self.private.get(&network_id).map(Pool::members).unwrap_or_default()
    }

    /// Places with providers that all may use.
    pub fn places(&self) -> impl Iterator<Item = (LocationId, &KnownPlace)> {
        self.places.iter().map(|(id, known)| (*id, known))
    }

    /// What is known of a candidate's health.
    pub fn health(&self, candidate: &Candidate) -> Health {
        Health {
            network: candidate.located.as_ref().map(|located| located.network).unwrap_or_default(),
            latency: None,
            speed: None,
            reliability: [1.0; 3],
            sharers: self.buckets.get(&candidate.bucket).copied().unwrap_or(1),
        }
    }

    fn insert(&mut self, client_id: ClientId, candidate: Candidate) {
        self.waiting.insert((candidate.announce_time, client_id));
        self.clients.insert(client_id, candidate);
    }

    fn remove(&mut self, client_id: ClientId) -> Option<Candidate> {
        let candidate = self.clients.remove(&client_id)?;
        if !self.waiting.remove(&(candidate.announce_time, client_id)) {
            self.withdraw(client_id, &candidate);
        }
        Some(candidate)
    }

    /// Takes an offered candidate out of every pool.
    fn withdraw(&mut self, client_id: ClientId, candidate: &Candidate) {
        if let Some(count) = self.buckets.get_mut(&candidate.bucket) {
            *count -= 1;
            if *count == 0 {
                self.buckets.remove(&candidate.bucket);
            }
        }
        if !candidate.is_public {
            if let Some(pool) = self.private.get_mut(&candidate.network_id) {
                pool.remove(client_id);
                if pool.members.is_empty() {
                    self.private.remove(&candidate.network_id);
                }
            }
            return;
        }
        self.public.remove(client_id);
        for id in &candidate.place_ids {
            if let Some(known) = self.places.get_mut(id) {
                known.providers.remove(client_id);
                if known.providers.members.is_empty() {
                    self.places.remove(id);
                }
            }
        }
    }

    fn announce(&mut self, now: Timestamp) {
        while let Some((at, client_id)) = self.waiting.first().copied() {
            if at > now {
                break;
            }
            self.waiting.pop_first();
            let Some(candidate) = self.clients.get(&client_id) else { continue };
            *self.buckets.entry(candidate.bucket).or_default() += 1;
            if !candidate.is_public {
                self.private.entry(candidate.network_id).or_default().insert(client_id);
                continue;
            }
            self.public.insert(client_id);
            for (id, place) in candidate.located.iter().flat_map(|located| located.place.levels()) {
                let known = self.places.entry(id).or_insert_with(|| KnownPlace { place, providers: Pool::default() });
                known.providers.insert(client_id);
            }
        }
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
