//! Where a network wants to be paid by a subnet of Bittensor. This server is part of none: it keeps what it is told.

use serde::{Deserialize, Serialize};

use super::client::CLIENTS;
use super::error::DomainError;
use super::operation::{Operation, Tx};
use super::wallet::address::has_bittensor_prefix;
use crate::ids::{ClientId, NetworkId};
use crate::json_record;
use crate::store::StoreError;
use crate::store::table::Table;
use crate::time::Timestamp;

/// The address of each client that has one of its own; of the whole network under the client of zeros.
pub const SUBNET_WALLETS: Table<(NetworkId, ClientId), SubnetWallet> = Table::guarded(222, "subnet_wallets", 16);

/// What addresses of that chain begin with.
const PREFIX: u8 = 42;

/// An address to be paid at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetWallet {
    /// The address.
    pub coldkey: String,
    /// When it was named.
    pub time: Timestamp,
}
json_record!(SubnetWallet, 1);

/// Why an address was not taken; the text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubnetRefusal {
    /// Not an address of that chain.
    #[error("Invalid ss58 coldkey: it must be an address with prefix 42.")]
    Address,
    /// A client of somebody else.
    #[error("Client does not belong to this network.")]
    Client,
}

/// Names an address to be paid at.
pub struct SetSubnetWallet {
    /// Whose.
    pub network_id: NetworkId,
    /// For one client only.
    pub client_id: Option<ClientId>,
    /// The address.
    pub coldkey: String,
}

impl Operation for SetSubnetWallet {
    type Output = Result<(), SubnetRefusal>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let coldkey = self.coldkey.trim();
        if !has_bittensor_prefix(coldkey, PREFIX) {
            return Ok(Err(SubnetRefusal::Address));
        }
        if let Some(client_id) = &self.client_id {
            let client = tx.get(&CLIENTS, client_id)?;
            if client.is_none_or(|client| client.network_id != self.network_id || !client.active) {
                return Ok(Err(SubnetRefusal::Client));
            }
        }
        let key = (self.network_id, self.client_id.unwrap_or_default());
        tx.put(&SUBNET_WALLETS, &key, &SubnetWallet { coldkey: coldkey.into(), time: tx.now })?;
        Ok(Ok(()))
    }
}

/// Forgets the addresses of a network that ends.
pub fn remove_all(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<(), StoreError> {
    for (key, _) in tx.scan(&SUBNET_WALLETS, network_id)? {
        tx.delete(&SUBNET_WALLETS, &key)?;
    }
    Ok(())
}
