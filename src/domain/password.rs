//! Passwords: the rule they follow, and slow hashes of them.
//!
//! Hashing takes tens of milliseconds and much memory, so it runs on blocking threads, few at a time, and never inside
//! a transaction.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use rand::Rng;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::error::DomainError;
use super::secret_file::{self, SecretFileError};
use crate::config::auth::Auth;

/// Shortest password, in bytes.
pub const MIN_PASSWORD_BYTES: usize = 6;

/// File of the pepper in the data folder.
const PEPPER_FILE: &str = "password-pepper";
const PEPPER_BYTES: usize = 32;
const SALT_BYTES: usize = 32;
const HASH_BYTES: usize = 32;
/// Lanes of a hash, where its memory allows: Argon2 asks for 8 KiB per lane.
const MAX_LANES: u32 = 4;
/// Hashes that may wait for a thread; above it callers are told to come again.
const MAX_WAITING: usize = 256;

/// Whether a password is long enough to be set.
pub fn is_acceptable(password: &str) -> bool {
    password.len() >= MIN_PASSWORD_BYTES
}

/// A secret mixed into every hash and kept outside the database, so that the database alone cannot be searched.
pub struct Pepper(Vec<u8>);

impl Pepper {
    /// The pepper in the data folder, made at first start with mode 0600. Without it no password matches any more.
    ///
    /// # Errors
    /// The file cannot be read or written, or is too short.
    pub fn load_or_create(folder: &Path) -> Result<Self, SecretFileError> {
        let path = folder.join(PEPPER_FILE);
        let make = || {
            let mut pepper = vec![0; PEPPER_BYTES];
            rand::rng().fill_bytes(&mut pepper);
            pepper
        };
        let pepper = secret_file::load_or_create(&path, make)?;
        if pepper.len() < PEPPER_BYTES {
            return Err(SecretFileError::Damaged(path, format!("it is shorter than {PEPPER_BYTES} bytes")));
        }
        Ok(Self(pepper))
    }

    /// No pepper: for tests and for throw-away servers.
    pub fn none() -> Self {
        Self(Vec::new())
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper")
    }
}

/// A stored hash and the parameters it was made with, so that settings can change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    #[serde(with = "hex_text")]
    salt: [u8; SALT_BYTES],
    #[serde(with = "hex_text")]
    hash: [u8; HASH_BYTES],
}

mod hex_text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(String::deserialize(deserializer)?, &mut bytes).map_err(D::Error::custom)?;
        Ok(bytes)
    }
}

/// Makes and checks hashes with bounded concurrency.
#[derive(Debug)]
pub struct PasswordHasher {
    pepper: Arc<Pepper>,
    memory_kib: u32,
    passes: u32,
    threads: Arc<Semaphore>,
    waiting: Semaphore,
    /// Hashes computed so far: tests compare the work of answers that must look alike.
    #[cfg(test)]
    pub(crate) computed: std::sync::atomic::AtomicUsize,
}

impl PasswordHasher {
    /// A hasher that runs on at most as many threads as the machine has.
    pub fn new(settings: &Auth, pepper: Pepper) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            pepper: Arc::new(pepper),
            memory_kib: u32::try_from(settings.argon2_memory.0 / 1024).unwrap_or(u32::MAX).max(Params::MIN_M_COST),
            passes: settings.argon2_passes.max(1),
            threads: Arc::new(Semaphore::new(threads)),
            waiting: Semaphore::new(threads + MAX_WAITING),
            #[cfg(test)]
            computed: Default::default(),
        }
    }

    /// A new hash under a fresh salt.
    ///
    /// # Errors
    /// [`DomainError::Unavailable`] when too many hashes are waiting.
    pub async fn hash(&self, password: &str) -> Result<PasswordHash, DomainError> {
        let mut salt = [0; SALT_BYTES];
        rand::rng().fill_bytes(&mut salt);
        let lanes = (self.memory_kib / 8).clamp(1, MAX_LANES);
        let blank =
            PasswordHash { memory_kib: self.memory_kib, passes: self.passes, lanes, salt, hash: [0; HASH_BYTES] };
        let hash = self.compute(password, blank.clone()).await?;
        Ok(PasswordHash { hash, ..blank })
    }

    /// Whether a password is the one behind `stored`. With none stored the same time is spent, and the answer is no.
    ///
    /// # Errors
    /// [`DomainError::Unavailable`] when too many hashes are waiting.
    pub async fn matches(&self, password: &str, stored: Option<&PasswordHash>) -> Result<bool, DomainError> {
        match stored {
            Some(stored) => {
                let hash = self.compute(password, stored.clone()).await?;
                Ok(hash.ct_eq(&stored.hash).into())
            }
            None => self.hash(password).await.map(|_| false),
        }
    }

    async fn compute(&self, password: &str, hash: PasswordHash) -> Result<[u8; HASH_BYTES], DomainError> {
        #[cfg(test)]
        self.computed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let _waiting = self.waiting.try_acquire().map_err(|_| DomainError::Unavailable)?;
        let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(|_| DomainError::Unavailable)?;
        let pepper = Arc::clone(&self.pepper);
        let password = password.to_owned();
        let computed = tokio::task::spawn_blocking(move || {
            // Held to the end of the work even when the caller has gone away.
            let _thread = thread;
            compute(&password, &hash, &pepper)
        });
        computed.await.ok().flatten().ok_or(DomainError::Unavailable)
    }
}

