//! Clients of a network: make, list, remove.

use axum::extract::{DefaultBodyLimit, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::domain::auth::role::WantedIdentity;
use crate::domain::caller::{Caller, CallerClient};
use crate::domain::client::{AuthClient, AuthClientOutcome, ListClients, ListedClient, OwnClients, RemoveClients};
use crate::domain::presence::Connection;
use crate::http::answer::Json;
use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::{Body, Session};
use crate::http::state::ApiState;
use crate::ids::{ClientId, ConnectionId, DeviceId, InstanceId, NetworkId};
use crate::time::Timestamp;
use crate::wire::messages::ProvideMode;

/// Clients in one answer; more would pass the 2 MiB that apps accept.
const LISTED_MAX: usize = 3000;

/// Largest list of clients to remove, in bytes.
const REMOVE_BODY_BYTES: usize = 16 << 20;

/// Clients removed in one transaction.
const REMOVED_AT_ONCE: usize = 32;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(auth_client))
        .routes(routes!(remove_client))
        .routes(routes!(remove_clients).layer(DefaultBodyLimit::max(REMOVE_BODY_BYTES)))
        .routes(routes!(clients))
}

/// A client to make, or to make a token for.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct AuthClientArgs {
    /// An existing client; a new one when absent.
    client_id: Option<ClientId>,
    /// The client to derive the new one from; with a client token, the caller itself when absent.
    source_client_id: Option<ClientId>,
    /// Older name of `source_client_id`.
    derived_client_id: Option<ClientId>,
    /// What the app calls it; names a new device.
    description: String,
    /// What the device is.
    device_spec: String,
    /// Roles of the new client; those of the caller's token when absent.
    roles: Vec<String>,
    /// Principal of the new client; that of the caller's token when absent.
    principal: String,
    /// Not supported; any value is refused.
    proxy_config: Option<serde_json::Value>,
}

/// A client and its token.
#[derive(Default, Serialize, ToSchema)]
struct AuthClientResult {
    /// The client's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_client_jwt: Option<String>,
    /// The client.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<AuthClientError>,
}

/// Why there is no client.
#[derive(Serialize, ToSchema)]
struct AuthClientError {
    /// The network, or the source, has all the clients it may have.
    client_limit_exceeded: bool,
    /// One sentence for people.
    message: String,
}

impl AuthClientResult {
    fn refused(client_limit_exceeded: bool, message: &str) -> Self {
        let error = AuthClientError { client_limit_exceeded, message: message.into() };
        Self { error: Some(error), ..Self::default() }
    }
}

/// Makes a client, or a token for one that exists.
///
/// The token opens the relay. A user token makes a client with a device of its own; a client token makes one derived
/// from itself.
#[utoipa::path(
    post,
    path = "/network/auth-client",
    tag = "network",
    security(("bearer" = [])),
    request_body = AuthClientArgs,
    responses((status = 200, body = AuthClientResult))
)]
async fn auth_client(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<AuthClientArgs>,
) -> ApiResult<AuthClientResult> {
    if args.proxy_config.is_some() {
        return Ok(Json(AuthClientResult::refused(false, "Proxy clients are not supported on this server.")));
    }
    let operation = AuthClient {
        caller,
        client_id: args.client_id,
        source_client_id: args.source_client_id.or(args.derived_client_id),
        description: args.description,
        device_spec: args.device_spec,
        identity: WantedIdentity { roles: args.roles, principal: args.principal },
    };
    let (client_id, client) = match state.service.run(&operation).await? {
        AuthClientOutcome::Authorized(client_id, client) => (client_id, client),
        AuthClientOutcome::LimitExceeded => {
            return Ok(Json(AuthClientResult::refused(true, "Client limit exceeded.")));
        }
        AuthClientOutcome::Refused(message) => return Ok(Json(AuthClientResult::refused(false, message))),
    };
    let caller = Caller {
        client: Some(CallerClient { client_id, device_id: client.device_id }),
        roles: client.roles,
        principal: client.principal,
        ..operation.caller
    };
    let by_client_jwt = Some(state.accounts.token(&caller).await?);
    Ok(Json(AuthClientResult { by_client_jwt, client_id: Some(client_id), error: None }))
}

/// A client to remove.
#[derive(Deserialize, ToSchema)]
struct RemoveClientArgs {
    /// The client.
    client_id: ClientId,
}

/// Empty, or why nothing was removed.
#[derive(Serialize, ToSchema)]
struct RemoveClientResult {
    /// Why nothing was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Removes a client of the network.
///
/// Its token is dead at once, its transports are closed, and what is derived from it goes with it. Removing it again
/// is no error.
#[utoipa::path(
    post,
    path = "/network/remove-client",
    tag = "network",
    security(("bearer" = [])),
    request_body = RemoveClientArgs,
    responses((status = 200, body = RemoveClientResult))
)]
async fn remove_client(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<RemoveClientArgs>,
) -> ApiResult<RemoveClientResult> {
    let operation = RemoveClients { network_id: caller.network_id, client_ids: vec![args.client_id] };
    let known = state.service.run(&operation).await?;
    let error = (known == 0).then(|| ErrorMessage::from("Client does not exist."));
    Ok(Json(RemoveClientResult { error }))
}

/// Clients to remove.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct RemoveClientsArgs {
    /// The clients; unknown ones are ignored.
    client_ids: Vec<ClientId>,
}

