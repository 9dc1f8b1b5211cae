//! The public keys of a sign-in service: fetched when first needed, kept, and fetched again when they are old or when a
//! token names one that is not among them.
//!
//! Where they come from is the business of a [`KeySetSource`]. However many tokens name unknown keys, the source is asked
//! at most once in [`PAUSE`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jsonwebtoken::DecodingKey;
use parking_lot::RwLock;
use serde::Deserialize;

use crate::domain::error::DomainError;
use crate::time::{DAY, Timestamp};

/// Largest key set, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// Age at which keys are fetched again.
const FRESH: Duration = Duration::from_secs(3600);
/// Age at which keys that could not be fetched again stop counting.
const USABLE: Duration = DAY;
/// Shortest time between two attempts to fetch.
const PAUSE: Duration = Duration::from_secs(30);
/// Most keys of a service.
const MAX_KEYS: usize = 64;

/// Brings key sets from where they are.
pub trait KeySetSource: Send + Sync {
    /// The JSON text at a place, a URL or a path, of at most [`MAX_BYTES`]; or why it cannot be had.
    fn fetch<'a>(&'a self, place: &'a str) -> BoxFuture<'a, Result<Vec<u8>, String>>;
}

/// The keys of one service.
pub struct KeySet {
    place: String,
    source: Arc<dyn KeySetSource>,
    held: RwLock<Held>,
    /// One fetches, the others wait for what it brings.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Held {
    keys: Arc<[ServiceKey]>,
    fetched: Option<Timestamp>,
    tried: Option<Timestamp>,
}

struct ServiceKey {
    id: String,
    key: Arc<DecodingKey>,
}

impl KeySet {
    /// The keys at a place; nothing is fetched yet.
    pub fn new(place: &str, source: Arc<dyn KeySetSource>) -> Self {
        Self { place: place.into(), source, held: RwLock::default(), turn: tokio::sync::Mutex::default() }
    }

    /// The key of an id; `None` when the service has none of that id.
    ///
    /// # Errors
    /// [`DomainError::Unavailable`] while there are no keys at all.
    pub async fn key(&self, now: Timestamp, id: &str) -> Result<Option<Arc<DecodingKey>>, DomainError> {
        let held = self.held.read().clone();
        if let Some(key) = held.key(id)
            && held.is_younger(FRESH, now)
        {
            return Ok(Some(key));
        }
        let _turn = self.turn.lock().await;
        let held = self.held.read().clone();
        if held.tried.is_none_or(|tried| tried + PAUSE <= now) {
            self.refresh(now).await;
        }
        let held = self.held.read().clone();
        if held.is_younger(USABLE, now) { Ok(held.key(id)) } else { Err(DomainError::Unavailable) }
    }

    /// Puts new keys in place of the old, which stay when there are none.
    async fn refresh(&self, now: Timestamp) {
        self.held.write().tried = Some(now);
        let fetched = self.source.fetch(&self.place).await;
        match fetched.and_then(|text| parse(&text)) {
            Ok(keys) => {
                let mut held = self.held.write();
                held.keys = keys;
                held.fetched = Some(now);
            }
            Err(cause) => tracing::warn!(place = self.place, cause, "the keys of a sign-in service cannot be had"),
        }
    }
}

impl Held {
    fn key(&self, id: &str) -> Option<Arc<DecodingKey>> {
        self.keys.iter().find(|key| key.id == id).map(|key| key.key.clone())
    }

    fn is_younger(&self, age: Duration, now: Timestamp) -> bool {
        self.fetched.is_some_and(|fetched| now < fetched + age)
    }
}

/// The RSA keys of a set (RFC 7517); others are left out.
fn parse(text: &[u8]) -> Result<Arc<[ServiceKey]>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Key>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Key {
        kty: String,
        kid: String,
        n: String,
        e: String,
    }
    let set: Set = serde_json::from_slice(text).map_err(|error| format!("it is no key set: {error}"))?;
    let keys: Vec<ServiceKey> = set
        .keys
        .into_iter()
        .filter(|key| key.kty == "RSA")
        .take(MAX_KEYS)
        .filter_map(|key| {
            let decoded = DecodingKey::from_rsa_components(&key.n, &key.e).ok()?;
            Some(ServiceKey { id: key.kid, key: Arc::new(decoded) })
        })
        .collect();
    if keys.is_empty() { Err("it holds no RSA key".into()) } else { Ok(keys.into()) }
}
