//! What people tell the operator. A network's newest entries are kept, and go with it.

use serde::{Deserialize, Serialize};

use super::auth::attempts::{Limit, Origin};
use super::auth::{Accounts, authenticate};
use super::caller::Caller;
use super::device::cut;
use super::error::DomainError;
use super::operation::{Operation, Tx};
use crate::ids::{ClientId, NetworkId, RecordId, UserId};
use crate::json_record;
use crate::store::StoreError;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Every entry.
pub const FEEDBACK: Table<RecordId, FeedbackRecord> = Table::new(51, "feedback");

/// The entries of a network, oldest first.
pub const NETWORK_FEEDBACK: Table<(NetworkId, RecordId), ()> = Table::guarded(52, "network_feedback", 16);

/// Entries of one network; above it the oldest go.
pub const MAX_PER_NETWORK: usize = 256;

/// Longest free text, in bytes; longer text is cut, because what is there is worth reading.
pub const MAX_TEXT_BYTES: usize = 16 << 10;

/// What somebody said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackRecord {
    /// Their network.
    pub network_id: NetworkId,
    /// The user.
    pub user_id: UserId,
    /// The client they used, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// When.
    pub create_time: Timestamp,
    /// What they said.
    pub feedback: Feedback,
}
json_record!(FeedbackRecord, 1);

/// The content of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Feedback {
    /// What they use the product for: the names of the boxes they ticked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<String>,
    /// What they need: the names of the boxes they ticked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// In their own words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// How many stars they give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub star_count: Option<i32>,
}

impl Accounts {
    /// Keeps feedback (`/feedback/send-feedback`).
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after a lot of it, [`DomainError::Unauthorized`] when the caller no longer stands.
    pub async fn send_feedback(
        &self,
        origin: &Origin,
        caller: &Caller,
        feedback: Feedback,
    ) -> Result<RecordId, DomainError> {
        self.attempts.by_user(self.now(), origin, Limit::Feedback, &caller.network_id.to_string())?.keep();
        let text = cut(&feedback.text, MAX_TEXT_BYTES).to_owned();
        self.service.run(&Keep { caller, feedback: Feedback { text, ..feedback } }).await
    }
}

struct Keep<'a> {
    caller: &'a Caller,
    feedback: Feedback,
}

impl Operation for Keep<'_> {
    type Output = RecordId;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<RecordId, DomainError> {
        authenticate::confirm(tx, self.caller)?;
        let network_id = self.caller.network_id;
        let kept = tx.scan(&NETWORK_FEEDBACK, &network_id)?;
        let excess = (kept.len() + 1).saturating_sub(MAX_PER_NETWORK);
        for (key, ()) in kept.into_iter().take(excess) {
            remove(tx, &key)?;
        }
        let id: RecordId = tx.new_id();
        let record = FeedbackRecord {
            network_id,
            user_id: self.caller.user_id,
            client_id: self.caller.client_id(),
            create_time: tx.now,
            feedback: self.feedback.clone(),
        };
        tx.put(&FEEDBACK, &id, &record)?;
        tx.put(&NETWORK_FEEDBACK, &(network_id, id), &())?;
        Ok(id)
    }
}

fn remove(tx: &mut Tx<'_>, key: &(NetworkId, RecordId)) -> Result<(), StoreError> {
    tx.delete(&FEEDBACK, &key.1)?;
    tx.delete(&NETWORK_FEEDBACK, key)
}

/// Forgets what was said in a network that is being removed.
pub fn remove_all(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<(), StoreError> {
    for (key, ()) in tx.scan(&NETWORK_FEEDBACK, network_id)? {
        remove(tx, &key)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::delete::DeleteNetwork;
    use crate::domain::auth::testing::{HERE, TestAccounts};

    fn said(text: &str) -> Feedback {
        Feedback { text: text.into(), star_count: Some(4), ..Feedback::default() }
    }

    #[tokio::test]
    async fn the_newest_entries_are_kept_cut_and_go_with_the_network() {
        let accounts = TestAccounts::with(|config| config.auth.attempt_limits = false);
        let caller = accounts.caller(&accounts.anonymous().await.by_jwt);
        let first = accounts.send_feedback(&HERE, &caller, said(&"ü".repeat(MAX_TEXT_BYTES))).await.unwrap();
        let kept = accounts.domain.get(&FEEDBACK, &first).unwrap();
        assert_eq!(kept.feedback.text.len(), MAX_TEXT_BYTES);
        let mut last = first;
        for _ in 0..MAX_PER_NETWORK {
            last = accounts.send_feedback(&HERE, &caller, said("fine")).await.unwrap();
        }
        assert_eq!(accounts.domain.get(&FEEDBACK, &first), None);
        assert!(accounts.domain.get(&FEEDBACK, &last).is_some());
        accounts.domain.run(&DeleteNetwork { network_id: caller.network_id }).await.unwrap();
        assert_eq!(accounts.domain.get(&FEEDBACK, &last), None);
        let late = accounts.send_feedback(&HERE, &caller, said("bye")).await;
        assert!(matches!(late, Err(DomainError::Unauthorized)));
    }
}
