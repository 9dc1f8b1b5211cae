//! How the server is.

use axum::Router;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Command, route};
use crate::http::error::ApiError;
use crate::http::state::{ApiState, Quic};

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    route::<ShowStatus>()
}

/// Shows how the server is.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ShowStatus {}

/// How the server is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// `ok`, `draining`, or why it takes no work.
    pub state: String,
    /// Its release.
    pub version: String,
    /// The name of its machine.
    pub host: String,
    /// How its QUIC listener is; absent when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quic: Option<String>,
    /// The data folder.
    pub store: String,
    /// Clients with a transport.
    pub clients_connected: usize,
    /// Ordered pairs of clients with an open or recent contract.
    pub contract_pairs: usize,
}

impl Command for ShowStatus {
    const PATH: &'static str = "/status/show";
    type Answer = Status;

    async fn run(self, state: &ApiState) -> Result<Status, ApiError> {
        Ok(Status {
            state: state.status.word(),
            version: env!("CARGO_PKG_VERSION").into(),
            host: state.status.host().into(),
            quic: state.status.quic().map(|quic| match quic {
                Quic::Listening(address) => format!("listening on {address}"),
                Quic::Down(reason) => reason,
            }),
            store: state.config().store.path.display().to_string(),
            clients_connected: state.presence.client_count(),
            contract_pairs: state.ledger.gate().pair_count(),
        })
    }
}
