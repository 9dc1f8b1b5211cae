//! A new password, for those who lost the old one.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PASSWORD_TOO_SHORT;
use super::verify::{SentResult, sent};
use crate::domain::auth::password_reset::SetPasswordOutcome;
use crate::http::answer::Json;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::{ApiOrigin, Body};
use crate::http::state::ApiState;

/// Whose password was lost.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct PasswordResetArgs {
    /// Mail address or phone number.
    #[schema(required)]
    user_auth: String,
}

/// A new password.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct PasswordSetArgs {
    /// The code that was received.
    #[schema(required)]
    reset_code: String,
    /// The new password, at least 6 bytes.
    #[schema(required)]
    password: String,
}

/// Nothing to say: the account stays unnamed.
#[derive(Default, Serialize, ToSchema)]
pub struct PasswordSetResult {}

/// Sends a code that allows to set a new password.
///
/// The answer does not tell whether anybody has that identity.
#[utoipa::path(
    post,
    path = "/auth/password-reset",
    tag = "auth",
    request_body = PasswordResetArgs,
    responses((status = 200, body = SentResult))
)]
pub async fn password_reset(
    State(state): State<ApiState>,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<PasswordResetArgs>,
) -> ApiResult<SentResult> {
    sent(state.accounts.request_password_reset(&origin, &args.user_auth).await?)
}

/// Sets a new password.
///
/// Every token and auth code made before is dead, and every transport is closed.
#[utoipa::path(
    post,
    path = "/auth/password-set",
    tag = "auth",
    request_body = PasswordSetArgs,
    responses((status = 200, body = PasswordSetResult))
)]
pub async fn password_set(
    State(state): State<ApiState>,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<PasswordSetArgs>,
) -> ApiResult<PasswordSetResult> {
    match state.accounts.set_password(&origin, &args.reset_code, &args.password).await? {
        SetPasswordOutcome::Done => Ok(Json(PasswordSetResult {})),
        SetPasswordOutcome::InvalidCode => {
            Err(ApiError::bad_request("Invalid or expired reset code.").with_reset_code_error())
        }
        SetPasswordOutcome::PasswordTooShort => Err(ApiError::bad_request(PASSWORD_TOO_SHORT)),
    }
}
