//! Draws from pools without replacement.
//!
//! Draws go in rounds: in each round a line gives one provider at most, so that a subnet full of providers comes no more
//! often into one answer than a single one. A later round begins only when every line has given one. From large pools
//! providers are drawn one by one, and those not wanted are drawn again; when that takes too many tries, or the pools
//! are small, whoever is left is looked through once. Both ways lead to the same shares.

use std::collections::{HashMap, HashSet};

use rand::{Rng, RngExt};

use super::pool::{Pool, Slot, Weighting};
use crate::domain::address_bucket::AddressBucket;

/// Pools with no more providers than this are looked through at once.
const SMALL: usize = 512;

/// Tries for each provider wanted, before the rest is looked through.
const TRIES: usize = 64;

/// Draws up to `wanted` providers from pools that have none in common. `chance` says how likely a provider that was
/// drawn is taken: 0 never, 1 always, and between them as if its weight were that much smaller.
pub fn draw(
    pools: &[&Pool],
    lane: Weighting,
    wanted: usize,
    chance: impl Fn(Slot) -> f64,
    rng: &mut impl Rng,
) -> Vec<Slot> {
    let mut drawn = Drawn::default();
    if pools.iter().map(|pool| pool.len()).sum::<usize>() > SMALL {
        drawn.by_trying(pools, lane, wanted, &chance, rng);
    }
    if drawn.slots.len() < wanted {
        drawn.by_looking_through(pools, lane, wanted, &chance, rng);
    }
    drawn.slots
}

#[derive(Default)]
struct Drawn {
    slots: Vec<Slot>,
    taken: HashSet<Slot>,
    /// How many each line has given.
    lines: HashMap<AddressBucket, usize>,
}

impl Drawn {
    fn by_trying(
        &mut self,
        pools: &[&Pool],
        lane: Weighting,
        wanted: usize,
        chance: &impl Fn(Slot) -> f64,
        rng: &mut impl Rng,
    ) {
        let total: u64 = pools.iter().map(|pool| pool.total(lane)).sum();
        if total == 0 {
            return;
        }
        let line_count: usize = pools.iter().map(|pool| pool.line_count(lane)).sum();
        let (mut round, mut given) = (1, 0);
        for _ in 0..wanted.saturating_mul(TRIES) {
            if self.slots.len() == wanted {
                return;
            }
            let Some((slot, bucket)) = draw_one(pools, lane, rng.random_range(0..total), rng) else { return };
            let line = self.lines.entry(bucket).or_default();
            if lane != Weighting::Equal && *line >= round {
                continue;
            }
            let chance = chance(slot);
            if self.taken.contains(&slot) || chance <= 0.0 || (chance < 1.0 && rng.random::<f64>() >= chance) {
                continue;
            }
            *line += 1;
            self.taken.insert(slot);
            self.slots.push(slot);
            given += 1;
            if given == line_count {
                (round, given) = (round + 1, 0);
            }
        }
    }

    fn by_looking_through(
        &mut self,
        pools: &[&Pool],
        lane: Weighting,
        wanted: usize,
        chance: &impl Fn(Slot) -> f64,
        rng: &mut impl Rng,
    ) {
        // Exponential times with the weights as rates: the smallest is each of them in proportion to its weight
        // (Efraimidis and Spirakis).
        let mut timed: HashMap<AddressBucket, Vec<(f64, Slot)>> = HashMap::new();
        for share in pools.iter().flat_map(|pool| pool.shares(lane)) {
            let weight = share.weight * chance(share.slot);
            if weight > 0.0 && !self.taken.contains(&share.slot) {
                let uniform: f64 = rng.random();
                timed.entry(share.bucket).or_default().push((-(1.0 - uniform).ln() / weight, share.slot));
            }
        }
        let mut order: Vec<(usize, f64, Slot)> = Vec::new();
        for (bucket, mut line) in timed {
            line.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            let given = self.lines.get(&bucket).copied().unwrap_or(0);
            let mut before = 0.0;
            for (at, (time, slot)) in line.into_iter().enumerate() {
                if lane == Weighting::Equal {
                    order.push((0, time, slot));
                    continue;
                }
                // What passes between two events of one line is again exponential, with the rate of those left: each
                // round is a draw of its own.
                order.push((given + at, time - before, slot));
                before = time;
            }
        }
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        self.slots.extend(order.into_iter().take(wanted - self.slots.len()).map(|(_, _, slot)| slot));
    }
}

/// Draws from the pool that `number` falls on.
fn draw_one(pools: &[&Pool], lane: Weighting, mut number: u64, rng: &mut impl Rng) -> Option<(Slot, AddressBucket)> {
    for pool in pools {
        let total = pool.total(lane);
        if number < total {
            return pool.draw(lane, rng);
        }
        number -= total;
    }
    None
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
