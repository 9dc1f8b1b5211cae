//! Client certificates: what stands in place of a client token on the relay.
//!
//! The server is its own authority for them. A user has at most one good certificate, that of the current source; it
//! stands for one client, with a device of its own, whose id is the common name of its subject. The handshake of a
//! transport checks the signature; [`ClientCertificates`] says whether the certificate still counts.

use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;

use super::error::DomainError;
use super::secret_file::SecretFileError;
use super::service::Service;
use crate::ids::{ClientId, UserId};
use crate::time::Timestamp;

pub mod authority;
mod bundle;
pub mod check;
mod issue;
pub mod record;
pub mod revoke;
pub mod source;

#[cfg(test)]
mod tests;

use authority::Authority;
use check::CertificateClient;

/// The certificates of this server's clients.
pub struct ClientCertificates {
    service: Arc<Service>,
    authority: Authority,
    source_id: RwLock<Arc<str>>,
}

/// A certificate as its owner gets it.
#[derive(Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The client it stands for.
    pub client_id: ClientId,
    /// The source it belongs to.
    pub source_id: Arc<str>,
    /// When it ends.
    pub expire_time: Timestamp,
    /// Certificate and private key as PKCS#12, under `portal.p12_password`.
    pub pkcs12: Vec<u8>,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl ClientCertificates {
    /// The certificates in the store of `service`, signed by the authority in `folder`.
    ///
    /// # Errors
    /// The authority cannot be read or made.
    pub fn open(service: Arc<Service>, folder: &Path) -> Result<Self, SecretFileError> {
        Ok(Self::new(service, Authority::load_or_create(folder)?))
    }

    /// The same, signed by `authority`.
    pub fn new(service: Arc<Service>, authority: Authority) -> Self {
        let source_id = RwLock::new(service.config().portal.current_source_id.as_str().into());
        Self { service, authority, source_id }
    }

    /// The authority's own certificate.
    pub fn authority(&self) -> &CertificateDer<'static> {
        self.authority.certificate()
    }

    /// The source whose certificates are good.
    pub fn source_id(&self) -> Arc<str> {
        Arc::clone(&self.source_id.read())
    }

    /// The bundle of a user's good certificate, which is made if there is none. `None` when there is no room in the
    /// network for the client it would stand for.
    ///
    /// # Errors
    /// [`DomainError::Unauthorized`] when there is no such user.
    pub async fn hand_out(&self, user_id: UserId) -> Result<Option<Bundle>, DomainError> {
        let source_id = self.source_id();
        let key = &KeyPair::generate().expect("the system random generator works");
        let issuing = issue::HandOut { authority: &self.authority, user_id, source_id: &source_id, key };
        let Some(issued) = self.service.run(&issuing).await? else { return Ok(None) };
        let pkcs12 = bundle::pkcs12(&issued, self.authority(), &self.service.config().portal)
            .expect("a certificate and key of our own making fit a bundle");
        Ok(Some(Bundle { client_id: issued.client_id, source_id, expire_time: issued.expire_time, pkcs12 }))
    }

    /// The client behind a certificate that a handshake has accepted.
    ///
    /// # Errors
    /// [`DomainError::Unauthorized`] for every reason that lies in the certificate.
    pub fn authenticate(&self, certificate: &[u8]) -> Result<CertificateClient, DomainError> {
        let source_id = self.source_id();
        self.service.read(&check::Check { certificate, source_id: &source_id })
    }

    /// Moves to another source: from now on only its certificates are good, and transports with others are cut.
    ///
    /// # Errors
    /// The store fails; then the move has taken place, and transports that were not cut stay until they end.
    pub async fn move_to(&self, source_id: &str) -> Result<(), DomainError> {
        let former = std::mem::replace(&mut *self.source_id.write(), source_id.into());
        self.note_source().await?;
        if &*former == source_id {
            return Ok(());
        }
        let mut after = None;
        loop {
            after = self.service.run(&source::EndSource { source_id: &former, after }).await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Notes the current source among those that ever were.
    ///
    /// # Errors
    /// The store fails.
    pub async fn note_source(&self) -> Result<(), DomainError> {
        let source_id = self.source_id().to_string();
        self.service.run(&source::AddSource { source_id }).await.map(drop)
    }
}
