//! How good a provider is: a tier to sort by and a weight to draw by.
//!
//! What was not measured costs a little and excludes nobody: a self-hosted network has few providers, and some of
//! their transports cannot be measured at all.

use std::time::Duration;

use crate::domain::location::geoip::NetworkKind;

/// What the caller wants most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RankMode {
    /// A network that looks like a home.
    #[default]
    Quality,
    /// Short ways and much bandwidth.
    Speed,
}

/// The score at which a provider is no longer preferred.
const GATE_SCORE: u32 = 40;

/// The worst score.
const MAX_SCORE: u32 = 50;

/// Added for each value that was not measured.
const UNMEASURED_PENALTY: u32 = 10;

/// Score points of one tier, and of each thing that is odd about the network.
const TIER_POINTS: u32 = 20;

/// The tier of a provider that is too slow or too far for the mode.
const CUT_TIER: u32 = 3;

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

/// What is known of a provider's health.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Health {
    /// What kind of network it is in.
    pub network: NetworkKind,
    /// Latency above what the distance explains.
    pub latency: Option<Duration>,
    /// How fast it is.
    pub speed: Option<Speed>,
    /// How many of its minutes were good.
    pub reliability: Reliability,
}

impl Health {
    /// Of a provider about which nothing is known.
    pub const UNKNOWN: Self = Self {
        network: NetworkKind { is_hosting: false, is_anonymous: false, is_virtual: false },
        latency: None,
        speed: None,
        reliability: Reliability::UNKNOWN,
    };
}

/// How fast a provider is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Bytes per second.
    pub bytes_per_second: f64,
    /// It may be faster: nobody asked more of it, or the way there was the limit.
    pub is_floor: bool,
}

/// Bytes per second from which a floor says something to others.
const FLOOR_WORTH_TELLING: f64 = 4.0 * MIB;

impl Speed {
    /// What others should expect; none when too little was asked of the provider to tell.
    pub fn estimate(&self) -> Option<f64> {
        let is_telling = !self.is_floor || self.bytes_per_second >= FLOOR_WORTH_TELLING;
        is_telling.then_some(self.bytes_per_second)
    }
}

/// How many of a provider's minutes were good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reliability {
    /// Share of good minutes in the last 5 minutes, hour and 12 hours; 1 where too little is known.
    pub shares: [f64; 3],
    /// Many providers had bad minutes lately, so the reason is likely not with them.
    pub is_abnormal: bool,
}

impl Reliability {
    /// Of a provider that nobody has watched yet.
    pub const UNKNOWN: Self = Self { shares: [1.0; 3], is_abnormal: false };

    fn passes(&self) -> bool {
        let [_, hour, half_day] = self.shares;
        match self.is_abnormal {
            false => hour >= 0.95 && half_day >= 0.70,
            true => hour >= 0.80 && half_day >= 0.60,
        }
    }
}

/// What follows for offers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rank {
    /// 0 is best.
    pub tier: u32,
    /// How likely it is drawn, relative to others that share no line with it; above 0, 1 at most.
    pub weight: f64,
    /// Share of good minutes lately: what counts towards a stable place.
    pub reliability: f64,
    /// Good enough to be preferred.
    pub is_strict: bool,
}

struct Limits {
    latency_from: f64,
    latency_step: f64,
    latency_cut: f64,
    speed_from: f64,
    speed_step: f64,
    speed_cut: f64,
}

impl RankMode {
    fn limits(self) -> Limits {
        match self {
            RankMode::Quality => Limits {
                latency_from: 50.0,
                latency_step: 20.0,
                latency_cut: 200.0,
                speed_from: 8.0 * MIB,
                speed_step: 200.0 * KIB,
                speed_cut: 800.0 * KIB,
            },
            RankMode::Speed => Limits {
                latency_from: 20.0,
                latency_step: 5.0,
                latency_cut: 50.0,
                speed_from: 40.0 * MIB,
                speed_step: MIB,
                speed_cut: 4.0 * MIB,
            },
        }
    }
}

/// Judges a provider.
pub fn rank(health: &Health, mode: RankMode) -> Rank {
    let limits = mode.limits();
    let latency_ms = health.latency.map(|latency| latency.as_secs_f64() * 1000.0);
    let is_cut = latency_ms.is_some_and(|latency| latency > limits.latency_cut)
        || health.speed.is_some_and(|speed| !speed.is_floor && speed.bytes_per_second < limits.speed_cut);
    let NetworkKind { is_hosting, is_anonymous, is_virtual } = health.network;
    let oddities = u32::from(is_anonymous) + u32::from(is_virtual) + u32::from(is_hosting && mode == RankMode::Quality);
    let latency_penalty = latency_ms.map(|latency| steps(latency - limits.latency_from, limits.latency_step));
    let speed_penalty = health.speed.map(|speed| {
        let penalty = steps(limits.speed_from - speed.bytes_per_second, limits.speed_step);
        // A provider of which little was asked is no worse than one of which nothing was.
        if speed.is_floor { penalty.min(UNMEASURED_PENALTY) } else { penalty }
    });
    // The worst score for one that is cut: a low number would draw it first.
    let score = match is_cut {
        true => MAX_SCORE,
        false => {
            TIER_POINTS * oddities
                + latency_penalty.unwrap_or(UNMEASURED_PENALTY)
                + speed_penalty.unwrap_or(UNMEASURED_PENALTY)
        }
    }
    .min(MAX_SCORE);
    let reliability = health.reliability.shares[0];
    let goodness = f64::from(GATE_SCORE.saturating_sub(score)) / f64::from(GATE_SCORE);
    Rank {
        tier: if is_cut { CUT_TIER } else { score / TIER_POINTS },
        weight: (from_tenth(reliability) * reliability * from_tenth(goodness)).max(f64::MIN_POSITIVE),
        reliability,
        is_strict: score < GATE_SCORE && health.reliability.passes(),
    }
}

