//! Balances: what a network may spend; give, and take back.

use std::time::Duration;

use axum::Router;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Command, find_network, not_found, route};
use crate::config::units::ByteSize;
use crate::domain::balance::{BalanceBucket, Market};
use crate::domain::contract::grants::{GrantOnce, GrantOutcome, Sku};
use crate::http::error::ApiError;
use crate::http::state::ApiState;
use crate::ids::{BalanceId, NetworkId, RecordId};
use crate::money::NanoCents;
use crate::time::{DAY, Timestamp};

/// Longest life of a granted balance, in days.
const MAX_DAYS: u32 = 3660;

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    Router::new().merge(route::<ShowBalance>()).merge(route::<GrantBalance>()).merge(route::<ClawBackBalance>())
}

/// Shows what a network may spend, after the free grant of today.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ShowBalance {
    /// Id or name of the network
    pub network: String,
}

/// What a network may spend, and what it has used and provided.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownBalance {
    /// The network.
    pub network_id: NetworkId,
    /// Bytes it can still reserve.
    pub available_bytes: i64,
    /// Bytes of the open contracts it pays for.
    pub open_bytes: i64,
    /// Bytes it has paid for, ever.
    pub used_bytes: i64,
    /// Bytes it has provided to others, ever.
    pub provided_bytes: i64,
    /// What it has earned by providing, in nano-cents.
    pub provided_revenue: NanoCents,
    /// Those of the provided bytes that were paid out.
    pub paid_bytes: i64,
    /// What was paid out for them, in nano-cents.
    pub paid_revenue: NanoCents,
    /// Whether it is Pro.
    pub is_pro: bool,
    /// What can be spent now, soonest end first.
    pub balances: Vec<ShownBucket>,
}

/// A balance that can be spent now.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownBucket {
    /// Names it.
    pub balance_id: BalanceId,
    /// Usable from here.
    pub start_time: Timestamp,
    /// Usable until just before here.
    pub end_time: Timestamp,
    /// Bytes at the grant.
    pub start_bytes: i64,
    /// Bytes that can still be reserved.
    pub available_bytes: i64,
    /// Revenue behind it that providers share, in nano-cents.
    pub net_revenue: NanoCents,
    /// Makes the network Pro until its end.
    pub is_pro: bool,
}

impl From<BalanceBucket> for ShownBucket {
    fn from(bucket: BalanceBucket) -> Self {
        Self {
            balance_id: bucket.balance_id,
            start_time: bucket.start_time,
            end_time: bucket.end_time,
            start_bytes: bucket.start_bytes,
            available_bytes: bucket.available_bytes,
            net_revenue: NanoCents(bucket.net_revenue),
            is_pro: bucket.is_pro,
        }
    }
}

impl Command for ShowBalance {
    const PATH: &'static str = "/balance/show";
    type Answer = ShownBalance;

    async fn run(self, state: &ApiState) -> Result<ShownBalance, ApiError> {
        let (network_id, _) = find_network(state, &self.network)?;
        let view = state.ledger.balance(network_id).await?;
        Ok(ShownBalance {
            network_id,
            available_bytes: view.available_bytes,
            open_bytes: view.open_bytes,
            used_bytes: view.used_bytes,
            provided_bytes: view.provided_bytes,
            provided_revenue: NanoCents(view.provided_revenue),
            paid_bytes: view.paid_bytes,
            paid_revenue: NanoCents(view.paid_revenue),
            is_pro: view.is_pro,
            balances: view.buckets.into_iter().map(ShownBucket::from).collect(),
        })
    }
}

/// Gives a network a balance that it may spend from now on.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct GrantBalance {
    /// Id or name of the network
    pub network: String,
    /// How much, such as 500GiB or 1TiB
    pub bytes: ByteSize,
    /// Days until it ends
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=MAX_DAYS as i64))]
    pub days: u32,
    /// Make the network Pro until the end of the balance
    #[arg(long)]
    pub pro: bool,
    /// What was paid for it, in dollars; providers share it per byte
    #[arg(long, value_name = "USD", default_value = "0")]
    pub revenue: NanoCents,
    /// Names the occasion; a second time with the same name gives nothing
    #[arg(long, value_name = "TEXT")]
    pub key: Option<String>,
}

/// A new balance.
#[derive(Debug, Serialize, Deserialize)]
pub struct GrantedBalance {
    /// Names it.
    pub balance_id: BalanceId,
    /// Who may spend it.
    pub network_id: NetworkId,
    /// Bytes in it.
    pub bytes: i64,
    /// Usable until just before here.
    pub end_time: Timestamp,
}

impl Command for GrantBalance {
    const PATH: &'static str = "/balance/grant";
    type Answer = GrantedBalance;

    async fn run(self, state: &ApiState) -> Result<GrantedBalance, ApiError> {
        let (network_id, _) = find_network(state, &self.network)?;
        let empty =
            || ApiError::bad_request("a balance holds between 1 byte and 8 EiB, and a key 1 to 256 bytes; give others");
        let bytes = i64::try_from(self.bytes.0).map_err(|_| empty())?;
        if self.revenue.0 < 0 {
            return Err(ApiError::bad_request("the revenue behind a balance is at least 0 dollars"));
        }
        let start = state.now();
        let end_time = start + Duration::from_secs(u64::from(self.days.clamp(1, MAX_DAYS)) * DAY.as_secs());
        let grant = GrantOnce {
            network_id,
            sku: Sku::Data,
            market: Market::Manual,
            key: self.key.unwrap_or_else(|| format!("operator/{}", RecordId::new(rand::random()))),
            start,
            end: end_time,
            bytes,
            revenue: self.revenue.0,
            is_pro: self.pro,
        };
        let given = match state.ledger.grant_once(grant).await? {
            GrantOutcome::Granted(given) => given,
            GrantOutcome::Already(given) => {
                return Err(ApiError::bad_request(format!(
                    "this was given to network {} before; use another --key",
                    given.network_id
                )));
            }
            GrantOutcome::Malformed => return Err(empty()),
        };
        let balance_id = given.balance_id.ok_or_else(empty)?;
        Ok(GrantedBalance { balance_id, network_id, bytes, end_time })
    }
}

/// Ends a balance now; what open contracts reserve from it is still settled.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ClawBackBalance {
    /// The balance
    pub balance_id: BalanceId,
}

/// A balance that was ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClawedBack {
    /// The balance.
    pub balance_id: BalanceId,
}

impl Command for ClawBackBalance {
    const PATH: &'static str = "/balance/claw-back";
    type Answer = ClawedBack;

    async fn run(self, state: &ApiState) -> Result<ClawedBack, ApiError> {
        let balance_id = self.balance_id;
        match state.ledger.claw_back(balance_id).await? {
            true => Ok(ClawedBack { balance_id }),
            false => Err(not_found(format!(
                "there is no balance {balance_id}; `warren admin balance show NETWORK` shows those of a network"
            ))),
        }
    }
}
