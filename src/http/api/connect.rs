//! Control messages over HTTP, for clients that need an answer or have no transport.

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use prost::Message;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::{ControlCaller, Via};
use crate::domain::error::DomainError;
use crate::http::error::{ApiError, ErrorMessage};
use crate::http::extract::{Body, ClientCaller};
use crate::http::state::ApiState;
use crate::wire::messages::Pack;

/// Frames of one pack.
const MAX_FRAMES: usize = 1000;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(control))
}

/// A pack to the control id.
#[derive(Deserialize, ToSchema)]
struct ControlArgs {
    /// A serialized `Pack` in base64; only its frames count.
    pack: String,
}

/// What the control id answers.
#[derive(Serialize, ToSchema)]
struct ControlResult {
    /// A serialized `Pack` in base64 with the replies; empty when there are none.
    pack: String,
    /// What went wrong, frame by frame; `null` when nothing did. Present always, here alone.
    error: Option<ErrorMessage>,
}

/// Takes control messages of the calling client.
///
/// They run in order, and one that fails does not stop the next. Status 200 says that what they did is durable.
#[utoipa::path(
    post,
    path = "/connect/control",
    tag = "connect",
    security(("bearer" = [])),
    request_body = ControlArgs,
    responses((status = 200, body = ControlResult))
)]
async fn control(
    State(state): State<ApiState>,
    ClientCaller { caller, client }: ClientCaller,
    Body(args): Body<ControlArgs>,
) -> Result<Json<ControlResult>, ApiError> {
    let bytes = BASE64_STANDARD.decode(args.pack).map_err(|_| ApiError::bad_request("The pack is not base64."))?;
    let pack = Pack::decode(Bytes::from(bytes)).map_err(|_| ApiError::bad_request("The pack cannot be decoded."))?;
    if pack.frames.len() > MAX_FRAMES {
        return Err(ApiError::bad_request("The pack has too many frames."));
    }
    let caller = ControlCaller { client_id: client.client_id, network_id: caller.network_id };
    let reply = state.control.handle(caller, &pack.frames, Via::Http).await;
    if reply.is_unfinished {
        // Clients take 200 for "stored" and ask again after anything else.
        return Err(DomainError::Unavailable.into());
    }
    let error = (!reply.errors.is_empty()).then(|| ErrorMessage { message: reply.errors.join("\n") });
    let pack = Pack { frames: reply.frames, ..Pack::default() }.encode_to_vec();
    Ok(Json(ControlResult { pack: BASE64_STANDARD.encode(pack), error }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::client_key::{PublicKey, ReadPublishedKeys};
    use crate::http::testing::TestApi;
    use crate::wire::control_message::Request;
    use crate::wire::messages::{ClientKey, CreateContract, CreateContractResult, Frame};

    fn pack(frames: Vec<Frame>) -> serde_json::Value {
        json!({"pack": BASE64_STANDARD.encode(Pack { frames, ..Pack::default() }.encode_to_vec())})
    }

    #[tokio::test]
    async fn the_vectors_of_the_protocol_are_answered_to_the_byte() {
        let api = TestApi::new();
        // One ControlPing; a ClientKey of 32 zero bytes.
        for pack in ["KgIIEg==", "KiYIGRIiCiAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="] {
            let answer = api.post("/connect/control", json!({"pack": pack})).token(&api.client_token).await;
            assert_eq!(answer.text, r#"{"pack":"","error":null}"#);
            assert_eq!(answer.headers["content-type"], "application/json");
        }
        let keys = api.state.service.read(&ReadPublishedKeys(api.client.client_id().unwrap())).unwrap();
        assert_eq!(keys.public_key, Some(PublicKey([0; 32])));
    }

    #[tokio::test]
    async fn a_frame_that_fails_is_told_and_does_not_stop_the_next() {
        let api = TestApi::new();
        let bad = Request::ClientKey(ClientKey { public_key: vec![1; 31].into() }).to_frame();
        let good = Request::ClientKey(ClientKey { public_key: vec![2; 32].into() }).to_frame();
        let answer = api.post("/connect/control", pack(vec![bad, good])).token(&api.client_token).await.expect(200);
        assert_eq!(answer["pack"], "");
        assert_eq!(answer["error"]["message"], "A client key has 32 bytes.");
        let keys = api.state.service.read(&ReadPublishedKeys(api.client.client_id().unwrap())).unwrap();
        assert_eq!(keys.public_key, Some(PublicKey([2; 32])));
    }

    #[tokio::test]
    async fn a_contract_that_is_refused_is_answered_in_the_pack() {
        let api = TestApi::new();
        let create = CreateContract { destination_id: Some(vec![9; 16].into()), ..CreateContract::default() };
        let frame = Request::CreateContract(create).to_frame();
        let answer = api.post("/connect/control", pack(vec![frame])).token(&api.client_token).await.expect(200);
        assert!(answer["error"].is_null());
        let bytes = BASE64_STANDARD.decode(answer["pack"].as_str().unwrap()).unwrap();
        let replies = Pack::decode(Bytes::from(bytes)).unwrap().frames;
        assert_eq!(replies.len(), 1);
        let result = CreateContractResult::decode(replies[0].message_bytes.clone()).unwrap();
        assert!(result.error.is_some() && result.contract.is_none());
    }

    #[tokio::test]
    async fn only_a_client_may_send_and_what_is_no_pack_is_refused() {
        let api = TestApi::new();
        api.post("/connect/control", json!({"pack": ""})).token(&api.user_token).await.expect(401);
        api.post("/connect/control", json!({"pack": ""})).await.expect(401);
        let many = vec![Request::ControlPing.to_frame(); MAX_FRAMES + 1];
        let wrong = [json!({}), json!({"pack": "?"}), json!({"pack": "KgIIEg"}), json!({"pack": "////"}), pack(many)];
        for body in wrong {
            api.post("/connect/control", body).token(&api.client_token).await.expect(400);
        }
        let full = vec![Request::ControlPing.to_frame(); MAX_FRAMES];
        api.post("/connect/control", pack(full)).token(&api.client_token).await.expect(200);
    }
}
