//! Auth codes, which hand a login to another device, and fresh client tokens.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::auth::auth_code::{AuthCodeOutcome, AuthCodeRequest};
use crate::domain::auth::refresh::RefreshOutcome;
use crate::domain::auth::role::WantedIdentity;
use crate::http::answer::Json;
use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::{ApiOrigin, Body, Session};
use crate::http::state::ApiState;

/// A code to make.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct CodeCreateArgs {
    /// Life of the code; 1 when absent, at most 1440.
    duration_minutes: f64,
    /// Logins it is good for; 1 when absent, at most 100.
    uses: i64,
    /// Roles in tokens that come from the code; those of the caller's token when absent.
    roles: Vec<String>,
    /// Principal in tokens that come from the code; that of the caller's token when absent.
    principal: String,
}

/// A new code.
#[derive(Default, Serialize, ToSchema)]
pub struct CodeCreateResult {
    /// The code. Shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_code: Option<String>,
    /// Its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_minutes: Option<f64>,
    /// Logins it is good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    uses: Option<u32>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<CodeCreateError>,
}

/// Why no code was made.
#[derive(Serialize, ToSchema)]
pub struct CodeCreateError {
    /// The network, or this token, may not make more codes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    auth_code_limit_exceeded: bool,
    /// One sentence for people.
    message: String,
}

/// Makes a code that logs in as the user on another device.
///
/// The tokens that come from it die with the session that made it. Client tokens may not make codes unless the
/// operator allows it.
#[utoipa::path(
    post,
    path = "/auth/code-create",
    tag = "auth",
    security(("bearer" = [])),
    request_body = CodeCreateArgs,
    responses((status = 200, body = CodeCreateResult))
)]
pub async fn code_create(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<CodeCreateArgs>,
) -> ApiResult<CodeCreateResult> {
    let CodeCreateArgs { duration_minutes, uses, roles, principal } = args;
    let request = AuthCodeRequest { duration_minutes, uses, identity: WantedIdentity { roles, principal } };
    Ok(Json(state.accounts.create_auth_code(&caller, &request).await?.into()))
}

impl From<AuthCodeOutcome> for CodeCreateResult {
    fn from(outcome: AuthCodeOutcome) -> Self {
        let failure = |auth_code_limit_exceeded, message: &str| {
            let error = CodeCreateError { auth_code_limit_exceeded, message: message.into() };
            Self { error: Some(error), ..Self::default() }
        };
        match outcome {
            AuthCodeOutcome::Created { auth_code, duration_minutes, uses } => Self {
                auth_code: Some(auth_code),
                duration_minutes: Some(duration_minutes),
                uses: Some(uses),
                error: None,
            },
            AuthCodeOutcome::LimitExceeded(message) => failure(true, message),
            AuthCodeOutcome::Refused(message) => failure(false, message),
        }
    }
}

/// A code that was handed on.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct CodeLoginArgs {
    /// The code; spaces around it do not matter.
    #[schema(required)]
    auth_code: String,
}

/// A token.
#[derive(Default, Serialize, ToSchema)]
pub struct TokenResult {
    /// The token.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_jwt: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

impl TokenResult {
    fn failure(message: &str) -> Self {
        Self { by_jwt: None, error: Some(message.into()) }
    }
}

/// Logs in with a code.
#[utoipa::path(
    post,
    path = "/auth/code-login",
    tag = "auth",
    request_body = CodeLoginArgs,
    responses((status = 200, body = TokenResult))
)]
pub async fn code_login(
    State(state): State<ApiState>,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<CodeLoginArgs>,
) -> ApiResult<TokenResult> {
    Ok(Json(match state.accounts.login_with_code(&origin, &args.auth_code).await? {
        Some(by_jwt) => TokenResult { by_jwt: Some(by_jwt), error: None },
        None => TokenResult::failure("Invalid auth code."),
    }))
}

/// Makes a fresh token for the calling client.
///
/// Same client and device, current names; the token presented stays good. Apps log out on 401 and on an `error`.
#[utoipa::path(
    get,
    path = "/auth/refresh",
    tag = "auth",
    security(("bearer" = [])),
    responses((status = 200, body = TokenResult))
)]
pub async fn refresh(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<TokenResult> {
    Ok(Json(match state.accounts.refresh(&caller).await? {
        RefreshOutcome::Refreshed { by_jwt } => TokenResult { by_jwt: Some(by_jwt), error: None },
        RefreshOutcome::ClientRequired => TokenResult::failure("Client ID is required for token refresh."),
    }))
}
