//! Where a device can come out: the places with healthy providers.

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
use super::words;
use crate::domain::app::server::ServerPlace;
use crate::http::state::ApiState;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(servers))
}

/// Which device asks.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document of what the handler takes field by field")]
struct AppServersArgs {
    /// The device's number, as a number or as text.
    #[schema(schema_with = number)]
    device_id: i64,
}

/// A place with healthy providers.
#[derive(Serialize, ToSchema)]
struct AppServer {
    /// Its number, which stays the same.
    id: u32,
    /// Name of the country.
    country: String,
    /// Two letters, lower case; empty when nobody knows where it is.
    country_code: String,
    /// Name of the city; empty when only the country or region is known.
    city: String,
    /// Answers a GET quickly: for measuring the way there and back.
    api_url: String,
    /// Clients that have a connection through it now.
    connections: usize,
}

impl AppServer {
    fn new(server: &ServerPlace, caller: &AppCaller) -> Self {
        let place = server.place.as_ref();
        let unknown = caller.visitor.language.say(&words::ANYWHERE);
        Self {
            id: server.number,
            country: place.map_or_else(|| unknown.to_owned(), |place| place.country.clone()),
            country_code: place.map(|place| place.country_code.as_str().to_owned()).unwrap_or_default(),
            city: place.map(|place| place.city.clone()).unwrap_or_default(),
            api_url: format!("{}/status", caller.visitor.base),
            connections: server.connection_count,
        }
    }
}

/// Takes the number of the calling device.
///
/// # Errors
/// 403 when it is the number of another one.
pub(super) fn own_device(caller: &AppCaller, number: i64) -> Result<(), AppError> {
    match number == i64::from(caller.bearer.device.number) {
        true => Ok(()),
        false => Err(AppError::new(StatusCode::FORBIDDEN, caller.visitor.language, &words::FOREIGN_DEVICE)),
    }
}

/// Lists the servers.
///
/// A server is a place with at least one healthy provider.
#[utoipa::path(
    post,
    path = "/api/servers",
    tag = "client API",
    security(("app_token" = [])),
    request_body = AppServersArgs,
    responses(
        (status = 200, body = Vec<AppServer>),
        (status = 400, description = "The request cannot be read.", body = AppMessage),
        (status = 401, description = "No valid token.", body = AppMessage),
        (status = 403, description = "Another device.", body = AppMessage),
        (status = 413, description = "The body is too large.", body = AppMessage),
        (status = 422, description = "AppFields are missing or malformed.", body = AppInvalid),
        (status = 429, description = "Too many requests.", body = AppMessage),
    )
)]
async fn servers(caller: AppCaller, State(state): State<ApiState>, mut fields: AppFields) -> AppResult<Vec<AppServer>> {
    let device = fields.needed_number("device_id");
    fields.finish()?;
    own_device(&caller, device)?;
    let list = state.servers.list().await.map_err(|error| AppError::of(error, caller.visitor.language))?;
    Ok(Json(list.iter().map(|server| AppServer::new(server, &caller)).collect()))
}
