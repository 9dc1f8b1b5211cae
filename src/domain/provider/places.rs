//! Where providers are: the places with candidates, for lists to choose from.

use std::collections::{HashMap, HashSet};

use super::candidates::Candidates;
use super::index::{Asker, ProviderIndex};
use super::known::KnownPlace;
use crate::domain::location::directory::{Hit, Names};
use crate::domain::location::group::{self, Group};
use crate::domain::location::names::Target;
use crate::domain::location::place::{Coordinates, LocationType, Place};
use crate::domain::location::text::normalise_query;
use crate::ids::LocationId;

/// Edits that a query may be away from a name.
const MAX_DISTANCE: usize = 2;

/// As [`MAX_DISTANCE`], when the caller asks for a part of the query's length.
const MAX_FRACTION_DISTANCE: usize = 4;

/// Distance of places that only came along with others.
pub const ALONG: usize = 3;

/// Cities listed of a region that was found.
const REGION_CITIES: usize = 20;

/// Cities and regions listed of a country that was found, each.
const COUNTRY_PLACES: usize = 10;

/// A place in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedPlace {
    /// Its id.
    pub location_id: LocationId,
    /// The place.
    pub place: Place,
    /// Providers in it that the caller may use.
    pub provider_count: usize,
    /// How far its name is from what was looked for; [`ALONG`] when it only came along.
    pub match_distance: usize,
    /// Whether its providers that pass the gate carry enough weight.
    pub is_stable: bool,
    /// Whether it lies where laws favour privacy.
    pub has_strong_privacy: bool,
}

/// What a query has found.
#[derive(Debug, Default)]
pub struct FoundPlaces {
    /// Places, best match first.
    pub places: Vec<ListedPlace>,
    /// Groups, best match first.
    pub groups: Vec<(&'static Group, usize)>,
}

/// A query for places by name.
#[derive(Clone, Debug)]
pub struct FindPlaces<'q> {
    /// What was typed.
    pub query: &'q str,
    /// The part of the query's length that may be wrong, instead of a fixed number of letters.
    pub max_distance_fraction: Option<f64>,
    /// Who asks, if known.
    pub asker: Option<Asker>,
}

/// The countries with at least one provider that the caller may use, by name.
pub fn countries(index: &ProviderIndex, asker: Option<Asker>) -> Vec<ListedPlace> {
    index.with_candidates(|candidates| {
        let view = View::new(candidates, index.config().discovery.stable_weight, asker);
        let mut listed: Vec<_> = view
            .ids()
            .filter_map(|id| view.list(id, 0))
            .filter(|listed| listed.place.location_type() == LocationType::Country)
            .collect();
        listed.sort_by(|a, b| (&a.place.country, a.location_id).cmp(&(&b.place.country, b.location_id)));
        listed
    })
}

impl FindPlaces<'_> {
    /// Places with providers, what they lie in, and the largest places in them.
    pub fn with_providers(&self, index: &ProviderIndex) -> FoundPlaces {
        let hits = self.hits(index);
        let stable_weight = index.config().discovery.stable_weight;
        index.with_candidates(|candidates| self.pick(&hits, candidates, stable_weight))
    }

    /// As [`FindPlaces::with_providers`], of hits and candidates that are at hand.
    pub fn pick(&self, hits: &[Hit], candidates: &Candidates, stable_weight: f64) -> FoundPlaces {
        let view = View::new(candidates, stable_weight, self.asker);
        let found: Vec<_> = hits.iter().filter(|hit| view.has(hit.target.id())).collect();
        let mut seen: HashSet<LocationId> = HashSet::with_capacity(2 * found.len());
        let mut places = Vec::with_capacity(2 * found.len());
        let mut add = |id: LocationId, distance: usize| {
            if seen.insert(id) {
                places.extend(view.list(id, distance));
            }
        };
        found.iter().for_each(|hit| add(hit.target.id(), hit.distance));
        for hit in found {
            let Target::Place(id, place) = &hit.target else { continue };
            match candidates.place(*id) {
                // What is known need not be derived again.
                Some(known) => {
                    known.level_ids.iter().for_each(|id| add(*id, ALONG));
                    largest(known).for_each(|id| add(id, ALONG));
                }
                None => place.levels().into_iter().for_each(|(id, _)| add(id, ALONG)),
            }
        }
        FoundPlaces { places, groups: Vec::new() }
    }

    /// Places and groups, whether or not they have providers, and what the places lie in.
    pub fn anywhere(&self, index: &ProviderIndex) -> FoundPlaces {
        let hits = self.hits(index);
        index.with_candidates(|candidates| {
            let view = View::new(candidates, index.config().discovery.stable_weight, self.asker);
            let mut found = FoundPlaces::default();
            let mut seen = HashSet::new();
            for hit in &hits {
                match &hit.target {
                    Target::Group(group) => found.groups.push((group, hit.distance)),
                    Target::Place(id, place) => {
                        seen.insert(*id);
                        found.places.push(view.describe(*id, place, hit.distance));
                    }
                }
            }
            for hit in &hits {
                let Target::Place(_, place) = &hit.target else { continue };
                for (id, place) in place.levels() {
                    if seen.insert(id) {
                        found.places.push(view.describe(id, &place, ALONG));
                    }
                }
            }
            found
        })
    }

    /// Places and groups by name alone, best match first.
    pub fn hits(&self, index: &ProviderIndex) -> Vec<Hit> {
        let names = index.with_directory(|directory| directory.names());
        self.look_up(&names)
    }

    /// As [`FindPlaces::hits`], among names that are at hand.
    pub fn look_up(&self, names: &Names) -> Vec<Hit> {
        let query = normalise_query(self.query);
        let limit = match self.max_distance_fraction {
            None => MAX_DISTANCE,
            // A negative number or none at all becomes zero.
            Some(fraction) => ((fraction * query.len() as f64).floor() as usize).min(MAX_FRACTION_DISTANCE),
        };
        names.find(&query, limit)
    }
}

