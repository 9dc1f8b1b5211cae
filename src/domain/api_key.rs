//! API keys: long-lived secrets that act as the network's user.

use aws_lc_rs::digest::{SHA256, digest};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::device::cut;
use super::error::DomainError;
use super::network::NETWORKS;
use super::operation::{Operation, Tx};
use crate::ids::{NetworkId, RecordId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// What every API key begins with.
pub const PREFIX: &str = "urn_";

/// Networks by the SHA-256 of their API keys.
pub const API_KEYS: Table<[u8; 32], ApiKeyOwner> = Table::new(30, "api_keys");

/// The API keys of a network.
pub const NETWORK_API_KEYS: Table<(NetworkId, RecordId), ApiKeyRecord> = Table::guarded(31, "network_api_keys", 16);

/// Keys a network may have.
pub const MAX_KEYS: usize = 64;

const SECRET_BYTES: usize = 32;
const KEY_BYTES: usize = 56;
const MAX_NAME_BYTES: usize = 256;
/// RFC 4648 base32hex.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyOwner {
    /// The network.
    pub network_id: NetworkId,
}
json_record!(ApiKeyOwner, 1);

/// A key as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyRecord {
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// What its owner calls it.
    pub name: String,
    /// When it was made.
    pub create_time: Timestamp,
}
json_record!(ApiKeyRecord, 1);

fn hash(api_key: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, api_key.as_bytes()).as_ref());
    hash
}

/// Unpadded base32hex: five bits a character, most significant first.
fn encode(bytes: &[u8]) -> String {
    let (mut text, mut bits, mut pending) = (String::new(), 0u32, 0u32);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        pending += 8;
        while pending >= 5 {
            pending -= 5;
            text.push(char::from(ALPHABET[(bits >> pending & 31) as usize]));
        }
        bits &= (1 << pending) - 1;
    }
    if pending > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - pending) & 31) as usize]));
    }
    text
}

/// Makes a key.
pub struct Create {
    /// Whose.
    pub network_id: NetworkId,
    /// What its owner calls it; cut to 256 bytes.
    pub name: String,
}

/// A key just made; the only time it is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: RecordId,
    /// The key.
    pub api_key: String,
    /// Its name.
    pub name: String,
}

impl Operation for Create {
    /// `None` when the network has [`MAX_KEYS`].
    type Output = Option<Created>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Created>, DomainError> {
        // A network that is no more must not leave a key behind it.
        tx.get(&NETWORKS, &self.network_id)?.ok_or(DomainError::Unauthorized)?;
        if tx.scan(&NETWORK_API_KEYS, &self.network_id)?.len() >= MAX_KEYS {
            return Ok(None);
        }
        let mut secret = [0; SECRET_BYTES];
        tx.rng.fill_bytes(&mut secret);
        let api_key = format!("{PREFIX}{}", encode(&secret));
        let name = cut(&self.name, MAX_NAME_BYTES).to_owned();
        let id: RecordId = tx.new_id();
        let record = ApiKeyRecord { hash: hash(&api_key), name: name.clone(), create_time: tx.now };
        tx.put(&API_KEYS, &record.hash, &ApiKeyOwner { network_id: self.network_id })?;
        tx.put(&NETWORK_API_KEYS, &(self.network_id, id), &record)?;
        Ok(Some(Created { id, api_key, name }))
    }
}

/// The keys of a network, oldest first.
pub struct List {
    /// Whose.
    pub network_id: NetworkId,
}

impl Operation for List {
    type Output = Vec<(RecordId, ApiKeyRecord)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        Ok(tx.scan(&NETWORK_API_KEYS, &self.network_id)?.into_iter().map(|((_, id), key)| (id, key)).collect())
    }
}

/// Removes a key; one that is not there is no error.
pub struct Remove {
    /// Whose.
    pub network_id: NetworkId,
    /// Which.
    pub id: RecordId,
}

impl Operation for Remove {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let key = (self.network_id, self.id);
        if let Some(record) = tx.get(&NETWORK_API_KEYS, &key)? {
            tx.delete(&API_KEYS, &record.hash)?;
            tx.delete(&NETWORK_API_KEYS, &key)?;
        }
        Ok(())
    }
}

/// Removes every key of a network.
pub fn remove_all(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<(), DomainError> {
    for (_, id) in tx.scan(&NETWORK_API_KEYS, network_id)?.into_iter().map(|(key, _)| key) {
        Remove { network_id: *network_id, id }.apply(tx)?;
    }
    Ok(())
}

/// The caller behind a key: the network's user, with a lineage that begins now.
pub(super) struct Authenticate<'a> {
    pub(super) api_key: &'a str,
}

impl Operation for Authenticate<'_> {
    type Output = Caller;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Caller, DomainError> {
        if self.api_key.len() != KEY_BYTES {
            return Err(DomainError::Unauthorized);
        }
        let owner = tx.get(&API_KEYS, &hash(self.api_key))?.ok_or(DomainError::Unauthorized)?;
        let network = tx.get(&NETWORKS, &owner.network_id)?.ok_or(DomainError::Unauthorized)?;
        Ok(Caller {
            network_id: owner.network_id,
            user_id: network.admin_user_id,
            client: None,
            create_time: tx.now,
            session_id: None,
            roles: Vec::new(),
            principal: String::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_in_base32hex() {
        assert_eq!(encode(b"foobar"), "CPNMUOJ1E8");
        assert_eq!(encode(&[0xff; 32]).len(), 52);
        assert_eq!(PREFIX.len() + 52, KEY_BYTES);
    }
}
