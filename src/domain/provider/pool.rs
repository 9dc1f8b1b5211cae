//! A set of providers that can be drawn from by weight in O(log n), and changed as cheaply.
//!
//! Providers behind one address bucket share a *line*. A line weighs as much as the average of its members, so a
//! thousand addresses of one subnet are drawn as often as one address elsewhere. Several weightings, the [`Weighting`]s, lie
//! in one Fenwick tree over the lines. Weights are integers: what is added and taken away again leaves no trace.

use std::collections::HashMap;

use rand::{Rng, RngExt};

use super::fenwick::Fenwick;
use super::rank::{Rank, RankMode};
use crate::domain::address_bucket::AddressBucket;

/// A provider's place in the table of all of them.
pub type Slot = u32;

/// Weight 1 of a provider.
pub const UNIT: u32 = 1 << 24;

/// One weight of a line for each weight of its members, so that the share of one of many is not rounded to nothing.
const LINE_UNIT: u64 = 1 << 8;

/// A provider that does not pass the gate weighs so much less.
const LENIENT_DIVISOR: u32 = 10;

/// Members of a line that are looked through one by one; of a longer one, some are tried at random first.
const SHORT_LINE: usize = 64;

/// A weighting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// By rank, and only who passes the gate.
    Strict(RankMode),
    /// By rank; who does not pass the gate weighs a tenth.
    Lenient(RankMode),
    /// All alike, however they share lines.
    Equal,
}

/// How many weightings there are.
pub const LANES: usize = 5;

impl Weighting {
    fn index(self) -> usize {
        match self {
            Self::Strict(RankMode::Quality) => 0,
            Self::Lenient(RankMode::Quality) => 1,
            Self::Strict(RankMode::Speed) => 2,
            Self::Lenient(RankMode::Speed) => 3,
            Self::Equal => EQUAL,
        }
    }
}

const EQUAL: usize = 4;

/// What a provider weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    by_mode: [u32; 2],
    is_strict: [bool; 2],
    /// Its share of a good line, towards a stable place.
    shared: u32,
}

impl Weights {
    /// From the ranks for quality and for speed.
    pub fn new(quality: &Rank, speed: &Rank) -> Self {
        let fixed = |weight: f64| ((weight * f64::from(UNIT)) as u32).clamp(LENIENT_DIVISOR, UNIT);
        Self {
            by_mode: [fixed(quality.weight), fixed(speed.weight)],
            is_strict: [quality.is_strict, speed.is_strict],
            shared: if quality.is_strict { (quality.reliability * f64::from(UNIT)) as u32 } else { 0 },
        }
    }

    /// Whether the provider passes the gate.
    pub fn is_strict(&self, mode: RankMode) -> bool {
        self.is_strict[usize::from(mode == RankMode::Speed)]
    }

    fn of(&self, lane: usize) -> u64 {
        if lane == EQUAL {
            return 1;
        }
        let (mode, is_lenient) = (lane / 2, lane % 2 == 1);
        match (self.is_strict[mode], is_lenient) {
            (true, _) => u64::from(self.by_mode[mode]),
            (false, true) => u64::from(self.by_mode[mode] / LENIENT_DIVISOR),
            (false, false) => 0,
        }
    }
}

/// Where a provider is in a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    line: u32,
    at: u32,
}

#[derive(Clone, Copy, Debug)]
struct Weighed {
    slot: Slot,
    weights: Weights,
}

/// The providers behind one address bucket.
#[derive(Debug)]
struct Line {
    bucket: AddressBucket,
    members: Vec<Weighed>,
    sums: [u64; LANES],
    shared: u64,
}

impl Line {
    /// What the line weighs: the average of its members, but the number of them where all are alike.
    fn leaf(&self) -> [u64; LANES] {
        let count = self.members.len().max(1) as u64;
        let mut leaf = self.sums.map(|sum| sum * LINE_UNIT / count);
        leaf[EQUAL] = self.sums[EQUAL];
        leaf
    }

    fn shared_leaf(&self) -> u64 {
        self.shared * LINE_UNIT / self.members.len().max(1) as u64
    }

    fn add(&mut self, weights: &Weights) {
        for (lane, sum) in self.sums.iter_mut().enumerate() {
            *sum += weights.of(lane);
        }
        self.shared += u64::from(weights.shared);
    }

    fn subtract(&mut self, weights: &Weights) {
        for (lane, sum) in self.sums.iter_mut().enumerate() {
            *sum -= weights.of(lane);
        }
        self.shared -= u64::from(weights.shared);
    }

    /// One member in proportion to the weights; the line must weigh something.
    fn pick(&self, lane: usize, rng: &mut impl Rng) -> Slot {
        if let [only] = &self.members[..] {
            return only.slot;
        }
        if self.members.len() > SHORT_LINE {
            // Accepting in proportion to the weight leaves the shares as they are, however often it is tried.
            let most = if lane == EQUAL { 1 } else { u64::from(UNIT) };
            for _ in 0..self.members.len() {
                let member = &self.members[rng.random_range(0..self.members.len())];
                if rng.random_range(0..most) < member.weights.of(lane) {
                    return member.slot;
                }
            }
        }
        let mut left = rng.random_range(0..self.sums[lane].max(1));
        for member in &self.members {
            let weight = member.weights.of(lane);
            if left < weight {
                return member.slot;
            }
            left -= weight;
        }
        self.members[0].slot
    }
}

