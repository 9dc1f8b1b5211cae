//! Lending a client to another network: the source makes a code, a guest adds it, the source confirms.

use super::code::Code;
use super::{
    ASSOCIATIONS, Association, CLIENT_ASSOCIATIONS, InvalidCode, MAX_PER_NETWORK, NETWORK_ASSOCIATIONS, Share, Status,
    count_of_network, network_name, share,
};
use crate::domain::auth::attempts::{Limit, Origin};
use crate::domain::auth::{Accounts, authenticate};
use crate::domain::caller::Caller;
use crate::domain::client;
use crate::domain::device::check_text;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{ClientId, NetworkId};

/// Share codes of one network that nobody has added yet.
pub const MAX_OPEN: usize = 64;

/// Makes a share code (`/device/create-share-code`).
#[derive(Clone, Debug)]
pub struct CreateShare {
    /// Who asks.
    pub caller: Caller,
    /// The client to share.
    pub client_id: ClientId,
    /// What the guest shall see as its name.
    pub device_name: String,
}

/// How making a share code ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateShareOutcome {
    /// Made.
    Created(Code),
    /// Not an active client of the caller's network.
    InvalidClient,
    /// The network has all the codes it may have.
    TooMany,
}

impl Operation for CreateShare {
    type Output = CreateShareOutcome;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<CreateShareOutcome, DomainError> {
        check_text(&self.device_name)?;
        authenticate::confirm(tx, &self.caller)?;
        let source_id = self.caller.network_id;
        if client::active(tx, &self.client_id)?.is_none_or(|client| client.network_id != source_id) {
            return Ok(CreateShareOutcome::InvalidClient);
        }
        if is_full(tx, &source_id)? {
            return Ok(CreateShareOutcome::TooMany);
        }
        let code = Code::random(&mut tx.rng);
        let share = Share {
            source_id,
            client_id: self.client_id,
            device_name: self.device_name.clone(),
            guest_id: None,
            is_confirmed: false,
            source_label: String::new(),
            guest_label: String::new(),
            create_time: tx.now,
        };
        tx.put(&ASSOCIATIONS, &code.to_string(), &Association::Share(share))?;
        tx.put(&NETWORK_ASSOCIATIONS, &(source_id, code.to_string()), &())?;
        tx.put(&CLIENT_ASSOCIATIONS, &(self.client_id, code.to_string()), &())?;
        Ok(CreateShareOutcome::Created(code))
    }
}

fn is_full(tx: &mut Tx<'_>, source_id: &NetworkId) -> Result<bool, DomainError> {
    if count_of_network(tx, source_id)? >= MAX_PER_NETWORK {
        return Ok(true);
    }
    let mut open_count = 0;
    for ((_, code), ()) in tx.scan(&NETWORK_ASSOCIATIONS, source_id)? {
        if let Some(Association::Share(share)) = tx.get(&ASSOCIATIONS, &code)? {
            open_count += usize::from(share.source_id == *source_id && share.guest_id.is_none());
        }
    }
    Ok(open_count >= MAX_OPEN)
}

/// Agrees to a guest (`/device/confirm-share`).
#[derive(Clone, Debug)]
pub struct ConfirmShare {
    /// The source.
    pub network_id: NetworkId,
    /// The code.
    pub code: Code,
    /// The name the guest must have now: so the source agrees to somebody, not to whoever came first.
    pub guest_name: String,
}

impl Operation for ConfirmShare {
    type Output = Result<(), InvalidCode>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let Some(share) = share(tx, &self.code)? else { return Ok(Err(InvalidCode)) };
        let Some(guest_id) = share.guest_id else { return Ok(Err(InvalidCode)) };
        let is_open = share.source_id == self.network_id && !share.is_confirmed;
        if !is_open || network_name(tx, &guest_id)?.as_ref() != Some(&self.guest_name) {
            return Ok(Err(InvalidCode));
        }
        let confirmed = Association::Share(Share { is_confirmed: true, ..share });
        tx.put(&ASSOCIATIONS, &self.code.to_string(), &confirmed)?;
        Ok(Ok(()))
    }
}

impl Accounts {
    /// How far a share is (`/device/share-status`); `None` for a code that is none.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many wrong codes from one address.
    pub async fn share_status(&self, origin: &Origin, code: &Code) -> Result<Option<Status>, DomainError> {
        let attempt = self.attempts.by_address(self.now(), origin, Limit::DeviceCode)?;
        let status = self.service.read(&ReadShareStatus { code })?;
        if status.is_some() {
            attempt.withdraw();
        }
        Ok(status)
    }
}

struct ReadShareStatus<'a> {
    code: &'a Code,
}

impl Operation for ReadShareStatus<'_> {
    type Output = Option<Status>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Status>, DomainError> {
        let Some(share) = share(tx, self.code)? else { return Ok(None) };
        let network_name = match share.guest_id {
            Some(guest_id) => network_name(tx, &guest_id)?,
            None => None,
        };
        Ok(Some(Status { is_pending: !share.is_confirmed, network_name }))
    }
}
