//! Money on its way to a chain: how often sending it was tried, and what the company that sends it calls it.
//!
//! A try is written down before it is made. So an answer that got lost is known to be missing, and what may have left is
//! never given back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::challenge::QUEUED_TRANSFERS;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{ChallengeId, RecordId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// What is on its way, by payment or by transfer.
pub const SENDINGS: Table<RecordId, Sending> = Table::new(217, "sendings");

/// Pause after the first try; each later one is twice as long, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// How far something on its way is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Tries that were begun.
    pub tries: u32,
    /// When the next one is due.
    pub next_try: Timestamp,
    /// What the company calls it, once it has taken it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_id: Option<String>,
    /// It is certain that nothing left.
    #[serde(default)]
    pub has_failed: bool,
}
json_record!(Sending, 1);

/// Reads how far something is.
pub struct ReadSending(
    /// Which.
    pub RecordId,
);

impl Operation for ReadSending {
    type Output = Sending;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Sending, DomainError> {
        Ok(tx.get(&SENDINGS, &self.0)?.unwrap_or_default())
    }
}

/// Writes down that a try begins.
pub struct BeginTry {
    /// What is sent.
    pub id: RecordId,
    /// The transfer that it is, which must still wait for it.
    pub transfer: Option<ChallengeId>,
}

impl Operation for BeginTry {
    /// Tries so far, this one included; `None` when there is nothing to send any more.
    type Output = Option<u32>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<u32>, DomainError> {
        if let Some(transfer) = &self.transfer
            && tx.get(&QUEUED_TRANSFERS, transfer)?.is_none()
        {
            return Ok(None);
        }
        let mut sending = tx.get(&SENDINGS, &self.id)?.unwrap_or_default();
        sending.tries = sending.tries.saturating_add(1);
        let pause = PAUSE.saturating_mul(1 << (sending.tries - 1).min(7)).min(LONGEST_PAUSE);
        sending.next_try = tx.now + pause;
        tx.put(&SENDINGS, &self.id, &sending)?;
        Ok(Some(sending.tries))
    }
}

/// How a try ended.
pub enum TryEnd {
    /// The company has taken it, and calls it so.
    Sent(String),
    /// It is certain that nothing left.
    Failed,
}

/// Writes down how a try ended.
pub struct NoteTry {
    /// Which.
    pub id: RecordId,
    /// How.
    pub end: TryEnd,
}

impl Operation for NoteTry {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let mut sending = tx.get(&SENDINGS, &self.id)?.unwrap_or_default();
        match &self.end {
            TryEnd::Sent(sent_id) => sending.sent_id = Some(sent_id.clone()),
            TryEnd::Failed => sending.has_failed = true,
        }
        Ok(tx.put(&SENDINGS, &self.id, &sending)?)
    }
}

/// Forgets something that has arrived or came back.
pub struct ForgetSending(
    /// Which.
    pub RecordId,
);

impl Operation for ForgetSending {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        Ok(tx.delete(&SENDINGS, &self.0)?)
    }
}

/// Everything on its way.
pub struct ListSendings;

impl Operation for ListSendings {
    type Output = Vec<RecordId>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<RecordId>, DomainError> {
        Ok(tx.scan_snapshot(&SENDINGS, &())?.into_iter().map(|(id, _)| id).collect())
    }
}
