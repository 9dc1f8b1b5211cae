//! A forgotten password: a secret link is sent, and whoever returns it sets a new one.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::attempts::{Limit, Origin};
use super::method::{self, MethodRecord};
use super::user_auth::UserAuth;
use super::verification::{CODE_LIFE, SendOutcome};
use super::{Accounts, session};
use crate::domain::effect::{Effect, Message, MessageKind};
use crate::domain::error::DomainError;
use crate::domain::network::{USERS, UserRecord};
use crate::domain::operation::{Operation, Tx};
use crate::domain::password::{self, PasswordHash};
use crate::ids::UserId;
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Reset codes by their SHA-256.
pub const RESET_CODES: Table<[u8; 32], ResetCodeRecord> = Table::new(13, "reset_codes");

/// The one reset code of a user that still counts.
pub const USER_RESET_CODES: Table<UserId, UserResetCode> = Table::new(14, "user_reset_codes");

const CODE_BYTES: usize = 32;

/// A reset code that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetCodeRecord {
    /// Whose password it sets.
    pub user_id: UserId,
    /// When it was sent.
    pub create_time: Timestamp,
    /// When it ends, if that is before the life of all codes is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
}
json_record!(ResetCodeRecord, 1);

/// Where a user's reset code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserResetCode {
    /// SHA-256 of the code.
    pub hash: [u8; 32],
}
json_record!(UserResetCode, 1);

/// How setting a password with a reset code ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetPasswordOutcome {
    /// Done; every token of the user is dead.
    Done,
    /// Unknown, used or expired code.
    InvalidCode,
    /// Shorter than [`password::MIN_PASSWORD_BYTES`].
    PasswordTooShort,
}

impl Accounts {
    /// Sends a reset code to a user who has a password (`/auth/password-reset`).
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many messages to one address.
    pub async fn request_password_reset(&self, origin: &Origin, user_auth: &str) -> Result<SendOutcome, DomainError> {
        let Some(user_auth) = UserAuth::parse_reachable(user_auth, self.service.config()) else {
            return Ok(SendOutcome::InvalidUserAuth);
        };
        self.attempts.by_user(self.now(), origin, Limit::Message, user_auth.as_str())?.keep();
        self.service.run(&SendResetCode { user_auth: &user_auth }).await?;
        Ok(SendOutcome::Sent { user_auth: user_auth.as_str().to_owned() })
    }

    /// Sets a new password with a reset code (`/auth/password-set`). Ends every session of the user.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many wrong codes from one address.
    pub async fn set_password(
        &self,
        origin: &Origin,
        reset_code: &str,
        password: &str,
    ) -> Result<SetPasswordOutcome, DomainError> {
        let attempt = self.attempts.secret(self.now(), origin, None)?;
        let code = hash(reset_code);
        if self.service.read(&FindResetCode { code })?.is_none() {
            attempt.keep();
            return Ok(SetPasswordOutcome::InvalidCode);
        }
        if !password::is_acceptable(password) {
            attempt.withdraw();
            return Ok(SetPasswordOutcome::PasswordTooShort);
        }
        let password = match self.hasher.hash(password).await {
            Ok(password) => password,
            Err(busy) => {
                attempt.withdraw();
                return Err(busy);
            }
        };
        if self.service.run(&UseResetCode { code, password }).await? {
            attempt.clear();
            return Ok(SetPasswordOutcome::Done);
        }
        attempt.keep();
        Ok(SetPasswordOutcome::InvalidCode)
    }
}

fn hash(code: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, code.trim().as_bytes()).as_ref());
    hash
}

/// Makes every reset code of a user useless.
pub fn forget_code(tx: &mut Tx<'_>, user_id: &UserId) -> Result<(), DomainError> {
    if let Some(old) = tx.get(&USER_RESET_CODES, user_id)? {
        tx.delete(&RESET_CODES, &old.hash)?;
        tx.delete(&USER_RESET_CODES, user_id)?;
    }
    Ok(())
}

