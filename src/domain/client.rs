//! Clients: the addressable members of a network.
//!
//! A *top-level* client has a device of its own. A *derived* client shares the device of its source, which is always
//! top-level; apps make one per provider path and forget many of them, so the two have separate limits.
//! A removed client keeps its row as a tombstone: an id is never used twice.

use serde::{Deserialize, Serialize};

use super::operation::Tx;
use crate::ids::{ClientId, DeviceId, NetworkId};
use crate::json_record;
use crate::store::StoreError;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Every client that ever was.
pub const CLIENTS: Table<ClientId, ClientRecord> = Table::new(60, "clients");

/// Active top-level clients of a network.
pub const NETWORK_CLIENTS: Table<(NetworkId, ClientId), ()> = Table::guarded(61, "network_clients", 16);

/// Active clients derived from a top-level client, under its id.
pub const DERIVED_CLIENTS: Table<(ClientId, ClientId), ()> = Table::guarded(62, "derived_clients", 16);

/// A client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRecord {
    /// The network it belongs to.
    pub network_id: NetworkId,
    /// Its device, shared with its source when derived.
    pub device_id: DeviceId,
    /// The top-level client it is derived from; none for a top-level client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_client_id: Option<ClientId>,
    /// What the app calls it, at most 256 bytes.
    pub description: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// When a token was last made for it.
    pub auth_time: Timestamp,
    /// Whether its tokens are good and contracts may name it.
    pub active: bool,
    /// When it stopped being active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deactivate_time: Option<Timestamp>,
    /// Opaque identity roles, fixed at creation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Opaque identity principal, fixed at creation; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub principal: String,
}
json_record!(ClientRecord, 1);

impl ClientRecord {
    /// Whether it has a device of its own.
    pub fn is_top_level(&self) -> bool {
        self.source_client_id.is_none()
    }
}

/// The record of an active client; a removed one is as unknown as one that never was.
pub fn active(tx: &mut Tx<'_>, client_id: &ClientId) -> Result<Option<ClientRecord>, StoreError> {
    Ok(tx.get(&CLIENTS, client_id)?.filter(|client| client.active))
}
