//! Which providers to offer: candidates by place, minus those not wanted, drawn by weight, best tier first.

use std::collections::HashSet;
use std::sync::Arc;

use rand::Rng;

use super::candidates::{Candidate, Candidates};
use super::draw::draw;
use super::index::{Asker, ProviderIndex};
use super::pool::{Pool, Slot, Weighting};
use super::rank::RankMode;
use crate::domain::location::geoip::Located;
use crate::domain::location::group;
use crate::ids::{ClientId, LocationId};

/// The answer's size when the caller names none, and the least unless it insists.
pub const DEFAULT_COUNT: usize = 20;

/// The largest answer.
pub const MAX_COUNT: usize = 200;

/// Chance of a candidate on the way to a destination that failed.
const INTERMEDIARY_CHANCE: f64 = 0.5;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderSpec {
    /// This client, whoever it is.
    Client(ClientId),
    /// A provider in this country, region or city.
    Location(LocationId),
    /// A provider in this group of places.
    Group(LocationId),
    /// Any provider.
    BestAvailable,
}

/// A search.
#[derive(Clone, Debug, Default)]
pub struct FindProviders {
    /// What is asked for; the union of it.
    pub specs: Vec<ProviderSpec>,
    /// How many.
    pub count: i64,
    /// Exactly so many, not the default at least.
    pub force_count: bool,
    /// Never these.
    pub excluded: HashSet<ClientId>,
    /// Rather not these.
    pub intermediaries: HashSet<ClientId>,
    /// What matters most.
    pub mode: RankMode,
    /// All alike, without gate and weights.
    pub force_minimum: bool,
    /// Who asks, if known.
    pub asker: Option<Asker>,
    /// The country the call comes from, if known.
    pub country: Option<LocationId>,
}

/// An offered provider.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundProvider {
    /// The provider.
    pub client_id: ClientId,
    /// 0 is best.
    pub tier: u32,
    /// Bytes per second, where measured.
    pub estimated_speed: Option<f64>,
    /// Where it is, if known.
    pub located: Option<Arc<Located>>,
}

/// Where to draw from.
struct Scope<'c> {
    /// Pools that have no candidate in common.
    pools: Vec<&'c Pool>,
    /// Places that candidates which only their network may use must lie in; none when they may be anywhere.
    private_places: Option<HashSet<LocationId>>,
}

impl FindProviders {
    /// Clients asked for by id come first, as they are; then a weighted sample without replacement, by tier. Nothing
    /// found is an empty answer.
    pub fn run(&self, index: &ProviderIndex, rng: &mut impl Rng) -> Vec<FoundProvider> {
        let min_strict = index.config().discovery.min_strict;
        let found = index.with_candidates(|candidates| self.pick(candidates, min_strict, rng));
        index.interest().record(index.now(), found.iter().map(|found| found.client_id));
        found
    }

    /// As [`FindProviders::run`], of candidates that are at hand.
    pub fn pick(&self, candidates: &Candidates, min_strict: usize, rng: &mut impl Rng) -> Vec<FoundProvider> {
        let wanted = match (self.force_count, usize::try_from(self.count).unwrap_or(0)) {
            (_, 0) => DEFAULT_COUNT,
            (true, count) => count,
            (false, count) => count.max(DEFAULT_COUNT),
        }
        .min(MAX_COUNT);
        let mut named = Vec::new();
        let mut seen = HashSet::new();
        for spec in &self.specs {
            if let ProviderSpec::Client(client_id) = spec
                && named.len() < MAX_COUNT
                && !self.excluded.contains(client_id)
                && seen.insert(*client_id)
            {
                named.push(*client_id);
            }
        }
        let mut found: Vec<_> = named.iter().map(|id| named_provider(candidates, *id)).collect();
        let scope = self.scope(candidates);
        let chance = |slot: Slot| match candidates.at(slot) {
            Some(candidate) if !seen.contains(&candidate.client_id) => self.chance(&scope, candidate),
            _ => 0.0,
        };
        let lane = self.lane(&scope, min_strict, chance);
        let drawn = draw(&scope.pools, lane, wanted.min(MAX_COUNT - found.len()), chance, rng);
        let drawn = drawn.into_iter().filter_map(|slot| candidates.at(slot));
        let mut ranked: Vec<_> = drawn.map(|candidate| (candidate.rank(self.mode).tier, candidate)).collect();
        ranked.sort_by_key(|(tier, _)| *tier);
        found.extend(ranked.into_iter().map(|(tier, candidate)| FoundProvider {
            client_id: candidate.client_id,
            tier,
            estimated_speed: candidate.health.speed.and_then(|speed| speed.estimate()),
            located: candidate.located.clone(),
        }));
        found
    }

