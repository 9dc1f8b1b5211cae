//! Create a network, prove who you are, get tokens, hand them on.
//!
//! Failures that clients parse are results with status 200 and an `error` member; routes whose result has no such
//! member (`verify-send`, `password-reset`, `password-set`, `network-check`) fail with a status instead.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::auth::attempts::{Origin, Surface};
use crate::http::error::ApiError;
use crate::http::extract::ClientAddress;
use crate::http::state::ApiState;

mod code;
mod login;
mod method;
mod network;
mod password;
mod verify;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(network::network_check))
        .routes(routes!(network::network_create))
        .routes(routes!(network::network_delete))
        .routes(routes!(login::login))
        .routes(routes!(login::login_with_password))
        .routes(routes!(verify::verify))
        .routes(routes!(verify::verify_send))
        .routes(routes!(password::password_reset))
        .routes(routes!(password::password_set))
        .routes(routes!(code::code_create))
        .routes(routes!(code::code_login))
        .routes(routes!(code::refresh))
        .routes(routes!(method::add_auth))
        .routes(routes!(method::remove_auth))
        .routes(routes!(method::generate_seedphrase))
        .routes(routes!(method::regenerate_seedphrase))
}

const INVALID_USER_AUTH: &str = "Invalid email or phone number.";
const INVALID_CREDENTIALS: &str = "Invalid login credentials.";
const PASSWORD_TOO_SHORT: &str = "Password is too short.";

/// Where a call came from, for the limits on attempts.
struct ApiOrigin(Origin);

impl FromRequestParts<ApiState> for ApiOrigin {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let ClientAddress(address) = ClientAddress::from_request_parts(parts, state).await?;
        Ok(Self(Origin { surface: Surface::Api, address: address.ip() }))
    }
}

#[cfg(test)]
mod tests;
