//! Signing a device in and out.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{AppError, AppInvalid, AppLoginRefused, AppMessage, AppResult};
use super::extract::{AppCaller, Visitor};
use super::fields::AppFields;
use super::words;
use crate::domain::app::login::{SignIn, SignInOutcome};
use crate::domain::app::token::SignOut;
use crate::http::state::ApiState;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(login)).routes(routes!(logout))
}

/// Who signs in, on which device.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document of what the handler takes field by field")]
struct AppLoginArgs {
    /// Mail address.
    email: String,
    /// Password.
    password: String,
    /// What the app calls its device, the same each time; at most 255 characters.
    device_id: String,
    /// What people shall call a new device.
    device_name: Option<String>,
}

/// A device that is signed in.
#[derive(Serialize, ToSchema)]
struct AppLoginResult {
    /// The token; shown once. The one that the device had before is dead.
    token: String,
    /// The device's number.
    device_id: String,
}

/// Signs a device in.
///
/// The device is made when it signs in for the first time.
#[utoipa::path(
    post,
    path = "/api/login",
    tag = "client API",
    request_body = AppLoginArgs,
    responses(
        (status = 200, body = AppLoginResult),
        (status = 400, description = "The request cannot be read.", body = AppMessage),
        (status = 401, description = "Wrong login or password.", body = AppLoginRefused),
        (status = 403, description = "The address is not confirmed, or there are too many devices.", body = AppMessage),
        (status = 413, description = "The body is too large.", body = AppMessage),
        (status = 422, description = "AppFields are missing or malformed.", body = AppInvalid),
        (status = 429, description = "Too many attempts; `Retry-After` says when to come back.", body = AppMessage),
    )
)]
async fn login(visitor: Visitor, State(state): State<ApiState>, mut fields: AppFields) -> AppResult<AppLoginResult> {
    let email = fields.needed_email("email");
    let password = fields.needed_secret("password");
    let app_name = fields.needed_text("device_id");
    let name = fields.text("device_name").unwrap_or_default();
    fields.finish()?;
    let language = visitor.language;
    let refused = || AppError::wrong_login(language);
    let email = email.ok_or_else(refused)?;
    let failed = |error| AppError::of(error, language);
    let owner = state.accounts.check_password(&visitor.origin, &email, &password).await.map_err(failed)?;
    let owner = owner.ok_or_else(refused)?;
    let forbidden = |text| Err(AppError::new(StatusCode::FORBIDDEN, language, text));
    let sign_in = SignIn { owner: &owner, app_name: &app_name, name: &name };
    match state.service.run(&sign_in).await.map_err(failed)? {
        SignInOutcome::SignedIn { token, number } => Ok(Json(AppLoginResult { token, device_id: number.to_string() })),
        SignInOutcome::Unverified => forbidden(&words::UNVERIFIED),
        SignInOutcome::Full => forbidden(&words::TOO_MANY_DEVICES),
        SignInOutcome::Changed => Err(refused()),
    }
}

/// Signs the calling device out: its token is dead, and so are the access keys that it was given.
#[utoipa::path(
    post,
    path = "/api/logout",
    tag = "client API",
    security(("app_token" = [])),
    responses(
        (status = 200, body = AppMessage),
        (status = 401, description = "No valid token.", body = AppMessage),
        (status = 429, description = "Too many requests.", body = AppMessage),
    )
)]
async fn logout(caller: AppCaller, State(state): State<ApiState>) -> AppResult<AppMessage> {
    let language = caller.visitor.language;
    let sign_out = SignOut { user_id: caller.bearer.caller.user_id, number: caller.bearer.device.number };
    state.service.run(&sign_out).await.map_err(|error| AppError::of(error, language))?;
    Ok(Json(AppMessage { message: language.say(&words::LOGGED_OUT).into() }))
}
