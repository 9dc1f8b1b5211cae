use proptest::prelude::*;

use super::*;
use crate::domain::location::text::normalise_query;

fn place(code: &str, region: &str, city: &str) -> Place {
    Place::new(code, "", region, city).unwrap()
}

fn cities() -> NameIndex {
    let places = [
        place("us", "California", "San Francisco"),
        place("jp", "Tokyo", "Tokyo San Fran"),
        place("pe", "Lima", "Lima San Fran"),
        place("us", "Texas", "San Antonio"),
        place("br", "São Paulo", "São Paulo"),
        place("de", "", ""),
        place("dk", "", ""),
    ];
    NameIndex::new(places, false)
}

/// The cities, or else countries, found, with their distances.
fn found(index: &NameIndex, query: &str) -> Vec<(String, usize)> {
    let name = |place: &Place| if place.city.is_empty() { place.country.clone() } else { place.city.clone() };
    let mut found: Vec<_> = index
        .find(&normalise_query(query), 2, usize::MAX)
        .into_iter()
        .map(|found| match &index.targets()[found.target] {
            Target::Place(_, place) => (name(place), found.distance),
            Target::Group(group) => (group.name.to_owned(), found.distance),
        })
        .collect();
    found.sort();
    found
}

#[test]
fn beginnings_of_words_match_and_typos_cost() {
    let three = |distance| ["Lima San Fran", "San Francisco", "Tokyo San Fran"].map(|name| (name.to_owned(), distance));
    let exact: Vec<_> = found(&cities(), "san fra").into_iter().filter(|(_, distance)| *distance == 0).collect();
    assert_eq!(exact, three(0));
    let near: Vec<_> = found(&cities(), "san frn").into_iter().filter(|(_, distance)| *distance == 1).collect();
    assert_eq!(near, three(1));
    assert!(found(&cities(), "san frn").iter().all(|(_, distance)| *distance > 0));
    assert_eq!(found(&cities(), "germny"), [("Germany".to_owned(), 1)]);
    assert_eq!(found(&cities(), "SAO  paolo"), [("São Paulo".to_owned(), 1)]);
    assert_eq!(found(&cities(), "san francisco, cal"), [("San Francisco".to_owned(), 0)]);
    assert_eq!(found(&cities(), "san francisco (us)"), [("San Francisco".to_owned(), 0)]);
}

#[test]
fn two_letters_match_exactly_only() {
    assert_eq!(found(&cities(), "de"), [("Germany".to_owned(), 0)]);
    assert_eq!(found(&cities(), "dx"), []);
    assert_eq!(found(&cities(), "sa"), [], "no beginning of a name is so short");
    assert_eq!(found(&cities(), "d"), []);
    assert_eq!(found(&cities(), ""), []);
}

#[test]
fn names_that_agree_longer_are_known_as_such() {
    let hits = cities().find("san frx", 2, usize::MAX);
    let best = hits.iter().filter(|hit| hit.distance == 1).map(|hit| hit.agreement).max();
    assert_eq!(best, Some(6));
}

#[test]
fn odd_queries_find_nothing_and_break_nothing() {
    for query in ["\u{0}\u{1}", "😀😀😀😀", "x\u{0301}".repeat(200).as_str(), "(((((", ",,,,", " "] {
        found(&cities(), query);
    }
    assert!(found(&cities(), &"q".repeat(10_000)).is_empty());
}

/// Plain Levenshtein.
fn levenshtein(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, byte) in a.iter().enumerate() {
        let before = row.clone();
        row[0] = at + 1;
        for (to, other) in b.iter().enumerate() {
            row[to + 1] = (before[to] + usize::from(byte != other)).min(before[to + 1] + 1).min(row[to] + 1);
        }
    }
    row[b.len()]
}

/// What the index should find, looked for in the plainest way.
fn expected(targets: &[Target], query: &str, limit: usize) -> Vec<(LocationId, usize, usize)> {
    let mut expected = Vec::new();
    for target in targets {
        let mut best = NONE;
        for name in names(target).iter().map(|name| normalise(name)) {
            let starts = std::iter::once(0).chain(name.match_indices(' ').map(|(at, _)| at + 1));
            for text in starts.map(|at| &name.as_bytes()[at..]) {
                for length in MIN_PREFIX..=text.len() {
                    let distance = levenshtein(query.as_bytes(), &text[..length]);
                    best = best.min((distance, Reverse(agreement(text, query.as_bytes()))));
                }
            }
        }
        if best.0 <= limit {
            expected.push((target.id(), best.0, best.1.0));
        }
    }
    expected.sort();
    expected
}

proptest! {
    #[test]
    fn it_finds_what_comparing_everything_finds(
        names in proptest::collection::vec("[ab]{1,4}( [ab]{1,4}){0,2}", 1..12),
        query in "[ab]{3,6}( [ab]{1,3})?",
        limit in 0usize..=4,
        enough in 0usize..12,
    ) {
        let index = NameIndex::new(names.iter().map(|name| place("de", "ba", name)), true);
        let found = |enough| {
            let hits = index.find(&query, limit, enough).into_iter();
            let mut hits: Vec<_> = hits.map(|hit| (index.targets()[hit.target].id(), hit.distance, hit.agreement)).collect();
            hits.sort();
            hits
        };
        let mut all = expected(index.targets(), &query, limit);
        prop_assert_eq!(found(usize::MAX), all.clone());
        // A search that ends early has left out only what is farther away than anything it found.
        let some = found(enough);
        prop_assert!(some.len() >= enough.min(all.len()));
        let farthest = some.iter().map(|(_, distance, _)| *distance).max();
        all.retain(|(_, distance, _)| Some(*distance) <= farthest);
        prop_assert_eq!(some, all);
    }
}
