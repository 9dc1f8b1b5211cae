//! Adding somebody's code (`/device/add`): the caller becomes the guest of a share or the owner of an adopt, pending
//! until the side that made the code confirms.

use super::code::Code;
use super::{
    ASSOCIATIONS, Adopt, Association, InvalidCode, MAX_PER_NETWORK, NETWORK_ASSOCIATIONS, Owner, Share,
    count_of_network, network_name,
};
use crate::domain::auth::attempts::{Limit, Origin};
use crate::domain::auth::{Accounts, authenticate};
use crate::domain::caller::Caller;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::ClientId;

/// What was added.
#[derive(Clone, Debug, PartialEq)]
pub enum Added {
    /// A device that waits to be adopted.
    Adopt {
        /// Its name.
        device_name: String,
        /// How long it still may confirm.
        minutes_left: f64,
    },
    /// A client of somebody else.
    Share {
        /// Its name.
        device_name: String,
        /// Name of its network.
        source_name: String,
        /// The client.
        client_id: ClientId,
    },
}

impl Accounts {
    /// Adds a code for the caller's network. Nine tries in half an hour, right or wrong; a tenth is refused like a
    /// wrong code, so that who guesses does not learn when to come back.
    ///
    /// # Errors
    /// [`DomainError::Unauthorized`] when the caller no longer stands.
    pub async fn add_device(
        &self,
        origin: &Origin,
        caller: &Caller,
        code: &Code,
    ) -> Result<Result<Added, InvalidCode>, DomainError> {
        let network = caller.network_id.to_string();
        match self.attempts.by_user(self.now(), origin, Limit::DeviceAdd, &network) {
            Ok(attempt) => attempt.keep(),
            Err(DomainError::TooMany { .. }) => return Ok(Err(InvalidCode)),
            Err(other) => return Err(other),
        }
        self.service.run(&Add { caller, code }).await
    }
}

struct Add<'a> {
    caller: &'a Caller,
    code: &'a Code,
}

impl Operation for Add<'_> {
    type Output = Result<Added, InvalidCode>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        authenticate::confirm(tx, self.caller)?;
        if count_of_network(tx, &self.caller.network_id)? >= MAX_PER_NETWORK {
            return Ok(Err(InvalidCode));
        }
        match tx.get(&ASSOCIATIONS, &self.code.to_string())? {
            Some(Association::Adopt(adopt)) if adopt.owner.is_none() && adopt.is_live(tx.now) => self.own(tx, adopt),
            Some(Association::Share(share)) if share.guest_id.is_none() => self.join(tx, share),
            _ => Ok(Err(InvalidCode)),
        }
    }
}

impl Add<'_> {
    fn own(&self, tx: &mut Tx<'_>, adopt: Adopt) -> Result<Result<Added, InvalidCode>, DomainError> {
        let owner = Owner {
            network_id: self.caller.network_id,
            user_id: self.caller.user_id,
            create_time: self.caller.create_time,
            session_id: self.caller.session_id,
            roles: self.caller.roles.clone(),
            principal: self.caller.principal.clone(),
        };
        let added = Added::Adopt { device_name: adopt.device_name.clone(), minutes_left: adopt.minutes_left(tx.now) };
        self.put(tx, &Association::Adopt(Adopt { owner: Some(owner), ..adopt }))?;
        Ok(Ok(added))
    }

    fn join(&self, tx: &mut Tx<'_>, share: Share) -> Result<Result<Added, InvalidCode>, DomainError> {
        let Some(source_name) = network_name(tx, &share.source_id)? else { return Ok(Err(InvalidCode)) };
        if share.source_id == self.caller.network_id {
            return Ok(Err(InvalidCode));
        }
        let added = Added::Share { device_name: share.device_name.clone(), source_name, client_id: share.client_id };
        self.put(tx, &Association::Share(Share { guest_id: Some(self.caller.network_id), ..share }))?;
        Ok(Ok(added))
    }

    fn put(&self, tx: &mut Tx<'_>, association: &Association) -> Result<(), DomainError> {
        tx.put(&ASSOCIATIONS, &self.code.to_string(), association)?;
        tx.put(&NETWORK_ASSOCIATIONS, &(self.caller.network_id, self.code.to_string()), &())?;
        Ok(())
    }
}
