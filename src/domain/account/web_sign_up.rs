//! Signing up at the account website: nothing is made before the address is proven, so that an address that somebody
//! else has typed stays free.

use super::web_confirm::{self, NewAccount};
use crate::config::auth::Signup;
use crate::domain::auth::attempts::Origin;
use crate::domain::auth::mail_alias;
use crate::domain::auth::method::{self, MethodKind};
use crate::domain::auth::user_auth::UserAuth;
use crate::domain::auth::{Accounts, verifies_at_once};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::portal::confirmation::{self, Purpose};
use crate::ids::UserId;

/// A sign-up; the password has been found fit.
pub struct WebSignUp<'a> {
    /// The mail address.
    pub address: &'a UserAuth,
    /// Its password.
    pub password: &'a str,
    /// Somebody's referral code; empty for none.
    pub referral_code: &'a str,
    /// Whether the link in the letter leads back to the website; else to the app.
    pub is_browser: bool,
    /// The language to write in.
    pub language: &'a str,
}

/// How asking for the proof of an address ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskOutcome {
    /// A letter is on its way.
    Asked,
    /// The server asks nobody for a proof: it is done.
    Done,
    /// A proven account has the address.
    Taken,
    /// The user's address is proven already.
    Confirmed,
    /// Nobody waits for the proof of this address.
    Unknown,
    /// The user has no proven address that could be replaced.
    Unconfirmed,
    /// The operator makes accounts.
    Closed,
}

/// Whether a proven account, other than that of `but`, has an address.
pub fn is_taken(tx: &mut Tx<'_>, address: &str, but: Option<&UserId>) -> Result<bool, DomainError> {
    let Some(user_id) = mail_alias::user_of(tx, address)? else { return Ok(false) };
    if but == Some(&user_id) {
        return Ok(false);
    }
    let canonical = mail_alias::canonical(address);
    let methods = method::methods(tx, &user_id)?;
    Ok(methods.iter().any(|method| method.verified && mail_alias::canonical(&method.identity) == canonical))
}

impl Accounts {
    /// Signs up: sends a letter whose code makes the account.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many letters to one address, or asked for from one.
    pub async fn web_sign_up(&self, origin: &Origin, sign_up: &WebSignUp<'_>) -> Result<AskOutcome, DomainError> {
        if self.service.config().auth.signup == Signup::Closed {
            return Ok(AskOutcome::Closed);
        }
        let address = sign_up.address.as_str();
        if self.service.read(&IsTaken { address })? {
            return Ok(AskOutcome::Taken);
        }
        self.take_letter(origin, sign_up.address)?;
        let password = self.hasher.hash(sign_up.password).await?;
        let referral_code = sign_up.referral_code.to_owned();
        let purpose = Purpose::SignUp { password, referral_code };
        let reader = (sign_up.language, sign_up.is_browser);
        self.service.run(&Ask { address, reader, purpose }).await
    }

    /// Gives a signed-in user without a mail address one, and a password, once the address is proven.
    ///
    /// # Errors
    /// As [`Accounts::web_sign_up`].
    pub async fn web_convert(
        &self,
        origin: &Origin,
        user_id: UserId,
        (address, password): (&UserAuth, &str),
        language: &str,
    ) -> Result<AskOutcome, DomainError> {
        if self.service.read(&HasProvenAddress { user_id })? {
            return Ok(AskOutcome::Confirmed);
        }
        if self.service.read(&IsTaken { address: address.as_str() })? {
            return Ok(AskOutcome::Taken);
        }
        self.take_letter(origin, address)?;
        let password = self.hasher.hash(password).await?;
        let purpose = Purpose::Convert { user_id, password };
        self.service.run(&Ask { address: address.as_str(), reader: (language, false), purpose }).await
    }

    /// Replaces the address of a signed-in user, whose password was asked for, once the new one is proven.
    ///
    /// # Errors
    /// As [`Accounts::web_sign_up`].
    pub async fn web_change_email(
        &self,
        origin: &Origin,
        user_id: UserId,
        address: &UserAuth,
        language: &str,
    ) -> Result<AskOutcome, DomainError> {
        if self.service.read(&IsTaken { address: address.as_str() })? {
            return Ok(AskOutcome::Taken);
        }
        self.take_letter(origin, address)?;
        let purpose = Purpose::Replace { user_id };
        self.service.run(&Ask { address: address.as_str(), reader: (language, true), purpose }).await
    }

    /// Whether a user has a proven mail address.
    ///
    /// # Errors
    /// The store fails.
    pub fn has_proven_address(&self, user_id: UserId) -> Result<bool, DomainError> {
        self.service.read(&HasProvenAddress { user_id })
    }

    /// Sends the letter once more, with another code.
    ///
    /// # Errors
    /// As [`Accounts::web_sign_up`].
    pub async fn web_resend(
        &self,
        origin: &Origin,
        address: &UserAuth,
        language: &str,
    ) -> Result<AskOutcome, DomainError> {
        match self.service.read(&Awaited { address: address.as_str() })? {
            Err(outcome) => Ok(outcome),
            Ok((purpose, is_browser)) => {
                self.take_letter(origin, address)?;
                self.service.run(&Ask { address: address.as_str(), reader: (language, is_browser), purpose }).await
            }
        }
    }
}

struct IsTaken<'a> {
    address: &'a str,
}

impl Operation for IsTaken<'_> {
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        is_taken(tx, self.address, None)
    }
}

struct HasProvenAddress {
    user_id: UserId,
}

impl Operation for HasProvenAddress {
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        Ok(method::method(tx, &self.user_id, MethodKind::Email)?.is_some_and(|method| method.verified))
    }
}

/// What waits for the proof of an address, and whether its link leads to the website; else why nothing does.
struct Awaited<'a> {
    address: &'a str,
}

impl Operation for Awaited<'_> {
    type Output = Result<(Purpose, bool), AskOutcome>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        if is_taken(tx, self.address, None)? {
            return Ok(Err(AskOutcome::Confirmed));
        }
        if let Some(record) = confirmation::waiting(tx, self.address)?
            && record.purpose != Purpose::Done
        {
            return Ok(Ok((record.purpose, record.is_browser)));
        }
        // One who came by another door and has proven nothing yet.
        Ok(match mail_alias::user_of(tx, self.address)? {
            Some(user_id) => Ok((Purpose::Verify { user_id }, true)),
            None => Err(AskOutcome::Unknown),
        })
    }
}

struct Ask<'a> {
    address: &'a str,
    reader: (&'a str, bool),
    purpose: Purpose,
}

impl Operation for Ask<'_> {
    type Output = AskOutcome;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<AskOutcome, DomainError> {
        if is_taken(tx, self.address, None)? {
            return Ok(AskOutcome::Taken);
        }
        if !verifies_at_once(tx.config) {
            confirmation::ask(tx, self.address, self.reader, self.purpose.clone())?;
            return Ok(AskOutcome::Asked);
        }
        let account = NewAccount { address: self.address, language: self.reader.0 };
        Ok(match web_confirm::fulfil(tx, account, &self.purpose)? {
            true => AskOutcome::Done,
            false => AskOutcome::Taken,
        })
    }
}
