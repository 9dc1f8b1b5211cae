//! How often a network may begin a transfer out of its wallet, whoever keeps it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::NetworkId;
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// The transfers that a network began in the last hour.
pub const TRANSFER_CALLS: Table<NetworkId, TransferCalls> = Table::new(258, "transfer_calls");

/// Transfers that a network may begin in an hour.
pub const MAX_CALLS_PER_HOUR: usize = 10;

const HOUR: Duration = Duration::from_secs(3600);

/// When a network began its last transfers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferCalls {
    /// Oldest first.
    pub times: Vec<Timestamp>,
}
json_record!(TransferCalls, 1);

/// Counts a transfer against the hour.
pub struct CountTransfer {
    /// Whose.
    pub network_id: NetworkId,
}

impl Operation for CountTransfer {
    /// False when there were enough.
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        let mut calls = tx.get(&TRANSFER_CALLS, &self.network_id)?.unwrap_or_default();
        let now = tx.now;
        calls.times.retain(|time| now.since(*time) < HOUR);
        if calls.times.len() >= MAX_CALLS_PER_HOUR {
            return Ok(false);
        }
        calls.times.push(now);
        tx.put(&TRANSFER_CALLS, &self.network_id, &calls)?;
        Ok(true)
    }
}
