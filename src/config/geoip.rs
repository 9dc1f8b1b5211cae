//! `[geoip]`: where addresses are.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Settings of address location. Everything works without any of them; providers are then unlocated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeoIp {
    /// An MMDB file in the MaxMind or the flat layout; empty for none.
    pub path: PathBuf,
    /// Ranges looked up before the file.
    pub overrides: Vec<Override>,
    /// Where an address with no entry is; an empty country for unknown.
    pub default: Place,
}

/// A range of addresses and where it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Override {
    /// `address/bits`.
    pub range: String,
    /// Two-letter country code.
    pub country: String,
    /// Region name; empty for unknown.
    pub region: String,
    /// City name; empty for unknown.
    pub city: String,
}

/// A place named in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Place {
    /// Two-letter country code; empty for unknown.
    pub country: String,
    /// Region name; empty for unknown.
    pub region: String,
    /// City name; empty for unknown.
    pub city: String,
}
