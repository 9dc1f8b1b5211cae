//! The candidates in memory: who is offered, in which pools, with which weight.
//!
//! A candidate waits until its time has come and then lies in the pools of everyone and of its country, region and city,
//! or, if only its own network may use it, in the pool of that network. Each step costs O(log n).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::known::{KnownPlace, KnownPlaces};
use super::pool::{Pool, Position, Slot, Weights};
use super::rank::{Health, Rank, RankMode, rank};
use crate::domain::address_bucket::AddressBucket;
use crate::domain::location::geoip::Located;
use crate::domain::location::place::Place;
use crate::ids::{ClientId, LocationId, NetworkId};
use crate::time::Timestamp;

/// Places remembered for the search by name; above it, further ones are found by id only.
pub const PLACES_MAX: usize = 1 << 16;

/// Pools that a candidate lies in at most: everyone, country, region, city.
const POOLS: usize = 4;

/// A provider that is connected.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The client.
    pub client_id: ClientId,
    /// Its network.
    pub network_id: NetworkId,
    /// The top-level client it is or is derived from.
    pub top_level_id: ClientId,
    /// Whether everyone may use it, or only its own network.
    pub is_public: bool,
    /// Where it is.
    pub located: Option<Arc<Located>>,
    /// The place and what it lies in, by id, country first.
    pub place_ids: Vec<LocationId>,
    /// Countries whose callers its network refuses.
    pub blocked_ids: Vec<LocationId>,
    /// What is known of its health.
    pub health: Health,
    /// The line it shares with its neighbours.
    pub bucket: AddressBucket,
    /// When it begins to be offered.
    pub announce_time: Timestamp,
}

impl Candidate {
    /// A candidate at an address that everyone may use, of unknown health and at once offered.
    pub fn new(client_id: ClientId, network_id: NetworkId, address: IpAddr, located: Option<Arc<Located>>) -> Self {
        let place_ids = located.iter().flat_map(|located| located.place.levels()).map(|(id, _)| id).collect();
        let network = located.as_ref().map(|located| located.network).unwrap_or_default();
        Self {
            client_id,
            network_id,
            top_level_id: client_id,
            is_public: true,
            located,
            place_ids,
            blocked_ids: Vec::new(),
            health: Health { network, ..Health::UNKNOWN },
            bucket: AddressBucket::of(address),
            announce_time: Timestamp::ZERO,
        }
    }

    /// How good it is.
    pub fn rank(&self, mode: RankMode) -> Rank {
        rank(&self.health, mode)
    }

    fn weights(&self) -> Weights {
        Weights::new(&self.rank(RankMode::Quality), &self.rank(RankMode::Speed))
    }
}

#[derive(Debug)]
struct Entry {
    candidate: Candidate,
    weights: Weights,
    /// Where it is in each of its pools; none while it waits.
    positions: Option<[Position; POOLS]>,
}

/// Everything known of candidates.
#[derive(Debug, Default)]
pub struct Candidates {
    entries: Vec<Option<Entry>>,
    free: Vec<Slot>,
    slots: HashMap<ClientId, Slot>,
    /// Candidates that are not offered yet, by the time they will be.
    waiting: BTreeSet<(Timestamp, Slot)>,
    public: Pool,
    places: KnownPlaces,
    /// Offered candidates that only their network may use.
    private: HashMap<NetworkId, Pool>,
    seen_places: HashSet<LocationId>,
    fresh_places: Vec<Place>,
}

impl Candidates {
    /// A candidate, offered or not.
    pub fn get(&self, client_id: ClientId) -> Option<&Candidate> {
        self.at(*self.slots.get(&client_id)?)
    }

    /// The candidate with this place in the table.
    pub fn at(&self, slot: Slot) -> Option<&Candidate> {
        self.entries.get(slot as usize)?.as_ref().map(|entry| &entry.candidate)
    }

