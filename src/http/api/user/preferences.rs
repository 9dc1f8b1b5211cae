//! The preferences of a network.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::preferences::{Preferences, ReadPreferences, SetPreferences};
use crate::http::answer::Json;
use crate::http::error::ApiResult;
use crate::http::extract::{Body, Session};
use crate::http::state::ApiState;

/// What the network has chosen.
#[derive(Serialize, ToSchema)]
pub struct PreferencesResult {
    /// Whether it wants to hear of news.
    product_updates: bool,
}

/// Tells the preferences of the network.
#[utoipa::path(
    get,
    path = "/preferences",
    tag = "account",
    security(("bearer" = [])),
    responses((status = 200, body = PreferencesResult))
)]
pub async fn preferences(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<PreferencesResult> {
    let Preferences { product_updates } = state.service.read(&ReadPreferences(caller.network_id))?;
    Ok(Json(PreferencesResult { product_updates }))
}

/// What the network chooses.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct SetPreferencesArgs {
    /// Whether it wants to hear of news.
    product_updates: bool,
}

/// Always empty.
#[derive(Serialize, ToSchema)]
pub struct SetPreferencesResult {}

/// Sets the preferences of the network.
#[utoipa::path(
    post,
    path = "/preferences/set-preferences",
    tag = "account",
    security(("bearer" = [])),
    request_body = SetPreferencesArgs,
    responses((status = 200, body = SetPreferencesResult))
)]
pub async fn set_preferences(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<SetPreferencesArgs>,
) -> ApiResult<SetPreferencesResult> {
    let preferences = Preferences { product_updates: args.product_updates };
    state.service.run(&SetPreferences { network_id: caller.network_id, preferences }).await?;
    Ok(Json(SetPreferencesResult {}))
}
