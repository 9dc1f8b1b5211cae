//! Bringing a device without an account into a network: the device makes a code and keeps a secret, an owner adds the
//! code, the device confirms with the secret and gets a client token.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rand::Rng;

use super::code::Code;
use super::{
    ADOPT_ENDS, ASSOCIATIONS, Adopt, Association, CLIENT_ASSOCIATIONS, InvalidCode, Owner, Status, adopt, expiry,
    network_name, remove,
};
use crate::domain::auth::attempts::{Limit, Origin};
use crate::domain::auth::{Accounts, session};
use crate::domain::caller::{Caller, CallerClient};
use crate::domain::client::{self, NewClient};
use crate::domain::device::check_text;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::token::Claims;

/// How long an adopt code works.
pub const LIFE: Duration = Duration::from_secs(15 * 60);

const SECRET_BYTES: usize = 128;

/// What a device says of itself.
#[derive(Clone, Debug, Default)]
pub struct AdoptRequest {
    /// Its name; may be empty.
    pub device_name: String,
    /// What it is; may be empty.
    pub device_spec: String,
}

/// An adopt code just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedAdopt {
    /// The code, to be shown to the owner.
    pub code: Code,
    /// 256 hex characters that stay on the device; the only time they are seen.
    pub secret: String,
}

/// How the confirmation by the device ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfirmAdoptOutcome {
    /// The device is a client of the owner's network now.
    Adopted {
        /// Its token.
        by_client_jwt: String,
    },
    /// It cannot be.
    Invalid,
    /// The owner's network has all the clients it may have; the code stays.
    LimitExceeded,
}

impl Accounts {
    /// Makes an adopt code (`/device/create-adopt-code`) for whoever asks.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many codes from one address, or from all strangers together.
    pub async fn create_adopt_code(
        &self,
        origin: &Origin,
        request: &AdoptRequest,
    ) -> Result<CreatedAdopt, DomainError> {
        check_text(&request.device_name)?;
        check_text(&request.device_spec)?;
        self.attempts.adopt_code(self.now(), origin)?.keep();
        self.service.run(&CreateAdopt { request }).await
    }

    /// How far an adoption is (`/device/adopt-status`); `None` for a code that is none.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many wrong codes from one address.
    pub async fn adopt_status(&self, origin: &Origin, code: &Code) -> Result<Option<Status>, DomainError> {
        let attempt = self.attempts.by_address(self.now(), origin, Limit::DeviceCode)?;
        let status = self.service.read(&ReadAdoptStatus { code })?;
        if status.is_some() {
            attempt.withdraw();
        }
        Ok(status)
    }

    /// Finishes an adoption (`/device/confirm-adopt`). The name of the owner's network must be its name now: so the
    /// device joins somebody, not whoever read the code first.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many failures from one address.
    pub async fn confirm_adopt(
        &self,
        origin: &Origin,
        code: &Code,
        secret: &str,
        owner_name: &str,
    ) -> Result<ConfirmAdoptOutcome, DomainError> {
        let attempt = self.attempts.by_address(self.now(), origin, Limit::DeviceCode)?;
        let confirm = ConfirmAdopt { code, secret_hash: hash(secret), owner_name };
        Ok(match self.service.run(&confirm).await? {
            Confirmed::Adopted(claims) => {
                attempt.withdraw();
                ConfirmAdoptOutcome::Adopted { by_client_jwt: self.issue(&claims) }
            }
            Confirmed::LimitExceeded => {
                attempt.withdraw();
                ConfirmAdoptOutcome::LimitExceeded
            }
            Confirmed::Invalid => ConfirmAdoptOutcome::Invalid,
        })
    }

    /// Takes an adopt code back (`/device/remove-adopt-code`), as long as it is not confirmed.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many failures from one address.
    pub async fn remove_adopt_code(
        &self,
        origin: &Origin,
        code: &Code,
        secret: &str,
    ) -> Result<Result<(), InvalidCode>, DomainError> {
        let attempt = self.attempts.by_address(self.now(), origin, Limit::DeviceCode)?;
        let outcome = self.service.run(&RemoveAdopt { code, secret_hash: hash(secret) }).await?;
        if outcome.is_ok() {
            attempt.withdraw();
        }
        Ok(outcome)
    }
}

/// Hex digits count in either case.
fn hash(secret: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret.trim().to_ascii_lowercase().as_bytes()).as_ref());
    hash
}

struct CreateAdopt<'a> {
    request: &'a AdoptRequest,
}

