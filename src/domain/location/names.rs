//! Finds places and groups by a name that may be cut short or mistyped.
//!
//! Each name is indexed from every start of a word. All these texts lie sorted, so that they form a tree of prefixes; a
//! search walks it with one row of the edit distance (Levenshtein, byte by byte) for each letter, and leaves a branch
//! as soon as no continuation can come close enough. Of a text every prefix of [`MIN_PREFIX`] letters or more counts.

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
}

#[derive(Debug)]
struct Text {
    text: Box<[u8]>,
    /// Bytes it has in common with the text before it.
    common: usize,
    /// Whose name it is, or the end of whose name.
    owners: Vec<u32>,
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
        let mut texts: Vec<Text> = Vec::new();
        for (text, owner) in pairs {
            match texts.last_mut() {
                Some(last) if last.text == text => last.owners.push(owner),
                last => {
                    let common = last.map_or(0, |last| agreement(&last.text, &text));
                    texts.push(Text { text, common, owners: vec![owner] });
                }
            }
        }
        let ids = targets.iter().map(Target::id).collect();
        Self { targets, ids, texts }
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

    /// Everything with a name at most `limit` edits away from a normalised query. A query shorter than [`MIN_PREFIX`]
    /// finds only what is called exactly so, such as a country by its code.
    pub fn find(&self, query: &str, limit: usize) -> Vec<Match> {
        let query = query.as_bytes();
        let mut best = vec![None; self.targets.len()];
        if query.len() < MIN_PREFIX {
            if let Ok(at) = self.texts.binary_search_by(|text| (*text.text).cmp(query)) {
                note(&mut best, &self.texts[at..=at], 0, query);
            }
        } else {
            self.walk(query, limit, |texts, distance| note(&mut best, texts, distance, query));
        }
        let found = best.into_iter().enumerate();
        found
            .filter_map(|(target, best)| best.map(|(distance, agreement)| Match { target, distance, agreement }))
            .collect()
    }

    /// Calls `found` with neighbouring texts that have a prefix in common, and its distance.
    fn walk(&self, query: &[u8], limit: usize, mut found: impl FnMut(&[Text], usize)) {
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
        while let Some(Text { text, common, .. }) = self.texts.get(at) {
            let mut depth = known.min(*common);
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
                while self.texts.get(end).is_some_and(|next| next.common >= depth) {
                    end += 1;
                }
            }
            if best[depth] <= limit {
                found(&self.texts[at..end], best[depth]);
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

fn note(best: &mut [Option<(usize, usize)>], texts: &[Text], distance: usize, query: &[u8]) {
    for text in texts {
        let agreement = agreement(&text.text, query);
        for owner in &text.owners {
            let best = &mut best[*owner as usize];
            if best.is_none_or(|(known, agreed)| (distance, agreed) < (known, agreement)) {
                *best = Some((distance, agreement));
            }
        }
    }
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