    /// Every candidate, offered or not.
    pub fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.entries.iter().flatten().map(|entry| &entry.candidate)
    }

    /// Candidates behind `after`, offered or not, in the order of their ids; at most `count`.
    pub fn page(&self, after: Option<ClientId>, count: usize) -> BTreeMap<ClientId, &Candidate> {
        let mut page = BTreeMap::new();
        for candidate in self.iter().filter(|candidate| after.is_none_or(|after| candidate.client_id > after)) {
            page.insert(candidate.client_id, candidate);
            if page.len() > count {
                page.pop_last();
            }
        }
        page
    }

    /// Everyone whom all may use.
    pub fn public(&self) -> &Pool {
        &self.public
    }

    /// A place with providers that all may use.
    pub fn place(&self, id: LocationId) -> Option<&KnownPlace> {
        self.places.get(id)
    }

    /// Places with providers that all may use.
    pub fn places(&self) -> impl Iterator<Item = (LocationId, &KnownPlace)> {
        self.places.iter()
    }

    /// Those whom only their own network may use.
    pub fn private(&self, network_id: NetworkId) -> Option<&Pool> {
        self.private.get(&network_id)
    }

    /// Adds a candidate or replaces it; one that was offered before still is.
    pub fn insert(&mut self, mut candidate: Candidate) {
        let client_id = candidate.client_id;
        let before = self.remove(client_id);
        if let Some(before) = &before {
            candidate.announce_time = candidate.announce_time.min(before.announce_time);
        }
        let weights = candidate.weights();
        let waits_until = candidate.announce_time;
        let entry = Some(Entry { candidate, weights, positions: None });
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot as usize] = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as Slot - 1
            }
        };
        self.slots.insert(client_id, slot);
        self.waiting.insert((waits_until, slot));
    }

    /// Takes a candidate out.
    pub fn remove(&mut self, client_id: ClientId) -> Option<Candidate> {
        let slot = self.slots.remove(&client_id)?;
        let entry = self.entries.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        match entry.positions {
            None => drop(self.waiting.remove(&(entry.candidate.announce_time, slot))),
            Some(positions) => self.withdraw(&entry.candidate, &positions),
        }
        Some(entry.candidate)
    }

    /// Gives a candidate another health.
    pub fn set_health(&mut self, client_id: ClientId, health: Health) {
        let Some(slot) = self.slots.get(&client_id).copied() else { return };
        let Some(entry) = self.entries.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        entry.candidate.health = health;
        let weights = entry.candidate.weights();
        if std::mem::replace(&mut entry.weights, weights) == weights {
            return;
        }
        let Some(positions) = entry.positions else { return };
        let pools = self.pools_of(slot);
        for (pool, position) in pools.into_iter().zip(positions) {
            self.pool(pool).reweigh(position, weights);
        }
    }

    /// Whether a candidate is due to be offered.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.waiting.first().is_some_and(|(at, _)| *at <= now)
    }

    /// Offers candidates that are due, so many at most.
    pub fn announce(&mut self, now: Timestamp, limit: usize) {
        for _ in 0..limit {
            if !self.is_due(now) {
                return;
            }
            let Some((_, slot)) = self.waiting.pop_first() else { return };
            let Some(candidate) = self.at(slot) else { continue };
            let (bucket, located) = (candidate.bucket, candidate.located.clone());
            if let Some(located) = located {
                let is_public = candidate.is_public;
                self.note_places(&located.place, is_public);
            }
            let Some(weights) = self.entries[slot as usize].as_ref().map(|entry| entry.weights) else { continue };
            let mut positions = [Position::default(); POOLS];
            for (pool, position) in self.pools_of(slot).into_iter().zip(&mut positions) {
                *position = self.pool(pool).insert(bucket, slot, weights);
            }
            if let Some(entry) = self.entries[slot as usize].as_mut() {
                entry.positions = Some(positions);
                if entry.candidate.is_public {
                    self.places.reorder(&entry.candidate.place_ids, 1);
                }
            }
        }
    }

    /// Places that providers were seen in for the first time since the last call.
    pub fn take_fresh_places(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.fresh_places)
    }

    /// Whether [`Candidates::take_fresh_places`] would give any.
    pub fn has_fresh_places(&self) -> bool {
        !self.fresh_places.is_empty()
    }

    /// Makes sure that a place and what it lies in have pools, and are known by name.
    fn note_places(&mut self, place: &Place, is_public: bool) {
        let levels = place.levels();
        if is_public {
            self.places.note(&levels);
        }
        for (id, place) in levels {
            if self.seen_places.len() < PLACES_MAX && self.seen_places.insert(id) {
                self.fresh_places.push(place);
            }
        }
    }

    /// Takes an offered candidate out of every pool.
    fn withdraw(&mut self, candidate: &Candidate, positions: &[Position; POOLS]) {
        for (at, (key, position)) in pool_keys(candidate).into_iter().zip(positions).enumerate() {
            let pool = self.pool(key);
            let moved = pool.remove(*position);
            let is_empty = pool.is_empty();
            if let Some(moved) = moved
                && let Some(Some(Entry { positions: Some(positions), .. })) = self.entries.get_mut(moved as usize)
            {
                // Pools lie in the same order for all of their members.
                positions[at] = *position;
            }
            if is_empty {
                self.forget_pool(key);
            }
        }
        if candidate.is_public {
            self.places.reorder(&candidate.place_ids, -1);
        }
    }

    fn pools_of(&self, slot: Slot) -> Vec<PoolKey> {
        self.at(slot).map(pool_keys).unwrap_or_default()
    }

    fn pool(&mut self, key: PoolKey) -> &mut Pool {
        match key {
            PoolKey::Public => &mut self.public,
            PoolKey::Private(network_id) => self.private.entry(network_id).or_default(),
            PoolKey::Place(id) => self.places.pool(id),
        }
    }

    fn forget_pool(&mut self, key: PoolKey) {
        match key {
            PoolKey::Public => self.public = Pool::default(),
            PoolKey::Private(network_id) => drop(self.private.remove(&network_id)),
            PoolKey::Place(id) => self.places.remove(id),
        }
    }
}

#[derive(Clone, Copy)]
enum PoolKey {
    Public,
    Private(NetworkId),
    Place(LocationId),
}

/// The pools of a candidate, the largest first.
fn pool_keys(candidate: &Candidate) -> Vec<PoolKey> {
    match candidate.is_public {
        false => vec![PoolKey::Private(candidate.network_id)],
        true => {
            let places = candidate.place_ids.iter().take(POOLS - 1).map(|id| PoolKey::Place(*id));
            std::iter::once(PoolKey::Public).chain(places).collect()
        }
    }
}

#[cfg(test)]
#[path = "candidates_tests.rs"]
mod tests;
