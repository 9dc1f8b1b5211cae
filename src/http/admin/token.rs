//! Devices that are signed in at the client API: list those of a network, sign one out.

use axum::Router;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Command, find_network, not_found, route};
use crate::domain::app::device::{ListAppDevices, ListedDevice};
use crate::domain::app::token::SignOut;
use crate::http::error::ApiError;
use crate::http::state::ApiState;
use crate::ids::ClientId;
use crate::time::Timestamp;

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    Router::new().merge(route::<ListTokens>()).merge(route::<RevokeToken>())
}

/// Lists the devices of a network that know the client API, and since when they have their token.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ListTokens {
    /// Id or name of the network
    pub network: String,
}

/// The devices of a network.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tokens {
    /// The devices.
    pub tokens: Vec<TokenEntry>,
}

/// A device.
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenEntry {
    /// Its number.
    pub device: u32,
    /// What the app calls it.
    pub app_name: String,
    /// What people call it.
    pub name: String,
    /// The client it is.
    pub client_id: ClientId,
    /// When it first signed in.
    pub create_time: Timestamp,
    /// When it got its token; absent when it is signed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_time: Option<Timestamp>,
}

impl From<ListedDevice> for TokenEntry {
    fn from(listed: ListedDevice) -> Self {
        Self {
            device: listed.number,
            app_name: listed.device.app_name,
            name: listed.name,
            client_id: listed.device.client_id,
            create_time: listed.device.create_time,
            token_time: listed.device.login.map(|login| login.token_time),
        }
    }
}

impl Command for ListTokens {
    const PATH: &'static str = "/tokens/list";
    type Answer = Tokens;

    async fn run(self, state: &ApiState) -> Result<Tokens, ApiError> {
        let (_, network) = find_network(state, &self.network)?;
        let listed = state.service.read(&ListAppDevices { user_id: network.admin_user_id })?;
        Ok(Tokens { tokens: listed.into_iter().map(TokenEntry::from).collect() })
    }
}

/// Signs a device out: its token and the access keys that it was given are dead, its live transports are cut.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct RevokeToken {
    /// Id or name of the network
    pub network: String,
    /// Number of the device
    pub device: u32,
}

/// What was revoked.
#[derive(Debug, Serialize, Deserialize)]
pub struct RevokedToken {
    /// Number of the device.
    pub device: u32,
}

impl Command for RevokeToken {
    const PATH: &'static str = "/tokens/revoke";
    type Answer = RevokedToken;

    async fn run(self, state: &ApiState) -> Result<RevokedToken, ApiError> {
        let (_, network) = find_network(state, &self.network)?;
        let device = self.device;
        match state.service.run(&SignOut { user_id: network.admin_user_id, number: device }).await? {
            true => Ok(RevokedToken { device }),
            false => Err(not_found(format!(
                "network {} has no device {device} that is signed in; `warren admin tokens list {}` shows all",
                network.name, network.name
            ))),
        }
    }
}
