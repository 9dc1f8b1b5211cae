//! Payment ids: what an app tells a store about who is buying, so that the store's report finds the network again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::error::DomainError;
use super::network::NETWORKS;
use super::operation::{Operation, Tx};
use crate::ids::{NetworkId, RecordId, UserId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Every payment id; kept for good, because a subscription's renewals carry it for years.
pub const PAYMENT_IDS: Table<RecordId, PaymentId> = Table::new(213, "payment_ids");

/// When each network asked for its last few.
pub const RECENT_PAYMENT_IDS: Table<NetworkId, RecentPaymentIds> = Table::new(214, "recent_payment_ids");

/// Payment ids of one network within [`WINDOW`].
pub const MAX_PER_WINDOW: usize = 5;

const WINDOW: Duration = Duration::from_secs(3600);

/// Who is buying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentId {
    /// The network.
    pub network_id: NetworkId,
    /// Its user.
    pub user_id: UserId,
    /// When it was made.
    pub create_time: Timestamp,
}
json_record!(PaymentId, 1);

/// When a network asked for its last few payment ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentPaymentIds {
    /// Oldest first, those of the last hour.
    pub times: Vec<Timestamp>,
}
json_record!(RecentPaymentIds, 1);

/// Makes a payment id (`/subscription/create-payment-id`).
pub struct CreatePaymentId {
    /// Who is buying.
    pub caller: Caller,
}

impl Operation for CreatePaymentId {
    /// None after too many within the hour.
    type Output = Option<RecordId>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<RecordId>, DomainError> {
        let Caller { network_id, user_id, .. } = self.caller;
        let mut recent = tx.get(&RECENT_PAYMENT_IDS, &network_id)?.unwrap_or_default();
        recent.times.retain(|time| tx.now.since(*time) < WINDOW);
        if recent.times.len() >= MAX_PER_WINDOW {
            return Ok(None);
        }
        recent.times.push(tx.now);
        let payment_id = tx.new_id();
        tx.put(&PAYMENT_IDS, &payment_id, &PaymentId { network_id, user_id, create_time: tx.now })?;
        tx.put(&RECENT_PAYMENT_IDS, &network_id, &recent)?;
        Ok(Some(payment_id))
    }
}

/// The network behind what a store reports as the buyer's account: a payment id, or the network's own id, which apps of
/// one store tell it.
pub struct FindPayer(pub RecordId);

impl Operation for FindPayer {
    /// None when it is no network of here, or one that is gone.
    type Output = Option<NetworkId>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<NetworkId>, DomainError> {
        let network_id = match tx.get(&PAYMENT_IDS, &self.0)? {
            Some(payment_id) => payment_id.network_id,
            None => NetworkId::new(*self.0.as_bytes()),
        };
        Ok(tx.get(&NETWORKS, &network_id)?.map(|_| network_id))
    }
}
