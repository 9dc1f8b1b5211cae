use std::net::IpAddr;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;

/// Draws of the test of shares.
const DRAWS: u32 = 1_000_000;

fn bucket(number: u32) -> AddressBucket {
    AddressBucket::of(IpAddr::from((number * 8).to_be_bytes()))
}

fn weights(weight: f64, is_strict: bool) -> Weights {
    let rank = Rank { tier: 0, weight, reliability: 1.0, is_strict };
    Weights::new(&rank, &rank)
}

const STRICT: Weighting = Weighting::Strict(RankMode::Quality);
const LENIENT: Weighting = Weighting::Lenient(RankMode::Quality);

/// The sum of squared deviations of counts from what shares lead to expect.
fn chi_squared(counts: &[u32], shares: &[f64]) -> f64 {
    let draws = f64::from(counts.iter().sum::<u32>());
    let total: f64 = shares.iter().sum();
    counts
        .iter()
        .zip(shares)
        .map(|(count, share)| (f64::from(*count) - draws * share / total).powi(2) / (draws * share / total))
        .sum()
}

/// A thousand addresses of one subnet, of mixed weights, among 99 lines of one provider each: 100 classes, 99 degrees of
/// freedom, and a bound that one fair draw in a thousand passes.
#[test]
fn a_subnet_full_of_providers_has_the_share_of_one_address() {
    for subnet in ["203.0.113.8", "2001:db8:1:100::"] {
        let subnet = AddressBucket::of(subnet.parse().unwrap());
        let mut pool = Pool::default();
        for slot in 0..99 {
            pool.insert(bucket(slot), slot, weights(1.0, true));
        }
        for slot in 0..1000 {
            pool.insert(subnet, 99 + slot, weights(1.0, slot % 2 == 0));
        }
        let mut rng = SmallRng::seed_from_u64(11);
        for (lane, share) in [(STRICT, 0.5), (LENIENT, 0.55)] {
            let mut counts = [0; 100];
            for _ in 0..DRAWS / 4 {
                let (slot, _) = pool.draw(lane, &mut rng).unwrap();
                counts[slot.min(99) as usize] += 1;
            }
            let mut shares = [1.0; 100];
            shares[99] = share;
            let chi_squared = chi_squared(&counts, &shares);
            assert!(chi_squared < 148.2, "{chi_squared}");
        }
    }
}

#[test]
fn within_a_line_each_is_drawn_by_its_own_weight() {
    let mut pool = Pool::default();
    for slot in 0..100 {
        pool.insert(bucket(1), slot, weights(if slot < 50 { 1.0 } else { 0.25 }, true));
    }
    let mut rng = SmallRng::seed_from_u64(12);
    let mut counts = [0; 100];
    for _ in 0..100_000 {
        counts[pool.draw(STRICT, &mut rng).unwrap().0 as usize] += 1;
    }
    let shares: Vec<f64> = (0..100).map(|slot| if slot < 50 { 1.0 } else { 0.25 }).collect();
    let chi_squared = chi_squared(&counts, &shares);
    assert!(chi_squared < 148.2, "{chi_squared}");
}

#[test]
fn who_does_not_pass_the_gate_weighs_nothing_or_a_tenth() {
    let mut pool = Pool::default();
    pool.insert(bucket(1), 1, weights(1.0, true));
    pool.insert(bucket(2), 2, weights(1.0, false));
    let shares =
        |lane| pool.shares(lane).map(|share| (share.slot, (share.weight * 1000.0).round())).collect::<Vec<_>>();
    assert_eq!(shares(STRICT), [(1, 1000.0)]);
    assert_eq!(shares(LENIENT), [(1, 1000.0), (2, 100.0)]);
    assert_eq!(shares(Weighting::Equal), [(1, 1000.0), (2, 1000.0)]);
    assert_eq!((pool.line_count(STRICT), pool.line_count(LENIENT), pool.len()), (1, 2, 2));
}

proptest! {
    /// Whatever comes, goes and changes: what the pool adds up is what its members weigh, and positions stay true.
    #[test]
    fn a_pool_keeps_its_sums(steps in proptest::collection::vec((0u8..3, 0u32..40, 0u32..6, 1u32..=100), 1..300)) {
        let mut pool = Pool::default();
        let mut members: HashMap<Slot, (AddressBucket, Position, Weights)> = HashMap::new();
        for (step, slot, line, weight) in steps {
            let weights = weights(f64::from(weight) / 100.0, weight % 3 > 0);
            match (step, members.get(&slot).copied()) {
                (0, None) => {
                    let position = pool.insert(bucket(line), slot, weights);
                    members.insert(slot, (bucket(line), position, weights));
                }
                (1, Some((_, position, _))) => {
                    let moved = pool.remove(position);
                    members.remove(&slot);
                    if let Some(moved) = moved {
                        members.get_mut(&moved).unwrap().1.at = position.at;
                    }
                }
                (_, Some((bucket, position, _))) => {
                    pool.reweigh(position, weights);
                    members.insert(slot, (bucket, position, weights));
                }
                _ => {}
            }
        }
        prop_assert_eq!(pool.len(), members.len());
        for lane in [STRICT, LENIENT, Weighting::Strict(RankMode::Speed), Weighting::Lenient(RankMode::Speed), Weighting::Equal] {
            let mut expected: Vec<Slot> =
                members.iter().filter(|(_, (.., weights))| weights.of(lane.index()) > 0).map(|(slot, _)| *slot).collect();
            let mut found: Vec<Slot> = pool.shares(lane).map(|share| share.slot).collect();
            expected.sort();
            found.sort();
            prop_assert_eq!(found, expected);
            let leaves: u64 = pool.lines.iter().map(|line| line.leaf()[lane.index()]).sum();
            prop_assert_eq!(pool.total(lane), leaves);
            let filled = pool.lines.iter().filter(|line| line.leaf()[lane.index()] > 0).count();
            prop_assert_eq!(pool.line_count(lane), filled);
        }
        prop_assert_eq!(pool.shared, pool.lines.iter().map(Line::shared_leaf).sum::<u64>());
    }
}
