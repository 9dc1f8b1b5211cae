//! The network as its members see it.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::client::ReadClient;
use crate::domain::error::DomainError;
use crate::domain::peer::roster::{Marker, Peer};
use crate::http::error::ApiResult;
use crate::http::extract::Session;
use crate::http::state::ApiState;
use crate::ids::ClientId;
use crate::time::Timestamp;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(peers))
}

/// The peers of a client.
#[derive(Default, Serialize, ToSchema)]
struct PeersResult {
    /// Connected top-level clients of the network, without the caller.
    peers: Vec<PeerEntry>,
    /// Those that left within the last five minutes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    disconnected: Vec<PeerEntry>,
    /// How many those are.
    disconnected_count: usize,
}

/// A peer.
#[derive(Serialize, ToSchema)]
struct PeerEntry {
    /// The client.
    client_id: ClientId,
    /// The modes it provides: 1 network, 2 friends and family, 3 public, 4 stream.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    provide_modes: Vec<i32>,
    /// Opaque identity principal.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    principal: String,
    /// Opaque identity roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    roles: Vec<String>,
    /// The name of its device.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    device_name: String,
    /// What its device is.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    device_spec: String,
    /// When it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_time: Option<Timestamp>,
}

impl From<Peer> for PeerEntry {
    fn from(peer: Peer) -> Self {
        Self {
            client_id: peer.client_id,
            provide_modes: peer.provide_modes.into_iter().map(i32::from).collect(),
            principal: peer.principal,
            roles: peer.roles,
            device_name: peer.device_name,
            device_spec: peer.device_spec,
            disconnect_time: None,
        }
    }
}

impl From<Marker> for PeerEntry {
    fn from(marker: Marker) -> Self {
        Self {
            client_id: marker.client_id,
            provide_modes: Vec::new(),
            principal: String::new(),
            roles: Vec::new(),
            device_name: String::new(),
            device_spec: String::new(),
            disconnect_time: Some(marker.disconnect_time),
        }
    }
}

/// Lists the peers of the caller.
///
/// A derived client has none.
#[utoipa::path(
    get,
    path = "/network/peers",
    tag = "network",
    security(("bearer" = [])),
    responses((status = 200, body = PeersResult))
)]
async fn peers(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<PeersResult> {
    if let Some(client_id) = caller.client_id() {
        let client = state.service.read(&ReadClient(client_id))?.ok_or(DomainError::Unauthorized)?;
        if !client.is_top_level() {
            return Ok(Json(PeersResult::default()));
        }
    }
    let (peers, markers) = state.peers.list(caller.network_id, caller.client_id());
    Ok(Json(PeersResult {
        peers: peers.into_iter().map(PeerEntry::from).collect(),
        disconnected_count: markers.len(),
        disconnected: markers.into_iter().map(PeerEntry::from).collect(),
    }))
}

#[cfg(test)]
mod tests;
