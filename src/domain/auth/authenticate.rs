//! From the text of a token to who is calling.
//!
//! The costly half, the signature, is checked once per token (`tokens.rs`). The other half, whether network, user, session
//! and client still stand, is read from the store each time: a few rows, and a removal counts at once.

use std::sync::Arc;

use super::session::SESSIONS;
use super::tokens::Tokens;
use crate::domain::api_key;
use crate::domain::caller::Caller;
use crate::domain::client;
use crate::domain::error::DomainError;
use crate::domain::network::{NETWORKS, USERS};
use crate::domain::operation::{Operation, Tx};
use crate::domain::service::Service;
use crate::domain::token::{AUDIENCE_API, AUDIENCE_CONNECT, Claims, TokenError};

/// Longest text that is looked at.
const MAX_TOKEN_BYTES: usize = 8192;

/// Which tokens a place accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// User tokens and API keys.
    User,
    /// Client tokens only: the relay, the control id, the refresh.
    Client,
    /// Both.
    Any,
}

/// Proves who calls.
pub struct Authenticator {
    service: Arc<Service>,
    tokens: Arc<Tokens>,
}

impl Authenticator {
    /// An authenticator over the state of `service` and the server's tokens.
    pub fn new(service: Arc<Service>, tokens: Arc<Tokens>) -> Self {
        Self { service, tokens }
    }

    /// The caller behind a token or an API key.
    ///
    /// # Errors
    /// [`DomainError::Unauthorized`] for every reason that lies in the token; [`DomainError::Store`] when the store
    /// fails, which must not be taken for a refusal: apps log out on one.
    pub fn authenticate(&self, token: &str, audience: Audience) -> Result<Caller, DomainError> {
        if token.starts_with(api_key::PREFIX) {
            if audience == Audience::Client {
                return Err(DomainError::Unauthorized);
            }
            return self.service.read(&api_key::Authenticate { api_key: token });
        }
        let claims = self.verify(token, audience).map_err(|error| {
            tracing::debug!(%error, "a token was refused");
            DomainError::Unauthorized
        })?;
        let caller = claims.to_caller();
        let is_wanted = match audience {
            Audience::User => claims.client_id.is_none(),
            Audience::Client => caller.client.is_some(),
            Audience::Any => true,
        };
        if !is_wanted {
            return Err(DomainError::Unauthorized);
        }
        self.confirm(&caller)?;
        Ok(caller)
    }

    /// Whether a caller proven earlier still stands: asked once more by the relay after it has registered a transport,
    /// so that a removal in between cannot be missed.
    ///
    /// # Errors
    /// As [`Authenticator::authenticate`].
    pub fn confirm(&self, caller: &Caller) -> Result<(), DomainError> {
        self.service.read(&Confirm { caller })
    }

    fn verify(&self, token: &str, audience: Audience) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let claims = self.tokens.verify_signature(token)?;
        // A client without a device is no client, and must not pass for a user either.
        if claims.client_id.is_some() != claims.device_id.is_some() {
            return Err(TokenError::Claims);
        }
        let text = if audience == Audience::Client { AUDIENCE_CONNECT } else { AUDIENCE_API };
        let enforce_expiry = self.service.config().auth.enforce_expiry;
        claims.check(self.service.clock().now(), enforce_expiry, text)?;
        Ok(claims)
    }
}

struct Confirm<'a> {
    caller: &'a Caller,
}

impl Operation for Confirm<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        confirm(tx, self.caller)
    }
}

/// Whether everything a caller stands on is still there.
///
/// # Errors
/// [`DomainError::Unauthorized`] when not.
pub fn confirm(tx: &mut Tx<'_>, caller: &Caller) -> Result<(), DomainError> {
    if stands(tx, caller)? { Ok(()) } else { Err(DomainError::Unauthorized) }
}

/// Whether everything a caller stands on is still there.
pub(in crate::domain) fn stands(tx: &mut Tx<'_>, caller: &Caller) -> Result<bool, DomainError> {
    let Some(network) = tx.get(&NETWORKS, &caller.network_id)? else { return Ok(false) };
    let Some(user) = tx.get(&USERS, &caller.user_id)? else { return Ok(false) };
    if network.admin_user_id != caller.user_id || caller.create_time < user.credential_change_time {
        return Ok(false);
    }
    if let Some(session_id) = caller.session_id
        && tx.get(&SESSIONS, &(caller.network_id, session_id))?.is_none()
    {
        return Ok(false);
    }
    match caller.client {
        None => Ok(true),
        Some(wanted) => {
            let client = client::active(tx, &wanted.client_id)?;
            Ok(client
                .is_some_and(|client| client.network_id == caller.network_id && client.device_id == wanted.device_id))
        }
    }
}
