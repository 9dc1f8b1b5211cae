//! Networks come and go.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::login::VerificationRequired;
use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::{Body, ClientAddress, Session};
use crate::http::state::ApiState;
use crate::ids::NetworkId;

/// A name to try.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct NetworkCheckArgs {
    /// The name.
    network_name: String,
}

/// Whether a name can be had.
#[derive(Serialize, ToSchema)]
pub struct NetworkCheckResult {
    /// False for names that are taken and for those that are no names.
    available: bool,
}

/// A network to make, and its administrator.
///
/// Without `user_auth` and `auth_jwt` the network gets a made-up name, and a seed phrase is the only way to sign in.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct NetworkCreateArgs {
    /// Name of the administrator; may be empty.
    user_name: String,
    /// Mail address or phone number.
    user_auth: Option<String>,
    /// At least 6 bytes; required beside `user_auth`.
    password: Option<String>,
    /// Token of a sign-in service; this server trusts none.
    auth_jwt: Option<String>,
    /// Name of the network: 5 to 50 letters, digits or dashes.
    network_name: String,
    /// Whether the terms are accepted; must be true.
    terms: bool,
    /// Whether the verification code shall be six digits.
    verify_use_numeric: bool,
}

/// A new network.
#[derive(Default, Serialize, ToSchema)]
pub struct NetworkCreateResult {
    /// The network, with its token unless the identity must be verified first.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<NetworkCreateNetwork>,
    /// The only way to sign in, when no other was given. Shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    seedphrase: Option<String>,
    /// A code was sent: `/auth/verify` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_required: Option<VerificationRequired>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<NetworkCreateError>,
}

/// The new network.
#[derive(Serialize, ToSchema)]
pub struct NetworkCreateNetwork {
    /// A user token.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_jwt: Option<String>,
    /// Its id.
    network_id: NetworkId,
    /// Its name in normal form.
    network_name: String,
}

/// Why no network was made.
#[derive(Serialize, ToSchema)]
pub struct NetworkCreateError {
    /// One sentence for people.
    message: String,
    /// The same when the name is to blame; pages show it beside the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    network_name_message: Option<String>,
}

/// Whether the network is gone.
#[derive(Default, Serialize, ToSchema)]
pub struct NetworkDeleteResult {
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}
