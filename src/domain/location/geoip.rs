//! Where an address is: the operator's own ranges first, then a table in a file, then a default.
//!
//! Everything works without any of them; an address is then simply nowhere, and so is one that a damaged table
//! cannot answer for.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use maxminddb::Reader;
use serde_json::Value;

use super::place::Place;
use crate::config::address_range::AddressRange;
use crate::config::geoip::GeoIp;

/// What is known of an address.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The smallest place known.
    pub place: Place,
    /// What kind of network it is in.
    pub network: NetworkKind,
}

/// What kind of network an address is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkKind {
    /// A data centre.
    pub is_hosting: bool,
    /// A VPN, proxy or other way to hide.
    pub is_anonymous: bool,
    /// Not where it seems to be, as behind a satellite.
    pub is_virtual: bool,
}

/// A setting of `[geoip]` that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GeoIpError {
    /// The file is not there or is no MMDB file.
    #[error("geoip.path: cannot read {0} as an MMDB file: {1}")]
    File(PathBuf, maxminddb::MaxMindDbError),
    /// A range that is none.
    #[error("geoip.overrides: {0}")]
    Range(String),
    /// A place without a country.
    #[error("{0}: '{1}' is not a two-letter country code")]
    Country(&'static str, String),
}

/// The tables.
pub struct Geography {
    /// The operator's ranges, closest first.
    overrides: Vec<(AddressRange, Arc<Located>)>,
    file: Option<Reader<Vec<u8>>>,
    fallback: Option<Arc<Located>>,
}

impl Geography {
    /// Reads the tables that the settings name.
    pub fn open(config: &GeoIp) -> Result<Self, GeoIpError> {
        let located = |key, country: &str, region: &str, city: &str| {
            let place = Place::new(country, "", region, city).ok_or(GeoIpError::Country(key, country.into()))?;
            Ok(Arc::new(Located { place, network: NetworkKind::default() }))
        };
        let mut overrides = Vec::new();
        for entry in &config.overrides {
            let range = entry.range.parse().map_err(GeoIpError::Range)?;
            let place = located("geoip.overrides", &entry.country, &entry.region, &entry.city)?;
            overrides.push((range, place));
        }
        overrides.sort_by_key(|(range, _): &(AddressRange, _)| std::cmp::Reverse(range.bits()));
        let fallback = match &config.default {
            default if default.country.is_empty() => None,
            default => Some(located("geoip.default", &default.country, &default.region, &default.city)?),
        };
        let file = match config.path.as_os_str().is_empty() {
            true => None,
            false => Some(
                Reader::open_readfile(&config.path).map_err(|error| GeoIpError::File(config.path.clone(), error))?,
            ),
        };
        Ok(Self { overrides, file, fallback })
    }

    /// Where an address is, if known.
    pub fn locate(&self, address: IpAddr) -> Option<Arc<Located>> {
        let address = address.to_canonical();
        if let Some((_, located)) = self.overrides.iter().find(|(range, _)| range.contains(address)) {
            return Some(Arc::clone(located));
        }
        self.locate_in_file(address).map(Arc::new).or_else(|| self.fallback.clone())
    }

    fn locate_in_file(&self, address: IpAddr) -> Option<Located> {
        let found = self.file.as_ref()?.lookup(address).and_then(|result| result.decode::<Value>());
        match found {
            Ok(record) => located(&record?),
            Err(error) => {
                tracing::debug!(%error, "the address table cannot answer");
                None
            }
        }
    }
}

