//! Tokens and certificates as the relay sees them: both say which client it is.

use std::sync::Arc;

use crate::domain::auth::authenticate::{Audience, Authenticator};
use crate::domain::certificate::ClientCertificates;
use crate::domain::error::DomainError;
use crate::relay::ports::{AuthFailure, Authenticate, Identity, PortFuture, Proof};

/// Checks whatever a client proves itself with.
pub struct Identities {
    /// Knows tokens.
    pub tokens: Arc<Authenticator>,
    /// Knows certificates.
    pub certificates: Arc<ClientCertificates>,
}

impl Authenticate for Identities {
    fn authenticate<'a>(&'a self, proof: &'a Proof) -> PortFuture<'a, Result<Identity, AuthFailure>> {
        Box::pin(async move {
            self.check(proof).map_err(|error| match error {
                DomainError::Store(_) | DomainError::Unavailable => AuthFailure::Unavailable,
                _ => AuthFailure::Rejected,
            })
        })
    }
}

impl Identities {
    fn check(&self, proof: &Proof) -> Result<Identity, DomainError> {
        match proof {
            Proof::Token(token) => {
                let caller = self.tokens.authenticate(token, Audience::Client)?;
                let client_id = caller.client_id().ok_or(DomainError::Unauthorized)?;
                Ok(Identity { client_id, network_id: caller.network_id })
            }
            Proof::Certificate(certificate) => {
                let client = self.certificates.authenticate(certificate)?;
                Ok(Identity { client_id: client.client_id, network_id: client.network_id })
            }
        }
    }
}
