//! What kind of provider someone wants, in their own words: `Berlin or Hamburg`, `nordic`, an id.

use super::find::{MAX_COUNT, ProviderSpec};
use super::index::ProviderIndex;
use super::places::FindPlaces;
use crate::domain::location::names::Target;
use crate::ids::ClientId;

/// Bytes of the text that are looked at.
const MAX_TEXT_BYTES: usize = 4096;

/// Parts of the text that are looked at.
const MAX_PARTS: usize = 32;

/// Edits that a part may be away from a name.
const MAX_DISTANCE: usize = 1;

/// Hits taken when the text has one part only.
const SINGLE_HITS: usize = 5;

/// The specs that a text stands for. Ids of clients come before everything else; a part cut off by a comma or `or`
/// stands for the best place or group of that name, and a text of one part for its five best; a text that means
/// nothing known stands for any provider; an empty text for none.
pub fn specs(index: &ProviderIndex, text: &str) -> Vec<ProviderSpec> {
    let text = &text[..text.floor_char_boundary(MAX_TEXT_BYTES)];
    let mut specs = Vec::new();
    let mut add = |spec| {
        if !specs.contains(&spec) && specs.len() < MAX_COUNT {
            specs.push(spec);
        }
    };
    let is_id_part = |letter: char| letter.is_ascii_hexdigit() || letter == '-';
    text.split(|letter| !is_id_part(letter)).filter_map(client_id).for_each(|id| add(ProviderSpec::Client(id)));
    if !specs.is_empty() {
        return specs;
    }
    let parts = parts(text);
    if parts.is_empty() {
        return specs;
    }
    let hit_count = if parts.len() == 1 { SINGLE_HITS } else { 1 };
    for part in parts {
        let hits = FindPlaces { query: &part, max_distance_fraction: None, asker: None }.hits(index);
        for hit in hits.into_iter().filter(|hit| hit.distance <= MAX_DISTANCE).take(hit_count) {
            let spec = match hit.target {
                Target::Place(id, _) => ProviderSpec::Location(id),
                Target::Group(group) => ProviderSpec::Group(group.id()),
            };
            if !specs.contains(&spec) {
                specs.push(spec);
            }
        }
    }
    if specs.is_empty() {
        specs.push(ProviderSpec::BestAvailable);
    }
    specs
}

/// Reads the id of a client with or without hyphens.
pub fn client_id(text: &str) -> Option<ClientId> {
    text.trim().parse().ok()
}

fn parts(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for part in text.split([',', ';', '\n']) {
        let mut words: Vec<&str> = Vec::new();
        for word in part.split_whitespace().chain(["or"]) {
            if !word.eq_ignore_ascii_case("or") {
                words.push(word);
            } else if !words.is_empty() && parts.len() < MAX_PARTS {
                parts.push(std::mem::take(&mut words).join(" "));
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::location::geoip::Geography;
    use crate::domain::location::place::{Place, derive_id};
    use crate::domain::presence::Presence;
    use crate::domain::testing::{TestDomain, id};

    fn specs_of(text: &str) -> Vec<ProviderSpec> {
        let domain = TestDomain::new();
        let geography = Geography::open(&domain.service.config().geoip).unwrap();
        let presence = Presence::new(domain.clock.clone());
        specs(&ProviderIndex::new(Arc::clone(&domain.service), presence, geography), text)
    }

    fn country(code: &str) -> ProviderSpec {
        ProviderSpec::Location(Place::new(code, "", "", "").unwrap().country_id())
    }

    #[test]
    fn each_part_stands_for_its_best_hit() {
        assert_eq!(
            specs_of("Germny or sweden, FRANCE;us"),
            [country("de"), country("se"), country("fr"), country("us")]
        );
        assert_eq!(specs_of("germany, germany"), [country("de")]);
        assert_eq!(specs_of("Nordic"), [ProviderSpec::Group(derive_id("group", &["Nordic"]))]);
        assert_eq!(specs_of("united").len(), SINGLE_HITS);
    }

    #[test]
    fn ids_count_alone() {
        let text = "use 01010101-0101-0101-0101-010101010101 or 02020202020202020202020202020202, germany";
        assert_eq!(specs_of(text), [ProviderSpec::Client(id(1)), ProviderSpec::Client(id(2))]);
    }

    #[test]
    fn nothing_known_is_anything_and_nothing_at_all_is_nothing() {
        assert_eq!(specs_of("somewhere nice"), [ProviderSpec::BestAvailable]);
        assert_eq!(specs_of(""), []);
        assert_eq!(specs_of(" , or or ,"), []);
        assert!(specs_of(&"germany,".repeat(100_000)).len() == 1);
    }
}
