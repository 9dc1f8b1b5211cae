//! The places that are known by name: every country, every group, and wherever providers were seen.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use super::country::COUNTRIES;
use super::names::{Match, NameIndex, Target};
use super::place::Place;
use crate::ids::LocationId;

/// Hits kept beside the exact ones.
const BEST: usize = 30;

/// Exact hits kept at most: "united" would else answer with every city of some countries.
const EXACT_MAX: usize = 500;

/// New places that are indexed apart from the others, at least.
const RECENT_MIN: usize = 256;

/// The places known by name. Most lie in a large index that is seldom built anew; new ones in a small one.
#[derive(Debug)]
pub struct Directory {
    known: HashSet<LocationId>,
    large: Arc<NameIndex>,
    recent: Vec<Place>,
    small: Option<Arc<NameIndex>>,
}

/// Something found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// What was found.
    pub target: Target,
    /// Letters to add, leave out or change.
    pub distance: usize,
}

/// The names at one moment; searched without holding anybody up.
#[derive(Clone, Debug)]
pub struct Names([Arc<NameIndex>; 2]);

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

impl Directory {
    /// The countries and the groups.
    pub fn new() -> Self {
        let countries = COUNTRIES.iter().filter_map(|(code, name)| Place::new(code, name, "", ""));
        let large = Arc::new(NameIndex::new(countries, true));
        let known = large.targets().iter().map(Target::id).collect();
        Self { known, large, recent: Vec::new(), small: None }
    }

    /// Adds places; those known already change nothing.
    pub fn add(&mut self, places: impl IntoIterator<Item = Place>) {
        for place in places {
            for (id, place) in place.levels() {
                if self.known.insert(id) {
                    self.recent.push(place);
                    self.small = None;
                }
            }
        }
    }

    /// The names as they are now.
    pub fn names(&mut self) -> Names {
        if self.recent.len() > RECENT_MIN.max(self.large.len() / 8) {
            let before = self.large.targets().iter().filter_map(|target| match target {
                Target::Place(_, place) => Some(place.clone()),
                Target::Group(_) => None,
            });
            self.large = Arc::new(NameIndex::new(before.chain(std::mem::take(&mut self.recent)), true));
            self.small = None;
        }
        let recent = &self.recent;
        let small = self.small.get_or_insert_with(|| Arc::new(NameIndex::new(recent.iter().cloned(), false)));
        Names([Arc::clone(&self.large), Arc::clone(small)])
    }
}

impl Names {
    /// What a normalised query may mean, at most `limit` edits away, best first: by distance, then by how long the names
    /// agree, then by id. Of inexact hits only the best are kept.
    pub fn find(&self, query: &str, limit: usize) -> Vec<Hit> {
        let mut matches: Vec<(Match, LocationId, &NameIndex)> = Vec::new();
        for index in &self.0 {
            let found = index.find(query, limit, BEST).into_iter();
            matches.extend(found.map(|found| (found, index.id(found.target), &**index)));
        }
        let exact = matches.iter().filter(|(found, ..)| found.distance == 0).count();
        let kept = exact.clamp(BEST, EXACT_MAX);
        let key = |(found, id, _): &(Match, LocationId, &NameIndex)| (found.distance, Reverse(found.agreement), *id);
        if matches.len() > kept {
            // A short query finds thousands; only those kept are sorted.
            matches.select_nth_unstable_by_key(kept, key);
            matches.truncate(kept);
        }
        matches.sort_unstable_by_key(key);
        let hit = |(found, _, index): (Match, LocationId, &NameIndex)| Hit {
            target: index.targets()[found.target].clone(),
            distance: found.distance,
        };
        matches.into_iter().map(hit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn city(code: &str, region: &str, city: &str) -> Place {
        Place::new(code, "", region, city).unwrap()
    }

    fn found(directory: &mut Directory, query: &str) -> Vec<String> {
        let name = |hit: Hit| match hit.target {
            Target::Group(group) => group.name.to_owned(),
            Target::Place(_, place) => format!("{}/{}/{}", place.country_code.as_str(), place.region, place.city),
        };
        directory.names().find(query, 2).into_iter().map(name).collect()
    }

    #[test]
    fn countries_and_groups_are_known_from_the_start() {
        let mut directory = Directory::new();
        assert_eq!(found(&mut directory, "germany"), ["de//"]);
        assert_eq!(found(&mut directory, "de"), ["de//"]);
        assert_eq!(found(&mut directory, "nordic")[0], "Nordic");
        assert_eq!(found(&mut directory, ""), [""; 0]);
    }

    #[test]
    fn places_are_found_as_soon_as_they_are_added_and_after_the_indexes_merge() {
        let mut directory = Directory::new();
        directory.add([city("de", "Berlin", "Berlin")]);
        directory.add([city("de", "Berlin", "Berlin")]);
        let mut berlin = found(&mut directory, "berlin")[..2].to_vec();
        berlin.sort();
        assert_eq!(berlin, ["de/Berlin/", "de/Berlin/Berlin"]);
        directory.add((0..1000).map(|number| city("us", "Ohio", &format!("Town {number}"))));
        assert_eq!(found(&mut directory, "town 777")[0], "us/Ohio/Town 777");
        assert!(directory.recent.is_empty(), "merged");
        assert!(found(&mut directory, "berlin").contains(&"de/Berlin/Berlin".to_owned()));
        assert_eq!(found(&mut directory, "town").len(), EXACT_MAX, "exact hits are kept beyond the best");
    }
}
