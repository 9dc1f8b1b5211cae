//! Clients: list those of a network, remove one.

use std::net::IpAddr;

use axum::Router;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Command, PAGE_MAX, find_network, mode_words, not_found, route};
use crate::domain::client::{ListClients as List, ListedClient, ReadClient, RemoveClients};
use crate::http::error::ApiError;
use crate::http::state::ApiState;
use crate::ids::{ClientId, NetworkId};
use crate::time::Timestamp;

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    Router::new().merge(route::<ListClients>()).merge(route::<RemoveClient>())
}

/// Lists the clients of a network: connected ones first, then those with a device of their own.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ListClients {
    /// Id or name of the network
    pub network: String,
    /// Most clients to list
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=PAGE_MAX as i64))]
    pub limit: u32,
}

/// The clients of a network.
#[derive(Debug, Serialize, Deserialize)]
pub struct Clients {
    /// The clients.
    pub clients: Vec<ClientEntry>,
    /// Whether the list was cut.
    pub is_more: bool,
}

/// A client.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClientEntry {
    /// The client.
    pub client_id: ClientId,
    /// The client it is derived from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_client_id: Option<ClientId>,
    /// What the app calls it.
    pub description: String,
    /// The name of its device.
    pub device_name: String,
    /// What it provides: `network`, `public`, `stream`.
    pub provide_modes: Vec<String>,
    /// When it was made.
    pub create_time: Timestamp,
    /// When a token was last made for it.
    pub auth_time: Timestamp,
    /// Since when it is connected; absent when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_time: Option<Timestamp>,
    /// Where it is connected from.
    pub addresses: Vec<IpAddr>,
}

impl Command for ListClients {
    const PATH: &'static str = "/client/list";
    type Answer = Clients;

    async fn run(self, state: &ApiState) -> Result<Clients, ApiError> {
        let (network_id, _) = find_network(state, &self.network)?;
        let limit = self.limit.min(PAGE_MAX) as usize;
        let connected = state.presence.connected(network_id);
        let mut listed = state.service.read(&List { network_id, connected, max_count: limit + 1 })?;
        let is_more = listed.len() > limit;
        listed.truncate(limit);
        Ok(Clients { clients: listed.into_iter().map(|listed| entry(state, listed)).collect(), is_more })
    }
}

fn entry(state: &ApiState, listed: ListedClient) -> ClientEntry {
    let connections = state.presence.connections(listed.client_id);
    ClientEntry {
        client_id: listed.client_id,
        source_client_id: listed.client.source_client_id,
        description: listed.client.description,
        device_name: listed.device.map(|device| device.device_name).unwrap_or_default(),
        provide_modes: mode_words(listed.provide_modes),
        create_time: listed.client.create_time,
        auth_time: listed.client.auth_time,
        connect_time: connections.first().map(|oldest| oldest.connect_time),
        addresses: connections.iter().map(|connection| connection.entry.address).collect(),
    }
}

/// Removes a client and all that is derived from it; their tokens are dead at once.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct RemoveClient {
    /// The client
    pub client_id: ClientId,
}

/// What was removed.
#[derive(Debug, Serialize, Deserialize)]
pub struct RemovedClient {
    /// The client.
    pub client_id: ClientId,
    /// The network it belonged to.
    pub network_id: NetworkId,
}

impl Command for RemoveClient {
    const PATH: &'static str = "/client/remove";
    type Answer = RemovedClient;

    async fn run(self, state: &ApiState) -> Result<RemovedClient, ApiError> {
        let client_id = self.client_id;
        let unknown = || {
            not_found(format!(
                "there is no client {client_id}; `warren admin client list NETWORK` shows those of a network"
            ))
        };
        let network_id = state.service.read(&ReadClient(client_id))?.ok_or_else(unknown)?.network_id;
        state.service.run(&RemoveClients { network_id, client_ids: vec![client_id] }).await?;
        Ok(RemovedClient { client_id, network_id })
    }
}