impl Operation for CreateAdopt<'_> {
    type Output = CreatedAdopt;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<CreatedAdopt, DomainError> {
        let code = Code::random(&mut tx.rng);
        let mut secret = [0; SECRET_BYTES];
        tx.rng.fill_bytes(&mut secret);
        let secret = hex::encode(secret);
        let end_time = tx.now + LIFE;
        let adopt = Adopt {
            secret_hash: hash(&secret),
            device_name: self.request.device_name.clone(),
            device_spec: self.request.device_spec.clone(),
            end_time,
            owner: None,
            client_id: None,
            label: String::new(),
        };
        tx.put(&ASSOCIATIONS, &code.to_string(), &Association::Adopt(adopt))?;
        tx.put(&ADOPT_ENDS, &(expiry::hour(end_time), code.to_string()), &())?;
        Ok(CreatedAdopt { code, secret })
    }
}

struct ReadAdoptStatus<'a> {
    code: &'a Code,
}

impl Operation for ReadAdoptStatus<'_> {
    type Output = Option<Status>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Status>, DomainError> {
        let Some(adopt) = adopt(tx, self.code)? else { return Ok(None) };
        let network_name = match &adopt.owner {
            Some(owner) => network_name(tx, &owner.network_id)?,
            None => None,
        };
        Ok(Some(Status { is_pending: adopt.client_id.is_none(), network_name }))
    }
}

struct ConfirmAdopt<'a> {
    code: &'a Code,
    secret_hash: [u8; 32],
    owner_name: &'a str,
}

enum Confirmed {
    Adopted(Box<Claims>),
    Invalid,
    LimitExceeded,
}

impl Operation for ConfirmAdopt<'_> {
    type Output = Confirmed;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Confirmed, DomainError> {
        let Some(adopt) = adopt(tx, self.code)? else { return Ok(Confirmed::Invalid) };
        let Some(owner) = adopt.owner.clone() else { return Ok(Confirmed::Invalid) };
        let is_ready = adopt.has_secret(&self.secret_hash) && adopt.client_id.is_none() && adopt.is_live(tx.now);
        if !is_ready || network_name(tx, &owner.network_id)?.as_deref() != Some(self.owner_name) {
            return Ok(Confirmed::Invalid);
        }
        if client::is_full(tx, &owner.network_id)? {
            return Ok(Confirmed::LimitExceeded);
        }
        // The device acts for the user who added the code, and only while their login lives.
        let session_id = session::vouched(tx, &owner.user_id, owner.create_time, owner.session_id.as_ref())?;
        let Some(session_id) = session_id else { return Ok(Confirmed::Invalid) };
        self.finish(tx, adopt, Owner { session_id: Some(session_id), ..owner })
    }
}

impl ConfirmAdopt<'_> {
    fn finish(&self, tx: &mut Tx<'_>, adopt: Adopt, owner: Owner) -> Result<Confirmed, DomainError> {
        let new = NewClient {
            network_id: owner.network_id,
            description: &adopt.device_name,
            device_spec: &adopt.device_spec,
            roles: owner.roles.clone(),
            principal: owner.principal.clone(),
        };
        let Some((client_id, client)) = client::create_top_level(tx, new)? else { return Ok(Confirmed::LimitExceeded) };
        tx.delete(&ADOPT_ENDS, &(expiry::hour(adopt.end_time), self.code.to_string()))?;
        tx.put(&CLIENT_ASSOCIATIONS, &(client_id, self.code.to_string()), &())?;
        let adopt = Adopt { client_id: Some(client_id), ..adopt };
        tx.put(&ASSOCIATIONS, &self.code.to_string(), &Association::Adopt(adopt))?;
        let caller = Caller {
            network_id: owner.network_id,
            user_id: owner.user_id,
            client: Some(CallerClient { client_id, device_id: client.device_id }),
            create_time: owner.create_time,
            session_id: owner.session_id,
            roles: owner.roles,
            principal: owner.principal,
        };
        Ok(Confirmed::Adopted(Box::new(session::claims(tx, &caller)?)))
    }
}

struct RemoveAdopt<'a> {
    code: &'a Code,
    secret_hash: [u8; 32],
}

impl Operation for RemoveAdopt<'_> {
    type Output = Result<(), InvalidCode>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        match adopt(tx, self.code)? {
            Some(adopt) if adopt.has_secret(&self.secret_hash) && adopt.client_id.is_none() => {
                remove(tx, &self.code.to_string(), &Association::Adopt(adopt))?;
                Ok(Ok(()))
            }
            _ => Ok(Err(InvalidCode)),
        }
    }
}
