//! `[limits]`: numbers the product promises.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::duration;

/// Limits per network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Active top-level clients of a network; 0 for no limit.
    pub clients_per_network: usize,
    /// Active clients derived from one top-level client; 0 for no limit.
    pub derived_per_client: usize,
    /// A derived client that was not connected for so long is removed, because apps forget many of theirs; 0s for never.
    #[serde(with = "duration")]
    pub derived_idle: Duration,
    /// A top-level client that was neither connected nor given a token for so long is removed; 0s for never.
    #[serde(with = "duration")]
    pub client_idle: Duration,
    /// How long the id of a removed client is remembered.
    #[serde(with = "duration")]
    pub removed_kept: Duration,
    /// Connected top-level clients above which a network has no peer lists; 0 for none at all.
    pub peers_per_network: usize,
    /// Live auth codes of a network.
    pub auth_codes_per_network: usize,
    /// Login sessions of a network; above it the ones longest without a new token end, a few at a time.
    pub sessions_per_network: usize,
    /// Networks that one referral code may bring; 0 for no limit.
    pub referrals_per_network: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients_per_network: 128,
            derived_per_client: 1024,
            derived_idle: Duration::from_secs(7 * 86_400),
            client_idle: Duration::from_secs(30 * 86_400),
            removed_kept: Duration::from_secs(30 * 86_400),
            peers_per_network: 100,
            auth_codes_per_network: 500,
            sessions_per_network: 1024,
            referrals_per_network: 0,
        }
    }
}
