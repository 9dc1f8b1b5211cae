//! The end of a network: its user, methods, codes, keys and sessions go, its clients end, its name is free again.

use super::name::NETWORK_NAMES;
use super::referral;
use crate::domain::auth::{authenticate, method, password_reset, session, verification, web_session};
use crate::domain::caller::Caller;
use crate::domain::effect::Effect;
use crate::domain::error::DomainError;
use crate::domain::network::{NETWORKS, USERS};
use crate::domain::news::{self, NewsChange};
use crate::domain::operation::{Operation, Tx};
use crate::domain::portal::profile;
use crate::domain::provider::{blocked, reports};
use crate::domain::stats::ranking;
use crate::domain::wallet::{account_wallet, keeper};
use crate::domain::{api_key, association, certificate, client, feedback, log_upload, preferences, subnet};
use crate::ids::NetworkId;

/// Deletes the caller's own network (`/auth/network-delete`); only its user can, with any token of theirs.
pub struct DeleteOwnNetwork {
    /// Who asks.
    pub caller: Caller,
}

impl Operation for DeleteOwnNetwork {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        authenticate::confirm(tx, &self.caller)?;
        delete(tx, &self.caller.network_id).map(|_| ())
    }
}

/// Deletes a network: an operator's command.
pub struct DeleteNetwork {
    /// Which.
    pub network_id: NetworkId,
}

impl Operation for DeleteNetwork {
    /// Whether there was one.
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        delete(tx, &self.network_id)
    }
}

/// Deletes a network; says whether there was one.
pub(super) fn delete(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<bool, DomainError> {
    let Some(network) = tx.get(&NETWORKS, network_id)? else { return Ok(false) };
    let user_id = network.admin_user_id;
    news::note(tx, &user_id, NewsChange::Forget)?;
    for method in method::methods(tx, &user_id)? {
        verification::forget_code(tx, &user_id, method.kind)?;
        method::remove(tx, &user_id, &method)?;
    }
    password_reset::forget_code(tx, &user_id)?;
    session::end_all(tx, network_id)?;
    web_session::end_all(tx, &user_id, None)?;
    profile::remove(tx, &user_id)?;
    api_key::remove_all(tx, network_id)?;
    client::remove_all(tx, *network_id)?;
    certificate::record::remove_all(tx, &user_id)?;
    blocked::remove_all(tx, *network_id)?;
    ranking::remove(tx, network_id)?;
    reports::remove_all(tx, *network_id)?;
    association::remove_of_network(tx, *network_id)?;
    preferences::remove(tx, network_id)?;
    feedback::remove_all(tx, network_id)?;
    log_upload::remove_all(tx, network_id)?;
    referral::remove_all(tx, network_id, &network)?;
    account_wallet::remove_all(tx, *network_id)?;
    subnet::remove_all(tx, network_id)?;
    keeper::remove(tx, *network_id, user_id)?;
    for name in network.former_names.into_iter().chain([network.name]) {
        if tx.get(&NETWORK_NAMES, &name)?.is_some_and(|holder| holder.network_id == *network_id) {
            tx.delete(&NETWORK_NAMES, &name)?;
        }
    }
    tx.delete(&USERS, &user_id)?;
    tx.delete(&NETWORKS, network_id)?;
    tx.effect(Effect::CredentialsChanged(*network_id));
    Ok(true)
}
