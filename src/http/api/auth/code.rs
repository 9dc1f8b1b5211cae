//! Auth codes, which hand a login to another device, and fresh client tokens.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::{Body, ClientAddress, Session};
use crate::http::state::ApiState;

/// A code to make.
#[derive(Deserialize, ToSchema)]
#[serde(default)]
#[derive(Default)]
pub struct CodeCreateArgs {
    /// Life of the code; 1 when absent, at most 1440.
    duration_minutes: f64,
    /// Logins it is good for; 1 when absent, at most 100.
    uses: i64,
    /// Roles in tokens that come from the code; those of the caller's token when absent.
    roles: Option<Vec<String>>,
    /// Principal in tokens that come from the code; that of the caller's token when absent.
    principal: Option<String>,
}

/// A new code.
#[derive(Default, Serialize, ToSchema)]
pub struct CodeCreateResult {
    /// The code.
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
    /// The network or this token may not make more codes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    auth_code_limit_exceeded: bool,
    /// One sentence for people.
    message: String,
}
