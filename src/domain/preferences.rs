//! What a network has chosen about the product's news.

use serde::{Deserialize, Serialize};

use super::error::DomainError;
use super::network::NETWORKS;
use super::news;
use super::operation::{Operation, Tx};
use crate::ids::NetworkId;
use crate::json_record;
use crate::store::StoreError;
use crate::store::table::Table;

/// The preferences of each network that has set any.
pub const PREFERENCES: Table<NetworkId, Preferences> = Table::new(50, "preferences");

/// Preferences of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// Whether it wants to hear of news.
    pub product_updates: bool,
}
json_record!(Preferences, 1);

/// Reads the preferences of a network; the defaults when it never set any.
#[derive(Clone, Copy, Debug)]
pub struct ReadPreferences(
    /// The network.
    pub NetworkId,
);

impl Operation for ReadPreferences {
    type Output = Preferences;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Preferences, DomainError> {
        Ok(tx.get(&PREFERENCES, &self.0)?.unwrap_or_default())
    }
}

/// Replaces the preferences of a network.
#[derive(Clone, Copy, Debug)]
pub struct SetPreferences {
    /// The network.
    pub network_id: NetworkId,
    /// All of them.
    pub preferences: Preferences,
}

impl Operation for SetPreferences {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        // A network that is no more must not leave a row behind it.
        tx.get(&NETWORKS, &self.network_id)?.ok_or(DomainError::Unauthorized)?;
        tx.put(&PREFERENCES, &self.network_id, &self.preferences)?;
        news::note_network(tx, &self.network_id, &self.preferences)
    }
}

/// Forgets the preferences of a network that is being removed.
pub fn remove(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<(), StoreError> {
    tx.delete(&PREFERENCES, network_id)
}
