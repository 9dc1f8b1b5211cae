//! Share codes: made by the source network, confirmed by it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AssociationStatusResult, invalid_code};
use crate::domain::association::code::Code;
use crate::domain::association::share::{ConfirmShare, CreateShare, CreateShareOutcome};
use crate::http::answer::Json;
use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::{ApiOrigin, Body, Session};
use crate::http::state::ApiState;
use crate::ids::ClientId;

/// A client to share.
#[derive(Deserialize, ToSchema)]
pub struct CreateShareCodeArgs {
    /// The client.
    client_id: ClientId,
    /// What the guest shall see as its name.
    #[serde(default)]
    device_name: String,
}

/// A share code.
#[derive(Default, Serialize, ToSchema)]
pub struct CreateShareCodeResult {
    /// Six words.
    #[serde(skip_serializing_if = "Option::is_none")]
    share_code: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Makes a code by which another network may use a client.
#[utoipa::path(
    post,
    path = "/device/create-share-code",
    tag = "devices",
    security(("bearer" = [])),
    request_body = CreateShareCodeArgs,
    responses((status = 200, body = CreateShareCodeResult))
)]
pub async fn create_share_code(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<CreateShareCodeArgs>,
) -> ApiResult<CreateShareCodeResult> {
    let operation = CreateShare { caller, client_id: args.client_id, device_name: args.device_name };
    let refused = |message: &str| CreateShareCodeResult { share_code: None, error: Some(message.into()) };
    Ok(Json(match state.service.run(&operation).await? {
        CreateShareOutcome::Created(code) => CreateShareCodeResult { share_code: Some(code.to_string()), error: None },
        CreateShareOutcome::InvalidClient => refused("Invalid client."),
        CreateShareOutcome::TooMany => refused("Too many codes."),
    }))
}

/// A share code.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct ShareStatusArgs {
    /// Six words.
    #[schema(required)]
    share_code: String,
}

/// Tells who has added a share code, and whether that is confirmed.
#[utoipa::path(
    post,
    path = "/device/share-status",
    tag = "devices",
    security(("bearer" = [])),
    request_body = ShareStatusArgs,
    responses((status = 200, body = AssociationStatusResult))
)]
pub async fn share_status(
    State(state): State<ApiState>,
    _caller: Session,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<ShareStatusArgs>,
) -> ApiResult<AssociationStatusResult> {
    let code = Code::parse(&args.share_code)?;
    let status = state.accounts.share_status(&origin, &code).await?;
    Ok(Json(AssociationStatusResult::new(status, "Invalid share code.")))
}

/// A share code and its guest.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct ConfirmShareArgs {
    /// Six words.
    #[schema(required)]
    share_code: String,
    /// Name of the network that has added it.
    #[schema(required)]
    associated_network_name: String,
}

/// Who is the guest.
#[derive(Default, Serialize, ToSchema)]
pub struct ConfirmShareResult {
    /// The network that may use the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    associated_network_name: Option<String>,
    /// Why nothing has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Agrees to the network that has added a share code.
///
/// Only the network that made the code can, and only with the name that the other one has now.
#[utoipa::path(
    post,
    path = "/device/confirm-share",
    tag = "devices",
    security(("bearer" = [])),
    request_body = ConfirmShareArgs,
    responses((status = 200, body = ConfirmShareResult))
)]
pub async fn confirm_share(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<ConfirmShareArgs>,
) -> ApiResult<ConfirmShareResult> {
    let code = Code::parse(&args.share_code)?;
    let guest_name = args.associated_network_name;
    let operation = ConfirmShare { network_id: caller.network_id, code, guest_name };
    Ok(Json(match state.service.run(&operation).await? {
        Ok(()) => ConfirmShareResult { associated_network_name: Some(operation.guest_name), error: None },
        Err(_) => ConfirmShareResult { associated_network_name: None, error: Some(invalid_code()) },
    }))
}
