//! A place: a country, perhaps a region of it, perhaps a city, each with an id derived from its names.
//!
//! Apps store the id of the place a person chose, so ids must not change when the server restarts or is set up anew:
//! they are hashes of (country code, region, city).

use aws_lc_rs::digest::{SHA256, digest};

use super::country::CountryCode;
use crate::ids::LocationId;

/// Longest region or city name, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// What kind of place an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LocationType {
    /// A country.
    Country,
    /// A region of a country.
    Region,
    /// A city.
    City,
}

impl LocationType {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::Region => "region",
            Self::City => "city",
        }
    }
}

/// A point on earth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coordinates {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

impl Coordinates {
    /// This point; `None` when there is no such point, and for zero and zero, which tables write for unknown.
    pub fn known(latitude: f64, longitude: f64) -> Option<Self> {
        let is_known = (-90.0..=90.0).contains(&latitude)
            && (-180.0..=180.0).contains(&longitude)
            && (latitude, longitude) != (0.0, 0.0);
        is_known.then_some(Self { latitude, longitude })
    }
}

/// A country, region or city. Names are empty below the level that is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The country's code.
    pub country_code: CountryCode,
    /// The country's name, never empty.
    pub country: String,
    /// The region.
    pub region: String,
    /// The city; empty when the region is.
    pub city: String,
    /// Where the city is.
    pub coordinates: Option<Coordinates>,
}

impl Place {
    /// A place from names as a table has them; `None` without a country code. A missing country name comes from the
    /// list of countries, and a city without a region (Hong Kong, Singapore) is only its country.
    pub fn new(country_code: &str, country: &str, region: &str, city: &str) -> Option<Self> {
        let country_code = CountryCode::parse(country_code)?;
        let country = match (clean(country), country_code.name()) {
            ("", Some(name)) => name.to_owned(),
            ("", None) => country_code.as_str().to_ascii_uppercase(),
            (name, _) => name.to_owned(),
        };
        let region = clean(region);
        let city = if region.is_empty() { "" } else { clean(city) };
        Some(Self { country_code, country, region: region.into(), city: city.into(), coordinates: None })
    }

    /// The same place at this point, if it is known.
    pub fn at(mut self, latitude: f64, longitude: f64) -> Self {
        self.coordinates = Coordinates::known(latitude, longitude);
        self
    }

    /// The id of its country.
    pub fn country_id(&self) -> LocationId {
        derive_id("country", &[self.country_code.as_str()])
    }

    /// The id of its region.
    pub fn region_id(&self) -> Option<LocationId> {
        (!self.region.is_empty()).then(|| derive_id("region", &[self.country_code.as_str(), &self.region]))
    }

    /// The id of its city.
    pub fn city_id(&self) -> Option<LocationId> {
        (!self.city.is_empty()).then(|| derive_id("city", &[self.country_code.as_str(), &self.region, &self.city]))
    }

    /// What it is, down to the level that is known.
    pub fn location_type(&self) -> LocationType {
        match (self.region.as_str(), self.city.as_str()) {
            ("", _) => LocationType::Country,
            (_, "") => LocationType::Region,
            _ => LocationType::City,
        }
    }

    /// Itself and what it lies in, each once, with their ids: country first.
    pub fn levels(&self) -> Vec<(LocationId, Place)> {
        let mut levels = vec![(self.country_id(), Place { region: String::new(), city: String::new(), ..self.bare() })];
        if let Some(id) = self.region_id() {
            levels.push((id, Place { city: String::new(), ..self.bare() }));
        }
        if let Some(id) = self.city_id() {
            levels.push((id, self.clone()));
        }
        levels
    }

    /// Without the coordinates, which are the city's.
    fn bare(&self) -> Place {
        Place { coordinates: None, ..self.clone() }
    }
}

/// The id of what `kind` and names say: 16 bytes of SHA-256, each part ended by a zero byte.
pub fn derive_id(kind: &str, names: &[&str]) -> LocationId {
    let mut text = kind.as_bytes().to_vec();
    for name in names {
        text.push(0);
        text.extend_from_slice(name.as_bytes());
    }
    let hash = digest(&SHA256, &text);
    LocationId::from_slice(&hash.as_ref()[..16]).expect("half of a SHA-256 has 16 bytes")
}

fn clean(name: &str) -> &str {
    let name = name.trim();
    name[..name.floor_char_boundary(MAX_NAME_BYTES)].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_the_same_for_ever() {
        let berlin = Place::new("DE", "", "Land Berlin", "Berlin").unwrap();
        assert_eq!(berlin.country, "Germany");
        assert_eq!(berlin.country_id().to_string(), "b50ea1a5-02e2-dc7e-cd32-9979ea3ad6cb");
        assert_eq!(berlin.region_id().unwrap().to_string(), "c6ae0b12-5ff3-7e64-391f-2072a977466f");
        assert_eq!(berlin.city_id().unwrap().to_string(), "6aac23b9-e6ba-30cd-5f72-92463e7f2067");
    }

    #[test]
    fn what_is_not_known_falls_back_to_the_larger_place() {
        let cases = [
            (("sg", "", "", "Singapore"), LocationType::Country, 1),
            (("us", "United States", "Texas", ""), LocationType::Region, 2),
            (("us", "", " Texas ", "Austin"), LocationType::City, 3),
        ];
        for ((code, country, region, city), location_type, levels) in cases {
            let place = Place::new(code, country, region, city).unwrap();
            assert_eq!((place.location_type(), place.levels().len()), (location_type, levels));
        }
        assert_eq!(Place::new("zz", "", "", "").unwrap().country, "ZZ");
        assert_eq!(Place::new("", "Germany", "", ""), None);
    }

    #[test]
    fn zero_and_impossible_coordinates_are_unknown() {
        let place = || Place::new("de", "", "", "").unwrap();
        assert_eq!(place().at(0.0, 0.0).coordinates, None);
        assert_eq!(place().at(f64::NAN, 1.0).coordinates, None);
        assert_eq!(place().at(91.0, 1.0).coordinates, None);
        assert!(place().at(52.5, 0.0).coordinates.is_some());
    }
}
