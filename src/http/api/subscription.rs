//! What a network may spend, and what it has carried for others.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::balance::{self, BalanceBucket};
use crate::domain::payment_id::CreatePaymentId;
use crate::http::answer::Json;
use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::Session;
use crate::http::state::ApiState;
use crate::ids::{BalanceId, NetworkId, RecordId};
use crate::time::Timestamp;

/// The only plan that is sold.
const PLAN: &str = "supporter";

const TOO_MANY_PAYMENT_IDS: &str = "Too many subscription payments in the last hour. Try again later.";

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(balance)).routes(routes!(create_payment_id)).routes(routes!(transfer_stats))
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
    /// Revenue that was not paid yet.
    pending_payout_usd_nano_cents: i64,
    /// Now.
    update_time: Timestamp,
}

/// A subscription.
#[derive(Clone, Serialize, ToSchema)]
struct Subscription {
    /// The renewal, all zeros when there is none.
    subscription_id: RecordId,
    /// Where it was bought, empty when unknown.
    store: String,
    /// `supporter`.
    plan: String,
}

impl Subscription {
    /// One that nobody bills.
    fn unknown() -> Self {
        Self { subscription_id: RecordId::default(), store: String::new(), plan: PLAN.into() }
    }
}

impl From<balance::Subscription> for Subscription {
    fn from(paid: balance::Subscription) -> Self {
        Self { subscription_id: paid.renewal_id, store: paid.market.as_str().into(), plan: PLAN.into() }
    }
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
    let subscriptions: Vec<Subscription> = view.subscriptions.into_iter().map(Subscription::from).collect();
    // Pro without a subscription was given by the operator.
    let pro = || subscriptions.first().cloned().unwrap_or_else(Subscription::unknown);
    Ok(Json(BalanceResult {
        start_balance_byte_count: view.start_bytes,
        balance_byte_count: view.available_bytes,
        open_transfer_byte_count: view.open_bytes,
        current_subscription: view.is_pro.then(pro),
        subscriptions,
        active_transfer_balances: listed.map(TransferBalance::from).collect(),
        pending_payout_usd_nano_cents: view.provided_revenue - view.paid_revenue,
        update_time: view.update_time,
    }))
}

/// A payment id.
#[derive(Default, Serialize, ToSchema)]
struct PaymentIdResult {
    /// To be given to a store as the buyer's account id.
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_payment_id: Option<RecordId>,
    /// There is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Makes an id that tells a store who is buying; at most 5 per network and hour.
#[utoipa::path(
    post,
    path = "/subscription/create-payment-id",
    tag = "subscription",
    security(("bearer" = [])),
    responses((status = 200, body = PaymentIdResult))
)]
async fn create_payment_id(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<PaymentIdResult> {
    Ok(Json(match state.service.run(&CreatePaymentId { caller }).await? {
        Some(id) => PaymentIdResult { subscription_payment_id: Some(id), error: None },
        None => PaymentIdResult { subscription_payment_id: None, error: Some(TOO_MANY_PAYMENT_IDS.into()) },
    }))
}

/// Bytes that a network has carried for others.
#[derive(Serialize, ToSchema)]
struct TransferStatsResult {
    /// In completed payments.
    paid_bytes_provided: i64,
    /// In none, or in one that is not completed.
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
    let unpaid_bytes_provided = view.provided_bytes - view.paid_bytes;
    Ok(Json(TransferStatsResult { paid_bytes_provided: view.paid_bytes, unpaid_bytes_provided }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::Config;
    use crate::config::contracts::Grant;
    use crate::config::units::ByteSize;
    use axum::http::Method;
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use crate::domain::balance::Market;
    use crate::domain::contract::grants::{GrantOnce, GrantOutcome, Sku};
    use crate::domain::contract::record::Balance;
    use crate::http::testing::{START, TestApi};
    use crate::time::DAY;

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
    async fn a_subscription_shows_its_renewal_and_makes_the_network_pro() {
        let api = TestApi::new();
        let subscription = GrantOnce {
            network_id: api.user.network_id,
            sku: Sku::Subscription,
            market: Market::Stripe,
            key: "invoice 1".into(),
            start: START,
            end: START + DAY * 31,
            bytes: 0,
            revenue: 3_000_000_000,
            is_pro: true,
        };
        let GrantOutcome::Granted(given) = api.state.ledger.grant_once(subscription).await.unwrap() else { panic!() };
        let answer = api.get("/subscription/balance").token(&api.user_token).await;
        answer.golden(200, "subscribed");
        let renewal = given.renewal_id.unwrap().to_string();
        assert_eq!(answer.body["current_subscription"]["subscription_id"], renewal);
        let refreshed = api.get("/auth/refresh").token(&api.client_token).await.expect(200);
        let by_jwt = refreshed["by_jwt"].as_str().unwrap();
        let claims = BASE64_URL_SAFE_NO_PAD.decode(by_jwt.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["pro"], true, "the token says the same");
        api.state.ledger.revoke("invoice 1".into()).await.unwrap();
        let body = api.get("/subscription/balance").token(&api.user_token).await.expect(200);
        assert!(body.get("current_subscription").is_none() && body["subscriptions"].as_array().unwrap().is_empty());
    }

    #[tokio::test]
    async fn five_payment_ids_an_hour_and_network() {
        let api = TestApi::new();
        let path = "/subscription/create-payment-id";
        api.post(path, json!({})).token(&api.client_token).await.golden(200, "made");
        for body in [Some(b"null".to_vec()), Some(Vec::new()), None, Some(b"{}".to_vec())] {
            let answer = api.call(Method::POST, path, body).token(&api.user_token).await.expect(200);
            assert!(answer["subscription_payment_id"].is_string(), "{answer}");
        }
        api.post(path, json!({})).token(&api.user_token).await.golden(200, "too_many");
        api.clock.advance(Duration::from_secs(3600));
        let answer = api.post(path, json!({})).token(&api.user_token).await.expect(200);
        assert!(answer["subscription_payment_id"].is_string());
        api.post(path, json!({})).await.expect(401);
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
