//! Finds places and groups by a name that may be cut short or mistyped.
//!
//! Each name is indexed from every start of a word. All these texts lie sorted, so that they form a tree of prefixes; a
//! search walks it with one row of the edit distance (Levenshtein, byte by byte) for each letter, and leaves a branch
//! as soon as no continuation can come close enough. Of a text every prefix of [`MIN_PREFIX`] letters or more counts.
//!
//! Two edits away from three letters lies nearly everything. So a search allows none at first, then one more at a time,
//! until it has found enough.

use std::cmp::Reverse;
use std::ops::Range;

use super::group::{GROUPS, Group};
use super::place::{LocationType, Place};
use super::text::normalise;
use crate::ids::LocationId;

/// Shortest prefix of a name that matches, and shortest query that may be mistyped.
pub const MIN_PREFIX: usize = 3;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A place.
    Place(LocationId, Place),
    /// A group of places.
    Group(&'static Group),
}

impl Target {
    /// Its id.
    pub fn id(&self) -> LocationId {
        match self {
            Self::Place(id, _) => *id,
            Self::Group(group) => group.id(),
        }
    }
}

/// Something found: which of the index's targets, and how well it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Its number in [`NameIndex::targets`].
    pub target: usize,
    /// Letters to add, leave out or change.
    pub distance: usize,
    /// How long query and name agree from their beginnings.
    pub agreement: usize,
}

/// Names, sorted.
#[derive(Debug, Default)]
pub struct NameIndex {
    targets: Vec<Target>,
    ids: Vec<LocationId>,
    texts: Vec<Text>,
    /// Bytes that each text has in common with the one before it.
    common: Vec<usize>,
    /// Whose names the texts are, or the ends of whose names, in the order of the texts.
    owners: Vec<u32>,
}

#[derive(Debug)]
struct Text {
    text: Box<[u8]>,
    /// Where its owners begin.
    owners: usize,
}

/// How well a target fits, the smaller the better: distance, then agreement.
type Fit = (usize, Reverse<usize>);

/// Of a target that was not found.
const NONE: Fit = (usize::MAX, Reverse(0));

/// What a search has found so far.
struct Found<'q> {
    query: &'q [u8],
    fits: Vec<Fit>,
    /// Those that fit.
    targets: Vec<u32>,
}

