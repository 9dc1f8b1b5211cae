//! Signing in at the account website with a mail address and a password.

use super::{confirmation, profile};
use crate::domain::auth::Accounts;
use crate::domain::auth::attempts::Origin;
use crate::domain::auth::mail_alias;
use crate::domain::auth::method::{self, MethodKind};
use crate::domain::auth::user_auth::UserAuth;
use crate::domain::auth::web_session::{self, WebSessionSecret};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::password::PasswordHash;
use crate::ids::UserId;

/// How signing in ended.
#[derive(Debug)]
pub enum WebSignIn {
    /// A session begins.
    SignedIn(WebSessionSecret),
    /// The password is right, but the address is not proven yet.
    NotConfirmed,
    /// No such user or a wrong password: all alike, with the same work.
    Wrong,
}

impl Accounts {
    /// Signs in with a mail address, however it is written, and a password. The session that the browser had ends.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many wrong passwords.
    pub async fn web_sign_in(
        &self,
        origin: &Origin,
        address: &UserAuth,
        password: &str,
        (language, replaced): (&str, Option<[u8; 32]>),
    ) -> Result<WebSignIn, DomainError> {
        let canonical = mail_alias::canonical(address.as_str());
        let attempt = self.attempts.secret(self.now(), origin, Some(&canonical))?;
        let found = self.service.read(&FindWebPassword { address: address.as_str() })?;
        let is_right = match self.hasher.matches(password, found.as_ref().map(|found| &found.hash)).await {
            Ok(is_right) => is_right,
            Err(busy) => {
                attempt.withdraw();
                return Err(busy);
            }
        };
        let Some(found) = found.filter(|_| is_right) else {
            attempt.keep();
            return Ok(WebSignIn::Wrong);
        };
        attempt.clear();
        let Some(user_id) = found.user_id else { return Ok(WebSignIn::NotConfirmed) };
        let start = StartSession { user_id, hash: &found.hash, language, replaced };
        Ok(self.service.run(&start).await?.map_or(WebSignIn::Wrong, WebSignIn::SignedIn))
    }
}

struct FoundPassword {
    /// None while the address is not proven.
    user_id: Option<UserId>,
    hash: PasswordHash,
}

struct FindWebPassword<'a> {
    address: &'a str,
}

impl Operation for FindWebPassword<'_> {
    type Output = Option<FoundPassword>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        if let Some(user_id) = mail_alias::user_of(tx, self.address)?
            && let Some(method) = method::method(tx, &user_id, MethodKind::Email)?
            && let Some(hash) = method.password
        {
            return Ok(Some(FoundPassword { user_id: method.verified.then_some(user_id), hash }));
        }
        let waiting = confirmation::waiting(tx, self.address)?;
        Ok(match waiting.map(|record| record.purpose) {
            Some(confirmation::Purpose::SignUp { password, .. } | confirmation::Purpose::Convert { password, .. }) => {
                Some(FoundPassword { user_id: None, hash: password })
            }
            _ => None,
        })
    }
}

struct StartSession<'a> {
    user_id: UserId,
    hash: &'a PasswordHash,
    language: &'a str,
    replaced: Option<[u8; 32]>,
}

impl Operation for StartSession<'_> {
    /// `None` when the password was changed between its check and this transaction.
    type Output = Option<WebSessionSecret>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let method = method::method(tx, &self.user_id, MethodKind::Email)?;
        if method.is_none_or(|method| method.password.as_ref() != Some(self.hash) || !method.verified) {
            return Ok(None);
        }
        profile::note_language(tx, &self.user_id, self.language)?;
        web_session::start(tx, &self.user_id, self.replaced.as_ref()).map(Some)
    }
}
