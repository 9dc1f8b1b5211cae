//! From a certificate that a handshake has accepted to the client it stands for.
//!
//! The handshake has checked the authority's signature, the dates, and that the other side holds the key. What is left is
//! whether it is the one certificate that the user has now: the store keeps it, and it must be the same byte for byte.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::record::CERTIFICATES;
use crate::domain::client;
use crate::domain::error::DomainError;
use crate::domain::network::{NETWORKS, USERS};
use crate::domain::operation::{Operation, Tx};
use crate::ids::{ClientId, NetworkId};

/// The client behind a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateClient {
    /// The client.
    pub client_id: ClientId,
    /// Its network.
    pub network_id: NetworkId,
}

/// Finds the client.
pub(super) struct Check<'a> {
    pub(super) certificate: &'a [u8],
    pub(super) source_id: &'a str,
}

impl Operation for Check<'_> {
    type Output = CertificateClient;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<CertificateClient, DomainError> {
        self.find(tx)?.ok_or(DomainError::Unauthorized)
    }
}

impl Check<'_> {
    fn find(&self, tx: &mut Tx<'_>) -> Result<Option<CertificateClient>, DomainError> {
        let Some(client_id) = subject(self.certificate) else { return Ok(None) };
        let Some(client) = client::active(tx, &client_id)? else { return Ok(None) };
        let Some(network) = tx.get(&NETWORKS, &client.network_id)? else { return Ok(None) };
        let Some(user) = tx.get(&USERS, &network.admin_user_id)? else { return Ok(None) };
        let key = (network.admin_user_id, self.source_id.to_owned());
        let Some(record) = tx.get(&CERTIFICATES, &key)? else { return Ok(None) };
        let is_this = record.client_id == client_id && record.certificate.0 == self.certificate;
        let is_good = record.revoke_time.is_none() && tx.now < record.expire_time;
        // As with tokens, a new password ends what was given out under the old one.
        let is_younger = record.issue_time >= user.credential_change_time;
        let is_accepted = is_this && is_good && is_younger;
        Ok(is_accepted.then_some(CertificateClient { client_id, network_id: client.network_id }))
    }
}

/// The client that the subject names.
fn subject(certificate: &[u8]) -> Option<ClientId> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    certificate.subject().iter_common_name().next()?.as_str().ok()?.parse().ok()
}