/// Places with providers as one caller sees them.
struct View<'c> {
    candidates: &'c Candidates,
    stable_weight: f64,
    /// Places of providers that only the caller's network may use.
    private: HashMap<LocationId, (Place, usize)>,
}

impl<'c> View<'c> {
    fn new(candidates: &'c Candidates, stable_weight: f64, asker: Option<Asker>) -> Self {
        let mut private: HashMap<LocationId, (Place, usize)> = HashMap::new();
        let pool = asker.and_then(|asker| candidates.private(asker.network_id));
        for share in pool.into_iter().flat_map(|pool| pool.shares(super::pool::Weighting::Equal)) {
            let located = candidates.at(share.slot).and_then(|candidate| candidate.located.as_ref());
            for (id, place) in located.iter().flat_map(|located| located.place.levels()) {
                private.entry(id).or_insert((place, 0)).1 += 1;
            }
        }
        Self { candidates, stable_weight, private }
    }

    fn ids(&self) -> impl Iterator<Item = LocationId> {
        let public = self.candidates.places().map(|(id, _)| id);
        let private = self.private.keys().copied().filter(|id| self.candidates.place(*id).is_none());
        public.chain(private)
    }

    fn has(&self, id: LocationId) -> bool {
        self.candidates.place(id).is_some() || self.private.contains_key(&id)
    }

    /// A place with providers.
    fn list(&self, id: LocationId, match_distance: usize) -> Option<ListedPlace> {
        let place = match (self.candidates.place(id), self.private.get(&id)) {
            (Some(known), _) => &known.place,
            (None, Some((place, _))) => place,
            (None, None) => return None,
        };
        Some(self.describe(id, place, match_distance))
    }

    fn describe(&self, id: LocationId, place: &Place, match_distance: usize) -> ListedPlace {
        let public = self.candidates.place(id);
        let private_count = self.private.get(&id).map_or(0, |(_, count)| *count);
        ListedPlace {
            location_id: id,
            provider_count: public.map_or(0, |known| known.providers.len()) + private_count,
            match_distance,
            is_stable: public.is_some_and(|known| known.providers.stable_weight() >= self.stable_weight),
            has_strong_privacy: public
                .map_or_else(|| group::has_strong_privacy(place), |known| known.has_strong_privacy),
            place: place.clone(),
        }
    }
}

/// The places with the most providers inside a region or a country.
fn largest(known: &KnownPlace) -> impl Iterator<Item = LocationId> {
    let (regions, cities) = match known.place.location_type() {
        LocationType::City => (0, 0),
        LocationType::Region => (0, REGION_CITIES),
        LocationType::Country => (COUNTRY_PLACES, COUNTRY_PLACES),
    };
    known.regions().take(regions).chain(known.cities().take(cities))
}

/// A region with providers, on a map.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedRegion {
    /// The region.
    pub place: Place,
    /// Providers in it that everyone may use.
    pub provider_count: usize,
    /// The middle of its cities, or else of its country's.
    pub point: Coordinates,
}

/// The regions with providers that everyone may use, as far as anything says where they are.
pub fn map(index: &ProviderIndex) -> Vec<MappedRegion> {
    index.with_candidates(|candidates| {
        let mut middles: HashMap<LocationId, Middle> = HashMap::new();
        for (_, known) in candidates.places() {
            if let Some(point) = known.place.coordinates {
                for around in &known.level_ids {
                    middles.entry(*around).or_default().add(point);
                }
            }
        }
        let regions = candidates.places().filter(|(_, known)| known.place.location_type() == LocationType::Region);
        let mapped = regions.filter_map(|(id, known)| {
            let middle = middles.get(&id).or_else(|| middles.get(known.level_ids.first()?))?;
            let provider_count = known.providers.len();
            Some(MappedRegion { place: known.place.clone(), provider_count, point: middle.point() })
        });
        mapped.collect()
    })
}

/// The middle of points on the globe: their mean as vectors, so that it does not matter where degrees begin.
#[derive(Debug, Default)]
struct Middle {
    sum: [f64; 3],
}

impl Middle {
    fn add(&mut self, point: Coordinates) {
        let (latitude, longitude) = (point.latitude.to_radians(), point.longitude.to_radians());
        let vector = [latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()];
        self.sum.iter_mut().zip(vector).for_each(|(sum, part)| *sum += part);
    }

    fn point(&self) -> Coordinates {
        let [x, y, z] = self.sum;
        let degrees = |radians: f64| (radians.to_degrees() * 1e4).round() / 1e4;
        Coordinates { latitude: degrees(z.atan2(x.hypot(y))), longitude: degrees(y.atan2(x)) }
    }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
