//! The only place where an error gets a status and a body.
//!
//! Shape: `{"error": {"message": …}}` with a status other than 200. Outcomes that clients parse (a wrong code, a name
//! already taken) are no errors: they are typed results with status 200.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Json;
use crate::domain::error::DomainError;

/// What handlers return.
pub type ApiResult<T> = Result<Json<T>, ApiError>;

/// The body of every answer whose status is not 200.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorResult {
    /// What went wrong.
    pub error: Refusal,
}

/// Why a request was refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// One sentence for people.
    pub message: String,
    /// The reset code is to blame: the page offers a new one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub reset_code_error: bool,
}

/// The `error` member of a result with status 200.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorMessage {
    /// One sentence for people.
    pub message: String,
}

impl From<&str> for ErrorMessage {
    fn from(message: &str) -> Self {
        Self { message: message.into() }
    }
}

/// A refused request: status, message, and when to try again.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    status: StatusCode,
    error: Refusal,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// A refusal with this status and message.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let error = Refusal { message: message.into(), reset_code_error: false };
        Self { status, error, retry_after: None }
    }

    /// 400 with this message.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 500; the cause belongs in the log, not here.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error.")
    }

    /// The same refusal, blaming the reset code.
    pub fn with_reset_code_error(mut self) -> Self {
        self.error.reset_code_error = true;
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<DomainError> for ApiError {
    fn from(error: DomainError) -> Self {
        let status = match &error {
            DomainError::Unauthorized => StatusCode::UNAUTHORIZED,
            DomainError::Forbidden(_) => StatusCode::FORBIDDEN,
            DomainError::BadRequest(_) => StatusCode::BAD_REQUEST,
            DomainError::NotFound(_) => StatusCode::NOT_FOUND,
            DomainError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            DomainError::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            DomainError::Store(cause) => {
                tracing::error!(%cause, "the store failed a request");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let mut refusal = ApiError::new(status, error.to_string());
        if let DomainError::TooMany { retry_after } = error {
            refusal.retry_after = Some(retry_after);
        }
        refusal
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(ErrorResult { error: self.error })).into_response();
        if let Some(wait) = self.retry_after {
            // Rounded up: a client that obeys must not come a moment too early.
            let seconds = wait.as_millis().div_ceil(1000).max(1) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[test]
    fn every_domain_error_has_its_status() {
        let cases = [
            (DomainError::Unauthorized, 401),
            (DomainError::Forbidden("No."), 403),
            (DomainError::BadRequest("Bad.".into()), 400),
            (DomainError::NotFound("Gone."), 404),
            (DomainError::TooMany { retry_after: Duration::from_secs(3) }, 429),
            (DomainError::Unavailable, 503),
            (DomainError::Store(StoreError::Failed("secret path".into())), 500),
        ];
        for (error, status) in cases {
            let text = error.to_string();
            assert_eq!(ApiError::from(error).status().as_u16(), status, "{text}");
        }
    }

    #[test]
    fn causes_stay_out_of_the_body() {
        let refusal = ApiError::from(DomainError::Store(StoreError::Failed("secret path".into())));
        assert_eq!(refusal, ApiError::internal());
    }

    #[test]
    fn throttled_calls_say_when_to_come_back() {
        let response =
            ApiError::from(DomainError::TooMany { retry_after: Duration::from_millis(2_001) }).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "3");
    }
}
