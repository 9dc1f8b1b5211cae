//! Roles and principal: opaque words that a token carries for other people's programs.

use super::method;
use crate::domain::caller::Caller;
use crate::domain::error::DomainError;
use crate::domain::operation::Tx;

const MAX_ROLES: usize = 32;
const MAX_ROLE_BYTES: usize = 128;
const MAX_PRINCIPAL_BYTES: usize = 256;

/// Roles and principal that a caller asks for; empty ones are inherited from the caller's token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedIdentity {
    /// At most 32 roles of 1 to 128 bytes.
    pub roles: Vec<String>,
    /// At most 256 bytes.
    pub principal: String,
}

impl WantedIdentity {
    /// The roles and principal that a token made by `caller` gets, or the sentence that refuses them: only a user
    /// token of an account with a sign-in method may choose them.
    pub fn resolve(
        &self,
        tx: &mut Tx<'_>,
        caller: &Caller,
    ) -> Result<Result<(Vec<String>, String), &'static str>, DomainError> {
        if self.roles.is_empty() && self.principal.is_empty() {
            return Ok(Ok((caller.roles.clone(), caller.principal.clone())));
        }
        let fits = self.roles.len() <= MAX_ROLES
            && self.roles.iter().all(|role| (1..=MAX_ROLE_BYTES).contains(&role.len()))
            && self.principal.len() <= MAX_PRINCIPAL_BYTES;
        if !fits {
            return Ok(Err("Roles or principal are too long."));
        }
        if caller.client.is_some() || method::methods(tx, &caller.user_id)?.is_empty() {
            return Ok(Err("Roles and principal need the token of an account."));
        }
        let roles = if self.roles.is_empty() { &caller.roles } else { &self.roles };
        let principal = if self.principal.is_empty() { &caller.principal } else { &self.principal };
        Ok(Ok((roles.clone(), principal.clone())))
    }
}
