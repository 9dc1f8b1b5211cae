//! What a network may spend, and what it has carried for others.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::balance::BalanceBucket;
use crate::http::error::ApiResult;
use crate::http::extract::Session;
use crate::http::state::ApiState;
use crate::ids::{BalanceId, NetworkId, RecordId};
use crate::time::Timestamp;

/// The only plan that is sold.
const PLAN: &str = "supporter";

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(balance)).routes(routes!(transfer_stats))
}

/// The transfer balance of a network. Byte counts do not include each other: used is start less balance less open.
#[derive(Serialize, ToSchema)]
struct BalanceResult {
    /// Bytes at the grant, over the balances of now.
    start_balance_byte_count: i64,
    /// Bytes that can still be reserved.
    balance_byte_count: i64,
    /// Bytes of the open contracts that the network pays for.
    open_transfer_byte_count: i64,
    /// Present exactly while the network is Pro: apps refresh their token when it disagrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_subscription: Option<Subscription>,
    /// One per store that bills now.
    subscriptions: Vec<Subscription>,
    /// What can be spent now, soonest end first.
    active_transfer_balances: Vec<TransferBalance>,
    /// Revenue that was not paid out.
    pending_payout_usd_nano_cents: i64,
    /// Now.
    update_time: Timestamp,
}

/// A subscription.
#[derive(Serialize, ToSchema)]
struct Subscription {
    /// The renewal, all zeros when there is none.
    subscription_id: RecordId,
    /// Where it was bought, empty when unknown.
    store: String,
    /// `supporter`.
    plan: String,
}

/// A bucket of bytes.
#[derive(Serialize, ToSchema)]
struct TransferBalance {
    /// Names it.
    balance_id: BalanceId,
    /// Who may spend it.
    network_id: NetworkId,
    /// Usable from here.
    start_time: Timestamp,
    /// Usable until just before here.
    end_time: Timestamp,
    /// Bytes at the grant.
    start_balance_byte_count: i64,
    /// Revenue behind it that providers share.
    net_revenue_nano_cents: i64,
    /// Revenue behind it that is shared in the periodic pool.
    subsidy_net_revenue_nano_cents: i64,
    /// Bytes that can still be reserved.
    balance_byte_count: i64,
    /// Revenue stands behind it.
    paid: bool,
    /// Makes the network Pro until its end.
    pro: bool,
}

impl From<BalanceBucket> for TransferBalance {
    fn from(bucket: BalanceBucket) -> Self {
        Self {
            balance_id: bucket.balance_id,
            network_id: bucket.network_id,
            start_time: bucket.start_time,
            end_time: bucket.end_time,
            start_balance_byte_count: bucket.start_bytes,
            net_revenue_nano_cents: bucket.net_revenue,
            subsidy_net_revenue_nano_cents: bucket.subsidy_net_revenue,
            balance_byte_count: bucket.available_bytes,
            paid: bucket.net_revenue > 0 || bucket.subsidy_net_revenue > 0,
            pro: bucket.is_pro,
        }
    }
}

