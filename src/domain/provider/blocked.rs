//! Countries that a network does not serve: its providers are not offered to callers from there.

use crate::domain::error::DomainError;
use crate::domain::location::country::COUNTRIES;
use crate::domain::location::place::Place;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{LocationId, NetworkId};
use crate::store::StoreError;
use crate::store::table::Table;

/// The countries that each network blocks.
pub const BLOCKED_COUNTRIES: Table<(NetworkId, LocationId), ()> = Table::guarded(111, "blocked_countries", 16);

/// The country with this id.
pub fn country(id: LocationId) -> Option<Place> {
    COUNTRIES.iter().filter_map(|(code, name)| Place::new(code, name, "", "")).find(|place| place.country_id() == id)
}

/// Blocks a country, or serves it again. Tell the index afterwards.
#[derive(Clone, Copy, Debug)]
pub struct SetBlocked {
    /// The network that blocks.
    pub network_id: NetworkId,
    /// The country.
    pub location_id: LocationId,
    /// Whether callers from there are refused.
    pub is_blocked: bool,
}

impl Operation for SetBlocked {
    /// Whether the id is that of a country.
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        let key = (self.network_id, self.location_id);
        // Only countries can be blocked, which bounds the list.
        if country(self.location_id).is_none() {
            return Ok(false);
        }
        match self.is_blocked {
            true => tx.put(&BLOCKED_COUNTRIES, &key, &())?,
            false => tx.delete(&BLOCKED_COUNTRIES, &key)?,
        }
        Ok(true)
    }
}

/// Lists the countries that a network blocks.
#[derive(Clone, Copy, Debug)]
pub struct ListBlocked(
    /// The network.
    pub NetworkId,
);

impl Operation for ListBlocked {
    type Output = Vec<Place>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Place>, DomainError> {
        Ok(blocked(tx, self.0)?.into_iter().filter_map(country).collect())
    }
}

/// The ids of the countries that a network blocks.
pub fn blocked(tx: &mut Tx<'_>, network_id: NetworkId) -> Result<Vec<LocationId>, StoreError> {
    Ok(tx.scan(&BLOCKED_COUNTRIES, &network_id)?.into_iter().map(|((_, id), ())| id).collect())
}

/// Forgets what a network blocks, when it is removed itself.
pub fn remove_all(tx: &mut Tx<'_>, network_id: NetworkId) -> Result<(), StoreError> {
    for id in blocked(tx, network_id)? {
        tx.delete(&BLOCKED_COUNTRIES, &(network_id, id))?;
    }
    Ok(())
}
