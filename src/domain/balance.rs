//! What a network may spend, as its members see it.

use crate::ids::{BalanceId, NetworkId};
use crate::time::Timestamp;

/// A bucket of bytes that a network may spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceBucket {
    /// Names the bucket.
    pub balance_id: BalanceId,
    /// The network that may spend it.
    pub network_id: NetworkId,
    /// Usable from here.
    pub start_time: Timestamp,
    /// Usable until just before here.
    pub end_time: Timestamp,
    /// Bytes at the grant.
    pub start_bytes: i64,
    /// Bytes not yet settled; 0 once it is exhausted.
    pub unsettled_bytes: i64,
    /// Bytes that are neither settled nor reserved.
    pub available_bytes: i64,
    /// Revenue behind the bucket that is shared with providers, nano-cents.
    pub net_revenue: i64,
    /// Revenue behind the bucket that is not shared per byte, nano-cents.
    pub subsidy_net_revenue: i64,
    /// Carries the Pro entitlement until its end.
    pub is_pro: bool,
    /// The store purchase that created it.
    pub purchase_token: Option<String>,
}

/// The balance of a network at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BalanceView {
    /// Sum of the sizes at grant of the usable buckets, exhausted ones included.
    pub start_bytes: i64,
    /// Sum of the bytes that can still be reserved.
    pub available_bytes: i64,
    /// Sum of the sizes of the open contracts that the network pays for.
    pub open_bytes: i64,
    /// Whether the network has the Pro entitlement now.
    pub is_pro: bool,
    /// The usable buckets, soonest end first.
    pub buckets: Vec<BalanceBucket>,
    /// Bytes the network has provided to others, ever.
    pub provided_bytes: i64,
    /// Revenue the network has earned by providing, nano-cents.
    pub provided_revenue: i64,
    /// Bytes the network has paid for, ever.
    pub used_bytes: i64,
    /// When this was so.
    pub update_time: Timestamp,
}