    /// Only those that pass the gate, when there are enough of them; else the others too, less likely.
    fn lane(&self, scope: &Scope<'_>, min_strict: usize, chance: impl Fn(Slot) -> f64) -> Weighting {
        if self.force_minimum {
            return Weighting::Equal;
        }
        let strict = Weighting::Strict(self.mode);
        let usable = scope.pools.iter().flat_map(|pool| pool.shares(strict)).filter(|share| chance(share.slot) > 0.0);
        match usable.take(min_strict).count() < min_strict {
            true => Weighting::Lenient(self.mode),
            false => strict,
        }
    }

    /// The pools that the specs cover.
    fn scope<'c>(&self, candidates: &'c Candidates) -> Scope<'c> {
        let private = self.asker.and_then(|asker| candidates.private(asker.network_id));
        if self.specs.contains(&ProviderSpec::BestAvailable) {
            let pools = std::iter::once(candidates.public()).chain(private).collect();
            return Scope { pools, private_places: None };
        }
        let mut place_ids = HashSet::new();
        for spec in &self.specs {
            match spec {
                ProviderSpec::Location(id) => drop(place_ids.insert(*id)),
                ProviderSpec::Group(id) => {
                    place_ids.extend(group::by_id(*id).iter().flat_map(|group| group.member_ids()))
                }
                ProviderSpec::Client(_) | ProviderSpec::BestAvailable => {}
            }
        }
        // In one order, so that a generator with a fixed seed draws the same again.
        let mut known: Vec<_> = place_ids.iter().filter_map(|id| candidates.place(*id)).collect();
        known.sort_unstable_by(|a, b| a.level_ids.cmp(&b.level_ids));
        // A place inside another one that is covered too would count twice.
        known.retain(|place| {
            let (_, around) = place.level_ids.split_last().unwrap_or((&LocationId::default(), &[]));
            !around.iter().any(|id| place_ids.contains(id))
        });
        let private = private.filter(|_| !place_ids.is_empty());
        let pools = known.into_iter().map(|place| &place.providers).chain(private).collect();
        Scope { pools, private_places: Some(place_ids) }
    }

    /// How likely a candidate that was drawn is offered.
    fn chance(&self, scope: &Scope<'_>, candidate: &Candidate) -> f64 {
        let is_elsewhere = !candidate.is_public
            && scope
                .private_places
                .as_ref()
                .is_some_and(|places| !candidate.place_ids.iter().any(|id| places.contains(id)));
        if is_elsewhere || !self.may_use(candidate) || self.excluded.contains(&candidate.client_id) {
            return 0.0;
        }
        if self.intermediaries.contains(&candidate.client_id) && !self.force_minimum {
            return INTERMEDIARY_CHANCE;
        }
        1.0
    }

    fn may_use(&self, candidate: &Candidate) -> bool {
        if self.country.is_some_and(|country| candidate.blocked_ids.contains(&country)) {
            return false;
        }
        self.asker.is_none_or(|asker| asker.top_level_id != Some(candidate.top_level_id))
    }
}

fn named_provider(candidates: &Candidates, client_id: ClientId) -> FoundProvider {
    let located = candidates.get(client_id).and_then(|candidate| candidate.located.clone());
    FoundProvider { client_id, tier: 0, estimated_speed: None, located }
}

#[cfg(test)]
mod tests;
