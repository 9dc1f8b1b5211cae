//! The access key of a device to a server: all that a client needs to connect, in one line.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{AppError, AppInvalid, AppMessage, AppResult};
use super::extract::AppCaller;
use super::fields::{AppFields, number};
use super::servers::own_device;
use super::user::has_plan;
use super::words;
use crate::domain::app::server::{ANYWHERE, ServerPlace};
use crate::domain::auth::role::WantedIdentity;
use crate::domain::caller::Caller;
use crate::domain::client::{AuthClient, AuthClientOutcome};
use crate::domain::error::DomainError;
use crate::http::state::ApiState;
use crate::ids::LocationId;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(key))
}

/// Which device wants to get to which server.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document of what the handler takes field by field")]
struct AppKeyArgs {
    /// The server's number, as a number or as text.
    #[schema(schema_with = number)]
    server_id: i64,
    /// The device's number, likewise.
    #[schema(schema_with = number)]
    device_id: i64,
}

/// An access key.
#[derive(Serialize, ToSchema)]
struct AppKeyResult {
    /// A link that `warren client --key` takes; it holds a token of the device.
    key: String,
}

/// The key: a link to the server with the token of a client, and the place that is wanted (none for any).
pub fn access_key(base: &str, token: &str, location_id: Option<LocationId>) -> String {
    let (tls, authority) = match base.split_once("://") {
        Some(("http", authority)) => ("off", authority),
        Some((_, authority)) => ("on", authority),
        None => ("on", base),
    };
    let location = location_id.map(|id| format!("&location={id}")).unwrap_or_default();
    format!("warren://{authority}/?tls={tls}&token={token}{location}")
}

/// Gives the calling device its access key to a server.
#[utoipa::path(
    post,
    path = "/api/key",
    tag = "client API",
    security(("app_token" = [])),
    request_body = AppKeyArgs,
    responses(
        (status = 200, body = AppKeyResult),
        (status = 400, description = "The request cannot be read.", body = AppMessage),
        (status = 401, description = "No valid token.", body = AppMessage),
        (status = 402, description = "Nothing is left to use.", body = AppMessage),
        (status = 403, description = "Another device.", body = AppMessage),
        (status = 404, description = "No such server.", body = AppMessage),
        (status = 413, description = "The body is too large.", body = AppMessage),
        (status = 422, description = "AppFields are missing or malformed.", body = AppInvalid),
        (status = 429, description = "Too many requests.", body = AppMessage),
    )
)]
async fn key(caller: AppCaller, State(state): State<ApiState>, mut fields: AppFields) -> AppResult<AppKeyResult> {
    let number = fields.needed_number("server_id");
    let device = fields.needed_number("device_id");
    fields.finish()?;
    own_device(&caller, device)?;
    let language = caller.visitor.language;
    let failed = |error| AppError::of(error, language);
    let server = find(&state, number).await.map_err(failed)?;
    let Some(server) = server else {
        return Err(AppError::new(StatusCode::NOT_FOUND, language, &words::UNKNOWN_SERVER));
    };
    let balance = state.ledger.balance(caller.bearer.caller.network_id).await.map_err(failed)?;
    if !has_plan(state.config(), &balance) {
        return Err(AppError::new(StatusCode::PAYMENT_REQUIRED, language, &words::NO_PLAN));
    }
    let token = client_token(&state, &caller.bearer.caller).await.map_err(failed)?;
    let location_id = Some(server.location_id).filter(|id| *id != ANYWHERE);
    Ok(Json(AppKeyResult { key: access_key(&caller.visitor.base, &token, location_id) }))
}

async fn find(state: &ApiState, number: i64) -> Result<Option<ServerPlace>, DomainError> {
    match u32::try_from(number) {
        Ok(number) => state.servers.find(number).await,
        Err(_) => Ok(None),
    }
}

/// A client token of the device, which counts as used with it.
async fn client_token(state: &ApiState, device: &Caller) -> Result<String, DomainError> {
    let renew = AuthClient {
        caller: Caller { client: None, ..device.clone() },
        client_id: device.client_id(),
        source_client_id: None,
        description: String::new(),
        device_spec: String::new(),
        identity: WantedIdentity::default(),
    };
    match state.service.run(&renew).await? {
        AuthClientOutcome::Authorized(..) => state.accounts.token(device).await,
        // It was removed a moment ago.
        AuthClientOutcome::LimitExceeded | AuthClientOutcome::Refused(_) => Err(DomainError::Unauthorized),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_link_that_says_where_as_whom_and_through_what() {
        let location = LocationId::new([1; 16]);
        assert_eq!(
            access_key("http://127.0.0.1:8080", "a.b.c", Some(location)),
            format!("warren://127.0.0.1:8080/?tls=off&token=a.b.c&location={location}")
        );
        assert_eq!(access_key("https://vpn.example", "a.b.c", None), "warren://vpn.example/?tls=on&token=a.b.c");
    }
}
