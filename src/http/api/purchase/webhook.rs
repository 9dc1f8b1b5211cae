//! What shops, stores and chains report. Each route is there only when its company is configured.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::purchase::checkout::ReportError;
use crate::domain::purchase::solana::{ChainPayment, USDC_MINT};
use crate::http::answer::Json;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::RawBody;
use crate::http::state::ApiState;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(stripe))
        .routes(routes!(apple))
        .routes(routes!(solana))
        .routes(routes!(coinbase))
        .routes(routes!(play))
}

fn not_configured() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "No such route.")
}

/// Nothing more to say.
#[derive(Serialize, ToSchema)]
struct ReportResult {}

/// Takes a report of Stripe, which signs it. Its body is JSON.
#[utoipa::path(post, path = "/pay/stripe", tag = "subscription", responses((status = 200, body = ReportResult), (status = 400, body = crate::http::error::ErrorResult, description = "The report is not from there."), (status = 404, body = crate::http::error::ErrorResult, description = "Not switched on.")))]
async fn stripe(State(state): State<ApiState>, headers: HeaderMap, RawBody(body): RawBody) -> ApiResult<ReportResult> {
    let checkout = state.shop.checkout().ok_or_else(not_configured)?;
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    state.shop.take_report(checkout, (signature.into(), body)).await??;
    Ok(Json(ReportResult {}))
}

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> Self {
        let status = match error {
            ReportError::Signature | ReportError::Malformed => StatusCode::BAD_REQUEST,
            ReportError::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
        };
        ApiError::new(status, error.to_string())
    }
}

/// Takes a report of Coinbase Commerce, which signs it. Its body is JSON.
#[utoipa::path(post, path = "/pay/coinbase", tag = "subscription", responses((status = 200, body = ReportResult), (status = 400, body = crate::http::error::ErrorResult, description = "The report is not from there."), (status = 404, body = crate::http::error::ErrorResult, description = "Not switched on.")))]
async fn coinbase(
    State(state): State<ApiState>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> ApiResult<ReportResult> {
    let signature = headers.get("x-cc-webhook-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    state.shop.take_coin_report(signature, &body).await?.ok_or_else(not_configured)??;
    Ok(Json(ReportResult {}))
}

/// Takes a push of Google Play, whose token Google vouches for. Its body is JSON.
#[utoipa::path(post, path = "/pay/play", tag = "subscription", responses((status = 200, body = ReportResult), (status = 400, body = crate::http::error::ErrorResult, description = "The push is not from there."), (status = 404, body = crate::http::error::ErrorResult, description = "Not switched on.")))]
async fn play(State(state): State<ApiState>, headers: HeaderMap, RawBody(body): RawBody) -> ApiResult<ReportResult> {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    state.shop.take_play_push((sent.into(), body)).await?.ok_or_else(not_configured)??;
    Ok(Json(ReportResult {}))
}

/// A notification of the App Store.
#[derive(Deserialize)]
struct AppleNotification {
    #[serde(rename = "signedPayload")]
    signed_payload: String,
}

/// Takes a notification of the App Store, which signs it. Its body is JSON.
#[utoipa::path(post, path = "/apple/notification", tag = "subscription", responses((status = 200, body = ReportResult), (status = 400, body = crate::http::error::ErrorResult, description = "The report is not from there."), (status = 404, body = crate::http::error::ErrorResult, description = "Not switched on.")))]
async fn apple(State(state): State<ApiState>, RawBody(body): RawBody) -> ApiResult<ReportResult> {
    let payload = serde_json::from_slice::<AppleNotification>(&body).map(|body| body.signed_payload);
    let taken = state.shop.take_apple_notification(&payload.unwrap_or_default()).await?;
    let taken = taken.ok_or_else(not_configured)?;
    taken.map_err(|_| ApiError::bad_request("The notification is not of the App Store."))?;
    Ok(Json(ReportResult {}))
}

/// What became of reported payments.
#[derive(Serialize, ToSchema)]
struct ChainReportResult {
    /// How many were for something.
    message: String,
}

/// A transaction as Helius describes it.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ChainTransaction {
    r#type: String,
    signature: String,
    token_transfers: Vec<TokenTransfer>,
    account_data: Vec<AccountData>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TokenTransfer {
    mint: String,
    to_user_account: String,
    token_amount: f64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AccountData {
    account: String,
}

impl ChainTransaction {
    /// What it pays to `receiver` in USDC.
    fn payment(self, receiver: &str) -> Option<ChainPayment> {
        if self.r#type != "TRANSFER" {
            return None;
        }
        let ours = |transfer: &&TokenTransfer| transfer.mint == USDC_MINT && transfer.to_user_account == receiver;
        let largest =
            self.token_transfers.iter().filter(ours).map(|transfer| transfer.token_amount).fold(0.0, f64::max);
        let accounts = self.account_data.into_iter().map(|data| data.account).collect();
        // USDC has six decimals, which a float carries exactly enough of.
        let paid = (largest * 1e6).round() as i64 * 1000;
        (paid > 0).then_some(ChainPayment { transaction: self.signature, paid, accounts })
    }
}

/// Takes payments on Solana, as the chain's watcher reports them with the configured `Authorization`. Its body is a
/// JSON list.
#[utoipa::path(post, path = "/pay/solana", tag = "subscription", responses((status = 200, body = ChainReportResult), (status = 400, body = crate::http::error::ErrorResult, description = "The report cannot be read."), (status = 401, body = crate::http::error::ErrorResult, description = "The report is not from there."), (status = 404, body = crate::http::error::ErrorResult, description = "Not switched on.")))]
async fn solana(
    State(state): State<ApiState>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> ApiResult<ChainReportResult> {
    let settings = &state.config().solana;
    if settings.webhook_secret.is_empty() {
        return Err(not_configured());
    }
    let sent = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    let is_theirs: bool = subtle::ConstantTimeEq::ct_eq(sent, settings.webhook_secret.as_bytes()).into();
    if !is_theirs {
        tracing::warn!("a report of payments on Solana came without the configured secret");
        return Err(ApiError::bad_request("Bad authorization."));
    }
    let transactions: Vec<serde_json::Value> =
        serde_json::from_slice(&body).map_err(|_| ApiError::bad_request("The report is not a list."))?;
    // One that cannot be read must not stop the others.
    let read = transactions.into_iter().filter_map(|value| serde_json::from_value::<ChainTransaction>(value).ok());
    let payments: Vec<ChainPayment> = read.filter_map(|found| found.payment(&settings.receiver)).collect();
    let given = state.shop.take_chain_payments(&payments).await?;
    Ok(Json(ChainReportResult { message: format!("{given} payments taken") }))
}
