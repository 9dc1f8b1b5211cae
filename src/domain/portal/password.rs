//! Passwords at the account website: their rule, changing one, and setting one with a code from a letter.

use std::time::Duration;

use super::confirmation::new_code;
use super::mail::{self, Letter};
use crate::domain::auth::Accounts;
use crate::domain::auth::attempts::{Limit, Origin};
use crate::domain::auth::mail_alias;
use crate::domain::auth::method::{self, MethodKind};
use crate::domain::auth::password_reset;
use crate::domain::auth::user_auth::UserAuth;
use crate::domain::auth::web_session::{self, WebUser};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::password::PasswordHash;
use crate::ids::UserId;
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The last time that nobody was sent a code: one row, so that an unknown address takes a commit as a known one does.
pub const NOBODY_ASKED: Table<(), NobodyAsked> = Table::new(86, "portal_nobody_asked");

const MIN_CHARS: usize = 8;
const MAX_CHARS: usize = 50;
/// How long a code can be used.
const RESET_LIFE: Duration = Duration::from_secs(3600);

/// See [`NOBODY_ASKED`].
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct NobodyAsked {
    time: Timestamp,
}
json_record!(NobodyAsked, 1);

/// What a password lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// 8 to 50 characters.
    Length,
    /// A lower case letter.
    Lower,
    /// An upper case letter.
    Upper,
    /// A digit.
    Digit,
    /// A character that is neither letter nor digit.
    Special,
}

/// Everything that a password lacks; nothing for one that may be set.
pub fn lacks(password: &str) -> Vec<Lack> {
    let has = |is: fn(char) -> bool| password.chars().any(is);
    let rules = [
        ((MIN_CHARS..=MAX_CHARS).contains(&password.chars().count()), Lack::Length),
        (has(char::is_lowercase), Lack::Lower),
        (has(char::is_uppercase), Lack::Upper),
        (has(|c| c.is_ascii_digit()), Lack::Digit),
        (has(|c| !c.is_alphanumeric()), Lack::Special),
    ];
    rules.into_iter().filter(|(is_met, _)| !is_met).map(|(_, lack)| lack).collect()
}

/// How a change of the password ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordChange {
    /// Done; the user's other sessions and all tokens are over.
    Done,
    /// The current password is another, or there is none.
    WrongPassword,
}

impl Accounts {
    /// Whether this is the password of a signed-in user.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many wrong passwords.
    pub async fn check_own_password(
        &self,
        origin: &Origin,
        user_id: &UserId,
        password: &str,
    ) -> Result<Option<PasswordHash>, DomainError> {
        let attempt = self.attempts.secret(self.now(), origin, Some(&user_id.to_string()))?;
        let stored = self.service.read(&FindOwnPassword { user_id })?;
        match self.hasher.matches(password, stored.as_ref()).await {
            Ok(true) => {
                attempt.clear();
                Ok(stored)
            }
            Ok(false) => {
                attempt.keep();
                Ok(None)
            }
            Err(busy) => {
                attempt.withdraw();
                Err(busy)
            }
        }
    }

    /// Changes the password of a signed-in user; their session goes on, all others end.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many wrong passwords.
    pub async fn web_change_password(
        &self,
        origin: &Origin,
        user: &WebUser,
        (current, new): (&str, &str),
        language: &str,
    ) -> Result<PasswordChange, DomainError> {
        let Some(stored) = self.check_own_password(origin, &user.user_id, current).await? else {
            return Ok(PasswordChange::WrongPassword);
        };
        let new = self.hasher.hash(new).await?;
        self.service.run(&ChangePassword { user, stored, new, language }).await
    }

    /// Sends a code to somebody who has forgotten their password, if the address is that of a user and proven. Takes the
    /// same work otherwise.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many messages to one address.
    pub async fn web_forgot_password(
        &self,
        origin: &Origin,
        address: &UserAuth,
        language: &str,
    ) -> Result<(), DomainError> {
        self.take_letter(origin, address)?;
        self.service.run(&SendReset { address: address.as_str(), language }).await
    }

    /// Whether a code would set a password now.
    ///
    /// # Errors
    /// The store fails.
    pub fn is_web_reset_code(&self, code: &str) -> Result<bool, DomainError> {
        Ok(self.service.read(&FindReset { code })?.is_some())
    }

