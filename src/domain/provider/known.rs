//! The places with providers that everyone may use, and in each the largest places inside it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::pool::Pool;
use crate::domain::location::group;
use crate::domain::location::place::{LocationType, Place};
use crate::ids::LocationId;

/// Places inside another one, those with the most providers first.
type Largest = BTreeSet<(Reverse<usize>, LocationId)>;

/// A place with providers that everyone may use.
#[derive(Debug)]
pub struct KnownPlace {
    /// The place.
    pub place: Place,
    /// What it lies in, itself included, country first.
    pub level_ids: Vec<LocationId>,
    /// Who is there.
    pub providers: Pool,
    /// Whether it lies where laws favour privacy.
    pub has_strong_privacy: bool,
    regions: Largest,
    cities: Largest,
}

impl KnownPlace {
    fn new(place: &Place, level_ids: Vec<LocationId>) -> Self {
        Self {
            place: place.clone(),
            level_ids,
            providers: Pool::default(),
            has_strong_privacy: group::has_strong_privacy(place),
            regions: Largest::new(),
            cities: Largest::new(),
        }
    }

    /// The regions inside it, those with the most providers first, then by id.
    pub fn regions(&self) -> impl Iterator<Item = LocationId> {
        self.regions.iter().map(|(_, id)| *id)
    }

    /// The cities inside it, in the same order.
    pub fn cities(&self) -> impl Iterator<Item = LocationId> {
        self.cities.iter().map(|(_, id)| *id)
    }

    fn inside(&mut self, kind: LocationType) -> Option<&mut Largest> {
        match kind {
            LocationType::Country => None,
            LocationType::Region => Some(&mut self.regions),
            LocationType::City => Some(&mut self.cities),
        }
    }
}

/// Places by id.
#[derive(Debug, Default)]
pub struct KnownPlaces(HashMap<LocationId, KnownPlace>);

impl KnownPlaces {
    /// A place.
    pub fn get(&self, id: LocationId) -> Option<&KnownPlace> {
        self.0.get(&id)
    }

    /// Every place.
    pub fn iter(&self) -> impl Iterator<Item = (LocationId, &KnownPlace)> {
        self.0.iter().map(|(id, known)| (*id, known))
    }

    /// Makes sure that a place and what it lies in have pools.
    pub fn note(&mut self, levels: &[(LocationId, Place)]) {
        for (at, (id, place)) in levels.iter().enumerate() {
            self.0
                .entry(*id)
                .or_insert_with(|| KnownPlace::new(place, levels[..=at].iter().map(|(id, _)| *id).collect()));
        }
    }

    /// The pool of a place that was noted.
    pub fn pool(&mut self, id: LocationId) -> &mut Pool {
        &mut self.0.get_mut(&id).expect("a place is noted before its pool is used").providers
    }

    /// Forgets a place without providers.
    pub fn remove(&mut self, id: LocationId) {
        self.0.remove(&id);
    }

    /// Puts places of a country, each inside the one before it, in their order again: `change` providers came to each.
    pub fn reorder(&mut self, level_ids: &[LocationId], change: isize) {
        let kinds = [LocationType::Country, LocationType::Region, LocationType::City];
        for (level, (id, kind)) in level_ids.iter().zip(kinds).enumerate() {
            let after = self.get(*id).map_or(0, |known| known.providers.len());
            let before = after.saturating_add_signed(-change);
            for around in &level_ids[..level] {
                // What is around it may be gone with it.
                let Some(largest) = self.0.get_mut(around).and_then(|known| known.inside(kind)) else { continue };
                largest.remove(&(Reverse(before), *id));
                if after > 0 {
                    largest.insert((Reverse(after), *id));
                }
            }
        }
    }
}
