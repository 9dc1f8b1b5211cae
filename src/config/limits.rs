//! `[limits]`: numbers the product promises.

use serde::{Deserialize, Serialize};

/// Limits per network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Active top-level clients of a network; 0 for no limit.
    pub clients_per_network: usize,
    /// Active clients derived from one top-level client; 0 for no limit.
    pub derived_per_client: usize,
    /// Connected top-level clients above which a network has no peer lists; 0 for none at all.
    pub peers_per_network: usize,
    /// Live auth codes of a network.
    pub auth_codes_per_network: usize,
    /// Login sessions of a network; above it the ones longest without a new token end, a few at a time.
    pub sessions_per_network: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients_per_network: 128,
            derived_per_client: 1024,
            peers_per_network: 100,
            auth_codes_per_network: 500,
            sessions_per_network: 1024,
        }
    }
}
