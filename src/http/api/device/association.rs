//! The devices a network shares, is lent, or is about to adopt.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::DeviceResult;
use crate::domain::association::code::Code;
use crate::domain::association::edit::{NameAssociation, RemoveAssociation};
use crate::domain::association::list::{ListAssociations, Listed};
use crate::http::answer::Json;
use crate::http::error::ApiResult;
use crate::http::extract::{Body, Session};
use crate::http::state::ApiState;
use crate::ids::ClientId;

/// The associations of a network.
#[derive(Serialize, ToSchema)]
pub struct AssociationsResult {
    /// Devices that the network has added and that have not confirmed yet.
    pending_adoption_devices: Vec<AssociationEntry>,
    /// Clients of other networks that it may use, or will once they confirm.
    incoming_shared_devices: Vec<AssociationEntry>,
    /// Clients of its own that it shares.
    outgoing_shared_devices: Vec<AssociationEntry>,
}

/// An association.
#[derive(Serialize, ToSchema)]
struct AssociationEntry {
    /// The side that made the code has not confirmed yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pending: bool,
    /// Six words.
    code: String,
    /// What the network calls it, else the name given with the code.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    device_name: String,
    /// The shared client.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    /// The other network of a share.
    #[serde(skip_serializing_if = "Option::is_none")]
    network_name: Option<String>,
    /// How long the device still may confirm.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_minutes: Option<f64>,
}

impl From<Listed> for AssociationEntry {
    fn from(listed: Listed) -> Self {
        Self {
            pending: listed.is_pending,
            code: listed.code,
            device_name: listed.device_name,
            client_id: listed.client_id,
            network_name: listed.network_name,
            duration_minutes: listed.minutes_left,
        }
    }
}

/// Lists the devices that the network shares, is lent, or is about to adopt.
#[utoipa::path(
    get,
    path = "/device/associations",
    tag = "devices",
    security(("bearer" = [])),
    responses((status = 200, body = AssociationsResult))
)]
pub async fn associations(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<AssociationsResult> {
    let listed = state.service.read(&ListAssociations(caller.network_id))?;
    let entries = |listed: Vec<Listed>| listed.into_iter().map(AssociationEntry::from).collect();
    Ok(Json(AssociationsResult {
        pending_adoption_devices: entries(listed.adoptions),
        incoming_shared_devices: entries(listed.incoming),
        outgoing_shared_devices: entries(listed.outgoing),
    }))
}

/// An association to end.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct RemoveAssociationArgs {
    /// Six words.
    #[schema(required)]
    code: String,
}

/// Ends an association; a device that was adopted stays.
#[utoipa::path(
    post,
    path = "/device/remove-association",
    tag = "devices",
    security(("bearer" = [])),
    request_body = RemoveAssociationArgs,
    responses((status = 200, body = DeviceResult))
)]
pub async fn remove_association(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<RemoveAssociationArgs>,
) -> ApiResult<DeviceResult> {
    let operation = RemoveAssociation { network_id: caller.network_id, code: Code::parse(&args.code)? };
    Ok(Json(state.service.run(&operation).await?.into()))
}

/// An association and its name.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct SetAssociationNameArgs {
    /// Six words.
    #[schema(required)]
    code: String,
    /// The name.
    #[schema(required)]
    device_name: String,
}

/// Names an association, for the caller's side alone.
#[utoipa::path(
    post,
    path = "/device/set-association-name",
    tag = "devices",
    security(("bearer" = [])),
    request_body = SetAssociationNameArgs,
    responses((status = 200, body = DeviceResult))
)]
pub async fn set_association_name(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<SetAssociationNameArgs>,
) -> ApiResult<DeviceResult> {
    let (network_id, label) = (caller.network_id, args.device_name);
    let operation = NameAssociation { network_id, code: Code::parse(&args.code)?, label };
    Ok(Json(state.service.run(&operation).await?.into()))
}
