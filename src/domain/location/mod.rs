//! Where providers are: countries, regions and cities with ids that outlive a reinstall, and the lookup of addresses.
//!
//! [`country`] and [`group`] are fixed tables; [`place`] names a place and derives its ids; [`geoip`] finds the place
//! of an address. Which places have providers is the business of `provider`.

pub mod country;
pub mod geoip;
pub mod group;
pub mod place;
