//! Devices that one party lends or hands over to another, each known by a code.
//!
//! A *share* lets a guest network use a client of the source network. An *adopt* brings a device that has no account yet
//! into the network of an owner. Both have three states:
//!
//! ```text
//!           guest adds the code            source confirms
//! share:  open ----------------> pending ------------------> associated
//!           owner adds the code            device confirms, with its secret and in time
//! adopt:  open ----------------> pending ------------------> associated, with a client of the owner's
//! ```
//!
//! A removed association is gone, and its code with it: out of 2^66, none comes twice. A share goes with its client and
//! with either network, an adopt with its owner and the client it has become; one that nobody confirmed goes a day
//! after its end ([`expiry`]).

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::network::NETWORKS;
use super::operation::Tx;
use crate::ids::{ClientId, NetworkId, SessionId, UserId};
use crate::json_record;
use crate::store::StoreError;
use crate::store::table::Table;
use crate::time::Timestamp;

pub mod add;
pub mod adopt;
pub mod code;
pub mod edit;
pub mod expiry;
pub mod list;
pub mod share;

#[cfg(test)]
mod tests;

use code::Code;

/// Every association.
pub const ASSOCIATIONS: Table<String, Association> = Table::new(40, "associations");

/// The associations of a network, as source, guest or owner.
pub const NETWORK_ASSOCIATIONS: Table<(NetworkId, String), ()> = Table::guarded(41, "network_associations", 16);

/// The associations of a client: its shares, and the adopt that made it.
pub const CLIENT_ASSOCIATIONS: Table<(ClientId, String), ()> = Table::guarded(42, "client_associations", 16);

/// Adopt codes that nobody has confirmed, by the hour (since 1970) of their end.
pub const ADOPT_ENDS: Table<(u32, String), ()> = Table::new(43, "adopt_ends");

/// Associations of one network; keeps its list below what apps accept.
pub const MAX_PER_NETWORK: usize = 1024;

/// A share or an adopt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Association {
    /// A client of one network that another may use.
    Share(Share),
    /// A device on its way into a network.
    Adopt(Adopt),
}
json_record!(Association, 1);

/// A client of the source network that a guest network may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The network of the client.
    pub source_id: NetworkId,
    /// The client.
    pub client_id: ClientId,
    /// What the source called it when it made the code.
    pub device_name: String,
    /// Who added the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_id: Option<NetworkId>,
    /// Whether the source has agreed to that guest.
    pub is_confirmed: bool,
    /// What the source calls the association; empty for nothing.
    pub source_label: String,
    /// What the guest calls it; empty for nothing.
    pub guest_label: String,
    /// When it was made.
    pub create_time: Timestamp,
}

/// A device without an account, on its way into a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopt {
    /// SHA-256 of the secret that only the device knows; the code is public, since it hangs out as a QR image.
    pub secret_hash: [u8; 32],
    /// What the device calls itself.
    pub device_name: String,
    /// What it is.
    pub device_spec: String,
    /// First instant at which the code no longer works.
    pub end_time: Timestamp,
    /// Who added the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The client that the device has become.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// What the owner calls the association; empty for nothing.
    pub label: String,
}

impl Adopt {
    /// Whether the code still works.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.end_time
    }

    /// Minutes until it no longer does.
    pub fn minutes_left(&self, now: Timestamp) -> f64 {
        self.end_time.since(now).as_secs_f64() / 60.0
    }

    fn has_secret(&self, hash: &[u8; 32]) -> bool {
        bool::from(self.secret_hash.ct_eq(hash))
    }
}

/// Who added an adopt code, and the token they did it with: the device's token descends from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Their network.
    pub network_id: NetworkId,
    /// The user.
    pub user_id: UserId,
    /// Lineage of the token.
    pub create_time: Timestamp,
    /// Session of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Roles of the token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Principal of the token; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub principal: String,
}

/// How far an association is, as both sides may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether the side that made the code has not confirmed yet.
    pub is_pending: bool,
    /// Name of the network that added the code, as it is now.
    pub network_name: Option<String>,
}

/// A state change that cannot be, whatever the reason: strangers learn nothing from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidCode;

fn share(tx: &mut Tx<'_>, code: &Code) -> Result<Option<Share>, StoreError> {
    Ok(match tx.get(&ASSOCIATIONS, &code.to_string())? {
        Some(Association::Share(share)) => Some(share),
        _ => None,
    })
}

fn adopt(tx: &mut Tx<'_>, code: &Code) -> Result<Option<Adopt>, StoreError> {
    Ok(match tx.get(&ASSOCIATIONS, &code.to_string())? {
        Some(Association::Adopt(adopt)) => Some(adopt),
        _ => None,
    })
}

fn network_name(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<Option<String>, StoreError> {
    Ok(tx.get(&NETWORKS, network_id)?.map(|network| network.name))
}

fn count_of_network(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<usize, StoreError> {
    Ok(tx.scan(&NETWORK_ASSOCIATIONS, network_id)?.len())
}

/// Removes an association with every entry that leads to it.
fn remove(tx: &mut Tx<'_>, code: &str, association: &Association) -> Result<(), StoreError> {
    let (networks, client_id) = match association {
        Association::Share(share) => ([Some(share.source_id), share.guest_id], Some(share.client_id)),
        Association::Adopt(adopt) => {
            tx.delete(&ADOPT_ENDS, &(expiry::hour(adopt.end_time), code.to_owned()))?;
            ([adopt.owner.as_ref().map(|owner| owner.network_id), None], adopt.client_id)
        }
    };
    for network_id in networks.into_iter().flatten() {
        tx.delete(&NETWORK_ASSOCIATIONS, &(network_id, code.to_owned()))?;
    }
    if let Some(client_id) = client_id {
        tx.delete(&CLIENT_ASSOCIATIONS, &(client_id, code.to_owned()))?;
    }
    tx.delete(&ASSOCIATIONS, &code.to_owned())
}

fn remove_all(tx: &mut Tx<'_>, codes: impl IntoIterator<Item = String>) -> Result<(), StoreError> {
    for code in codes {
        if let Some(association) = tx.get(&ASSOCIATIONS, &code)? {
            remove(tx, &code, &association)?;
        }
    }
    Ok(())
}

/// Removes what a client that is being removed is part of.
pub fn remove_of_client(tx: &mut Tx<'_>, client_id: ClientId) -> Result<(), StoreError> {
    let codes: Vec<_> = tx.scan(&CLIENT_ASSOCIATIONS, &client_id)?.into_iter().map(|((_, code), ())| code).collect();
    remove_all(tx, codes)
}

/// Removes what a network that is being removed is part of.
pub fn remove_of_network(tx: &mut Tx<'_>, network_id: NetworkId) -> Result<(), StoreError> {
    let codes: Vec<_> = tx.scan(&NETWORK_ASSOCIATIONS, &network_id)?.into_iter().map(|((_, code), ())| code).collect();
    remove_all(tx, codes)
}
