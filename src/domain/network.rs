//! Networks and the people who administer them: one network has one user, and the other way round.
//!
//! The records alone. `account` makes, renames and deletes them; `auth` proves who a user is.

use serde::{Deserialize, Serialize};

use super::contract::record::{BALANCES, BalanceKey};
use super::error::DomainError;
use super::operation::Tx;
use crate::ids::{NetworkId, UserId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Every network.
pub const NETWORKS: Table<NetworkId, NetworkRecord> = Table::new(1, "networks");

/// Every user.
pub const USERS: Table<UserId, UserRecord> = Table::new(3, "users");

/// Networks by referral code.
pub const REFERRAL_CODES: Table<String, ReferralCodeRecord> = Table::new(4, "referral_codes");

/// The networks that each network has brought.
pub const REFERRALS: Table<(NetworkId, NetworkId), ()> = Table::guarded(70, "referrals", 16);

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// Its normalised name, unique.
    pub name: String,
    /// Its one user.
    pub admin_user_id: UserId,
    /// When it was made.
    pub create_time: Timestamp,
    /// Its own referral code, 6 characters `A–Z0–9`.
    pub referral_code: String,
    /// The network whose code was given when this one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referred_by: Option<NetworkId>,
    /// Names it gave up that may still rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_names: Vec<String>,
}
json_record!(NetworkRecord, 1);

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// The network they administer.
    pub network_id: NetworkId,
    /// What they call themselves, at most 128 bytes.
    pub user_name: String,
    /// When they came.
    pub create_time: Timestamp,
    /// When a password was last set; tokens with an earlier lineage are dead.
    pub credential_change_time: Timestamp,
}
json_record!(UserRecord, 1);

/// The owner of a referral code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferralCodeRecord {
    /// The network.
    pub network_id: NetworkId,
}
json_record!(ReferralCodeRecord, 1);

/// Whether a network has a Pro balance now, spent or not: the `pro` claim, and the plan that apps show.
pub fn is_pro(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<bool, DomainError> {
    // A token may be a moment behind the ledger; a login must not fail because the network is busy settling.
    let balances = tx.scan_snapshot(&BALANCES, network_id)?;
    let is_usable = |key: &BalanceKey| key.start_time <= tx.now && tx.now < key.end_time;
    Ok(balances.iter().any(|(key, balance)| balance.is_pro && is_usable(key)))
}

/// The ways to ask for a name; they differ in what they demand and leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameKind {
    /// `/network/user/update`: any user, at any time.
    Update,
    /// `/account/change-name`: a proven user, twice a day; the old name rests for a day before others may have it.
    Change,
    /// `/account/claim-name`: a proven user, twice a day.
    Claim,
}
