//! Wallets that an outside company keeps: what it calls our users, and the wallets that it reports.

use serde::{Deserialize, Serialize};

use super::account_wallet;
use super::journal::WalletOwner;
use crate::domain::error::DomainError;
use crate::domain::network::NETWORKS;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{NetworkId, RecordId, UserId};
use crate::json_record;
use crate::store::StoreError;
use crate::store::table::Table;

/// What the company calls a user.
pub const KEEPER_USERS: Table<(NetworkId, UserId), KeeperUser> = Table::new(215, "keeper_users");

/// The user behind what the company calls them.
pub const KEEPER_USER_OWNERS: Table<RecordId, KeeperUserOwner> = Table::new(216, "keeper_user_owners");

/// A user at the company.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperUser {
    /// Its name there.
    pub keeper_user_id: RecordId,
}
json_record!(KeeperUser, 1);

/// Who a user at the company is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperUserOwner {
    /// The network.
    pub network_id: NetworkId,
    /// Its user.
    pub user_id: UserId,
}
json_record!(KeeperUserOwner, 1);

/// What the company calls a user; a name is made up when there is none.
pub struct EnsureKeeperUser {
    /// Who.
    pub owner: WalletOwner,
}

impl Operation for EnsureKeeperUser {
    type Output = RecordId;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<RecordId, DomainError> {
        let WalletOwner { network_id, user_id } = self.owner;
        if let Some(known) = tx.get(&KEEPER_USERS, &(network_id, user_id))? {
            return Ok(known.keeper_user_id);
        }
        // A network that is no more must not leave a row behind it.
        tx.get(&NETWORKS, &network_id)?.ok_or(DomainError::Unauthorized)?;
        let keeper_user_id: RecordId = tx.new_id();
        tx.put(&KEEPER_USERS, &(network_id, user_id), &KeeperUser { keeper_user_id })?;
        tx.put(&KEEPER_USER_OWNERS, &keeper_user_id, &KeeperUserOwner { network_id, user_id })?;
        Ok(keeper_user_id)
    }
}

/// What the company calls a user; `None` for one who never asked for a wallet.
pub struct FindKeeperUser {
    /// Who.
    pub owner: WalletOwner,
}

impl Operation for FindKeeperUser {
    type Output = Option<RecordId>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<RecordId>, DomainError> {
        let key = (self.owner.network_id, self.owner.user_id);
        Ok(tx.get(&KEEPER_USERS, &key)?.map(|user| user.keeper_user_id))
    }
}

/// Names a wallet that the company keeps for a user; it is paid at when the network has no payout wallet. A second
/// time changes nothing.
pub struct AddKeptWallet {
    /// What the company calls the user.
    pub keeper_user_id: RecordId,
    /// What it calls the wallet.
    pub keeper_wallet_id: String,
    /// The chain, by the name that clients know.
    pub blockchain: String,
    /// The address.
    pub address: String,
}

impl Operation for AddKeptWallet {
    /// Whether the user is known.
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        let Some(owner) = tx.get(&KEEPER_USER_OWNERS, &self.keeper_user_id)? else { return Ok(false) };
        let place = (self.blockchain.as_str(), self.address.as_str());
        account_wallet::add_custody_wallet(tx, owner.network_id, &self.keeper_wallet_id, place)?;
        Ok(true)
    }
}

/// Forgets the name of a network's user.
pub fn remove(tx: &mut Tx<'_>, network_id: NetworkId, user_id: UserId) -> Result<(), StoreError> {
    if let Some(user) = tx.get(&KEEPER_USERS, &(network_id, user_id))? {
        tx.delete(&KEEPER_USER_OWNERS, &user.keeper_user_id)?;
        tx.delete(&KEEPER_USERS, &(network_id, user_id))?;
    }
    Ok(())
}
