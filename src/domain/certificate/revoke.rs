//! The operator's view of certificates: which there are, and the end of one.

use super::record::{Blob, CERTIFICATES, CertificateRecord};
use crate::domain::effect::Effect;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::UserId;

/// The certificates of a user, one for each source.
pub struct ListCertificates {
    /// Whose.
    pub user_id: UserId,
}

impl Operation for ListCertificates {
    type Output = Vec<(String, CertificateRecord)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        Ok(tx.scan(&CERTIFICATES, &self.user_id)?.into_iter().map(|((_, source), record)| (source, record)).collect())
    }
}

/// Ends the certificate of a user under a source.
pub struct RevokeCertificate {
    /// Whose.
    pub user_id: UserId,
    /// Under which source.
    pub source_id: String,
}

impl Operation for RevokeCertificate {
    /// Whether there was one to revoke.
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        let key = (self.user_id, self.source_id.clone());
        let present = tx.get(&CERTIFICATES, &key)?.filter(|record| record.revoke_time.is_none());
        let Some(record) = present else { return Ok(false) };
        let client_id = record.client_id;
        let revoked = CertificateRecord {
            revoke_time: Some(tx.now),
            certificate: Blob::default(),
            sealed_key: Blob::default(),
            ..record
        };
        tx.put(&CERTIFICATES, &key, &revoked)?;
        tx.effect(Effect::ProofEnded(client_id));
        Ok(true)
    }
}
