//! The network as its members see it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::client::ReadClient;
use crate::domain::error::DomainError;
use crate::domain::peer::roster::{Marker, Peer};
use crate::domain::provider::blocked::{ListBlocked, SetBlocked};
use crate::http::answer::Json;
use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::{Body, Session};
use crate::http::state::ApiState;
use crate::ids::{ClientId, LocationId, NetworkId};
use crate::time::Timestamp;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(peers))
        .routes(routes!(block_location))
        .routes(routes!(unblock_location))
        .routes(routes!(blocked_locations))
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

/// A country.
#[derive(Deserialize, ToSchema)]
struct BlockLocationArgs {
    /// The country.
    location_id: LocationId,
}

/// Empty, or why nothing has changed.
#[derive(Serialize, ToSchema)]
struct BlockLocationResult {
    /// Why nothing has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Stops offering the network's providers to callers from a country.
#[utoipa::path(
    post,
    path = "/network/block-location",
    tag = "network",
    security(("bearer" = [])),
    request_body = BlockLocationArgs,
    responses((status = 200, body = BlockLocationResult))
)]
async fn block_location(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<BlockLocationArgs>,
) -> ApiResult<BlockLocationResult> {
    set_blocked(&state, caller.network_id, args.location_id, true).await
}

/// Offers the network's providers to callers from a country again.
#[utoipa::path(
    post,
    path = "/network/unblock-location",
    tag = "network",
    security(("bearer" = [])),
    request_body = BlockLocationArgs,
    responses((status = 200, body = BlockLocationResult))
)]
async fn unblock_location(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<BlockLocationArgs>,
) -> ApiResult<BlockLocationResult> {
    set_blocked(&state, caller.network_id, args.location_id, false).await
}

async fn set_blocked(
    state: &ApiState,
    network_id: NetworkId,
    location_id: LocationId,
    is_blocked: bool,
) -> ApiResult<BlockLocationResult> {
    let is_country = state.service.run(&SetBlocked { network_id, location_id, is_blocked }).await?;
    if is_country {
        state.providers.refresh_network(network_id);
    }
    let error = (!is_country).then(|| ErrorMessage::from("Only countries can be blocked."));
    Ok(Json(BlockLocationResult { error }))
}

/// Countries that the network does not serve.
#[derive(Serialize, ToSchema)]
struct BlockedLocationsResult {
    /// The countries.
    blocked_locations: Vec<BlockedLocation>,
}

/// A country.
#[derive(Serialize, ToSchema)]
struct BlockedLocation {
    /// The country.
    location_id: LocationId,
    /// Its name.
    location_name: String,
    /// Always `country`.
    location_type: &'static str,
    /// Its code, in lower case.
    country_code: String,
}

/// Lists the countries to whose callers the network's providers are not offered.
#[utoipa::path(
    get,
    path = "/network/blocked-locations",
    tag = "network",
    security(("bearer" = [])),
    responses((status = 200, body = BlockedLocationsResult))
)]
async fn blocked_locations(
    State(state): State<ApiState>,
    Session(caller): Session,
) -> ApiResult<BlockedLocationsResult> {
    let blocked = state.service.read(&ListBlocked(caller.network_id))?;
    let blocked_locations = blocked.into_iter().map(|place| BlockedLocation {
        location_id: place.country_id(),
        location_type: place.location_type().as_str(),
        country_code: place.country_code.as_str().into(),
        location_name: place.country,
    });
    Ok(Json(BlockedLocationsResult { blocked_locations: blocked_locations.collect() }))
}

#[cfg(test)]
mod tests;
