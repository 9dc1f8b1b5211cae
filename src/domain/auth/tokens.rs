//! Tokens as the server makes them and takes them back.
//!
//! Checking a signature is the costliest part of a connect. A token that this server made or has checked is known again
//! by its text alone: for a while in memory, and the last one of each client in the store too, so that a restart does
//! not check the tokens of everyone who comes back at once. Whoever holds such a text holds a token under our keys; its
//! times, and whether its client still stands, are looked at each time (`authenticate.rs`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use parking_lot::Mutex;

use crate::domain::client;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::service::Service;
use crate::domain::token::{Claims, TokenError, TokenKeys};
use crate::ids::ClientId;
use crate::store::table::Table;
use crate::store::{Store, StoreError};

/// The last token of each client that was made or checked.
pub(super) const KNOWN_TOKENS: Table<ClientId, Mark> = Table::new(67, "known_tokens");

/// Tokens known in memory: at most twice this many.
const REMEMBERED: usize = 16_384;
/// Clients whose last token is still to be saved; tokens of others are checked again after a restart.
const MAX_UNSAVED: usize = 65_536;
/// Time between two saves.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);
/// Marks written in one transaction.
const SAVED_AT_ONCE: usize = 256;

/// SHA-256 over the fingerprint of all our keys and the text of a token: a token is not known any more under other keys.
type Mark = [u8; 32];

/// Signs tokens, checks them, and knows them again.
pub struct Tokens {
    service: Arc<Service>,
    store: Arc<dyn Store>,
    keys: TokenKeys,
    fingerprint: [u8; 32],
    known: Mutex<Known>,
    /// Signatures checked so far.
    #[cfg(test)]
    pub(crate) checked: std::sync::atomic::AtomicUsize,
}

/// What is known in memory. Marks lie in two generations: when the younger is full it becomes the older, whose marks
/// are dropped unless used.
#[derive(Default)]
struct Known {
    younger: HashSet<Mark>,
    older: HashSet<Mark>,
    unsaved: HashMap<ClientId, Mark>,
}

impl Known {
    fn contains(&mut self, mark: Mark) -> bool {
        if self.younger.contains(&mark) {
            return true;
        }
        let is_old = self.older.remove(&mark);
        if is_old {
            self.insert(mark);
        }
        is_old
    }

    fn insert(&mut self, mark: Mark) {
        if self.younger.len() >= REMEMBERED {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(mark);
    }

    fn note(&mut self, mark: Mark, client_id: Option<ClientId>) {
        self.insert(mark);
        if let Some(client_id) = client_id
            && (self.unsaved.len() < MAX_UNSAVED || self.unsaved.contains_key(&client_id))
        {
            self.unsaved.insert(client_id, mark);
        }
    }
}

impl Tokens {
    /// Tokens under `keys`, known again from the store of `service`.
    pub fn new(service: Arc<Service>, store: Arc<dyn Store>, keys: TokenKeys) -> Self {
        let fingerprint = keys.fingerprint();
        Self {
            service,
            store,
            keys,
            fingerprint,
            known: Mutex::default(),
            #[cfg(test)]
            checked: Default::default(),
        }
    }

    /// A signed token.
    pub fn issue(&self, claims: &Claims) -> String {
        let token = self.keys.issue(claims);
        self.known.lock().note(self.mark(&token), claims.client_id);
        token
    }

    /// The claims of a token that is signed with one of our keys; nothing else is checked.
    ///
    /// # Errors
    /// Every kind but [`TokenError::Time`].
    pub fn verify_signature(&self, token: &str) -> Result<Claims, TokenError> {
        let mark = self.mark(token);
        // A statement of its own: the lock is not held while the store is read.
        let is_known = self.known.lock().contains(mark);
        if let Ok(claims) = Claims::read_unverified(token)
            && (is_known || self.is_saved(mark, claims.client_id))
        {
            return Ok(claims);
        }
        #[cfg(test)]
        self.checked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let claims = self.keys.verify_signature(token)?;
        self.known.lock().note(mark, claims.client_id);
        Ok(claims)
    }

    /// Saves what is unsaved every ten seconds; runs until dropped.
    pub async fn drive(&self) {
        loop {
            tokio::time::sleep(SAVE_INTERVAL).await;
            if let Err(error) = self.save().await {
                tracing::warn!(%error, "tokens could not be noted; they are checked again after a restart");
            }
        }
    }

    /// Saves what is unsaved. What a failure leaves out is lost: its tokens are checked once more.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn save(&self) -> Result<(), DomainError> {
        let unsaved: Vec<_> = std::mem::take(&mut self.known.lock().unsaved).into_iter().collect();
        for marks in unsaved.chunks(SAVED_AT_ONCE) {
            self.service.run(&Save { marks }).await?;
        }
        Ok(())
    }

    fn mark(&self, token: &str) -> Mark {
        let mut context = Context::new(&SHA256);
        context.update(&self.fingerprint);
        context.update(token.as_bytes());
        let mut mark = [0; 32];
        mark.copy_from_slice(context.finish().as_ref());
        mark
    }

    /// Whether this is the last token of the client it names. A failing store makes no token bad: the signature decides.
    /// Read past the cache of rows, for a client shows its token rarely.
    fn is_saved(&self, mark: Mark, client_id: Option<ClientId>) -> bool {
        let saved = client_id.map(|client_id| KNOWN_TOKENS.get(&*self.store, &client_id));
        matches!(saved, Some(Ok(Some(saved))) if saved == mark)
    }
}

/// Forgets the token of a client that is removed.
pub(in crate::domain) fn forget(tx: &mut Tx<'_>, client_id: &ClientId) -> Result<(), StoreError> {
    tx.delete(&KNOWN_TOKENS, client_id)
}

struct Save<'a> {
    marks: &'a [(ClientId, Mark)],
}

impl Operation for Save<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        for (client_id, mark) in self.marks {
            // The client may have been removed since.
            if client::active(tx, client_id)?.is_some() {
                tx.put(&KNOWN_TOKENS, client_id, mark)?;
            }
        }
        Ok(())
    }
}
