//! Which providers to offer: candidates by place, minus those not wanted, drawn by weight, best tier first.

use std::collections::HashSet;
use std::sync::Arc;

use rand::{Rng, RngExt};

use super::index::{Asker, Candidate, Candidates, ProviderIndex};
use super::rank::{Rank, RankMode, rank};
use crate::domain::location::geoip::Located;
use crate::domain::location::group;
use crate::ids::{ClientId, LocationId};

/// The answer's size when the caller names none, and the least unless it insists.
pub const DEFAULT_COUNT: usize = 20;

/// The largest answer.
pub const MAX_COUNT: usize = 200;

/// Candidates that are judged for one answer; of a larger set, so many are picked at random first.
const JUDGED_MAX: usize = 4096;

/// Weight of a candidate that does not pass the gate.
const LENIENT_WEIGHT: f64 = 0.1;

/// Weight of a candidate on the way to a destination that failed.
const INTERMEDIARY_WEIGHT: f64 = 0.5;

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

struct Judged<'c> {
    client_id: ClientId,
    candidate: &'c Candidate,
    speed: Option<f64>,
    rank: Rank,
}

impl FindProviders {
    /// Clients asked for by id come first, as they are; then a weighted sample without replacement, by tier. Nothing
    /// found is an empty answer.
    pub fn run(&self, index: &ProviderIndex, rng: &mut impl Rng) -> Vec<FoundProvider> {
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
        let found = index.with_candidates(|candidates| {
            let mut found: Vec<_> = named.iter().map(|id| named_provider(candidates, *id)).collect();
            let judged = self.judge(candidates, &seen, rng);
            let judged = self.prefer(judged, index.config().discovery.min_strict);
            let mut drawn = draw(judged, wanted.min(MAX_COUNT - found.len()), rng);
            drawn.sort_by_key(|judged| judged.rank.tier);
            found.extend(drawn.into_iter().map(|judged| FoundProvider {
                client_id: judged.client_id,
                tier: judged.rank.tier,
                estimated_speed: judged.speed,
                located: judged.candidate.located.clone(),
            }));
            found
        });
        index.interest().record(index.now(), found.iter().map(|found| found.client_id));
        found
    }

    fn judge<'c>(&self, candidates: &'c Candidates, named: &HashSet<ClientId>, rng: &mut impl Rng) -> Vec<Judged<'c>> {
        let mut client_ids = self.gather(candidates);
        client_ids.retain(|client_id| !self.excluded.contains(client_id) && !named.contains(client_id));
        let picked = rand::seq::index::sample(rng, client_ids.len(), client_ids.len().min(JUDGED_MAX));
        let judge = |client_id: ClientId| {
            let candidate = candidates.get(client_id).filter(|candidate| self.may_use(candidate))?;
            let health = candidates.health(candidate);
            let mut rank = rank(&health, self.mode);
            if self.force_minimum {
                rank.weight = 1.0;
            }
            if self.intermediaries.contains(&client_id) {
                rank.weight *= INTERMEDIARY_WEIGHT;
            }
            Some(Judged { client_id, candidate, speed: health.speed, rank })
        };
        picked.into_iter().filter_map(|at| judge(client_ids[at])).collect()
    }

    /// Every candidate that a spec covers, each once.
    fn gather(&self, candidates: &Candidates) -> Vec<ClientId> {
        let private = self.asker.map(|asker| candidates.private(asker.network_id)).unwrap_or_default();
        if self.specs.contains(&ProviderSpec::BestAvailable) {
            return [candidates.public().members(), private].concat();
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
        let mut gathered = HashSet::new();
        for id in &place_ids {
            gathered.extend(candidates.public_at(*id).into_iter().flat_map(|pool| pool.members()));
        }
        let is_there = |client_id: &ClientId| {
            candidates
                .get(*client_id)
                .is_some_and(|candidate| candidate.place_ids.iter().any(|id| place_ids.contains(id)))
        };
        gathered.extend(private.iter().copied().filter(is_there));
        gathered.into_iter().collect()
    }

    fn may_use(&self, candidate: &Candidate) -> bool {
        if self.country.is_some_and(|country| candidate.blocked_ids.contains(&country)) {
            return false;
        }
        match self.asker {
            None => candidate.is_public,
            Some(asker) => {
                (candidate.is_public || candidate.network_id == asker.network_id)
                    && asker.top_level_id != Some(candidate.top_level_id)
            }
        }
    }

    /// Only those that pass the gate, when there are enough of them; else the others too, less likely.
    fn prefer<'c>(&self, mut judged: Vec<Judged<'c>>, min_strict: usize) -> Vec<Judged<'c>> {
        if self.force_minimum {
            return judged;
        }
        if judged.iter().filter(|judged| judged.rank.is_strict).count() >= min_strict {
            judged.retain(|judged| judged.rank.is_strict);
        }
        for judged in judged.iter_mut().filter(|judged| !judged.rank.is_strict) {
            judged.rank.weight *= LENIENT_WEIGHT;
        }
        judged
    }
}

fn named_provider(candidates: &Candidates, client_id: ClientId) -> FoundProvider {
    let located = candidates.get(client_id).and_then(|candidate| candidate.located.clone());
    FoundProvider { client_id, tier: 0, estimated_speed: None, located }
}

/// Draws without replacement, each time in proportion to the weights: the smallest of exponential times with the
/// weights as rates (Efraimidis and Spirakis).
fn draw<'c>(judged: Vec<Judged<'c>>, count: usize, rng: &mut impl Rng) -> Vec<Judged<'c>> {
    let mut timed: Vec<_> = judged
        .into_iter()
        .map(|judged| {
            let uniform: f64 = rng.random();
            (-(1.0 - uniform).ln() / judged.rank.weight, judged)
        })
        .collect();
    timed.sort_by(|a, b| a.0.total_cmp(&b.0));
    timed.truncate(count);
    timed.into_iter().map(|(_, judged)| judged).collect()
}

#[cfg(test)]
mod tests;
