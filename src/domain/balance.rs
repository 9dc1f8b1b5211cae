//! What a network may spend, as its members see it.

use serde::{Deserialize, Serialize};

use crate::ids::{BalanceId, NetworkId, RecordId};
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

/// Where something was bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Market {
    /// Apple's store.
    Apple,
    /// Google's store.
    Google,
    /// By card.
    Stripe,
    /// On the Solana chain.
    Solana,
    /// From the operator.
    Manual,
    /// By an HTTP payment.
    X402,
}

impl Market {
    /// The name that apps know.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apple => "apple",
            Self::Google => "google",
            Self::Stripe => "stripe",
            Self::Solana => "solana",
            Self::Manual => "manual",
            Self::X402 => "x402",
        }
    }
}

/// A paid period of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Names the period.
    pub renewal_id: RecordId,
    /// Who bills it.
    pub market: Market,
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
    /// Subscriptions that run now, one per store.
    pub subscriptions: Vec<Subscription>,
    /// Bytes the network has provided to others, ever.
    pub provided_bytes: i64,
    /// Revenue the network has earned by providing, nano-cents.
    pub provided_revenue: i64,
    /// Those of the bytes that were paid out.
    pub paid_bytes: i64,
    /// That of the revenue that was paid out, nano-cents.
    pub paid_revenue: i64,
    /// Bytes the network has paid for, ever.
    pub used_bytes: i64,
    /// When this was so.
    pub update_time: Timestamp,
}