/// Always empty: everything has happened when the answer arrives.
#[derive(Serialize, ToSchema)]
struct RemoveClientsResult {}

/// Removes many clients of the network.
#[utoipa::path(
    post,
    path = "/network/remove-clients",
    tag = "network",
    security(("bearer" = [])),
    request_body = RemoveClientsArgs,
    responses((status = 200, body = RemoveClientsResult))
)]
async fn remove_clients(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<RemoveClientsArgs>,
) -> ApiResult<RemoveClientsResult> {
    let network_id = caller.network_id;
    let own = state.service.read(&OwnClients { network_id, client_ids: args.client_ids })?;
    for client_ids in own.chunks(REMOVED_AT_ONCE) {
        state.service.run(&RemoveClients { network_id, client_ids: client_ids.to_vec() }).await?;
    }
    Ok(Json(RemoveClientsResult {}))
}

/// The clients of a network.
#[derive(Serialize, ToSchema)]
struct ClientsResult {
    /// The active clients: connected ones first, then top-level ones, at most 3000.
    clients: Vec<ClientEntry>,
}

/// A client.
#[derive(Serialize, ToSchema)]
struct ClientEntry {
    /// The client.
    client_id: ClientId,
    /// The client it is derived from.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_client_id: Option<ClientId>,
    /// Its device.
    device_id: DeviceId,
    /// Its network.
    network_id: NetworkId,
    /// What the app calls it.
    description: String,
    /// The name of its device.
    device_name: String,
    /// What its device is.
    device_spec: String,
    /// When it was made.
    create_time: Timestamp,
    /// When a token was last made for it.
    auth_time: Timestamp,
    /// Opaque identity roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    roles: Vec<String>,
    /// Opaque identity principal.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    principal: String,
    /// The widest of the modes it provides: 1 network, 2 friends and family, 3 public, 4 stream only.
    #[serde(skip_serializing_if = "Option::is_none")]
    provide_mode: Option<i32>,
    /// The server's side of it, while connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    resident: Option<ResidentEntry>,
    /// Its live transports.
    connections: Vec<ConnectionEntry>,
}

/// The server's side of a connected client.
#[derive(Serialize, ToSchema)]
struct ResidentEntry {
    /// The client.
    client_id: ClientId,
    /// The process run at the other end.
    instance_id: InstanceId,
    /// Its id: that of its oldest transport.
    resident_id: ConnectionId,
    /// The server it is on.
    resident_host: String,
    /// Always `connect`.
    resident_service: &'static str,
    /// Always `main`.
    resident_block: &'static str,
    /// Always empty.
    resident_internal_ports: [u16; 0],
}

/// A live transport.
#[derive(Serialize, ToSchema)]
struct ConnectionEntry {
    /// The client.
    client_id: ClientId,
    /// The transport.
    connection_id: ConnectionId,
    /// When it came.
    connect_time: Timestamp,
    /// The server it is on.
    connection_host: String,
    /// Always `connect`.
    connection_service: &'static str,
    /// Always `main`.
    connection_block: &'static str,
}

/// Lists the active clients of the network.
#[utoipa::path(
    get,
    path = "/network/clients",
    tag = "network",
    security(("bearer" = [])),
    responses((status = 200, body = ClientsResult))
)]
async fn clients(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<ClientsResult> {
    let network_id = caller.network_id;
    let connected = state.presence.connected(network_id);
    let listed = state.service.read(&ListClients { network_id, connected, max_count: LISTED_MAX })?;
    let clients = listed.into_iter().map(|listed| {
        let connections = state.presence.connections(listed.client_id);
        entry(listed, &connections, state.status.host())
    });
    Ok(Json(ClientsResult { clients: clients.collect() }))
}

fn entry(listed: ListedClient, connections: &[Connection], host: &str) -> ClientEntry {
    let ListedClient { client_id, client, device, provide_modes } = listed;
    let (device_name, device_spec) = device.map(|device| (device.device_name, device.device_spec)).unwrap_or_default();
    ClientEntry {
        client_id,
        source_client_id: client.source_client_id,
        device_id: client.device_id,
        network_id: client.network_id,
        description: client.description,
        device_name,
        device_spec,
        create_time: client.create_time,
        auth_time: client.auth_time,
        roles: client.roles,
        principal: client.principal,
        provide_mode: widest(&provide_modes).map(i32::from),
        resident: connections.first().map(|oldest| ResidentEntry {
            client_id,
            instance_id: oldest.entry.instance_id,
            resident_id: oldest.entry.connection_id,
            resident_host: host.into(),
            resident_service: "connect",
            resident_block: "main",
            resident_internal_ports: [],
        }),
        connections: connections.iter().map(|connection| connection_entry(connection, host)).collect(),
    }
}

fn connection_entry(connection: &Connection, host: &str) -> ConnectionEntry {
    ConnectionEntry {
        client_id: connection.entry.client_id,
        connection_id: connection.entry.connection_id,
        connect_time: connection.connect_time,
        connection_host: host.into(),
        connection_service: "connect",
        connection_block: "main",
    }
}

/// Modes are a set; the answer has room for one.
fn widest(modes: &[ProvideMode]) -> Option<ProvideMode> {
    const WIDEST_FIRST: [ProvideMode; 4] =
        [ProvideMode::Public, ProvideMode::FriendsAndFamily, ProvideMode::Network, ProvideMode::Stream];
    WIDEST_FIRST.into_iter().find(|mode| modes.contains(mode))
}

#[cfg(test)]
mod tests;
