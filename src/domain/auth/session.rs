//! Login sessions: what every token descends from.
//!
//! A login starts a session; client tokens carry the session of the token that made them; logging in with an auth code
//! starts a child of the session that made the code. A session lives as long as its row: revoking one deletes its row
//! and those of all its descendants, and with them go their tokens and auth codes.
//! Each network keeps a bounded number; above it the session longest without a new token ends, without its
//! descendants.

use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{auth_code, method};
use crate::domain::caller::Caller;
use crate::domain::effect::Effect;
use crate::domain::error::DomainError;
use crate::domain::network::{self, NETWORKS, USERS};
use crate::domain::operation::{Operation, Tx};
use crate::domain::token::{AUDIENCE_API, AUDIENCE_CONNECT, Claims, ISSUER};
use crate::ids::{NetworkId, SessionId, UserId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Sessions of a network. Scans of it do not guard against rows that appear meanwhile: who starts a child rewrites the
/// parent's row, and that is conflict enough for [`Revoke`].
pub const SESSIONS: Table<(NetworkId, SessionId), SessionRecord> = Table::new(20, "sessions");

/// Deepest chain of auth codes made by tokens from auth codes; beyond it a login joins the session it came from.
const MAX_DEPTH: usize = 16;
/// How exactly the last use of a session is known: spares a write for most tokens.
const USE_GRAIN: Duration = Duration::from_secs(3600);
/// One of so many logins looks for sessions to end.
const TRIM_ODDS: u32 = 16;

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// When it was started.
    pub create_time: Timestamp,
    /// When a token was last made in it, to the hour.
    pub use_time: Timestamp,
    /// The sessions it descends from, the root first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<SessionId>,
}
json_record!(SessionRecord, 1);

/// Starts a session and gives the identity of its first token, a user token with a lineage that begins now.
pub fn login(tx: &mut Tx<'_>, user_id: &UserId) -> Result<Caller, DomainError> {
    let user = tx.get(&USERS, user_id)?.ok_or(DomainError::Unauthorized)?;
    let session_id = start(tx, &user.network_id, Vec::new())?;
    Ok(Caller {
        network_id: user.network_id,
        user_id: *user_id,
        client: None,
        create_time: tx.now,
        session_id: Some(session_id),
        roles: Vec::new(),
        principal: String::new(),
    })
}

/// Starts a child of a session; `None` when the parent is no more.
fn start_child(
    tx: &mut Tx<'_>,
    network_id: &NetworkId,
    parent_id: &SessionId,
) -> Result<Option<SessionId>, DomainError> {
    let key = (*network_id, *parent_id);
    let Some(parent) = tx.get(&SESSIONS, &key)? else { return Ok(None) };
    tx.put(&SESSIONS, &key, &SessionRecord { use_time: tx.now, ..parent.clone() })?;
    if parent.ancestors.len() >= MAX_DEPTH {
        return Ok(Some(*parent_id));
    }
    let mut ancestors = parent.ancestors;
    ancestors.push(*parent_id);
    start(tx, network_id, ancestors).map(Some)
}

/// The session of a login that somebody already logged in has vouched for with a code: a child of theirs, or one of its
/// own when they used an API key. `None` when theirs is no more, or their credentials have changed since its lineage began.
pub fn vouched(
    tx: &mut Tx<'_>,
    user_id: &UserId,
    create_time: Timestamp,
    session_id: Option<&SessionId>,
) -> Result<Option<SessionId>, DomainError> {
    let user = tx.get(&USERS, user_id)?;
    let Some(user) = user.filter(|user| create_time >= user.credential_change_time) else { return Ok(None) };
    match session_id {
        Some(parent_id) => start_child(tx, &user.network_id, parent_id),
        None => start(tx, &user.network_id, Vec::new()).map(Some),
    }
}

fn start(tx: &mut Tx<'_>, network_id: &NetworkId, ancestors: Vec<SessionId>) -> Result<SessionId, DomainError> {
    if tx.rng.random_ratio(1, TRIM_ODDS) {
        trim(tx, network_id)?;
    }
    let session_id: SessionId = tx.new_id();
    let record = SessionRecord { create_time: tx.now, use_time: tx.now, ancestors };
    tx.put(&SESSIONS, &(*network_id, session_id), &record)?;
    Ok(session_id)
}

