//! Where healthy providers are: those that pass the gate for quality, each at the place that is known most exactly.

use std::collections::{HashMap, HashSet};

use super::index::ProviderIndex;
use super::pool::Weighting;
use super::rank::RankMode;
use crate::domain::location::place::Place;
use crate::ids::{ClientId, LocationId};

/// A place with healthy providers.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthyPlace {
    /// The place; none for providers that nobody can locate.
    pub location_id: Option<LocationId>,
    /// Its names.
    pub place: Option<Place>,
    /// Its healthy providers.
    pub client_ids: HashSet<ClientId>,
}

/// Every place with a healthy provider that everyone may use, in the order of their ids.
pub fn places(index: &ProviderIndex) -> Vec<HealthyPlace> {
    let mut places: HashMap<Option<LocationId>, HealthyPlace> = HashMap::new();
    index.with_candidates(|candidates| {
        for share in candidates.public().shares(Weighting::Strict(RankMode::Quality)) {
            let Some(candidate) = candidates.at(share.slot) else { continue };
            let location_id = candidate.place_ids.last().copied();
            let place = candidate.located.as_ref().map(|located| located.place.clone());
            let at = places.entry(location_id).or_insert_with(|| HealthyPlace {
                location_id,
                place,
                client_ids: HashSet::new(),
            });
            at.client_ids.insert(candidate.client_id);
        }
    });
    let mut places: Vec<_> = places.into_values().collect();
    places.sort_by_key(|place| place.location_id);
    places
}
