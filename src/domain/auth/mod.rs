//! Ways to prove who you are, and what follows from it: tokens, sessions, codes.
//!
//! [`Accounts`] is the front door. Its methods hash passwords and count attempts outside the transaction, run one
//! operation, and sign what it allows. Each answers with an outcome that a client parses; an `Err` is for what has a
//! status: too many attempts, no credentials, a busy or failing server.

use std::sync::Arc;

use super::caller::Caller;
use super::error::DomainError;
use super::password::{PasswordHasher, Pepper};
use super::service::Service;
use super::token::Claims;
use crate::time::Timestamp;

pub mod attempts;
pub mod auth_code;
pub mod authenticate;
pub mod key_set;
pub mod login;
pub mod mail_alias;
pub mod method;
pub mod method_change;
pub mod outside;
pub mod password_reset;
pub mod refresh;
pub mod role;
pub mod seedphrase;
pub mod session;
pub mod sign_in_token;
pub mod tokens;
pub mod user_auth;
pub mod verification;
pub mod wallet;
pub mod web_session;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// Sign-up, sign-in and tokens.
pub struct Accounts {
    pub(super) service: Arc<Service>,
    pub(super) tokens: Arc<tokens::Tokens>,
    pub(super) hasher: PasswordHasher,
    pub(super) attempts: attempts::Attempts,
    challenges: wallet::Challenges,
    services: sign_in_token::Services,
}

impl Accounts {
    /// Accounts over the state of `service`, with their tokens, and passwords under `pepper`. The keys of sign-in services
    /// come from `key_sets`.
    pub fn new(
        service: Arc<Service>,
        tokens: Arc<tokens::Tokens>,
        pepper: Pepper,
        key_sets: Arc<dyn key_set::KeySetSource>,
    ) -> Self {
        let settings = &service.config().auth;
        let hasher = PasswordHasher::new(settings, pepper);
        let attempts = attempts::Attempts::new(settings.attempt_limits);
        let services = sign_in_token::Services::new(settings, &key_sets);
        Self { service, tokens, hasher, attempts, challenges: wallet::Challenges::default(), services }
    }

    /// Signs claims that an operation has put together, for instance those of a new client.
    pub fn issue(&self, claims: &Claims) -> String {
        self.tokens.issue(claims)
    }

    /// A token for an identity as it stands now; used by surfaces that have proven it their own way.
    ///
    /// # Errors
    /// [`DomainError::Unauthorized`] when the identity no longer stands.
    pub async fn token(&self, caller: &Caller) -> Result<String, DomainError> {
        let claims = self.service.run(&MakeClaims { caller }).await?;
        Ok(self.issue(&claims))
    }

    /// Hashes of passwords computed so far.
    #[cfg(test)]
    pub(crate) fn hashes_computed(&self) -> usize {
        self.hasher.computed.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Counts the test of a balance code as wrong, unless it is withdrawn.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many wrong ones from one address or of one network.
    pub fn guess_balance_code(
        &self,
        origin: &attempts::Origin,
        caller: &Caller,
    ) -> Result<attempts::Reservation<'_>, DomainError> {
        self.attempts.balance_code(self.now(), origin, &caller.network_id.to_string())
    }

    pub(super) fn now(&self) -> Timestamp {
        self.service.clock().now()
    }
}

struct MakeClaims<'a> {
    caller: &'a Caller,
}

impl super::operation::Operation for MakeClaims<'_> {
    type Output = Claims;

    fn apply(&self, tx: &mut super::operation::Tx<'_>) -> Result<Claims, DomainError> {
        session::claims(tx, self.caller)
    }
}

/// Whether new accounts count as verified at once: by setting, or because no code could be sent.
pub fn verifies_at_once(config: &crate::config::Config) -> bool {
    use crate::config::auth::Verify;
    use crate::config::mail::MailMode;
    config.auth.verify == Verify::Auto || config.mail.mode == MailMode::Off
}
