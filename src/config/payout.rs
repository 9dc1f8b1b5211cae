//! `[payout]`: when providers are paid, and how much.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::duration;
use crate::money::{NanoCents, dollars};

/// Settings of payouts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Payout {
    /// Time between two runs; 0 for runs of the operator only.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// Networks that would get less wait for a later run.
    #[serde(with = "dollars")]
    pub min_usd: NanoCents,
    /// What is added for each GiB that was carried.
    #[serde(with = "dollars")]
    pub usd_per_gib: NanoCents,
}

impl Default for Payout {
    fn default() -> Self {
        Self { interval: Duration::ZERO, min_usd: NanoCents(1_000_000_000), usd_per_gib: NanoCents(0) }
    }
}
