//! Sessions of browsers at the account website.
//!
//! The cookie holds 256 random bits, the store their SHA-256 only. A session ends after an idle time, with the
//! password it was opened under, and when its user has opened too many others since; signing in always makes a new
//! one.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::domain::error::DomainError;
use crate::domain::network::USERS;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{NetworkId, UserId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Sessions by the SHA-256 of what the cookie holds.
pub const WEB_SESSIONS: Table<[u8; 32], WebSessionRecord> = Table::new(25, "web_sessions");

/// The sessions of each user.
pub const USER_WEB_SESSIONS: Table<(UserId, [u8; 32]), ()> = Table::guarded(26, "user_web_sessions", 16);

const SECRET_BYTES: usize = 32;
/// How exactly the last use is known, as a part of the idle time: spares a write for most requests.
const USE_GRAINS: u32 = 24;
/// Sessions that one step of a sweep looks at.
const SWEEP_PAGE: usize = 500;

/// A session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebSessionRecord {
    /// Whose it is.
    pub user_id: UserId,
    /// Their network.
    pub network_id: NetworkId,
    /// When it was opened.
    pub create_time: Timestamp,
    /// When it was last used, roughly.
    pub use_time: Timestamp,
    /// It counts as opened now; earlier than the user's last new password, it is dead.
    pub credential_time: Timestamp,
}
json_record!(WebSessionRecord, 1);

/// What the cookie holds; shown to nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct WebSessionSecret(String);

impl WebSessionSecret {
    /// The text of the cookie.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for WebSessionSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebSessionSecret")
    }
}

/// The key of the session behind the text of a cookie.
pub fn key_of(cookie: &str) -> [u8; 32] {
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, cookie.as_bytes()).as_ref());
    key
}

/// Who uses a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebUser {
    /// The user.
    pub user_id: UserId,
    /// Their network.
    pub network_id: NetworkId,
    /// The key of the session.
    pub session: [u8; 32],
}

/// Opens a session; the one it takes the place of, if any, ends.
///
/// # Errors
/// [`DomainError::Unauthorized`] when there is no such user.
pub fn start(tx: &mut Tx<'_>, user_id: &UserId, replaced: Option<&[u8; 32]>) -> Result<WebSessionSecret, DomainError> {
    let user = tx.get(&USERS, user_id)?.ok_or(DomainError::Unauthorized)?;
    if let Some(replaced) = replaced {
        end(tx, replaced)?;
    }
    trim(tx, user_id)?;
    let mut secret = [0; SECRET_BYTES];
    tx.rng.fill_bytes(&mut secret);
    let secret = WebSessionSecret(URL_SAFE_NO_PAD.encode(secret));
    let key = key_of(secret.as_str());
    let record = WebSessionRecord {
        user_id: *user_id,
        network_id: user.network_id,
        create_time: tx.now,
        use_time: tx.now,
        credential_time: tx.now,
    };
    tx.put(&WEB_SESSIONS, &key, &record)?;
    tx.put(&USER_WEB_SESSIONS, &(*user_id, key), &())?;
    Ok(secret)
}

/// Ends sessions of a user that have run out, and makes room for one more.
fn trim(tx: &mut Tx<'_>, user_id: &UserId) -> Result<(), DomainError> {
    let mut live = Vec::new();
    for ((_, key), ()) in tx.scan(&USER_WEB_SESSIONS, user_id)? {
        match tx.get(&WEB_SESSIONS, &key)? {
            Some(session) if is_live(tx, &session) => live.push((session.use_time, key)),
            _ => end_of(tx, user_id, &key)?,
        }
    }
    live.sort_unstable();
    let excess = (live.len() + 1).saturating_sub(tx.config.portal.sessions_per_user);
    for (_, key) in live.into_iter().take(excess) {
        end_of(tx, user_id, &key)?;
    }
    Ok(())
}

fn is_live(tx: &Tx<'_>, session: &WebSessionRecord) -> bool {
    tx.now.since(session.use_time) < tx.config.portal.session_idle
}

fn end(tx: &mut Tx<'_>, key: &[u8; 32]) -> Result<(), DomainError> {
    match tx.get(&WEB_SESSIONS, key)? {
        Some(session) => end_of(tx, &session.user_id, key),
        None => Ok(()),
    }
}

fn end_of(tx: &mut Tx<'_>, user_id: &UserId, key: &[u8; 32]) -> Result<(), DomainError> {
    tx.delete(&WEB_SESSIONS, key)?;
    tx.delete(&USER_WEB_SESSIONS, &(*user_id, *key))?;
    Ok(())
}

/// Ends every session of a user but one.
pub fn end_all(tx: &mut Tx<'_>, user_id: &UserId, but: Option<&[u8; 32]>) -> Result<(), DomainError> {
    for ((_, key), ()) in tx.scan(&USER_WEB_SESSIONS, user_id)? {
        if but != Some(&key) {
            end_of(tx, user_id, &key)?;
        }
    }
    Ok(())
}

/// Lets a session outlive the password it was opened under, because it has just set the new one.
pub fn outlive_password(tx: &mut Tx<'_>, key: &[u8; 32]) -> Result<(), DomainError> {
    if let Some(session) = tx.get(&WEB_SESSIONS, key)? {
        tx.put(&WEB_SESSIONS, key, &WebSessionRecord { credential_time: tx.now, ..session })?;
    }
    Ok(())
}

