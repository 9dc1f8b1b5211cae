//! `[discovery]`: which providers are offered.

use serde::{Deserialize, Serialize};

/// Settings of discovery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Discovery {
    /// While fewer candidates than this pass the quality gate, the others are offered too, at a tenth of their weight.
    pub min_strict: usize,
    /// A place is called stable when the weights of its providers that pass the gate add up to this.
    pub stable_weight: f64,
    /// Whether the distance of providers is measured, with 16-byte messages that WebSocket clients send back.
    pub latency_probes: bool,
    /// Whether the speed of providers is measured that real traffic has not shown to be fast, with 512 KiB that
    /// WebSocket clients send back, twice a day at most and only while they are idle.
    pub speed_probes: bool,
}

impl Default for Discovery {
    fn default() -> Self {
        Self { min_strict: 8, stable_weight: 1.0, latency_probes: true, speed_probes: false }
    }
}