fn compute(password: &str, hash: &PasswordHash, pepper: &Pepper) -> Option<[u8; HASH_BYTES]> {
    let params = Params::new(hash.memory_kib, hash.passes, hash.lanes, Some(HASH_BYTES)).ok()?;
    let argon2 = Argon2::new_with_secret(&pepper.0, Algorithm::Argon2id, Version::V0x13, params).ok()?;
    let mut out = [0; HASH_BYTES];
    argon2.hash_password_into(password.as_bytes(), &hash.salt, &mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::ByteSize;

    fn hasher(pepper: Pepper) -> PasswordHasher {
        let settings = Auth { argon2_memory: ByteSize::kib(8), argon2_passes: 1, ..Auth::default() };
        PasswordHasher::new(&settings, pepper)
    }

    #[tokio::test]
    async fn only_the_right_password_matches() {
        let hasher = hasher(Pepper::none());
        let stored = hasher.hash("correct horse").await.unwrap();
        assert!(hasher.matches("correct horse", Some(&stored)).await.unwrap());
        assert!(!hasher.matches("correct horse ", Some(&stored)).await.unwrap());
        assert!(!hasher.matches("correct horse", None).await.unwrap());
        assert_ne!(stored, hasher.hash("correct horse").await.unwrap(), "salts differ");
    }

    #[tokio::test]
    async fn a_hash_keeps_the_parameters_it_was_made_with() {
        let stored = hasher(Pepper::none()).hash("correct horse").await.unwrap();
        let settings = Auth { argon2_memory: ByteSize::kib(64), argon2_passes: 2, ..Auth::default() };
        let later = PasswordHasher::new(&settings, Pepper::none());
        assert!(later.matches("correct horse", Some(&stored)).await.unwrap());
        assert_eq!(later.hash("x").await.unwrap().lanes, 4);
        let kept: PasswordHash = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
        assert_eq!(kept, stored);
    }

    #[tokio::test]
    async fn the_database_alone_is_not_enough() {
        let folder = tempfile::tempdir().unwrap();
        let stored = hasher(Pepper::load_or_create(folder.path()).unwrap()).hash("correct horse").await.unwrap();
        assert!(!hasher(Pepper::none()).matches("correct horse", Some(&stored)).await.unwrap());
        let again = hasher(Pepper::load_or_create(folder.path()).unwrap());
        assert!(again.matches("correct horse", Some(&stored)).await.unwrap());
        std::fs::write(folder.path().join(PEPPER_FILE), "short").unwrap();
        assert!(matches!(Pepper::load_or_create(folder.path()), Err(SecretFileError::Damaged(..))));
    }

    #[tokio::test]
    async fn a_crowd_is_turned_away_instead_of_queued_without_end() {
        let hasher = hasher(Pepper::none());
        let all = hasher.waiting.available_permits();
        let _busy = hasher.waiting.acquire_many(u32::try_from(all).unwrap()).await.unwrap();
        assert!(matches!(hasher.hash("correct horse").await, Err(DomainError::Unavailable)));
    }
}
