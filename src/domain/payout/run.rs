//! When the next run of payouts is due.

use serde::{Deserialize, Serialize};

use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// When payments were last planned by the server itself.
pub const LAST_PAYOUT_RUN: Table<(), PayoutRunTime> = Table::new(219, "last_payout_run");

/// When payments were last planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutRunTime {
    /// When.
    pub time: Timestamp,
}
json_record!(PayoutRunTime, 1);

/// Takes the next run, if it is due; a run that a crash swallows costs nobody anything but time.
pub struct TakeRun;

impl Operation for TakeRun {
    /// Whether it is due.
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        let interval = tx.config.payout.interval;
        let last = tx.get(&LAST_PAYOUT_RUN, &())?;
        let is_due = last.is_none_or(|last| tx.now.since(last.time) >= interval);
        if interval.is_zero() || !is_due {
            return Ok(false);
        }
        tx.put(&LAST_PAYOUT_RUN, &(), &PayoutRunTime { time: tx.now })?;
        Ok(true)
    }
}
