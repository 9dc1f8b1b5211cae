use std::net::IpAddr;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::domain::provider::pool::Weights;
use crate::domain::provider::rank::{Rank, RankMode};

const STRICT: Weighting = Weighting::Strict(RankMode::Quality);

fn bucket(number: u32) -> AddressBucket {
    AddressBucket::of(IpAddr::from((number * 8).to_be_bytes()))
}

fn weights(weight: f64) -> Weights {
    let rank = Rank { tier: 0, weight, reliability: 1.0, is_strict: true };
    Weights::new(&rank, &rank)
}

/// A pool with lines of these weights, each a single provider, numbered in order.
fn pool(lines: &[f64]) -> Pool {
    let mut pool = Pool::default();
    for (slot, weight) in lines.iter().enumerate() {
        pool.insert(bucket(slot as u32), slot as Slot, weights(*weight));
    }
    pool
}

/// How often each provider of three, weighing 1, 0.5 and 0.25, comes among two drawn without replacement: first it, or
/// first another and then it.
fn two_of_three() -> [f64; 3] {
    let weights = [1.0, 0.5, 0.25];
    let total: f64 = weights.iter().sum();
    std::array::from_fn(|wanted| {
        let after: f64 = (0..3)
            .filter(|first| *first != wanted)
            .map(|first| weights[first] / total * weights[wanted] / (total - weights[first]))
            .sum();
        weights[wanted] / total + after
    })
}

fn assert_inclusion(counts: [u32; 3], draws: u32) {
    for (count, expected) in counts.into_iter().zip(two_of_three()) {
        let share = f64::from(count) / f64::from(draws);
        let deviation = (expected * (1.0 - expected) / f64::from(draws)).sqrt();
        assert!((share - expected).abs() < 4.0 * deviation, "{share} instead of {expected}");
    }
}

#[test]
fn looking_through_and_trying_lead_to_the_same_exact_shares() {
    const DRAWS: u32 = 20_000;
    let mut rng = StdRng::seed_from_u64(1);
    let small = pool(&[1.0, 0.5, 0.25]);
    let mut counts = [0; 3];
    for _ in 0..DRAWS {
        draw(&[&small], STRICT, 2, |_| 1.0, &mut rng).into_iter().for_each(|slot| counts[slot as usize] += 1);
    }
    assert_inclusion(counts, DRAWS);
    // The same three among many whom nobody wants: they are found by trying, and the rest is looked through at times.
    let mut lines = vec![1.0, 0.5, 0.25];
    lines.resize(2 * SMALL, 0.001);
    let large = pool(&lines);
    let mut counts = [0; 3];
    for _ in 0..DRAWS {
        let drawn = draw(&[&large], STRICT, 2, |slot| f64::from(slot < 3), &mut rng);
        drawn.into_iter().for_each(|slot| counts[slot as usize] += 1);
    }
    assert_inclusion(counts, DRAWS);
}

#[test]
fn a_chance_counts_as_weight() {
    let mut rng = StdRng::seed_from_u64(2);
    for lines in [4, 2 * SMALL] {
        let pool = pool(&vec![1.0; lines]);
        let chance = |slot| if slot == 0 { 1.0 } else { 0.5 * f64::from(slot < 3) };
        let first = (0..4000).filter(|_| draw(&[&pool], STRICT, 1, chance, &mut rng) == [0]).count();
        assert!((1900..2100).contains(&first), "{first} of 4000");
    }
}

#[test]
fn a_line_gives_one_provider_a_round_and_everyone_comes_in_the_end() {
    let mut rng = StdRng::seed_from_u64(3);
    for members in [30, 1000] {
        let mut pool = pool(&[1.0; 10]);
        for slot in 0..members {
            pool.insert(bucket(77), 10 + slot, weights(1.0));
        }
        let drawn = draw(&[&pool], STRICT, 11, |_| 1.0, &mut rng);
        let single: HashSet<Slot> = drawn.iter().copied().filter(|slot| *slot < 10).collect();
        assert_eq!((drawn.len(), single.len()), (11, 10), "{members}");
        let drawn = draw(&[&pool], STRICT, 20, |_| 1.0, &mut rng);
        assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 20);
        let all = draw(&[&pool], STRICT, 10_000, |_| 1.0, &mut rng);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 10 + members as usize);
    }
}

#[test]
fn many_providers_behind_one_address_are_drawn_too() {
    let mut rng = StdRng::seed_from_u64(4);
    let mut pool = Pool::default();
    for slot in 0..5000 {
        pool.insert(bucket(1), slot, weights(1.0));
    }
    let drawn = draw(&[&pool], STRICT, 50, |_| 1.0, &mut rng);
    assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 50);
}

#[test]
fn several_pools_are_one_set() {
    let mut rng = StdRng::seed_from_u64(5);
    let (mut first, mut second) = (Pool::default(), Pool::default());
    for slot in 0..600 {
        first.insert(bucket(slot), slot, weights(0.5));
        second.insert(bucket(600 + slot), 600 + slot, weights(1.0));
    }
    let drawn = |rng: &mut StdRng| draw(&[&first, &second], STRICT, 1, |_| 1.0, rng)[0];
    let heavier = (0..6000).filter(|_| drawn(&mut rng) >= 600).count();
    assert!((3850..4150).contains(&heavier), "{heavier} of 6000");
    let equal = |rng: &mut StdRng| draw(&[&first, &second], Weighting::Equal, 1, |_| 1.0, rng)[0];
    let second_half = (0..6000).filter(|_| equal(&mut rng) >= 600).count();
    assert!((2850..3150).contains(&second_half), "{second_half} of 6000");
}

#[test]
fn nothing_comes_of_nothing() {
    let mut rng = StdRng::seed_from_u64(6);
    assert!(draw(&[], STRICT, 5, |_| 1.0, &mut rng).is_empty());
    assert!(draw(&[&pool(&[1.0; 3])], STRICT, 5, |_| 0.0, &mut rng).is_empty());
    assert!(draw(&[&pool(&vec![1.0; 2 * SMALL])], STRICT, 5, |_| 0.0, &mut rng).is_empty());
    assert!(draw(&[&pool(&[1.0; 3])], STRICT, 0, |_| 1.0, &mut rng).is_empty());
}
