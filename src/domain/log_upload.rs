//! Logs that apps send after feedback: who may send one, and what came.
//!
//! One row for each upload; the bytes are the matter of who receives them. A network's newest rows are kept, and go
//! with it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::auth::authenticate;
use super::caller::Caller;
use super::device::cut;
use super::error::DomainError;
use super::feedback::FEEDBACK;
use super::operation::{Operation, Tx};
use crate::ids::{ClientId, NetworkId, RecordId, UserId};
use crate::json_record;
use crate::store::StoreError;
use crate::store::table::Table;
use crate::time::Timestamp;

/// The uploads of a network, oldest first.
pub const LOG_UPLOADS: Table<(NetworkId, RecordId), LogUploadRecord> = Table::guarded(53, "log_uploads", 16);

/// Largest log, in bytes.
pub const MAX_BYTES: u64 = 100 << 20;

/// A network may send one log in each of these spans, counted from 1970.
pub const SPAN: Duration = Duration::from_secs(300);

/// Rows of one network; above it the oldest go.
pub const MAX_PER_NETWORK: usize = 64;

const MAX_CONTENT_TYPE_BYTES: usize = 128;

/// An upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogUploadRecord {
    /// The feedback it belongs to.
    pub feedback_id: RecordId,
    /// The user.
    pub user_id: UserId,
    /// The client, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// When it began.
    pub create_time: Timestamp,
    /// What the app calls its kind; empty for nothing.
    pub content_type: String,
    /// Bytes that came.
    pub byte_count: u64,
    /// Whether all of it came.
    pub is_complete: bool,
}
json_record!(LogUploadRecord, 1);

/// Asks whether a log may come, and takes the place of this span for it.
#[derive(Clone, Debug)]
pub struct BeginLogUpload {
    /// Who sends it.
    pub caller: Caller,
    /// The feedback it belongs to.
    pub feedback_id: RecordId,
    /// What the app calls its kind.
    pub content_type: String,
    /// Its size, when the app says so.
    pub declared_bytes: Option<u64>,
}

/// Whether a log may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginLogUploadOutcome {
    /// It may, under this id.
    Begun(RecordId),
    /// One came in this span already.
    RateLimited,
    /// It says of itself that it is above [`MAX_BYTES`].
    TooLong,
}

impl Operation for BeginLogUpload {
    type Output = BeginLogUploadOutcome;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<BeginLogUploadOutcome, DomainError> {
        authenticate::confirm(tx, &self.caller)?;
        let network_id = self.caller.network_id;
        let feedback = tx.get(&FEEDBACK, &self.feedback_id)?.ok_or(DomainError::NotFound("Feedback not found."))?;
        if feedback.network_id != network_id {
            return Err(DomainError::Forbidden("Feedback does not belong to your network."));
        }
        let kept = tx.scan(&LOG_UPLOADS, &network_id)?;
        let span = |time: Timestamp| time.as_secs() / SPAN.as_secs();
        if kept.last().is_some_and(|(_, last)| span(last.create_time) == span(tx.now)) {
            return Ok(BeginLogUploadOutcome::RateLimited);
        }
        if self.declared_bytes.is_some_and(|bytes| bytes > MAX_BYTES) {
            return Ok(BeginLogUploadOutcome::TooLong);
        }
        let excess = (kept.len() + 1).saturating_sub(MAX_PER_NETWORK);
        for (key, _) in kept.into_iter().take(excess) {
            tx.delete(&LOG_UPLOADS, &key)?;
        }
        let id: RecordId = tx.new_id();
        let record = LogUploadRecord {
            feedback_id: self.feedback_id,
            user_id: self.caller.user_id,
            client_id: self.caller.client_id(),
            create_time: tx.now,
            content_type: cut(&self.content_type, MAX_CONTENT_TYPE_BYTES).to_owned(),
            byte_count: 0,
            is_complete: false,
        };
        tx.put(&LOG_UPLOADS, &(network_id, id), &record)?;
        Ok(BeginLogUploadOutcome::Begun(id))
    }
}

/// Notes what came.
#[derive(Clone, Copy, Debug)]
pub struct EndLogUpload {
    /// The network that sent it.
    pub network_id: NetworkId,
    /// Its id.
    pub id: RecordId,
    /// Bytes that came.
    pub byte_count: u64,
    /// Whether all of it came.
    pub is_complete: bool,
}

impl Operation for EndLogUpload {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let key = (self.network_id, self.id);
        // Gone when the network was removed meanwhile.
        if let Some(record) = tx.get(&LOG_UPLOADS, &key)? {
            let Self { byte_count, is_complete, .. } = *self;
            tx.put(&LOG_UPLOADS, &key, &LogUploadRecord { byte_count, is_complete, ..record })?;
        }
        Ok(())
    }
}

