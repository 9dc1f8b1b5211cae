//! Who no longer wants to hear of news, as the company that sends them reports.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::error::DomainError;
use crate::domain::news::Unsubscribe;
use crate::http::answer::Json;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::RawBody;
use crate::http::state::ApiState;

/// What a report says.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NewsReport {
    event: String,
    email: String,
}

/// Nothing more to say.
#[derive(Serialize, ToSchema)]
pub struct NewsReportResult {}

/// Takes a report of Brevo, which sends the configured name in its basic authorization. Its body is JSON.
#[utoipa::path(post, path = "/updates/brevo", tag = "account", responses((status = 200, body = NewsReportResult), (status = 400, body = crate::http::error::ErrorResult, description = "The report cannot be read."), (status = 401, body = crate::http::error::ErrorResult, description = "The report is not from there."), (status = 404, body = crate::http::error::ErrorResult, description = "Not switched on.")))]
pub async fn brevo(
    State(state): State<ApiState>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> ApiResult<NewsReportResult> {
    let token = &state.config().brevo.webhook_token;
    if token.is_empty() {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "No such route."));
    }
    let wanted = format!("Basic {}", BASE64_STANDARD.encode(format!("{token}:")));
    let sent = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    let is_theirs: bool = subtle::ConstantTimeEq::ct_eq(sent, wanted.as_bytes()).into();
    if !is_theirs {
        tracing::warn!("a report of Brevo came without the configured authorization");
        return Err(DomainError::Unauthorized.into());
    }
    let report: NewsReport =
        serde_json::from_slice(&body).map_err(|_| ApiError::bad_request("The report cannot be read."))?;
    if report.event == "unsubscribe" {
        state.service.run(&Unsubscribe { address: report.email }).await?;
    }
    Ok(Json(NewsReportResult {}))
}
