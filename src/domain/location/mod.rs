//! Where providers are: countries, regions and cities with ids that outlive a reinstall, and the lookup of addresses.
//!
//! [`country`] and [`group`] are fixed tables; [`place`] names a place and derives its ids; [`geoip`] finds the place
//! of an address, if need be in a [`ranges`] table. [`directory`] finds places by their [`names`], written as in [`text`].
//! Which places have providers is the business of `provider`.

pub mod country;
pub mod directory;
pub mod geoip;
pub mod group;
pub mod names;
pub mod place;
pub mod ranges;
pub mod text;
