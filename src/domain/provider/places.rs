//! Where providers are: the countries with candidates, for lists to choose from.

use std::collections::HashMap;

use super::index::{Asker, Candidates, ProviderIndex};
use super::rank::{RankMode, rank};
use crate::domain::location::group;
use crate::domain::location::place::{LocationType, Place};
use crate::ids::{ClientId, LocationId};

/// A place in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedPlace {
    /// Its id.
    pub location_id: LocationId,
    /// The place.
    pub place: Place,
    /// Providers in it that the caller may use.
    pub provider_count: usize,
    /// Whether its providers that pass the gate carry enough weight.
    pub is_stable: bool,
    /// Whether it lies where laws favour privacy.
    pub has_strong_privacy: bool,
}

/// The countries with at least one provider that the caller may use, by name.
pub fn countries(index: &ProviderIndex, asker: Option<Asker>) -> Vec<ListedPlace> {
    let stable_weight = index.config().discovery.stable_weight;
    index.with_candidates(|candidates| {
        let private = asker.map(|asker| candidates.private(asker.network_id)).unwrap_or_default();
        let mut members: HashMap<LocationId, (Place, Vec<ClientId>)> = candidates
            .places()
            .filter(|(_, known)| known.place.location_type() == LocationType::Country)
            .map(|(id, known)| (id, (known.place.clone(), known.providers.members().to_vec())))
            .collect();
        for client_id in private {
            let located = candidates.get(*client_id).and_then(|candidate| candidate.located.as_ref());
            let Some((id, country)) = located.and_then(|located| located.place.levels().into_iter().next()) else {
                continue;
            };
            members.entry(id).or_insert_with(|| (country, Vec::new())).1.push(*client_id);
        }
        let mut listed: Vec<_> = members
            .into_iter()
            .map(|(location_id, (place, providers))| ListedPlace {
                location_id,
                provider_count: providers.len(),
                is_stable: weight_passing_the_gate(candidates, &providers) >= stable_weight,
                has_strong_privacy: group::has_strong_privacy(&place),
                place,
            })
            .collect();
        listed.sort_by(|a, b| (&a.place.country, a.location_id).cmp(&(&b.place.country, b.location_id)));
        listed
    })
}

fn weight_passing_the_gate(candidates: &Candidates, providers: &[ClientId]) -> f64 {
    let ranks = providers.iter().filter_map(|client_id| {
        let health = candidates.health(candidates.get(*client_id)?);
        Some(rank(&health, RankMode::Quality)).filter(|rank| rank.is_strict)
    });
    // Shares of one line must add up to the whole of it.
    ranks.map(|rank| rank.shared_weight).sum::<f64>() + f64::EPSILON * providers.len() as f64
}
