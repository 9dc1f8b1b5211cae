//! The authenticator as the relay sees it.

use crate::domain::auth::authenticate::{Audience, Authenticator};
use crate::domain::error::DomainError;
use crate::relay::ports::{AuthFailure, Authenticate, Identity, PortFuture};

impl Authenticate for Authenticator {
    fn authenticate<'a>(&'a self, token: &'a str) -> PortFuture<'a, Result<Identity, AuthFailure>> {
        Box::pin(async move {
            let caller = Authenticator::authenticate(self, token, Audience::Client).map_err(|error| match error {
                DomainError::Store(_) | DomainError::Unavailable => AuthFailure::Unavailable,
                _ => AuthFailure::Rejected,
            })?;
            let client_id = caller.client_id().ok_or(AuthFailure::Rejected)?;
            Ok(Identity { client_id, network_id: caller.network_id })
        })
    }
}