/// Has a code set the password of a user, until `end_time` if that is given; no earlier code does any more.
pub fn put_code(tx: &mut Tx<'_>, user_id: &UserId, code: &str, end_time: Option<Timestamp>) -> Result<(), DomainError> {
    forget_code(tx, user_id)?;
    let record = ResetCodeRecord { user_id: *user_id, create_time: tx.now, end_time };
    tx.put(&RESET_CODES, &hash(code), &record)?;
    tx.put(&USER_RESET_CODES, user_id, &UserResetCode { hash: hash(code) })?;
    Ok(())
}

/// Whose password a code sets now.
pub fn owner_of_code(tx: &mut Tx<'_>, code: &str) -> Result<Option<UserId>, DomainError> {
    FindResetCode { code: hash(code) }.apply(tx)
}

struct SendResetCode<'a> {
    user_auth: &'a UserAuth,
}

impl Operation for SendResetCode<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let Some(user_id) = method::user_of(tx, self.user_auth.as_str())? else { return Ok(()) };
        let method = method::method(tx, &user_id, self.user_auth.kind())?;
        let has_password =
            method.is_some_and(|method| method.identity == self.user_auth.as_str() && method.password.is_some());
        if !has_password {
            return Ok(());
        }
        let mut secret = [0; CODE_BYTES];
        tx.rng.fill_bytes(&mut secret);
        let code = URL_SAFE_NO_PAD.encode(secret);
        put_code(tx, &user_id, &code, None)?;
        let to = self.user_auth.as_str().to_owned();
        tx.effect(Effect::Send(Message { to, kind: MessageKind::ResetCode(code) }));
        Ok(())
    }
}

struct FindResetCode {
    code: [u8; 32],
}

impl Operation for FindResetCode {
    type Output = Option<UserId>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<UserId>, DomainError> {
        let now = tx.now;
        let sent = tx.get(&RESET_CODES, &self.code)?;
        let is_live = |sent: &ResetCodeRecord| {
            now.since(sent.create_time) <= CODE_LIFE && sent.end_time.is_none_or(|end_time| now < end_time)
        };
        Ok(sent.filter(is_live).map(|sent| sent.user_id))
    }
}

struct UseResetCode {
    code: [u8; 32],
    password: PasswordHash,
}

impl Operation for UseResetCode {
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        let Some(user_id) = (FindResetCode { code: self.code }).apply(tx)? else { return Ok(false) };
        change_password(tx, &user_id, &self.password)?;
        Ok(true)
    }
}

/// Gives every password method of a user a new password and ends all that the old one gave: tokens, sessions, auth
/// codes, reset codes, live transports. Tells the user.
pub fn change_password(tx: &mut Tx<'_>, user_id: &UserId, password: &PasswordHash) -> Result<(), DomainError> {
    for to in replace_password(tx, user_id, password)? {
        tx.effect(Effect::Send(Message { to, kind: MessageKind::PasswordChanged }));
    }
    Ok(())
}

/// As [`change_password`], and leaves it to the caller to tell the user at these addresses.
pub fn replace_password(
    tx: &mut Tx<'_>,
    user_id: &UserId,
    password: &PasswordHash,
) -> Result<Vec<String>, DomainError> {
    let user = tx.get(&USERS, user_id)?.ok_or(DomainError::Unauthorized)?;
    let mut addresses = Vec::new();
    for method in method::methods(tx, user_id)?.into_iter().filter(|method| method.password.is_some()) {
        addresses.push(method.identity.clone());
        method::put(tx, user_id, &MethodRecord { password: Some(password.clone()), ..method })?;
    }
    forget_code(tx, user_id)?;
    session::end_all(tx, &user.network_id)?;
    tx.effect(Effect::CredentialsChanged(user.network_id));
    tx.put(&USERS, user_id, &UserRecord { credential_change_time: tx.now, ..user })?;
    Ok(addresses)
}