/// Ends the sessions whose tokens have all expired, and the least used above the network's limit.
fn trim(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<(), DomainError> {
    let mut sessions = tx.scan(&SESSIONS, network_id)?;
    let settings = &tx.config.auth;
    let expired_before = tx.now.before(settings.token_lifetime + 2 * USE_GRAIN);
    let enforce_expiry = settings.enforce_expiry;
    let excess = sessions.len().saturating_sub(tx.config.limits.sessions_per_network);
    sessions.sort_by_key(|(_, session)| session.use_time);
    for (at, (key, session)) in sessions.iter().enumerate() {
        if at < excess || (enforce_expiry && session.use_time < expired_before) {
            tx.delete(&SESSIONS, key)?;
        }
    }
    Ok(())
}

/// The claims of a new token for an identity: its names and plan as they are now, its lineage as it was.
///
/// # Errors
/// [`DomainError::Unauthorized`] when the network, the user or the session is no more, or the credentials have changed
/// since the lineage began.
pub fn claims(tx: &mut Tx<'_>, caller: &Caller) -> Result<Claims, DomainError> {
    let network = tx.get(&NETWORKS, &caller.network_id)?.ok_or(DomainError::Unauthorized)?;
    let user = tx.get(&USERS, &caller.user_id)?.ok_or(DomainError::Unauthorized)?;
    if network.admin_user_id != caller.user_id || caller.create_time < user.credential_change_time {
        return Err(DomainError::Unauthorized);
    }
    if let Some(session_id) = caller.session_id {
        let key = (caller.network_id, session_id);
        let session = tx.get(&SESSIONS, &key)?.ok_or(DomainError::Unauthorized)?;
        if tx.now.since(session.use_time) >= USE_GRAIN {
            tx.put(&SESSIONS, &key, &SessionRecord { use_time: tx.now, ..session })?;
        }
    }
    let issued = tx.now.as_secs();
    Ok(Claims {
        network_id: caller.network_id,
        network_name: network.name,
        user_id: caller.user_id,
        create_time: caller.create_time,
        client_id: caller.client.map(|client| client.client_id),
        device_id: caller.client.map(|client| client.device_id),
        guest_mode: method::methods(tx, &caller.user_id)?.is_empty(),
        pro: network::is_pro(tx, &caller.network_id)?,
        roles: caller.roles.clone(),
        principal: caller.principal.clone(),
        session_id: caller.session_id,
        iss: Some(ISSUER.into()),
        sub: Some(caller.user_id),
        aud: Some(vec![AUDIENCE_API.into(), AUDIENCE_CONNECT.into()]),
        iat: Some(issued),
        nbf: Some(issued),
        exp: Some(issued + tx.config.auth.token_lifetime.as_secs()),
        jti: Some(tx.new_id()),
    })
}

/// Ends every session and auth code of a network.
pub fn end_all(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<(), DomainError> {
    for (key, _) in tx.scan(&SESSIONS, network_id)? {
        tx.delete(&SESSIONS, &key)?;
    }
    auth_code::remove_where(tx, network_id, |_| true)
}

/// Ends a session and all that descends from it; says how many that were. Their live transports are the caller's to cut.
pub(in crate::domain) fn end(
    tx: &mut Tx<'_>,
    network_id: &NetworkId,
    session_id: &SessionId,
) -> Result<usize, DomainError> {
    let mut ended = Vec::new();
    for (key, session) in tx.scan(&SESSIONS, network_id)? {
        if key.1 == *session_id || session.ancestors.contains(session_id) {
            tx.delete(&SESSIONS, &key)?;
            ended.push(key.1);
        }
    }
    auth_code::remove_where(tx, network_id, |code| {
        code.session_id.is_some_and(|id| id == *session_id || ended.contains(&id))
    })?;
    Ok(ended.len())
}

/// Ends a session and all that descends from it: an operator's or an owner's command.
pub struct Revoke {
    /// The network.
    pub network_id: NetworkId,
    /// The session.
    pub session_id: SessionId,
}

impl Operation for Revoke {
    /// How many sessions ended; 0 when there was none.
    type Output = usize;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<usize, DomainError> {
        let ended = end(tx, &self.network_id, &self.session_id)?;
        if ended > 0 {
            // Every transport of the network is cut; those of other sessions dial again with tokens that still hold.
            tx.effect(Effect::CredentialsChanged(self.network_id));
        }
        Ok(ended)
    }
}

/// The sessions of a network, oldest first.
pub struct List {
    /// The network.
    pub network_id: NetworkId,
}

impl Operation for List {
    type Output = Vec<(SessionId, SessionRecord)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        Ok(tx.scan(&SESSIONS, &self.network_id)?.into_iter().map(|((_, id), session)| (id, session)).collect())
    }
}
