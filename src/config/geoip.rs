//! `[geoip]`: where addresses are.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Settings of address location. Everything works without any of them; providers are then unlocated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeoIp {
    /// An MMDB file in the MaxMind or the flat layout, or a sorted text table of `start,end,CC`; empty for none.
    pub path: PathBuf,
    /// Ranges looked up before the file.
    pub overrides: Vec<Override>,
    /// Where an address with no entry is; an empty country for unknown.
    pub default: Place,
    /// Where this server is.
    pub server: Point,
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
    /// Degrees north; 0 and 0 for unknown.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// A data centre.
    pub hosting: bool,
    /// A VPN, proxy or other way to hide.
    pub privacy: bool,
    /// Not where it seems to be, as behind a satellite.
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
}

/// A point on earth; 0 and 0 for unknown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Point {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
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
