//! The certificates in the store: one for each user and source, and the sources that ever were.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::domain::client::{self, ClientRecord};
use crate::domain::network::NETWORKS;
use crate::domain::operation::Tx;
use crate::ids::{ClientId, NetworkId, UserId};
use crate::json_record;
use crate::store::StoreError;
use crate::store::table::Table;
use crate::time::Timestamp;

/// The certificate of a user under a source.
pub const CERTIFICATES: Table<(UserId, String), CertificateRecord> = Table::guarded(71, "certificates", 16);

/// Every source there ever was.
pub const SOURCES: Table<String, SourceRecord> = Table::new(72, "certificate_sources");

/// A certificate, with the key that belongs to it, so that the same bundle can be given out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// The client it stands for, a top-level client of the user's network.
    pub client_id: ClientId,
    /// When it was signed.
    pub issue_time: Timestamp,
    /// When it ends.
    pub expire_time: Timestamp,
    /// When it was revoked. The row stays, without certificate and key: the next one is for the same client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke_time: Option<Timestamp>,
    /// The certificate in DER.
    pub certificate: Blob,
    /// Its private key in PKCS#8, sealed by the authority: the store alone does not hold it.
    pub sealed_key: Blob,
}
json_record!(CertificateRecord, 1);

/// A source of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// When it was first named.
    pub create_time: Timestamp,
}
json_record!(SourceRecord, 1);

/// Bytes, written in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}

/// The client that the certificates of a user stand for, while it is active; the newest if there are several.
pub(super) fn client_of(
    tx: &mut Tx<'_>,
    rows: &[((UserId, String), CertificateRecord)],
) -> Result<Option<(ClientId, ClientRecord)>, StoreError> {
    let mut rows: Vec<_> = rows.iter().map(|(_, record)| (record.issue_time, record.client_id)).collect();
    rows.sort_unstable();
    for (_, client_id) in rows.into_iter().rev() {
        if let Some(client) = client::active(tx, &client_id)? {
            return Ok(Some((client_id, client)));
        }
    }
    Ok(None)
}

/// Forgets the certificates that stand for a client which is being removed.
pub fn remove_of_client(tx: &mut Tx<'_>, network_id: &NetworkId, client_id: ClientId) -> Result<(), StoreError> {
    let Some(network) = tx.get(&NETWORKS, network_id)? else { return Ok(()) };
    for (key, record) in tx.scan(&CERTIFICATES, &network.admin_user_id)? {
        if record.client_id == client_id {
            tx.delete(&CERTIFICATES, &key)?;
        }
    }
    Ok(())
}

/// Forgets every certificate of a user whose network is being removed.
pub fn remove_all(tx: &mut Tx<'_>, user_id: &UserId) -> Result<(), StoreError> {
    for (key, _) in tx.scan(&CERTIFICATES, user_id)? {
        tx.delete(&CERTIFICATES, &key)?;
    }
    Ok(())
}