/// Whether an upload still has its row; its bytes are kept as long.
#[derive(Clone, Copy, Debug)]
pub struct IsKept {
    /// The network that sent it.
    pub network_id: NetworkId,
    /// Its id.
    pub id: RecordId,
}

impl Operation for IsKept {
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        Ok(tx.get(&LOG_UPLOADS, &(self.network_id, self.id))?.is_some())
    }
}

/// Finds the uploads that are older than `log_upload.keep`.
#[derive(Clone, Copy, Debug)]
pub struct FindOld;

impl Operation for FindOld {
    type Output = Vec<(NetworkId, RecordId)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let before = tx.now.before(tx.config.log_upload.keep);
        let uploads = tx.scan_snapshot(&LOG_UPLOADS, &())?.into_iter();
        Ok(uploads.filter(|(_, upload)| upload.create_time < before).map(|(key, _)| key).collect())
    }
}

/// Forgets uploads; many are best given in parts, since one call is one transaction.
#[derive(Clone, Copy, Debug)]
pub struct Forget<'a> {
    /// Their networks and ids.
    pub keys: &'a [(NetworkId, RecordId)],
}

impl Operation for Forget<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        for key in self.keys {
            tx.delete(&LOG_UPLOADS, key)?;
        }
        Ok(())
    }
}

/// Forgets what came from a network that is being removed.
pub fn remove_all(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<(), StoreError> {
    for (key, _) in tx.scan(&LOG_UPLOADS, network_id)? {
        tx.delete(&LOG_UPLOADS, &key)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::delete::DeleteNetwork;
    use crate::domain::auth::testing::{HERE, TestAccounts};
    use crate::domain::feedback::Feedback;

    #[tokio::test]
    async fn one_upload_a_span_the_newest_rows_are_kept_and_all_go_with_the_network() {
        let accounts = TestAccounts::new();
        let caller = accounts.caller(&accounts.anonymous().await.by_jwt);
        let feedback_id = accounts.send_feedback(&HERE, &caller, Feedback::default()).await.unwrap();
        let begin = BeginLogUpload { caller, feedback_id, content_type: "x".repeat(999), declared_bytes: None };
        let network_id = begin.caller.network_id;
        let mut ids = Vec::new();
        for _ in 0..=MAX_PER_NETWORK {
            match accounts.domain.run(&begin).await.unwrap() {
                BeginLogUploadOutcome::Begun(id) => ids.push(id),
                other => panic!("{other:?}"),
            }
            assert_eq!(accounts.domain.run(&begin).await.unwrap(), BeginLogUploadOutcome::RateLimited);
            accounts.advance(SPAN);
        }
        assert!(!accounts.domain.run(&IsKept { network_id, id: ids[0] }).await.unwrap());
        let last = *ids.last().unwrap();
        accounts.domain.run(&EndLogUpload { network_id, id: last, byte_count: 7, is_complete: true }).await.unwrap();
        let record = accounts.domain.get(&LOG_UPLOADS, &(network_id, last)).unwrap();
        assert_eq!((record.byte_count, record.is_complete, record.content_type.len()), (7, true, 128));
        accounts.domain.run(&DeleteNetwork { network_id }).await.unwrap();
        assert!(!accounts.domain.run(&IsKept { network_id, id: last }).await.unwrap());
        accounts.domain.run(&EndLogUpload { network_id, id: last, byte_count: 7, is_complete: true }).await.unwrap();
        assert!(!accounts.domain.run(&IsKept { network_id, id: last }).await.unwrap(), "nothing comes back");
    }

    #[tokio::test]
    async fn old_rows_are_forgotten() {
        let accounts = TestAccounts::new();
        let caller = accounts.caller(&accounts.anonymous().await.by_jwt);
        let feedback_id = accounts.send_feedback(&HERE, &caller, Feedback::default()).await.unwrap();
        let network_id = caller.network_id;
        let begin = BeginLogUpload { caller, feedback_id, content_type: String::new(), declared_bytes: Some(1) };
        let BeginLogUploadOutcome::Begun(id) = accounts.domain.run(&begin).await.unwrap() else { panic!() };
        accounts.advance(accounts.domain.service.config().log_upload.keep);
        assert_eq!(accounts.domain.run(&FindOld).await.unwrap(), [], "until the last moment it is kept");
        accounts.advance(Duration::from_secs(1));
        let keys = accounts.domain.run(&FindOld).await.unwrap();
        assert_eq!(keys, [(network_id, id)]);
        accounts.domain.run(&Forget { keys: &keys }).await.unwrap();
        assert!(!accounts.domain.run(&IsKept { network_id, id }).await.unwrap());
    }
}
