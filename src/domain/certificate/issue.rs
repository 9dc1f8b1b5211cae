//! Hands out the active certificate of a user: the one there is, or a new one.

use rand::Rng;
use rcgen::KeyPair;

use super::authority::{Authority, SERIAL_BYTES, Terms};
use super::record::{self, Blob, CERTIFICATES, CertificateRecord};
use crate::domain::client::{self, CLIENTS, ClientRecord, NewClient};
use crate::domain::effect::Effect;
use crate::domain::error::DomainError;
use crate::domain::network::{USERS, UserRecord};
use crate::domain::operation::{Operation, Tx};
use crate::ids::{ClientId, UserId};
use crate::store::StoreError;
use crate::time::{DAY, Timestamp};

/// What the device of a certificate is called, until its owner names it.
const DEVICE_NAME: &str = "Certificate";

/// A certificate and its private key.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateWithKey {
    /// The client it stands for.
    pub client_id: ClientId,
    /// When it ends.
    pub expire_time: Timestamp,
    /// The certificate in DER.
    pub certificate: Vec<u8>,
    /// The private key in PKCS#8.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for CertificateWithKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateWithKey").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// Hands out the certificate of a user under a source. One that was revoked, is older than the password, or is in the
/// last tenth of its time is replaced. Its client is made with the first and kept for those that follow.
pub(super) struct HandOut<'a> {
    pub(super) authority: &'a Authority,
    pub(super) user_id: UserId,
    pub(super) source_id: &'a str,
    /// For a new certificate: made outside, because it takes its time.
    pub(super) key: &'a KeyPair,
}

impl Operation for HandOut<'_> {
    /// `None` when the network has all the clients it may have.
    type Output = Option<CertificateWithKey>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<CertificateWithKey>, DomainError> {
        let user = tx.get(&USERS, &self.user_id)?.ok_or(DomainError::Unauthorized)?;
        let rows = tx.scan(&CERTIFICATES, &self.user_id)?;
        let present = rows.iter().find(|(key, _)| key.1 == self.source_id).map(|(_, record)| record);
        let holder = record::client_of(tx, &rows)?;
        if let (Some(record), Some((client_id, client))) = (present, &holder)
            && record.client_id == *client_id
            && let Some(issued) = self.again(tx, record, &user)
        {
            touch(tx, *client_id, client)?;
            return Ok(Some(issued));
        }
        let client_id = match holder {
            Some((client_id, client)) => {
                touch(tx, client_id, &client)?;
                client_id
            }
            None => {
                let new = NewClient {
                    network_id: user.network_id,
                    description: DEVICE_NAME,
                    device_spec: "",
                    roles: Vec::new(),
                    principal: String::new(),
                };
                let Some((client_id, _)) = client::create_top_level(tx, new)? else { return Ok(None) };
                client_id
            }
        };
        if present.is_some_and(|record| record.revoke_time.is_none()) {
            tx.effect(Effect::ProofEnded(client_id));
        }
        self.issue(tx, client_id).map(Some)
    }
}

impl HandOut<'_> {
    /// The certificate that is there, if it may still be given out.
    fn again(&self, tx: &Tx<'_>, record: &CertificateRecord, user: &UserRecord) -> Option<CertificateWithKey> {
        let is_young = record.expire_time.since(tx.now) > tx.config.auth.token_lifetime / 10;
        let is_good = record.revoke_time.is_none() && record.issue_time >= user.credential_change_time;
        if !is_young || !is_good {
            return None;
        }
        // One that another authority signed cannot be opened, and nobody could use it.
        let key = self.authority.open(record.client_id, &record.sealed_key.0)?;
        let CertificateRecord { client_id, expire_time, ref certificate, .. } = *record;
        Some(CertificateWithKey { client_id, expire_time, certificate: certificate.0.clone(), key })
    }

    /// Signs and notes a new certificate. The signature takes randomness of its own, which is of no consequence when
    /// this runs again.
    fn issue(&self, tx: &mut Tx<'_>, client_id: ClientId) -> Result<CertificateWithKey, DomainError> {
        let mut serial = [0; SERIAL_BYTES];
        tx.rng.fill_bytes(&mut serial);
        // A positive number, without a byte more for its sign.
        serial[0] = serial[0] & 0x7f | 0x40;
        let expire_time = tx.now + tx.config.auth.token_lifetime;
        let certificate = self.authority.sign(&Terms { client_id, serial, issue_time: tx.now, expire_time }, self.key);
        let key = self.key.serialized_der().to_vec();
        let record = CertificateRecord {
            client_id,
            issue_time: tx.now,
            expire_time,
            revoke_time: None,
            certificate: Blob(certificate.clone()),
            sealed_key: Blob(self.authority.seal(client_id, &key)),
        };
        tx.put(&CERTIFICATES, &(self.user_id, self.source_id.to_owned()), &record)?;
        Ok(CertificateWithKey { client_id, expire_time, certificate, key })
    }
}

/// A client whose certificate is handed out is as alive as one that gets a token.
fn touch(tx: &mut Tx<'_>, client_id: ClientId, client: &ClientRecord) -> Result<(), StoreError> {
    if tx.now.since(client.auth_time) < DAY {
        return Ok(());
    }
    tx.put(&CLIENTS, &client_id, &ClientRecord { auth_time: tx.now, ..client.clone() })
}
