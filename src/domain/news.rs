//! Who wants to hear of news, as the company that sends them keeps it: each change is written down with what causes it,
//! and told to the company until it knows.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::auth::method::{self, MethodKind};
use super::auth::user_auth::UserAuth;
use super::error::DomainError;
use super::network::{NETWORKS, USERS};
use super::operation::{Operation, Tx};
use super::preferences::{PREFERENCES, Preferences};
use super::seal::Sealed;
use super::service::Service;
use crate::ids::{NetworkId, UserId};
use crate::json_record;
use crate::store::table::Table;

/// Changes that the company does not know yet, by the keyed hash of the mail address.
pub const NEWS_CHANGES: Table<[u8; 32], PendingChange> = Table::new(220, "news_changes");

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(30);

/// Changes told in one round.
const MAX_AT_ONCE: usize = 100;

/// What is new about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewsChange {
    /// It wants to hear of news.
    Add,
    /// It does not.
    Remove,
    /// Its account is gone.
    Forget,
}

/// A change that the company does not know yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingChange {
    /// Whose.
    pub address: Sealed,
    /// What.
    pub change: NewsChange,
}
json_record!(PendingChange, 1);

/// The company that sends news.
pub trait NewsList: Send + Sync + 'static {
    /// Tells it of a change; a second time changes nothing.
    fn tell(&self, address: String, change: NewsChange) -> BoxFuture<'_, Result<(), NewsListUnreachable>>;
}

/// The company does not answer, or not as it should; the cause is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of those who hear of news cannot be reached")]
pub struct NewsListUnreachable;

/// Writes a change of a user down, for each mail address that is proven to be theirs.
pub(super) fn note(tx: &mut Tx<'_>, user_id: &UserId, change: NewsChange) -> Result<(), DomainError> {
    if !tx.config.brevo.has_list() {
        return Ok(());
    }
    for method in method::methods(tx, user_id)? {
        let is_mail = matches!(method.kind, MethodKind::Email | MethodKind::Apple | MethodKind::Google);
        if is_mail && method.verified {
            let (key, address) = (tx.seal.hash(&method.identity), tx.seal.seal(&method.identity));
            tx.put(&NEWS_CHANGES, &key, &PendingChange { address, change })?;
        }
    }
    Ok(())
}

/// The same for a network's one user.
pub(super) fn note_network(
    tx: &mut Tx<'_>,
    network_id: &NetworkId,
    preferences: &Preferences,
) -> Result<(), DomainError> {
    let Some(network) = tx.get(&NETWORKS, network_id)? else { return Ok(()) };
    let change = if preferences.product_updates { NewsChange::Add } else { NewsChange::Remove };
    note(tx, &network.admin_user_id, change)
}

/// Notes that somebody told the company to send them no more.
pub struct Unsubscribe {
    /// Their address, as the company knows it.
    pub address: String,
}

impl Operation for Unsubscribe {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let Some(address) = UserAuth::parse_mail(&self.address) else { return Ok(()) };
        let Some(user_id) = method::user_of(tx, address.as_str())? else { return Ok(()) };
        let Some(user) = tx.get(&USERS, &user_id)? else { return Ok(()) };
        Ok(tx.put(&PREFERENCES, &user.network_id, &Preferences { product_updates: false })?)
    }
}

struct Changes;

impl Operation for Changes {
    /// Each with its address, unless that was sealed under another key.
    type Output = Vec<([u8; 32], Option<String>, PendingChange)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let changes = tx.page_snapshot(&NEWS_CHANGES, None, MAX_AT_ONCE)?;
        let open = |(key, pending): ([u8; 32], PendingChange)| (key, tx.seal.open(&pending.address), pending);
        Ok(changes.into_iter().map(open).collect())
    }
}

/// Notes that the company knows of a change, unless there is a newer one.
struct Known<'a>([u8; 32], &'a PendingChange);

impl Operation for Known<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        if tx.get(&NEWS_CHANGES, &self.0)?.as_ref() == Some(self.1) {
            tx.delete(&NEWS_CHANGES, &self.0)?;
        }
        Ok(())
    }
}

/// Tells the company of changes, a round every half minute; runs until dropped. Without one there is nothing to tell.
pub async fn drive(service: Arc<Service>, list: Option<Arc<dyn NewsList>>) {
    let Some(list) = list else { return std::future::pending().await };
    loop {
        if let Err(error) = tell_changes(&service, &*list).await {
            tracing::warn!(%error, "who wants to hear of news could not be told; the next round tries again");
        }
        tokio::time::sleep(ROUND).await;
    }
}

/// Tells the company of the changes it does not know, until it does not answer.
pub async fn tell_changes(service: &Service, list: &dyn NewsList) -> Result<(), DomainError> {
    for (key, address, pending) in service.read(&Changes)? {
        let Some(address) = address else {
            tracing::error!("who wants news was sealed under another identity-key; it is dropped");
            service.run(&Known(key, &pending)).await?;
            continue;
        };
        if list.tell(address, pending.change).await.is_err() {
            return Ok(());
        }
        service.run(&Known(key, &pending)).await?;
    }
    Ok(())
}
