//! Where an address is: the operator's own ranges first, then a table in a file, then a default.
//!
//! The file is an MMDB or a text table; its beginning and end tell which. Everything works without any of them; an
//! address is then simply nowhere, and so is one that a damaged table cannot answer for.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use maxminddb::Reader;
use serde_json::Value;

use super::place::{Coordinates, Place};
use super::ranges::{Ranges, RangesError};
use crate::config::address_range::AddressRange;
use crate::config::geoip::{GeoIp, Override};

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
    /// The file cannot be read.
    #[error("geoip.path: cannot read {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The file is a damaged MMDB file.
    #[error("geoip.path: cannot read {0} as an MMDB file: {1}")]
    Mmdb(PathBuf, maxminddb::MaxMindDbError),
    /// The file is neither an MMDB file nor a text table.
    #[error("geoip.path: {0} is neither an MMDB file nor a table of start,end,CC: {1}")]
    Text(PathBuf, RangesError),
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
    file: Option<AddressTable>,
    fallback: Option<Arc<Located>>,
    server: Option<Coordinates>,
}

enum AddressTable {
    Mmdb(Reader<Vec<u8>>),
    Text(Ranges),
}

/// Begins the last section of an MMDB file.
const MMDB_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// How far from its end an MMDB file has the marker.
const MMDB_TAIL: usize = 128 * 1024;

impl Geography {
    /// Reads the tables that the settings name.
    pub fn open(config: &GeoIp) -> Result<Self, GeoIpError> {
        let place = |key, country: &str, region: &str, city: &str| {
            Place::new(country, "", region, city).ok_or(GeoIpError::Country(key, country.into()))
        };
        let mut overrides = Vec::new();
        for entry in &config.overrides {
            let range = entry.range.parse().map_err(GeoIpError::Range)?;
            let Override { country, region, city, latitude, longitude, .. } = entry;
            let place = place("geoip.overrides", country, region, city)?.at(*latitude, *longitude);
            let network =
                NetworkKind { is_hosting: entry.hosting, is_anonymous: entry.privacy, is_virtual: entry.is_virtual };
            overrides.push((range, Arc::new(Located { place, network })));
        }
        overrides.sort_by_key(|(range, _): &(AddressRange, _)| std::cmp::Reverse(range.bits()));
        let fallback = match &config.default {
            default if default.country.is_empty() => None,
            default => {
                let place = place("geoip.default", &default.country, &default.region, &default.city)?;
                Some(Arc::new(Located { place, network: NetworkKind::default() }))
            }
        };
        let file = match config.path.as_os_str().is_empty() {
            true => None,
            false => Some(open_table(&config.path)?),
        };
        let server = Coordinates::known(config.server.latitude, config.server.longitude);
        Ok(Self { overrides, file, fallback, server })
    }

    /// Where this server is, if its operator says so.
    pub fn server(&self) -> Option<Coordinates> {
        self.server
    }

    /// The places of the operator's own ranges and the default.
    pub fn override_places(&self) -> Vec<Place> {
        let located = self.overrides.iter().map(|(_, located)| located).chain(&self.fallback);
        located.map(|located| located.place.clone()).collect()
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
        let reader = match self.file.as_ref()? {
            AddressTable::Mmdb(reader) => reader,
            AddressTable::Text(ranges) => {
                let place = Place::new(ranges.country(address)?.as_str(), "", "", "")?;
                return Some(Located { place, network: NetworkKind::default() });
            }
        };
        match reader.lookup(address).and_then(|result| result.decode::<Value>()) {
            Ok(record) => located(&record?),
            Err(error) => {
                tracing::debug!(%error, "the address table cannot answer");
                None
            }
        }
    }
}

fn open_table(path: &Path) -> Result<AddressTable, GeoIpError> {
    let bytes = std::fs::read(path).map_err(|error| GeoIpError::File(path.into(), error))?;
    let tail = &bytes[bytes.len().saturating_sub(MMDB_TAIL)..];
    if tail.windows(MMDB_MARKER.len()).any(|window| window == MMDB_MARKER) {
        let reader = Reader::from_source(bytes).map_err(|error| GeoIpError::Mmdb(path.into(), error))?;
        return Ok(AddressTable::Mmdb(reader));
    }
    let text = String::from_utf8_lossy(&bytes);
    Ranges::parse(&text).map(AddressTable::Text).map_err(|error| GeoIpError::Text(path.into(), error))
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
            ..geoip::Override::default()
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
    fn an_override_says_what_kind_of_network_it_is_and_where() {
        let mut config = config();
        let range = &mut config.overrides[1];
        (range.latitude, range.longitude, range.hosting, range.is_virtual) = (48.85, 2.35, true, true);
        config.server.latitude = 52.5;
        let geography = Geography::open(&config).unwrap();
        let paris = geography.locate("10.1.3.4".parse().unwrap()).unwrap();
        assert_eq!(paris.place.coordinates, Some(Coordinates { latitude: 48.85, longitude: 2.35 }));
        let network = NetworkKind { is_hosting: true, is_anonymous: false, is_virtual: true };
        assert_eq!(paris.network, network);
        assert_eq!(geography.server(), Some(Coordinates { latitude: 52.5, longitude: 0.0 }));
        assert_eq!(geography.override_places().len(), 2);
        let plain = geography.locate("10.2.3.4".parse().unwrap()).unwrap();
        assert_eq!((plain.place.coordinates, plain.network), (None, NetworkKind::default()));
    }

    #[test]
    fn a_text_table_answers_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        std::fs::write(&path, "192.0.2.0,192.0.2.255,SE\n2001:db8::,2001:db8::ffff,DE\n").unwrap();
        let geography = Geography::open(&GeoIp { path: path.clone(), ..config() }).unwrap();
        let country =
            |address: &str| geography.locate(address.parse().unwrap()).map(|found| found.place.country.clone());
        assert_eq!(country("192.0.2.1").as_deref(), Some("Sweden"));
        assert_eq!(country("2001:db8::1").as_deref(), Some("Germany"));
        assert_eq!(country("10.2.3.4").as_deref(), Some("Germany"), "overrides come first");
        assert_eq!(country("8.8.8.8"), None);
        std::fs::write(&path, b"\x00\xff no table").unwrap();
        let error = Geography::open(&GeoIp { path, ..config() }).err().unwrap().to_string();
        assert!(error.starts_with("geoip.path") && error.contains("line 1"), "{error}");
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