/// Reads a record of either layout: nested as MaxMind has it, or flat as ipinfo and ip-location-db have it.
fn located(record: &Value) -> Option<Located> {
    let code = text(&record["country"]["iso_code"]).or(text(&record["country_code"])).or_else(|| {
        // The smallest flat tables have nothing but a code, named `country`.
        text(&record["country"]).filter(|country| country.len() == 2)
    })?;
    let country = text(&record["country"]["names"]["en"])
        .or(text(&record["country_name"]))
        .or(text(&record["country"]).filter(|country| country.len() > 2));
    let region =
        text(&record["subdivisions"][0]["names"]["en"]).or(text(&record["region"])).or(text(&record["state1"]));
    let city = text(&record["city"]["names"]["en"]).or(text(&record["city"]));
    let mut place = Place::new(code, country.unwrap_or(""), region.unwrap_or(""), city.unwrap_or(""))?;
    let latitude = number(&record["location"]["latitude"]).or(number(&record["latitude"]));
    let longitude = number(&record["location"]["longitude"]).or(number(&record["longitude"]));
    if let (Some(latitude), Some(longitude)) = (latitude, longitude) {
        place = place.at(latitude, longitude);
    }
    let traits = &record["traits"];
    let network = NetworkKind {
        is_hosting: flag(&record["is_hosting"])
            || flag(&traits["is_hosting_provider"])
            || text(&record["as_type"]) == Some("hosting"),
        is_anonymous: flag(&record["is_anonymous"]) || flag(&traits["is_anonymous"]),
        is_virtual: flag(&record["is_satellite"]) || flag(&traits["is_satellite_provider"]),
    };
    Some(Located { place, network })
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// Some tables write numbers as text.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn flag(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| matches!(value.as_str(), Some("true" | "1")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::geoip;

    fn config() -> GeoIp {
        let range = |range: &str, country: &str, city: &str| geoip::Override {
            range: range.into(),
            country: country.into(),
            region: city.into(),
            city: city.into(),
        };
        GeoIp {
            overrides: vec![range("10.0.0.0/8", "de", "Berlin"), range("10.1.0.0/16", "FR", "Paris")],
            ..GeoIp::default()
        }
    }

    fn city(geography: &Geography, address: &str) -> Option<String> {
        geography.locate(address.parse().unwrap()).map(|located| located.place.city.clone())
    }

    #[test]
    fn the_closest_range_wins_and_the_rest_is_unknown_or_the_default() {
        let geography = Geography::open(&config()).unwrap();
        assert_eq!(city(&geography, "10.2.3.4").as_deref(), Some("Berlin"));
        assert_eq!(city(&geography, "::ffff:10.1.3.4").as_deref(), Some("Paris"));
        assert_eq!(city(&geography, "192.0.2.1"), None);
        let mut config = config();
        config.default.country = "jp".into();
        let geography = Geography::open(&config).unwrap();
        let located = geography.locate("192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(located.place.country, "Japan");
    }

    #[test]
    fn complaints_name_the_key() {
        let complaint = |change: fn(&mut GeoIp)| {
            let mut config = config();
            change(&mut config);
            Geography::open(&config).err().unwrap().to_string()
        };
        assert!(complaint(|config| config.overrides[0].range = "10.0.0.0/99".into()).starts_with("geoip.overrides"));
        assert!(complaint(|config| config.overrides[0].country = "Germany".into()).starts_with("geoip.overrides"));
        assert!(complaint(|config| config.default.country = "d".into()).starts_with("geoip.default"));
        assert!(complaint(|config| config.path = "/no/such/file.mmdb".into()).starts_with("geoip.path"));
    }

    #[test]
    fn both_layouts_of_records_are_read() {
        let nested = json!({
            "country": {"iso_code": "DE", "names": {"en": "Germany"}},
            "subdivisions": [{"names": {"en": "Land Berlin"}}],
            "city": {"names": {"en": "Berlin"}},
            "location": {"latitude": 52.5, "longitude": 13.4},
            "traits": {"is_anonymous": true}
        });
        let flat = json!({
            "country_code": "DE", "country": "Germany", "region": "Land Berlin", "city": "Berlin",
            "latitude": "52.5", "longitude": "13.4", "is_anonymous": true
        });
        assert_eq!(located(&nested), located(&flat));
        let berlin = located(&flat).unwrap();
        assert!(berlin.network.is_anonymous && berlin.place.coordinates.is_some());
        let smallest = located(&json!({"country": "SE", "as_type": "hosting"})).unwrap();
        assert_eq!((smallest.place.country.as_str(), smallest.network.is_hosting), ("Sweden", true));
        assert_eq!(located(&json!({"continent": "Europe"})), None);
    }

    #[test]
    fn a_table_in_a_file_answers_for_its_networks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.mmdb");
        std::fs::write(&path, one_country_table("SE")).unwrap();
        let geography = Geography::open(&GeoIp { path, ..config() }).unwrap();
        let located = geography.locate("192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(located.place.country, "Sweden");
        assert_eq!(city(&geography, "10.2.3.4").as_deref(), Some("Berlin"), "overrides come first");
        assert_eq!(geography.locate("8.8.8.8".parse().unwrap()), None);
    }

    /// An MMDB file in which 192.0.0.0/3 is in a country and nothing else is anywhere; see the MaxMind DB format,
    /// sections "Binary Search Tree" and "Data Section".
    fn one_country_table(code: &str) -> Vec<u8> {
        fn string(text: &str) -> Vec<u8> {
            let mut out = vec![(2 << 5) | text.len() as u8];
            out.extend_from_slice(text.as_bytes());
            out
        }
        fn number(kind: u8, value: u8) -> Vec<u8> {
            match kind {
                // Kinds above 7 have their number in a second byte.
                9 => vec![1, 2, value],
                kind => vec![(kind << 5) | 1, value],
            }
        }
        // Bits 1, 1, then 0 lead to the record: 192.0.0.0/3.
        const NODES: u32 = 3;
        let empty = NODES;
        let data = NODES + 16;
        let mut out = Vec::new();
        for (left, right) in [(empty, 1), (empty, 2), (data, empty)] {
            for record in [left, right] {
                out.extend_from_slice(&record.to_be_bytes()[1..]);
            }
        }
        out.extend([0; 16]);
        out.push((7 << 5) | 1);
        out.extend([string("country_code"), string(code)].concat());
        out.extend(b"\xab\xcd\xefMaxMind.com");
        out.push((7 << 5) | 9);
        let entries: [(&str, Vec<u8>); 9] = [
            ("binary_format_major_version", number(5, 2)),
            ("binary_format_minor_version", number(5, 0)),
            ("build_epoch", number(9, 1)),
            ("database_type", string("test")),
            ("description", vec![7 << 5]),
            ("ip_version", number(5, 4)),
            ("languages", vec![0, 4]),
            ("node_count", number(6, NODES as u8)),
            ("record_size", number(5, 24)),
        ];
        for (key, value) in entries {
            out.extend([string(key), value].concat());
        }
        out
    }
}
