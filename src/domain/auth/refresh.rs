//! A fresh token for a client whose old one still holds.

use super::{Accounts, authenticate, session};
use crate::domain::caller::Caller;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::token::Claims;

/// How a refresh ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// A client token of the same client, device, session, roles and principal; the old one stays good, for clients
    /// ask several times at once.
    Refreshed {
        /// The token.
        by_jwt: String,
    },
    /// A user token cannot be refreshed.
    ClientRequired,
}

impl Accounts {
    /// Makes a fresh token for the caller (`/auth/refresh`).
    ///
    /// # Errors
    /// [`DomainError::Unauthorized`] when the caller no longer stands, and only then: apps log out on it.
    pub async fn refresh(&self, caller: &Caller) -> Result<RefreshOutcome, DomainError> {
        if caller.client.is_none() {
            return Ok(RefreshOutcome::ClientRequired);
        }
        let claims = self.service.run(&Refresh { caller }).await?;
        Ok(RefreshOutcome::Refreshed { by_jwt: self.issue(&claims) })
    }
}

struct Refresh<'a> {
    caller: &'a Caller,
}

impl Operation for Refresh<'_> {
    type Output = Claims;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Claims, DomainError> {
        // Checked in this transaction: the lineage may begin anew only while the old one holds.
        authenticate::confirm(tx, self.caller)?;
        let caller = Caller { create_time: tx.now, ..self.caller.clone() };
        session::claims(tx, &caller)
    }
}