    /// Sets a password with a code; every session and token of the user ends. Says whether the code was good.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many wrong codes from one address.
    pub async fn web_reset_password(
        &self,
        origin: &Origin,
        (code, new): (&str, &str),
        language: &str,
    ) -> Result<bool, DomainError> {
        let attempt = self.attempts.secret(self.now(), origin, None)?;
        if !self.is_web_reset_code(code)? {
            attempt.keep();
            return Ok(false);
        }
        let new = match self.hasher.hash(new).await {
            Ok(new) => new,
            Err(busy) => {
                attempt.withdraw();
                return Err(busy);
            }
        };
        let is_done = self.service.run(&UseReset { code, new, language }).await?;
        attempt.clear();
        Ok(is_done)
    }

    /// Takes the place of one letter to an address, and of one that somebody had sent.
    pub(in crate::domain) fn take_letter(&self, origin: &Origin, address: &UserAuth) -> Result<(), DomainError> {
        let canonical = mail_alias::canonical(address.as_str());
        let letter = self.attempts.by_address(self.now(), origin, Limit::Letter)?;
        match self.attempts.by_user(self.now(), origin, Limit::Message, &canonical) {
            Ok(message) => {
                letter.keep();
                message.keep();
                Ok(())
            }
            Err(full) => {
                letter.withdraw();
                Err(full)
            }
        }
    }
}

struct FindOwnPassword<'a> {
    user_id: &'a UserId,
}

impl Operation for FindOwnPassword<'_> {
    type Output = Option<PasswordHash>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        Ok(method::method(tx, self.user_id, MethodKind::Email)?.and_then(|method| method.password))
    }
}

/// Gives every password of a user a new one, ends what the old one gave, and tells the user.
fn replace(
    tx: &mut Tx<'_>,
    user_id: &UserId,
    password: &PasswordHash,
    (language, kept): (&str, Option<&[u8; 32]>),
) -> Result<(), DomainError> {
    for address in password_reset::replace_password(tx, user_id, password)? {
        if UserAuth::parse(&address).is_some_and(|address| address.kind() == MethodKind::Email) {
            mail::send(tx, &address, language, Letter::PasswordChanged)?;
        }
    }
    web_session::end_all(tx, user_id, kept)?;
    if let Some(kept) = kept {
        web_session::outlive_password(tx, kept)?;
    }
    Ok(())
}

struct ChangePassword<'a> {
    user: &'a WebUser,
    stored: PasswordHash,
    new: PasswordHash,
    language: &'a str,
}

impl Operation for ChangePassword<'_> {
    type Output = PasswordChange;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<PasswordChange, DomainError> {
        let user_id = &self.user.user_id;
        if (FindOwnPassword { user_id }).apply(tx)?.as_ref() != Some(&self.stored) {
            return Ok(PasswordChange::WrongPassword);
        }
        replace(tx, user_id, &self.new, (self.language, Some(&self.user.session)))?;
        Ok(PasswordChange::Done)
    }
}

struct SendReset<'a> {
    address: &'a str,
    language: &'a str,
}

impl Operation for SendReset<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let user_id = mail_alias::user_of(tx, self.address)?;
        let method = match &user_id {
            Some(user_id) => method::method(tx, user_id, MethodKind::Email)?,
            None => None,
        };
        let (Some(user_id), Some(method)) = (user_id, method.filter(|method| method.verified)) else {
            tx.put(&NOBODY_ASKED, &(), &NobodyAsked { time: tx.now })?;
            return Ok(());
        };
        let code = new_code(tx);
        password_reset::put_code(tx, &user_id, &code, Some(tx.now + RESET_LIFE))?;
        // To the address of the account, however it was written here.
        mail::send(tx, &method.identity, self.language, Letter::ResetPassword { code })
    }
}

struct FindReset<'a> {
    code: &'a str,
}

impl Operation for FindReset<'_> {
    type Output = Option<UserId>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<UserId>, DomainError> {
        password_reset::owner_of_code(tx, self.code)
    }
}

struct UseReset<'a> {
    code: &'a str,
    new: PasswordHash,
    language: &'a str,
}

impl Operation for UseReset<'_> {
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        let Some(user_id) = password_reset::owner_of_code(tx, self.code)? else { return Ok(false) };
        replace(tx, &user_id, &self.new, (self.language, None))?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_lacks_what_it_lacks() {
        assert_eq!(lacks("Aa1_aaaa"), []);
        assert_eq!(lacks("Пп1-aaaa"), []);
        assert_eq!(lacks(""), [Lack::Length, Lack::Lower, Lack::Upper, Lack::Digit, Lack::Special]);
        assert_eq!(lacks("Aa1_aaa"), [Lack::Length]);
        assert_eq!(lacks(&format!("Aa1_{}", "a".repeat(47))), [Lack::Length]);
        assert_eq!(lacks("aaaaaaaa"), [Lack::Upper, Lack::Digit, Lack::Special]);
        assert_eq!(lacks("AAAA1111"), [Lack::Lower, Lack::Special]);
    }
}
