//! What a network was paid for carrying the traffic of others.

use crate::http::answer::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::contract::payout::{ListPayments, Payment, PaymentState};
use crate::http::error::ApiResult;
use crate::http::extract::Session;
use crate::http::state::ApiState;
use crate::ids::{NetworkId, RecordId};
use crate::time::Timestamp;

/// Nano-cents in one unit of a token that stands for a dollar.
const PER_TOKEN: i64 = 1_000_000_000;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(payments))
}

/// Payments to a network.
#[derive(Serialize, ToSchema)]
struct PaymentsResult {
    /// Newest first, at most 2000. Those given up before anybody tried to make them are left out.
    account_payments: Vec<AccountPayment>,
}

/// A payment. What is not known yet is absent.
#[derive(Serialize, ToSchema)]
struct AccountPayment {
    /// Names it.
    payment_id: RecordId,
    /// Names the run it belongs to.
    payment_plan_id: RecordId,
    /// Who is paid.
    network_id: NetworkId,
    /// Bytes it pays for.
    payout_byte_count: i64,
    /// The whole amount; 1 USD is 1 000 000 000.
    payout_nano_cents: i64,
    /// The part that the operator has added.
    subsidy_payout_nano_cents: i64,
    /// Always 0: nothing is added for reliability.
    reliability_subsidy_nano_cents: i64,
    /// When the first of the bytes was earned.
    min_sweep_time: Timestamp,
    /// When it was planned.
    create_time: Timestamp,
    /// Names it at whoever makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_record: Option<String>,
    /// What it is made in.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<String>,
    /// How much of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_amount: Option<f64>,
    /// When making it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_time: Option<Timestamp>,
    /// Where it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet_address: Option<String>,
    /// The chain of that address.
    #[serde(skip_serializing_if = "Option::is_none")]
    blockchain: Option<String>,
    /// Names the transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_hash: Option<String>,
    /// It has been made.
    completed: bool,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    complete_time: Option<Timestamp>,
    /// It was given up; its bytes are in the next one.
    canceled: bool,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_time: Option<Timestamp>,
}

impl AccountPayment {
    fn new(network_id: NetworkId, payment_id: RecordId, payment: Payment) -> Self {
        let (amount, state) = (payment.amount(), payment.state());
        let record = payment.record.unwrap_or_default();
        let known = |text: String| Some(text).filter(|text| !text.is_empty());
        let token_type = known(record.token_type);
        Self {
            payment_id,
            payment_plan_id: payment.plan_id,
            network_id,
            payout_byte_count: payment.bytes,
            payout_nano_cents: amount,
            subsidy_payout_nano_cents: payment.bonus,
            reliability_subsidy_nano_cents: 0,
            min_sweep_time: payment.first_earned,
            create_time: payment.create_time,
            payment_record: known(record.reference),
            token_amount: token_type.as_ref().map(|_| tokens(amount)),
            token_type,
            payment_time: payment.record_time,
            wallet_address: known(record.wallet_address),
            blockchain: known(record.blockchain),
            tx_hash: known(payment.tx_hash),
            completed: state == PaymentState::Completed,
            complete_time: payment.complete_time,
            canceled: state == PaymentState::Cancelled,
            cancel_time: payment.cancel_time,
        }
    }
}

/// An amount in tokens.
fn tokens(nano_cents: i64) -> f64 {
    nano_cents as f64 / PER_TOKEN as f64
}

/// Lists the payments to the caller's network.
#[utoipa::path(
    get,
    path = "/account/payments",
    tag = "wallet",
    security(("bearer" = [])),
    responses((status = 200, body = PaymentsResult))
)]
async fn payments(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<PaymentsResult> {
    let payments = state.service.read(&ListPayments { network_id: Some(caller.network_id) })?;
    let shown =
        payments.into_iter().filter(|(_, _, payment)| payment.cancel_time.is_none() || payment.record.is_some());
    let account_payments = shown.map(|(network, id, payment)| AccountPayment::new(network, id, payment)).collect();
    Ok(Json(PaymentsResult { account_payments }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::contract::payout::{PaymentRecord, PayoutRun};
    use crate::http::testing::TestApi;

    const RUN: PayoutRun = PayoutRun { minimum: 1, bonus_per_gib: 0 };

    async fn planned(api: &TestApi) -> RecordId {
        let plan = api.state.ledger.plan_payout(RUN).await.unwrap();
        assert_eq!(plan.payments, 1);
        let payments = api.state.service.read(&ListPayments { network_id: Some(api.user.network_id) }).unwrap();
        payments[0].1
    }

    #[tokio::test]
    async fn a_payment_shows_how_far_it_has_come_and_moves_the_bytes_at_its_end() {
        let api = TestApi::new();
        let payments = || api.get("/account/payments").token(&api.client_token);
        let stats = || api.get("/transfer/stats").token(&api.user_token);
        payments().await.golden(200, "none");
        api.state.ledger.earn(api.user.network_id, 3 << 30, 7_500_000_000).await;

        let cancelled = planned(&api).await;
        payments().await.golden(200, "planned");
        stats().await.golden(200, "unpaid");
        api.state.ledger.cancel_payment(cancelled).await.unwrap().unwrap();
        payments().await.golden(200, "cancelled_unmade");

        api.clock.advance(Duration::from_secs(1));
        let payment = planned(&api).await;
        let record = PaymentRecord {
            reference: "transfer 7".into(),
            token_type: "USDC".into(),
            wallet_address: "DgTYzxzYRpkGQ8e3Un71GoQf494VLDBnyqXNXB38MP73".into(),
            blockchain: "SOL".into(),
            ..PaymentRecord::default()
        };
        api.state.ledger.record_payment(payment, record.clone()).await.unwrap().unwrap();
        payments().await.golden(200, "recorded");
        stats().await.golden(200, "unpaid");
        api.state.ledger.complete_payment(payment, "5wHu1qwD".into()).await.unwrap().unwrap();
        payments().await.golden(200, "completed");
        stats().await.golden(200, "paid");

        api.state.ledger.earn(api.user.network_id, 1 << 30, 1).await;
        let failed = planned(&api).await;
        api.state.ledger.record_payment(failed, record).await.unwrap().unwrap();
        api.state.ledger.cancel_payment(failed).await.unwrap().unwrap();
        payments().await.golden(200, "cancelled_after_recording");
        api.get("/account/payments").await.expect(401);
    }
}
