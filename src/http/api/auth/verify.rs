//! Codes that prove that an address is the user's.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::INVALID_USER_AUTH;
use super::login::LoginNetwork;
use crate::domain::auth::verification::{SendOutcome, VerifyOutcome};
use crate::http::answer::Json;
use crate::http::error::{ApiError, ApiResult, ErrorMessage};
use crate::http::extract::{ApiOrigin, Body};
use crate::http::state::ApiState;

/// A code that was received.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct VerifyArgs {
    /// Mail address or phone number.
    #[schema(required)]
    user_auth: String,
    /// The code; case and spaces around it do not matter.
    #[schema(required)]
    verify_code: String,
}

/// A token.
#[derive(Default, Serialize, ToSchema)]
pub struct VerifyResult {
    /// The finished login.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<LoginNetwork>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Where to send a code.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct VerifySendArgs {
    /// Mail address or phone number.
    #[schema(required)]
    user_auth: String,
    /// Whether the code shall be six digits.
    use_numeric: bool,
}

/// Where a message goes, if that identity exists.
#[derive(Serialize, ToSchema)]
pub struct SentResult {
    /// The identity in its normal form.
    pub user_auth: String,
}

/// Returns a verification code and logs in.
#[utoipa::path(
    post,
    path = "/auth/verify",
    tag = "auth",
    request_body = VerifyArgs,
    responses((status = 200, body = VerifyResult))
)]
pub async fn verify(
    State(state): State<ApiState>,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<VerifyArgs>,
) -> ApiResult<VerifyResult> {
    let failure = |message: &str| VerifyResult { error: Some(message.into()), network: None };
    Ok(Json(match state.accounts.verify(&origin, &args.user_auth, &args.verify_code).await? {
        VerifyOutcome::LoggedIn { by_jwt } => VerifyResult { network: Some(LoginNetwork { by_jwt }), error: None },
        VerifyOutcome::InvalidUserAuth => failure(INVALID_USER_AUTH),
        VerifyOutcome::InvalidCode => failure("Invalid code."),
    }))
}

/// Sends a new verification code.
///
/// The answer does not tell whether anybody has that identity.
#[utoipa::path(
    post,
    path = "/auth/verify-send",
    tag = "auth",
    request_body = VerifySendArgs,
    responses((status = 200, body = SentResult))
)]
pub async fn verify_send(
    State(state): State<ApiState>,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<VerifySendArgs>,
) -> ApiResult<SentResult> {
    sent(state.accounts.send_verification(&origin, &args.user_auth, args.use_numeric).await?)
}

/// The answer to a wish for a message.
pub fn sent(outcome: SendOutcome) -> ApiResult<SentResult> {
    match outcome {
        SendOutcome::Sent { user_auth } => Ok(Json(SentResult { user_auth })),
        SendOutcome::InvalidUserAuth => Err(ApiError::bad_request(INVALID_USER_AUTH)),
    }
}