/// Who uses a session now, and whether its use should be noted ([`Renew`]).
#[derive(Clone, Copy, Debug)]
pub struct Find {
    /// The key of the session.
    pub key: [u8; 32],
}

impl Operation for Find {
    /// `None` when there is no such session any more.
    type Output = Option<(WebUser, bool)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let Some(session) = tx.get(&WEB_SESSIONS, &self.key)? else { return Ok(None) };
        let Some(user) = tx.get(&USERS, &session.user_id)? else { return Ok(None) };
        if !is_live(tx, &session) || session.credential_time < user.credential_change_time {
            return Ok(None);
        }
        let web_user = WebUser { user_id: session.user_id, network_id: user.network_id, session: self.key };
        let grain = tx.config.portal.session_idle / USE_GRAINS;
        Ok(Some((web_user, tx.now.since(session.use_time) >= grain)))
    }
}

/// Notes that a session is used.
#[derive(Clone, Copy, Debug)]
pub struct Renew {
    /// The key of the session.
    pub key: [u8; 32],
}

impl Operation for Renew {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        if let Some(session) = tx.get(&WEB_SESSIONS, &self.key)? {
            tx.put(&WEB_SESSIONS, &self.key, &WebSessionRecord { use_time: tx.now, ..session })?;
        }
        Ok(())
    }
}

/// Ends a session.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The key of the session.
    pub key: [u8; 32],
}

impl Operation for End {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        end(tx, &self.key)
    }
}

/// Deletes sessions that have run out, a page of them; to be run until it says that there is no next page.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// The last session that was looked at.
    pub after: Option<[u8; 32]>,
}

impl Operation for Sweep {
    /// Where the next page starts.
    type Output = Option<[u8; 32]>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let page = tx.page_snapshot(&WEB_SESSIONS, self.after.as_ref(), SWEEP_PAGE)?;
        let next = page.last().filter(|_| page.len() == SWEEP_PAGE).map(|(key, _)| *key);
        let longest = tx.config.portal.session_idle + Duration::from_secs(60);
        for (key, session) in page {
            if tx.now.since(session.use_time) >= longest {
                end_of(tx, &session.user_id, &key)?;
            }
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::auth::testing::TestAccounts;

    struct Start(UserId, Option<[u8; 32]>);

    impl Operation for Start {
        type Output = WebSessionSecret;
        fn apply(&self, tx: &mut Tx<'_>) -> Result<WebSessionSecret, DomainError> {
            start(tx, &self.0, self.1.as_ref())
        }
    }

    async fn session(accounts: &TestAccounts, user_id: UserId) -> [u8; 32] {
        key_of(accounts.domain.run(&Start(user_id, None)).await.unwrap().as_str())
    }

    fn is_open(accounts: &TestAccounts, key: [u8; 32]) -> bool {
        accounts.domain.service.read(&Find { key }).unwrap().is_some()
    }

    #[tokio::test]
    async fn a_session_lives_by_use_and_only_its_hash_is_stored() {
        let accounts = TestAccounts::new();
        let user_id = accounts.anonymous().await.user_id;
        let secret = accounts.domain.run(&Start(user_id, None)).await.unwrap();
        assert_eq!(secret.as_str().len(), 43);
        assert_eq!(format!("{secret:?}"), "WebSessionSecret");
        let key = key_of(secret.as_str());
        for _ in 0..3 {
            accounts.advance(Duration::from_secs(7000));
            let (user, is_due) = accounts.domain.service.read(&Find { key }).unwrap().unwrap();
            assert_eq!((user.user_id, is_due), (user_id, true));
            accounts.domain.run(&Renew { key }).await.unwrap();
            assert!(!accounts.domain.service.read(&Find { key }).unwrap().unwrap().1, "noted once");
        }
        accounts.advance(Duration::from_secs(7200));
        assert!(!is_open(&accounts, key));
    }

    #[tokio::test]
    async fn a_new_session_takes_the_place_of_the_old_one_and_the_least_used_make_room() {
        let accounts = TestAccounts::with(|config| config.portal.sessions_per_user = 2);
        let user_id = accounts.anonymous().await.user_id;
        let first = session(&accounts, user_id).await;
        let second = key_of(accounts.domain.run(&Start(user_id, Some(first))).await.unwrap().as_str());
        assert!(!is_open(&accounts, first) && is_open(&accounts, second));
        accounts.advance(Duration::from_secs(1));
        let third = session(&accounts, user_id).await;
        accounts.advance(Duration::from_secs(1));
        let fourth = session(&accounts, user_id).await;
        assert!(!is_open(&accounts, second) && is_open(&accounts, third) && is_open(&accounts, fourth));
        accounts.domain.run(&End { key: third }).await.unwrap();
        assert!(!is_open(&accounts, third) && is_open(&accounts, fourth));
    }

    #[tokio::test]
    async fn what_has_run_out_is_swept_from_both_tables() {
        let accounts = TestAccounts::new();
        let user_id = accounts.anonymous().await.user_id;
        let old = session(&accounts, user_id).await;
        accounts.advance(Duration::from_secs(7000));
        let young = session(&accounts, user_id).await;
        accounts.advance(Duration::from_secs(300));
        assert_eq!(accounts.domain.run(&Sweep { after: None }).await.unwrap(), None);
        assert_eq!(accounts.domain.get(&WEB_SESSIONS, &old), None);
        assert_eq!(accounts.domain.get(&USER_WEB_SESSIONS, &(user_id, old)), None);
        assert!(is_open(&accounts, young));
    }
}
