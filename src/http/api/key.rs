//! Published identity keys.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::client_key::ReadPublishedKeys;
use crate::http::error::ApiError;
use crate::http::extract::PathText;
use crate::http::state::ApiState;
use crate::ids::ClientId;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(key))
}

/// An identity key.
#[derive(Serialize, ToSchema)]
struct KeyResult {
    /// 32 bytes in base64, `null` when the client has published none or is unknown. Apps expect the member.
    public_key: Option<String>,
}

/// Tells the identity key of a client.
///
/// Apps compare it with the key that came in a contract. A key is cacheable, its absence is not: clients ask for keys
/// that are being published.
#[utoipa::path(
    get,
    path = "/key/{clientId}",
    tag = "connect",
    params(("clientId" = ClientId, Path, description = "The client.")),
    responses((status = 200, body = KeyResult))
)]
async fn key(State(state): State<ApiState>, PathText(client_id): PathText) -> Result<Response, ApiError> {
    let client_id: ClientId = client_id.parse().map_err(|_| ApiError::bad_request("The client id is malformed."))?;
    let keys = state.service.read(&ReadPublishedKeys(client_id))?;
    let public_key = keys.public_key.map(|key| BASE64_STANDARD.encode(key.0));
    let caching = if public_key.is_some() { "public, max-age=60" } else { "no-store" };
    Ok(([(header::CACHE_CONTROL, caching)], Json(KeyResult { public_key })).into_response())
}

#[cfg(test)]
mod tests {
    use crate::domain::client_key::PublishClientKey;
    use crate::http::testing::TestApi;

    #[tokio::test]
    async fn a_key_comes_back_as_published_and_null_stands_for_none() {
        let api = TestApi::new();
        let client_id = api.client.client_id().unwrap();
        let path = format!("/key/{client_id}");
        let absent = api.get(&path).await;
        assert_eq!(
            (absent.text.as_str(), &absent.headers["cache-control"]),
            (r#"{"public_key":null}"#, &"no-store".parse().unwrap())
        );
        api.state.service.run(&PublishClientKey { client_id, public_key: vec![0; 32].into() }).await.unwrap();
        let answer = api.get(&path).await;
        assert_eq!(answer.headers["cache-control"], "public, max-age=60");
        assert_eq!(answer.expect(200)["public_key"], "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    }

    #[tokio::test]
    async fn an_unknown_client_has_no_key_and_a_malformed_id_is_refused() {
        let api = TestApi::new();
        assert_eq!(api.get("/key/01020304-0506-0708-090a-0b0c0d0e0f10").await.text, r#"{"public_key":null}"#);
        assert_eq!(api.get("/key/0102030405060708090A0B0C0D0E0F10").await.status, 200);
        for wrong in ["/key/x", "/key/0102", "/key/%00"] {
            api.get(wrong).await.expect(400);
        }
    }
}
