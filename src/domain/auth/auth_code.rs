//! Auth codes: short-lived secrets that log another machine in as the user.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::attempts::{Limit, Origin};
use super::role::WantedIdentity;
use super::{Accounts, session};
use crate::domain::caller::Caller;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::token::Claims;
use crate::ids::{NetworkId, SessionId, UserId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Auth codes by their SHA-256.
pub const AUTH_CODES: Table<[u8; 32], AuthCodeRecord> = Table::new(21, "auth_codes");

/// The auth codes of a network; creation counts the live ones.
pub const NETWORK_AUTH_CODES: Table<(NetworkId, [u8; 32]), NetworkAuthCode> =
    Table::guarded(22, "network_auth_codes", 16);

const CODE_BYTES: usize = 32;
const DEFAULT_MINUTES: f64 = 1.0;
const MAX_MINUTES: f64 = 1440.0;
const MAX_USES: i64 = 100;

/// An auth code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthCodeRecord {
    /// The network it logs into.
    pub network_id: NetworkId,
    /// Its user.
    pub user_id: UserId,
    /// Lineage of the token that made it; the tokens it makes have the same.
    pub create_time: Timestamp,
    /// Session of the token that made it; the code dies with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// First instant at which it no longer works.
    pub end_time: Timestamp,
    /// Logins left.
    pub remaining_uses: u32,
    /// Roles of its tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Principal of its tokens; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub principal: String,
}
json_record!(AuthCodeRecord, 1);

/// An auth code in its network's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAuthCode {
    /// First instant at which it no longer works.
    pub end_time: Timestamp,
}
json_record!(NetworkAuthCode, 1);

/// What a caller asks for; values out of range are moved into it.
#[derive(Clone, Debug, Default)]
pub struct AuthCodeRequest {
    /// How long it shall work; 0 and less for one minute, at most a day.
    pub duration_minutes: f64,
    /// How many logins it shall give; 0 and less for one, at most 100.
    pub uses: i64,
    /// Roles and principal of its tokens.
    pub identity: WantedIdentity,
}

/// How making an auth code ended.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthCodeOutcome {
    /// Made.
    Created {
        /// The secret; shown once.
        auth_code: String,
        /// How long it works.
        duration_minutes: f64,
        /// How many logins it gives.
        uses: u32,
    },
    /// The caller's token is a client token, or the network has all the codes it may have
    /// (`auth_code_limit_exceeded`).
    LimitExceeded(&'static str),
    /// Roles or principal that the caller may not set.
    Refused(&'static str),
}

impl Accounts {
    /// Makes an auth code (`/auth/code-create`).
    ///
    /// # Errors
    /// [`DomainError::Unauthorized`] when the caller no longer stands.
    pub async fn create_auth_code(
        &self,
        caller: &Caller,
        request: &AuthCodeRequest,
    ) -> Result<AuthCodeOutcome, DomainError> {
        self.service.run(&CreateAuthCode { caller, request }).await
    }

    /// Logs in with an auth code (`/auth/code-login`); gives a user token, or `None` for a code that is unknown,
    /// expired, used up, or whose creator is no longer logged in.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many wrong codes from one address.
    pub async fn login_with_code(&self, origin: &Origin, auth_code: &str) -> Result<Option<String>, DomainError> {
        let attempt = self.attempts.by_address(self.now(), origin, Limit::CodeLogin)?;
        match self.service.run(&UseAuthCode { code: hash(auth_code) }).await? {
            Some(claims) => {
                attempt.withdraw();
                Ok(Some(self.issue(&claims)))
            }
            None => {
                attempt.keep();
                Ok(None)
            }
        }
    }
}

fn hash(code: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, code.trim().as_bytes()).as_ref());
    hash
}

struct CreateAuthCode<'a> {
    caller: &'a Caller,
    request: &'a AuthCodeRequest,
}

