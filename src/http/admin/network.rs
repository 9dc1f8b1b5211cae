//! Networks: list, show, delete.

use axum::Router;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Command, PAGE_MAX, cut, find_network, not_found, route};
use crate::domain::account::delete::DeleteNetwork as Delete;
use crate::domain::account::find::PageNetworks;
use crate::domain::account::user::GetNetworkUser;
use crate::domain::network::NetworkRecord;
use crate::http::error::ApiError;
use crate::http::state::ApiState;
use crate::ids::{NetworkId, UserId};
use crate::time::Timestamp;

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    Router::new().merge(route::<ListNetworks>()).merge(route::<ShowNetwork>()).merge(route::<DeleteNetwork>())
}

/// Lists networks, oldest first.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ListNetworks {
    /// Most networks to list
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=PAGE_MAX as i64))]
    pub limit: u32,
    /// Only those behind this one, the last of the list before
    #[arg(long, value_name = "NETWORK_ID")]
    pub after: Option<NetworkId>,
}

/// A page of networks.
#[derive(Debug, Serialize, Deserialize)]
pub struct Networks {
    /// The networks.
    pub networks: Vec<ListedNetwork>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<NetworkId>,
}

/// A network in a list.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListedNetwork {
    /// The network.
    pub network_id: NetworkId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// How many of its clients have a transport.
    pub clients_connected: usize,
}

impl Command for ListNetworks {
    const PATH: &'static str = "/network/list";
    type Answer = Networks;

    async fn run(self, state: &ApiState) -> Result<Networks, ApiError> {
        let limit = self.limit.min(PAGE_MAX);
        let mut networks = state.service.read(&PageNetworks { after: self.after, count: limit as usize + 1 })?;
        let next = cut(&mut networks, limit, |(id, _)| *id);
        let listed = |(network_id, network): (NetworkId, NetworkRecord)| {
            let clients_connected = state.presence.connected(network_id).len();
            ListedNetwork { network_id, name: network.name, create_time: network.create_time, clients_connected }
        };
        Ok(Networks { networks: networks.into_iter().map(listed).collect(), next })
    }
}

/// Shows a network and who administers it.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ShowNetwork {
    /// Id or name of the network
    pub network: String,
}

/// A network.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownNetwork {
    /// The network.
    pub network_id: NetworkId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// Its referral code.
    pub referral_code: String,
    /// The network whose code was given when it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referred_by: Option<NetworkId>,
    /// Its one user.
    pub user_id: UserId,
    /// What they call themselves.
    pub user_name: String,
    /// How they sign in.
    pub sign_in: Vec<SignIn>,
    /// How many of its clients have a transport.
    pub clients_connected: usize,
    /// Bytes it can still reserve.
    pub available_bytes: i64,
    /// Whether it is Pro.
    pub is_pro: bool,
}

/// A way to sign in.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignIn {
    /// Its kind.
    pub kind: String,
    /// Address or number; absent when nothing can be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_auth: Option<String>,
    /// Whether it is proven.
    pub is_verified: bool,
}

impl Command for ShowNetwork {
    const PATH: &'static str = "/network/show";
    type Answer = ShownNetwork;

    async fn run(self, state: &ApiState) -> Result<ShownNetwork, ApiError> {
        let (network_id, network) = find_network(state, &self.network)?;
        let user = state.service.read(&GetNetworkUser { user_id: network.admin_user_id })?;
        let (user_name, methods) = user.map(|user| (user.user_name, user.methods)).unwrap_or_default();
        let balance = state.ledger.balance(network_id).await?;
        let sign_in = methods.into_iter().map(|method| SignIn {
            kind: method.kind.as_str().into(),
            user_auth: method.identity,
            is_verified: method.verified,
        });
        Ok(ShownNetwork {
            network_id,
            name: network.name,
            create_time: network.create_time,
            referral_code: network.referral_code,
            referred_by: network.referred_by,
            user_id: network.admin_user_id,
            user_name,
            sign_in: sign_in.collect(),
            clients_connected: state.presence.connected(network_id).len(),
            available_bytes: balance.available_bytes,
            is_pro: balance.is_pro,
        })
    }
}

/// Deletes a network with its user, clients, sessions and keys; its name is free again.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct DeleteNetwork {
    /// Id or name of the network
    pub network: String,
}

/// What was deleted.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeletedNetwork {
    /// The network.
    pub network_id: NetworkId,
    /// Its name.
    pub name: String,
}

impl Command for DeleteNetwork {
    const PATH: &'static str = "/network/delete";
    type Answer = DeletedNetwork;

    async fn run(self, state: &ApiState) -> Result<DeletedNetwork, ApiError> {
        let (network_id, network) = find_network(state, &self.network)?;
        match state.service.run(&Delete { network_id }).await? {
            true => Ok(DeletedNetwork { network_id, name: network.name }),
            false => Err(not_found(format!("network {network_id} was deleted by someone else just now"))),
        }
    }
}