fn steps(above: f64, step: f64) -> u32 {
    (above.max(0.0) / step).round().min(f64::from(MAX_SCORE)) as u32
}

/// From 0.1 at 0 to 1 at 1.
fn from_tenth(share: f64) -> f64 {
    0.1 + 0.9 * share.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(latency_ms: Option<u64>, speed_mib: Option<f64>) -> Health {
        Health {
            network: NetworkKind::default(),
            latency: latency_ms.map(Duration::from_millis),
            speed: speed_mib.map(|mib| Speed { bytes_per_second: mib * MIB, is_floor: false }),
            reliability: Reliability::UNKNOWN,
        }
    }

    fn tier(health: &Health, mode: RankMode) -> u32 {
        rank(health, mode).tier
    }

    #[test]
    fn unmeasured_costs_a_little_and_never_excludes() {
        let unknown = rank(&health(None, None), RankMode::Quality);
        assert_eq!((unknown.tier, unknown.is_strict), (1, true));
        let good = rank(&health(Some(10), Some(50.0)), RankMode::Quality);
        assert_eq!((good.tier, good.weight), (0, 1.0));
        assert!(unknown.weight < good.weight && unknown.weight > 0.5);
    }

    #[test]
    fn distance_and_bandwidth_lower_the_tier_step_by_step() {
        assert_eq!(tier(&health(Some(50), Some(8.0)), RankMode::Quality), 0);
        assert_eq!(tier(&health(Some(190), Some(6.0)), RankMode::Quality), 0);
        assert_eq!(tier(&health(Some(190), Some(3.0)), RankMode::Quality), 1);
        assert_eq!(tier(&health(Some(45), Some(20.0)), RankMode::Speed), 1);
    }

    #[test]
    fn what_is_cut_sorts_last_and_is_drawn_least() {
        let cut = [
            (health(Some(201), Some(50.0)), RankMode::Quality),
            (health(Some(1), Some(0.5)), RankMode::Quality),
            (health(Some(51), Some(50.0)), RankMode::Speed),
            (health(Some(1), Some(3.9)), RankMode::Speed),
        ];
        for (health, mode) in cut {
            let rank = rank(&health, mode);
            assert_eq!((rank.tier, rank.is_strict), (3, false));
            assert!((rank.weight - 0.1).abs() < 1e-9, "{rank:?}");
        }
    }

    #[test]
    fn a_data_centre_matters_for_quality_only() {
        let network = NetworkKind { is_hosting: true, ..NetworkKind::default() };
        let hosted = Health { network, ..health(Some(1), Some(50.0)) };
        assert_eq!((tier(&hosted, RankMode::Quality), tier(&hosted, RankMode::Speed)), (1, 0));
        let network = NetworkKind { is_hosting: true, is_anonymous: true, is_virtual: true };
        let odd = Health { network, ..health(Some(1), Some(50.0)) };
        assert_eq!((tier(&odd, RankMode::Quality), rank(&odd, RankMode::Quality).is_strict), (2, false));
    }

    #[test]
    fn what_little_traffic_shows_is_a_floor_and_never_counts_against_a_provider() {
        let floor = |mib: f64| {
            let speed = Some(Speed { bytes_per_second: mib * MIB, is_floor: true });
            Health { speed, ..health(Some(1), None) }
        };
        for mode in [RankMode::Quality, RankMode::Speed] {
            assert_eq!(rank(&floor(0.1), mode), rank(&health(Some(1), None), mode));
        }
        let estimate = |mib: f64| floor(mib).speed.and_then(|speed| speed.estimate());
        assert_eq!((estimate(0.1), estimate(4.0)), (None, Some(4.0 * MIB)));
        assert_eq!(rank(&floor(40.0), RankMode::Speed), rank(&health(Some(1), Some(40.0)), RankMode::Speed));
    }

    #[test]
    fn unreliable_providers_are_not_preferred_and_drawn_less() {
        let with = |shares, is_abnormal| {
            let reliability = Reliability { shares, is_abnormal };
            rank(&Health { reliability, ..health(Some(1), Some(50.0)) }, RankMode::Quality)
        };
        assert!(with([1.0, 0.95, 0.70], false).is_strict);
        for shares in [[1.0, 0.94, 1.0], [1.0, 1.0, 0.69]] {
            assert!(!with(shares, false).is_strict);
            assert!(with(shares, true).is_strict, "when many fail at once, less is asked of each");
        }
        assert!(!with([1.0, 0.79, 1.0], true).is_strict && !with([1.0, 1.0, 0.59], true).is_strict);
        assert!((with([0.5, 1.0, 1.0], false).weight - 0.55 * 0.5).abs() < 1e-9);
        assert!(with([0.0; 3], false).weight > 0.0);
    }
}
