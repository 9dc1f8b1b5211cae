//! Create a network, prove who you are, get tokens, hand them on.
//!
//! Failures that clients parse are results with status 200 and an `error` member; routes whose result has no such
//! member (`verify-send`, `password-reset`, `password-set`, `network-check`) fail with a status instead.

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::wallet::WalletAuth;
use crate::domain::auth::outside::OutsideProof;
use crate::http::state::ApiState;

mod code;
mod login;
mod method;
mod network;
mod password;
mod verify;
mod wallet;

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
        .routes(routes!(wallet::wallet_challenge))
        .routes(routes!(wallet::wallet_nonce))
}

/// The first proof made elsewhere that is given.
fn outside_proof(service: String, token: String, wallet: Option<WalletAuth>) -> Option<OutsideProof> {
    match token.is_empty() {
        false => Some(OutsideProof::Token { service, token }),
        true => wallet.map(|wallet| OutsideProof::Wallet(wallet.into())),
    }
}

const INVALID_USER_AUTH: &str = "Invalid email or phone number.";
const INVALID_CREDENTIALS: &str = "Invalid login credentials.";
const PASSWORD_TOO_SHORT: &str = "Password is too short.";

#[cfg(test)]
mod guessing_tests;
#[cfg(test)]
mod outside_tests;
#[cfg(test)]
mod tests;
