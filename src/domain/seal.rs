//! What identifies people, unreadable in the store alone: addresses are encrypted, and found by a keyed hash.
//!
//! The key lies beside the store, not in it, so that a copy of the database names nobody.

use std::fmt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::secret_file::{self, SecretFileError};
/// File of the key in the data folder.
const KEY_FILE: &str = "identity-key";
const KEY_BYTES: usize = 32;

/// Seals and opens.
pub struct SealKey {
    lookup: hmac::Key,
    sealing: RandomizedNonceKey,
}

/// An encrypted text: nonce, then ciphertext and tag (AES-256-GCM), in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(String);

impl SealKey {
    /// The key in the data folder, made at first start with mode 0600. Without it nobody is found any more.
    ///
    /// # Errors
    /// The file cannot be read or written, or is too short.
    pub fn load_or_create(folder: &Path) -> Result<Self, SecretFileError> {
        let path = folder.join(KEY_FILE);
        let make = || {
            let mut key = vec![0; KEY_BYTES];
            rand::rng().fill_bytes(&mut key);
            key
        };
        let key = secret_file::load_or_create(&path, make)?;
        if key.len() < KEY_BYTES {
            return Err(SecretFileError::Damaged(path, format!("it is shorter than {KEY_BYTES} bytes")));
        }
        Ok(Self::new(&key))
    }

    /// A key that is lost with the process: for tests, benches and throw-away servers.
    pub fn ephemeral() -> Self {
        let mut key = [0; KEY_BYTES];
        rand::rng().fill_bytes(&mut key);
        Self::new(&key)
    }

    /// One key for each purpose, so that neither tells of the other.
    fn new(key: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let derive = |purpose: &str| hmac::sign(&key, purpose.as_bytes());
        let lookup = hmac::Key::new(hmac::HMAC_SHA256, derive("identity lookup").as_ref());
        let sealing = RandomizedNonceKey::new(&AES_256_GCM, derive("identity sealing").as_ref());
        Self { lookup, sealing: sealing.expect("the tag has the length of a key") }
    }

    /// What an identity is found by.
    pub fn hash(&self, identity: &str) -> [u8; 32] {
        let tag = hmac::sign(&self.lookup, identity.as_bytes());
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// Encrypts a text.
    pub fn seal(&self, text: &str) -> Sealed {
        let mut ciphertext = text.as_bytes().to_vec();
        let nonce = self.sealing.seal_in_place_append_tag(Aad::empty(), &mut ciphertext);
        let mut sealed = nonce.expect("a short text can be encrypted").as_ref().to_vec();
        sealed.append(&mut ciphertext);
        Sealed(hex::encode(sealed))
    }

    /// Decrypts a text; `None` when it was sealed under another key, or is damaged.
    pub fn open(&self, sealed: &Sealed) -> Option<String> {
        let mut sealed = hex::decode(&sealed.0).ok()?;
        let (nonce, ciphertext) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = self.sealing.open_in_place(nonce, Aad::empty(), ciphertext).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_opens_under_its_key_only() {
        let (key, other) = (SealKey::ephemeral(), SealKey::ephemeral());
        for text in ["", "alice@example.com", "+1 415-555-0142"] {
            let sealed = key.seal(text);
            assert_eq!(key.open(&sealed).as_deref(), Some(text));
            assert_eq!(other.open(&sealed), None);
            assert_ne!(key.seal(text), sealed, "the same text must not look the same twice");
        }
    }

    #[test]
    fn damaged_texts_do_not_open() {
        let key = SealKey::ephemeral();
        let whole = key.seal("alice@example.com").0;
        for end in 0..whole.len() {
            assert_eq!(key.open(&Sealed(whole[..end].to_owned())), None);
        }
        let mut changed = whole.into_bytes();
        changed[40] = if changed[40] == b'0' { b'1' } else { b'0' };
        assert_eq!(key.open(&Sealed(String::from_utf8(changed).unwrap())), None);
    }

    #[test]
    fn hashes_depend_on_text_and_key() {
        let (key, other) = (SealKey::ephemeral(), SealKey::ephemeral());
        assert_eq!(key.hash("a"), key.hash("a"));
        assert_ne!(key.hash("a"), key.hash("b"));
        assert_ne!(key.hash("a"), other.hash("a"));
    }

    #[test]
    fn the_key_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = SealKey::load_or_create(folder.path()).unwrap().seal("alice@example.com");
        let again = SealKey::load_or_create(folder.path()).unwrap();
        assert_eq!(again.open(&sealed).as_deref(), Some("alice@example.com"));
        std::fs::write(folder.path().join(KEY_FILE), b"short").unwrap();
        assert!(matches!(SealKey::load_or_create(folder.path()), Err(SecretFileError::Damaged(..))));
    }
}