/// Tells the transfer balance of the caller's network.
#[utoipa::path(
    get,
    path = "/subscription/balance",
    tag = "subscription",
    security(("bearer" = [])),
    responses((status = 200, body = BalanceResult))
)]
async fn balance(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<BalanceResult> {
    let view = state.ledger.balance(caller.network_id).await?;
    // An exhausted balance is not listed, but its size stays in the sum, so that apps show it as used.
    let listed = view.buckets.into_iter().filter(|bucket| bucket.unsettled_bytes > 0);
    let pro = || Subscription { subscription_id: RecordId::default(), store: String::new(), plan: PLAN.into() };
    Ok(Json(BalanceResult {
        start_balance_byte_count: view.start_bytes,
        balance_byte_count: view.available_bytes,
        open_transfer_byte_count: view.open_bytes,
        current_subscription: view.is_pro.then(pro),
        subscriptions: Vec::new(),
        active_transfer_balances: listed.map(TransferBalance::from).collect(),
        pending_payout_usd_nano_cents: view.provided_revenue,
        update_time: view.update_time,
    }))
}

/// Bytes that a network has carried for others.
#[derive(Serialize, ToSchema)]
struct TransferStatsResult {
    /// In completed payments.
    paid_bytes_provided: i64,
    /// In none.
    unpaid_bytes_provided: i64,
}

/// Tells what the caller's network has carried for others.
#[utoipa::path(
    get,
    path = "/transfer/stats",
    tag = "subscription",
    security(("bearer" = [])),
    responses((status = 200, body = TransferStatsResult))
)]
async fn transfer_stats(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<TransferStatsResult> {
    let view = state.ledger.balance(caller.network_id).await?;
    // Nothing is paid out, so all of it is unpaid.
    Ok(Json(TransferStatsResult { paid_bytes_provided: 0, unpaid_bytes_provided: view.provided_bytes }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::Config;
    use crate::config::contracts::Grant;
    use crate::config::units::ByteSize;
    use crate::domain::contract::record::Balance;
    use crate::http::testing::{START, TestApi};

    fn with_free_bytes(bytes: ByteSize) -> TestApi {
        let mut config = Config::default();
        config.plan.free.bytes = Grant::Bytes(bytes);
        TestApi::with_config(config)
    }

    #[tokio::test]
    async fn the_free_grant_of_the_day_is_there_when_somebody_looks() {
        let api = TestApi::new();
        for token in [&api.user_token, &api.client_token] {
            let body = api.get("/subscription/balance").token(token).await.expect(200);
            assert_eq!(body["active_transfer_balances"].as_array().unwrap().len(), 1);
            assert_eq!(body["active_transfer_balances"][0]["start_time"], "2026-02-03T00:00:00Z");
            assert_eq!(body["active_transfer_balances"][0]["end_time"], "2026-02-04T01:00:00Z");
        }
        api.get("/subscription/balance").token(&api.user_token).await.golden(200, "free");
        api.get("/subscription/balance").await.expect(401);
    }

    #[tokio::test]
    async fn without_any_balance_the_lists_are_empty() {
        let api = with_free_bytes(ByteSize(0));
        api.get("/subscription/balance").token(&api.client_token).await.golden(200, "none");
        api.get("/transfer/stats").token(&api.client_token).await.golden(200, "nothing_yet");
    }

    #[tokio::test]
    async fn a_pro_balance_shows_as_a_subscription_until_its_end() {
        let api = with_free_bytes(ByteSize(0));
        let balance = Balance { start_bytes: 1 << 30, bytes: 1 << 30, is_pro: true, ..Balance::default() };
        let end = START + Duration::from_secs(60);
        api.state.ledger.grant(api.user.network_id, START, end, balance).await.unwrap();
        api.get("/subscription/balance").token(&api.user_token).await.golden(200, "pro");
        api.clock.advance(Duration::from_secs(60));
        let body = api.get("/subscription/balance").token(&api.user_token).await.expect(200);
        assert!(body.get("current_subscription").is_none());
    }

    #[tokio::test]
    async fn an_exhausted_balance_counts_as_used_but_is_not_listed() {
        let api = with_free_bytes(ByteSize(0));
        for bytes in [0, 7] {
            let balance = Balance { start_bytes: 10, bytes, ..Balance::default() };
            let end = START + Duration::from_secs(60);
            api.state.ledger.grant(api.user.network_id, START, end, balance).await.unwrap();
        }
        let body = api.get("/subscription/balance").token(&api.user_token).await.expect(200);
        assert_eq!(body["start_balance_byte_count"], 20);
        assert_eq!(body["balance_byte_count"], 7);
        assert_eq!(body["active_transfer_balances"].as_array().unwrap().len(), 1);
    }
}