impl NameIndex {
    /// An index of these places, and of all groups if wanted.
    pub fn new(places: impl IntoIterator<Item = Place>, with_groups: bool) -> Self {
        let mut targets: Vec<Target> = places.into_iter().map(|place| Target::Place(own_id(&place), place)).collect();
        if with_groups {
            targets.extend(GROUPS.iter().map(Target::Group));
        }
        let mut pairs: Vec<(Box<[u8]>, u32)> = Vec::new();
        for (owner, target) in targets.iter().enumerate() {
            for name in names(target) {
                let name = normalise(&name);
                let starts = name.match_indices(' ').map(|(at, _)| at + 1).filter(|at| name.len() - at >= MIN_PREFIX);
                for start in std::iter::once(0).chain(starts) {
                    pairs.push((name.as_bytes()[start..].into(), owner as u32));
                }
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        let mut index = Self { ids: targets.iter().map(Target::id).collect(), targets, ..Self::default() };
        for (text, owner) in pairs {
            let last = index.texts.last().map_or(&[][..], |last| &last.text);
            if index.texts.is_empty() || *last != *text {
                index.common.push(agreement(last, &text));
                index.texts.push(Text { text, owners: index.owners.len() });
            }
            index.owners.push(owner);
        }
        index
    }

    /// How many places and groups there are.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The id of a place or group.
    pub fn id(&self, target: usize) -> LocationId {
        self.ids[target]
    }

    /// The places and groups.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// What has a name at most `limit` edits away from a normalised query: everything, or as soon as it is `enough`,
    /// everything that is not farther away. A query shorter than [`MIN_PREFIX`] finds only what is called exactly so,
    /// such as a country by its code.
    pub fn find(&self, query: &str, limit: usize, enough: usize) -> Vec<Match> {
        let query = query.as_bytes();
        let mut found = Found { query, fits: vec![NONE; self.targets.len()], targets: Vec::new() };
        if query.len() < MIN_PREFIX {
            if let Ok(at) = self.texts.binary_search_by(|text| (*text.text).cmp(query)) {
                self.note(&mut found, at..at + 1, 0);
            }
        } else {
            for limit in 0..=limit {
                self.walk(query, limit, |texts, distance| {
                    // Nearer ones are known already.
                    if distance == limit {
                        self.note(&mut found, texts, distance);
                    }
                });
                if found.targets.len() >= enough {
                    break;
                }
            }
        }
        let targets = found.targets.into_iter().map(|target| target as usize);
        let matches = targets.map(|target| {
            let (distance, Reverse(agreement)) = found.fits[target];
            Match { target, distance, agreement }
        });
        matches.collect()
    }

    /// Adds the owners of neighbouring texts.
    fn note(&self, found: &mut Found<'_>, texts: Range<usize>, distance: usize) {
        let mut agreed = agreement(&self.texts[texts.start].text, found.query);
        for at in texts.clone() {
            // Neighbours that differ before or behind the place where the last one left the query need no second look.
            let common = if at == texts.start { usize::MAX } else { self.common[at] };
            if common == agreed {
                agreed += agreement(&self.texts[at].text[agreed..], &found.query[agreed..]);
            } else {
                agreed = agreed.min(common);
            }
            let end = self.texts.get(at + 1).map_or(self.owners.len(), |next| next.owners);
            for owner in &self.owners[self.texts[at].owners..end] {
                let fit = &mut found.fits[*owner as usize];
                if *fit == NONE {
                    found.targets.push(*owner);
                }
                *fit = (*fit).min((distance, Reverse(agreed)));
            }
        }
    }

    /// Calls `found` with neighbouring texts that have a prefix in common, and its distance.
    fn walk(&self, query: &[u8], limit: usize, mut found: impl FnMut(Range<usize>, usize)) {
        let deepest = query.len() + limit;
        // Row `d`: the distances from the first `d` bytes of the text to each beginning of the query; and the smallest
        // distance from any prefix so far to the whole query.
        let width = query.len() + 1;
        let mut rows = vec![0usize; (deepest + 1) * width];
        for (at, distance) in rows[..width].iter_mut().enumerate() {
            *distance = at;
        }
        let mut best = vec![usize::MAX; deepest + 1];
        let (mut at, mut known) = (0, 0);
        while let Some(Text { text, .. }) = self.texts.get(at) {
            let mut depth = known.min(self.common[at]);
            let mut is_hopeless = false;
            while depth < text.len() && depth < deepest && !is_hopeless {
                let (before, row) = rows[depth * width..(depth + 2) * width].split_at_mut(width);
                let nearest = next_row(before, row, text[depth], query);
                depth += 1;
                let whole = if depth >= MIN_PREFIX { row[query.len()] } else { usize::MAX };
                best[depth] = best[depth - 1].min(whole);
                is_hopeless = nearest > limit;
            }
            known = depth;
            // What follows and agrees up to here ends the same way; but a text that ended stands for itself.
            let mut end = at + 1;
            if depth < text.len() || is_hopeless || depth == deepest {
                while self.common.get(end).is_some_and(|common| *common >= depth) {
                    end += 1;
                }
            }
            if best[depth] <= limit {
                found(at..end, best[depth]);
            }
            at = end;
        }
    }
}

/// Fills the row of a text one byte longer; the smallest distance in it.
fn next_row(before: &[usize], row: &mut [usize], byte: u8, query: &[u8]) -> usize {
    row[0] = before[0] + 1;
    let mut nearest = row[0];
    for (at, letter) in query.iter().enumerate() {
        let changed = before[at] + usize::from(*letter != byte);
        row[at + 1] = changed.min(before[at + 1] + 1).min(row[at] + 1);
        nearest = nearest.min(row[at + 1]);
    }
    nearest
}

fn agreement(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn own_id(place: &Place) -> LocationId {
    place.city_id().or(place.region_id()).unwrap_or_else(|| place.country_id())
}

/// What people call it.
fn names(target: &Target) -> Vec<String> {
    let place = match target {
        Target::Group(group) => return vec![group.name.to_owned()],
        Target::Place(_, place) => place,
    };
    let Place { country, region, city, .. } = place;
    let code = place.country_code.as_str();
    match place.location_type() {
        LocationType::City => {
            vec![format!("{city}, {country}"), format!("{city} ({code})"), format!("{city}, {region}")]
        }
        LocationType::Region => vec![format!("{region}, {country}"), format!("{region} ({code})")],
        LocationType::Country => vec![format!("{country} ({code})"), country.clone(), code.to_owned()],
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