impl Operation for CreateAuthCode<'_> {
    type Output = AuthCodeOutcome;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<AuthCodeOutcome, DomainError> {
        let Self { caller, request } = self;
        super::authenticate::confirm(tx, caller)?;
        if caller.client.is_some() && !tx.config.auth.code_from_client_token {
            return Ok(AuthCodeOutcome::LimitExceeded("A client JWT cannot create an auth code."));
        }
        let (roles, principal) = match request.identity.resolve(tx, caller)? {
            Ok(identity) => identity,
            Err(refusal) => return Ok(AuthCodeOutcome::Refused(refusal)),
        };
        if count_live(tx, &caller.network_id)? >= tx.config.limits.auth_codes_per_network {
            return Ok(AuthCodeOutcome::LimitExceeded("Auth code limit exceeded."));
        }

        let minutes = request.duration_minutes;
        let duration_minutes = if minutes > 0.0 { minutes.min(MAX_MINUTES) } else { DEFAULT_MINUTES };
        let uses = request.uses.clamp(1, MAX_USES) as u32;
        let mut secret = [0; CODE_BYTES];
        tx.rng.fill_bytes(&mut secret);
        let auth_code = URL_SAFE_NO_PAD.encode(secret);
        let end_time = tx.now + Duration::from_secs_f64(duration_minutes * 60.0);
        let record = AuthCodeRecord {
            network_id: caller.network_id,
            user_id: caller.user_id,
            create_time: caller.create_time,
            session_id: caller.session_id,
            end_time,
            remaining_uses: uses,
            roles,
            principal,
        };
        let code = hash(&auth_code);
        tx.put(&AUTH_CODES, &code, &record)?;
        tx.put(&NETWORK_AUTH_CODES, &(caller.network_id, code), &NetworkAuthCode { end_time })?;
        Ok(AuthCodeOutcome::Created { auth_code, duration_minutes, uses })
    }
}

/// How many codes of a network still work. The others are removed on the way.
fn count_live(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<usize, DomainError> {
    let mut live = 0;
    for ((_, code), listed) in tx.scan(&NETWORK_AUTH_CODES, network_id)? {
        match listed.end_time > tx.now {
            true => live += 1,
            false => remove(tx, network_id, &code)?,
        }
    }
    Ok(live)
}

fn remove(tx: &mut Tx<'_>, network_id: &NetworkId, code: &[u8; 32]) -> Result<(), DomainError> {
    tx.delete(&AUTH_CODES, code)?;
    tx.delete(&NETWORK_AUTH_CODES, &(*network_id, *code))?;
    Ok(())
}

/// Removes the codes of a network that `is_dead` says so of.
pub fn remove_where(
    tx: &mut Tx<'_>,
    network_id: &NetworkId,
    is_dead: impl Fn(&AuthCodeRecord) -> bool,
) -> Result<(), DomainError> {
    for ((_, code), _) in tx.scan(&NETWORK_AUTH_CODES, network_id)? {
        if tx.get(&AUTH_CODES, &code)?.is_none_or(|record| is_dead(&record)) {
            remove(tx, network_id, &code)?;
        }
    }
    Ok(())
}

struct UseAuthCode {
    code: [u8; 32],
}

impl Operation for UseAuthCode {
    type Output = Option<Claims>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Claims>, DomainError> {
        let now = tx.now;
        let record = tx.get(&AUTH_CODES, &self.code)?;
        let Some(mut record) = record.filter(|record| record.end_time > now && record.remaining_uses > 0) else {
            return Ok(None);
        };
        // A code made before a password change must not log in, not even with a token that would be refused later.
        let session_id = session::vouched(tx, &record.user_id, record.create_time, record.session_id.as_ref())?;
        let Some(session_id) = session_id else { return Ok(None) };

        record.remaining_uses -= 1;
        match record.remaining_uses {
            0 => remove(tx, &record.network_id, &self.code)?,
            _ => tx.put(&AUTH_CODES, &self.code, &record)?,
        }
        let caller = Caller {
            network_id: record.network_id,
            user_id: record.user_id,
            client: None,
            create_time: record.create_time,
            session_id: Some(session_id),
            roles: record.roles,
            principal: record.principal,
        };
        session::claims(tx, &caller).map(Some)
    }
}
