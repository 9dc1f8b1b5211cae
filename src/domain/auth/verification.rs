//! Proof that a mail address or phone number is the user's: a code is sent and must come back.

use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::attempts::{Limit, Origin};
use super::method::{self, MethodKind, MethodRecord};
use super::user_auth::UserAuth;
use super::{Accounts, session};
use crate::domain::effect::{Effect, Message, MessageKind};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::token::Claims;
use crate::ids::UserId;
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// The one code of a user's address that can still be returned, by kind of address (1 mail, 2 phone).
pub const VERIFY_CODES: Table<(UserId, u8), VerifyCodeRecord> = Table::new(12, "verify_codes");

/// How long a code can be returned.
pub const CODE_LIFE: Duration = Duration::from_secs(4 * 3600);

/// A code that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyCodeRecord {
    /// 8 lower-case hex characters, or 6 decimal digits: text in any case, for leading zeros count.
    pub code: String,
    /// When it was sent.
    pub create_time: Timestamp,
}
json_record!(VerifyCodeRecord, 1);

fn code_key(user_id: &UserId, kind: MethodKind) -> (UserId, u8) {
    (*user_id, if kind == MethodKind::Phone { 2 } else { 1 })
}

/// Makes a code for a method, which replaces any earlier one, and sends it.
pub fn send_code(
    tx: &mut Tx<'_>,
    user_id: &UserId,
    method: &MethodRecord,
    is_numeric: bool,
) -> Result<(), DomainError> {
    let code = match is_numeric {
        true => format!("{:06}", tx.rng.random_range(0..1_000_000u32)),
        false => format!("{:08x}", tx.rng.random::<u32>()),
    };
    let record = VerifyCodeRecord { code: code.clone(), create_time: tx.now };
    tx.put(&VERIFY_CODES, &code_key(user_id, method.kind), &record)?;
    tx.effect(Effect::Send(Message { to: method.identity.clone(), kind: MessageKind::VerifyCode(code) }));
    Ok(())
}

/// Forgets the code of a method.
pub fn forget_code(tx: &mut Tx<'_>, user_id: &UserId, kind: MethodKind) -> Result<(), DomainError> {
    tx.delete(&VERIFY_CODES, &code_key(user_id, kind))?;
    Ok(())
}

/// How returning a code ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyOutcome {
    /// The address is proven and the user logged in.
    LoggedIn {
        /// A user token.
        by_jwt: String,
    },
    /// Neither a mail address nor a phone number.
    InvalidUserAuth,
    /// Unknown user, or a wrong, old or used code: all alike.
    InvalidCode,
}

/// How asking for a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It was sent; or nobody has that address, which is not told.
    Sent {
        /// The normalised address or number.
        user_auth: String,
    },
    /// Neither a mail address nor a phone number, or a phone that no message can reach.
    InvalidUserAuth,
}

impl Accounts {
    /// Takes back a verification code and logs the user in (`/auth/verify`).
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many wrong codes.
    pub async fn verify(&self, origin: &Origin, user_auth: &str, code: &str) -> Result<VerifyOutcome, DomainError> {
        let Some(user_auth) = UserAuth::parse(user_auth) else { return Ok(VerifyOutcome::InvalidUserAuth) };
        let attempt = self.attempts.secret(self.now(), origin, Some(user_auth.as_str()))?;
        let code = code.trim().to_lowercase();
        match self.service.run(&ReturnCode { user_auth, code }).await? {
            Some(claims) => {
                attempt.clear();
                Ok(VerifyOutcome::LoggedIn { by_jwt: self.issue(&claims) })
            }
            None => {
                attempt.keep();
                Ok(VerifyOutcome::InvalidCode)
            }
        }
    }

    /// Sends a new verification code (`/auth/verify-send`).
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many messages to one address.
    pub async fn send_verification(
        &self,
        origin: &Origin,
        user_auth: &str,
        is_numeric: bool,
    ) -> Result<SendOutcome, DomainError> {
        let Some(user_auth) = UserAuth::parse_reachable(user_auth, self.service.config()) else {
            return Ok(SendOutcome::InvalidUserAuth);
        };
        self.attempts.by_user(self.now(), origin, Limit::Message, user_auth.as_str())?.keep();
        self.service.run(&SendCode { user_auth: &user_auth, is_numeric }).await?;
        Ok(SendOutcome::Sent { user_auth: user_auth.as_str().to_owned() })
    }
}

struct ReturnCode {
    user_auth: UserAuth,
    code: String,
}

impl Operation for ReturnCode {
    type Output = Option<Claims>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Claims>, DomainError> {
        let Some(user_id) = method::user_of(tx, self.user_auth.as_str())? else { return Ok(None) };
        let kind = self.user_auth.kind();
        let Some(method) = method::method(tx, &user_id, kind)? else { return Ok(None) };
        let Some(sent) = tx.get(&VERIFY_CODES, &code_key(&user_id, kind))? else { return Ok(None) };
        let is_right = bool::from(sent.code.as_bytes().ct_eq(self.code.as_bytes()));
        let is_live = tx.now.since(sent.create_time) <= CODE_LIFE;
        if !is_right || !is_live || method.identity != self.user_auth.as_str() {
            return Ok(None);
        }
        forget_code(tx, &user_id, kind)?;
        method::put(tx, &user_id, &MethodRecord { verified: true, ..method })?;
        let caller = session::login(tx, &user_id)?;
        session::claims(tx, &caller).map(Some)
    }
}

pub(super) struct SendCode<'a> {
    pub(super) user_auth: &'a UserAuth,
    pub(super) is_numeric: bool,
}

impl Operation for SendCode<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let Some(user_id) = method::user_of(tx, self.user_auth.as_str())? else { return Ok(()) };
        match method::method(tx, &user_id, self.user_auth.kind())? {
            Some(method) if method.identity == self.user_auth.as_str() => {
                send_code(tx, &user_id, &method, self.is_numeric)
            }
            _ => Ok(()),
        }
    }
}
