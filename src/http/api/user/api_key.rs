//! API keys: long-lived secrets for programs.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::api_key::{Create, List, Remove};
use crate::http::answer::Json;
use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::{Body, Session};
use crate::http::state::ApiState;
use crate::ids::RecordId;
use crate::time::Timestamp;

/// A key to make.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct CreateApiKeyArgs {
    /// What its owner calls it.
    name: String,
}

/// A key just made.
#[derive(Default, Serialize, ToSchema)]
pub struct CreateApiKeyResult {
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<RecordId>,
    /// The key; shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Makes an API key, which acts as the network's user until it is removed.
#[utoipa::path(
    post,
    path = "/account/api-key",
    tag = "account",
    security(("bearer" = [])),
    request_body = CreateApiKeyArgs,
    responses((status = 200, body = CreateApiKeyResult))
)]
pub async fn create(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<CreateApiKeyArgs>,
) -> ApiResult<CreateApiKeyResult> {
    let refused =
        |message: &str| Ok(Json(CreateApiKeyResult { error: Some(message.into()), ..CreateApiKeyResult::default() }));
    if caller.client.is_some() && !state.config().auth.api_key_from_client_token {
        return refused("A client JWT cannot create an API key.");
    }
    match state.service.run(&Create { network_id: caller.network_id, name: args.name }).await? {
        Some(created) => Ok(Json(CreateApiKeyResult {
            id: Some(created.id),
            api_key: Some(created.api_key),
            name: Some(created.name),
            error: None,
        })),
        None => refused("API key limit exceeded."),
    }
}

/// The keys of the network.
#[derive(Serialize, ToSchema)]
pub struct ApiKeysResult {
    /// The keys, oldest first.
    api_keys: Vec<ApiKeyEntry>,
}

/// A key.
#[derive(Serialize, ToSchema)]
struct ApiKeyEntry {
    /// Its id.
    id: RecordId,
    /// Its name.
    name: String,
    /// When it was made.
    create_time: Timestamp,
}

/// Lists the API keys of the network, without the secrets.
#[utoipa::path(
    get,
    path = "/account/api-keys",
    tag = "account",
    security(("bearer" = [])),
    responses((status = 200, body = ApiKeysResult))
)]
pub async fn list(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<ApiKeysResult> {
    let keys = state.service.read(&List { network_id: caller.network_id })?;
    let entry = |(id, key): (_, crate::domain::api_key::ApiKeyRecord)| ApiKeyEntry {
        id,
        name: key.name,
        create_time: key.create_time,
    };
    Ok(Json(ApiKeysResult { api_keys: keys.into_iter().map(entry).collect() }))
}

/// A key to remove.
#[derive(Deserialize, ToSchema)]
pub struct RemoveApiKeyArgs {
    /// Its id.
    id: RecordId,
}

/// Always empty: the key is dead when the answer arrives.
#[derive(Serialize, ToSchema)]
pub struct RemoveApiKeyResult {}

/// Removes an API key; one that is not there is no error.
#[utoipa::path(
    post,
    path = "/account/api-key/remove",
    tag = "account",
    security(("bearer" = [])),
    request_body = RemoveApiKeyArgs,
    responses((status = 200, body = RemoveApiKeyResult))
)]
pub async fn remove(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<RemoveApiKeyArgs>,
) -> ApiResult<RemoveApiKeyResult> {
    state.service.run(&Remove { network_id: caller.network_id, id: args.id }).await?;
    Ok(Json(RemoveApiKeyResult {}))
}
