//! Payments within a request (x402), which this server does not take.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::Session;
use crate::http::state::ApiState;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(skus)).routes(routes!(purchase))
}

/// What would be for sale.
#[derive(Serialize, ToSchema)]
struct X402Result {}

fn not_enabled() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "x402 is not enabled.")
}

/// Lists what can be paid for within a request: nothing.
#[utoipa::path(get, path = "/x402/skus", tag = "subscription", responses((status = 200, body = X402Result), (status = 404, body = crate::http::error::ErrorResult, description = "Always.")))]
async fn skus() -> ApiResult<X402Result> {
    Err(not_enabled())
}

/// Buys something with a payment in the request: nothing is for sale so.
#[utoipa::path(post, path = "/x402/purchase", tag = "subscription", security(("bearer" = [])), responses((status = 200, body = X402Result), (status = 404, body = crate::http::error::ErrorResult, description = "Always.")))]
async fn purchase(_caller: Session) -> ApiResult<X402Result> {
    Err(not_enabled())
}
