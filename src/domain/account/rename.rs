//! Another name for a network. Tokens show it from their next refresh on.

use super::name::{self, NETWORK_NAMES, NameRecord};
use crate::domain::auth::attempts::{Limit, Origin};
use crate::domain::auth::{Accounts, authenticate, method};
use crate::domain::caller::Caller;
use crate::domain::error::DomainError;
use crate::domain::network::{NETWORKS, NetworkRecord, RenameKind};
use crate::domain::operation::{Operation, Tx};
use crate::time::DAY;

/// How a request for a name ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenameOutcome {
    /// The network has this name now, or had it already.
    Named {
        /// Normalised.
        network_name: String,
    },
    /// Not a name: shorter than so many bytes, longer than 50, or of other characters than letters, digits and dashes.
    InvalidName {
        /// `auth.network_name_min`.
        min_bytes: usize,
    },
    /// Somebody else has it, or it still rests.
    NameTaken,
    /// The user has proven no address yet.
    Unverified,
    /// Twice today already.
    DailyLimit,
}

impl Accounts {
    /// Gives the caller's network another name.
    ///
    /// # Errors
    /// [`DomainError::Unauthorized`] when the caller no longer stands.
    pub async fn rename_network(
        &self,
        origin: &Origin,
        caller: &Caller,
        network_name: &str,
        kind: RenameKind,
    ) -> Result<RenameOutcome, DomainError> {
        let min_bytes = self.service.config().auth.network_name_min;
        let Some(name) = name::normalise(network_name, min_bytes) else {
            return Ok(RenameOutcome::InvalidName { min_bytes });
        };
        let rename = Rename { caller, name, kind };
        if kind == RenameKind::Update {
            return self.service.run(&rename).await;
        }
        let network = caller.network_id.to_string();
        let Ok(place) = self.attempts.by_user(self.now(), origin, Limit::Rename(kind), &network) else {
            // A name that is refused anyway is refused for its own reason.
            return Ok(match self.service.read(&CheckRename(&rename))? {
                Some(refusal) => refusal,
                None => RenameOutcome::DailyLimit,
            });
        };
        let outcome = self.service.run(&rename).await;
        match outcome {
            Ok(RenameOutcome::Named { .. }) => place.keep(),
            _ => place.withdraw(),
        }
        outcome
    }
}

struct Rename<'a> {
    caller: &'a Caller,
    name: String,
    kind: RenameKind,
}

struct CheckRename<'a>(&'a Rename<'a>);

impl Operation for CheckRename<'_> {
    type Output = Option<RenameOutcome>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<RenameOutcome>, DomainError> {
        self.0.refusal(tx)
    }
}

impl Rename<'_> {
    fn refusal(&self, tx: &mut Tx<'_>) -> Result<Option<RenameOutcome>, DomainError> {
        authenticate::confirm(tx, self.caller)?;
        if self.kind != RenameKind::Update {
            let methods = method::methods(tx, &self.caller.user_id)?;
            if !methods.iter().any(|method| method.verified && method.kind.is_proof_of_person()) {
                return Ok(Some(RenameOutcome::Unverified));
            }
        }
        let is_free = name::is_free(tx, &self.name, Some(&self.caller.network_id))?;
        Ok((!is_free).then_some(RenameOutcome::NameTaken))
    }
}

impl Operation for Rename<'_> {
    type Output = RenameOutcome;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<RenameOutcome, DomainError> {
        if let Some(refusal) = self.refusal(tx)? {
            return Ok(refusal);
        }
        let network_id = self.caller.network_id;
        let network = tx.get(&NETWORKS, &network_id)?.ok_or(DomainError::Unauthorized)?;
        if network.name != self.name {
            let mut former_names = name::forget_rested(tx, &network_id, network.former_names)?;
            match self.kind {
                RenameKind::Change => {
                    let rests = NameRecord { network_id, reserved_until: Some(tx.now + DAY) };
                    tx.put(&NETWORK_NAMES, &network.name, &rests)?;
                    former_names.push(network.name);
                }
                RenameKind::Update | RenameKind::Claim => tx.delete(&NETWORK_NAMES, &network.name)?,
            }
            tx.put(&NETWORK_NAMES, &self.name, &NameRecord { network_id, reserved_until: None })?;
            let name = self.name.clone();
            tx.put(&NETWORKS, &network_id, &NetworkRecord { name, former_names, ..network })?;
        }
        Ok(RenameOutcome::Named { network_name: self.name.clone() })
    }
}
