//! What the company that keeps the wallets reports. The routes are there only when a company does.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::wallet::custody::{KeeperReport, KeeperReportError};
use crate::http::answer::Json;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::RawBody;
use crate::http::state::ApiState;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(pay_circle)).routes(routes!(circle_wallet))
}

/// Nothing more to say.
#[derive(Serialize, ToSchema)]
struct KeeperReportResult {}

impl From<KeeperReportError> for ApiError {
    fn from(error: KeeperReportError) -> Self {
        let status = match error {
            KeeperReportError::NoKeeper => StatusCode::NOT_FOUND,
            KeeperReportError::Signature | KeeperReportError::Malformed => StatusCode::BAD_REQUEST,
            KeeperReportError::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
            KeeperReportError::Domain(error) => return error.into(),
        };
        ApiError::new(status, error.to_string())
    }
}

/// Takes a report of Circle, which signs it: a user has finished making a wallet. Its body is JSON.
#[utoipa::path(post, path = "/pay/circle", tag = "wallet", responses((status = 200, body = KeeperReportResult), (status = 400, body = crate::http::error::ErrorResult, description = "The report is not from there."), (status = 404, body = crate::http::error::ErrorResult, description = "Not switched on.")))]
async fn pay_circle(state: State<ApiState>, headers: HeaderMap, body: RawBody) -> ApiResult<KeeperReportResult> {
    take(state, &headers, body).await
}

/// The same under the name that Circle was once told.
#[utoipa::path(post, path = "/account/circle-wallet", tag = "wallet", responses((status = 200, body = KeeperReportResult), (status = 400, body = crate::http::error::ErrorResult, description = "The report is not from there."), (status = 404, body = crate::http::error::ErrorResult, description = "Not switched on.")))]
async fn circle_wallet(state: State<ApiState>, headers: HeaderMap, body: RawBody) -> ApiResult<KeeperReportResult> {
    take(state, &headers, body).await
}

async fn take(
    State(state): State<ApiState>,
    headers: &HeaderMap,
    RawBody(body): RawBody,
) -> ApiResult<KeeperReportResult> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let report = KeeperReport { key_id: text("x-circle-key-id"), signature: text("x-circle-signature"), body };
    state.custody.take_report(report).await?;
    Ok(Json(KeeperReportResult {}))
}