/// A provider, as something that looks through a whole pool sees it.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The provider.
    pub slot: Slot,
    /// Its line.
    pub bucket: AddressBucket,
    /// What it weighs in the pool; the same measure for all.
    pub weight: f64,
}

/// A weighted set of providers.
#[derive(Debug, Default)]
pub struct Pool {
    lines: Vec<Line>,
    free: Vec<u32>,
    by_bucket: HashMap<AddressBucket, u32>,
    tree: Fenwick<LANES>,
    /// Lines that weigh something, by lane.
    filled: [u32; LANES],
    shared: u64,
    len: usize,
}

impl Pool {
    /// How many providers there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What all lines weigh.
    pub fn total(&self, lane: Weighting) -> u64 {
        self.tree.total()[lane.index()]
    }

    /// Lines that weigh something.
    pub fn line_count(&self, lane: Weighting) -> usize {
        self.filled[lane.index()] as usize
    }

    /// How many good lines the providers that pass the gate for quality are worth.
    pub fn stable_weight(&self) -> f64 {
        // Shares of one line add up to the whole of it but for what was rounded off.
        self.shared as f64 / (f64::from(UNIT) * LINE_UNIT as f64) + 1e-6
    }

    /// Adds a provider.
    pub fn insert(&mut self, bucket: AddressBucket, slot: Slot, weights: Weights) -> Position {
        let line = match self.by_bucket.get(&bucket) {
            Some(line) => *line,
            None => self.open_line(bucket),
        };
        let at = self.change(line, |line| {
            // Most lines have one member for ever.
            if line.members.is_empty() {
                line.members.reserve_exact(1);
            }
            line.members.push(Weighed { slot, weights });
            line.add(&weights);
            line.members.len() - 1
        });
        self.len += 1;
        Position { line, at: at as u32 }
    }

    /// Takes a provider out. Another one may have moved to its position.
    pub fn remove(&mut self, position: Position) -> Option<Slot> {
        let moved = self.change(position.line, |line| {
            let removed = line.members.swap_remove(position.at as usize);
            line.subtract(&removed.weights);
            line.members.get(position.at as usize).map(|member| member.slot)
        });
        self.len -= 1;
        let line = &mut self.lines[position.line as usize];
        if line.members.is_empty() {
            line.members = Vec::new();
            self.by_bucket.remove(&line.bucket);
            self.free.push(position.line);
        }
        moved
    }

    /// Gives a provider another weight.
    pub fn reweigh(&mut self, position: Position, weights: Weights) {
        self.change(position.line, |line| {
            let member = &mut line.members[position.at as usize];
            let before = std::mem::replace(&mut member.weights, weights);
            line.subtract(&before);
            line.add(&weights);
        });
    }

    /// Draws a provider; none when nobody weighs anything.
    pub fn draw(&self, lane: Weighting, rng: &mut impl Rng) -> Option<(Slot, AddressBucket)> {
        let (lane, total) = (lane.index(), self.total(lane));
        if total == 0 {
            return None;
        }
        let line = &self.lines[self.tree.find(lane, rng.random_range(0..total))];
        Some((line.pick(lane, rng), line.bucket))
    }

    /// Everyone who weighs something.
    pub fn shares(&self, lane: Weighting) -> impl Iterator<Item = Share> {
        let lane = lane.index();
        self.lines.iter().flat_map(move |line| {
            let divisor = if lane == EQUAL { 1.0 } else { line.members.len() as f64 * f64::from(UNIT) };
            line.members.iter().filter_map(move |member| {
                let weight = member.weights.of(lane);
                (weight > 0).then_some(Share {
                    slot: member.slot,
                    bucket: line.bucket,
                    weight: weight as f64 / divisor,
                })
            })
        })
    }

    fn open_line(&mut self, bucket: AddressBucket) -> u32 {
        let line = Line { bucket, members: Vec::new(), sums: [0; LANES], shared: 0 };
        let at = match self.free.pop() {
            Some(at) => {
                self.lines[at as usize] = line;
                at
            }
            None => {
                self.lines.push(line);
                self.tree.push();
                self.lines.len() as u32 - 1
            }
        };
        self.by_bucket.insert(bucket, at);
        at
    }

    /// Changes a line and everything that adds lines up.
    fn change<R>(&mut self, at: u32, change: impl FnOnce(&mut Line) -> R) -> R {
        let line = &mut self.lines[at as usize];
        let (before, shared_before) = (line.leaf(), line.shared_leaf());
        let result = change(line);
        let after = line.leaf();
        self.shared = self.shared - shared_before + line.shared_leaf();
        self.tree.replace(at as usize, &before, &after);
        for (lane, filled) in self.filled.iter_mut().enumerate() {
            *filled = *filled + u32::from(after[lane] > 0) - u32::from(before[lane] > 0);
        }
        result
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
