//! Login sessions: list those of a network, revoke one.

use axum::Router;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Command, find_network, not_found, route};
use crate::domain::auth::session::{List, Revoke};
use crate::http::error::ApiError;
use crate::http::state::ApiState;
use crate::ids::SessionId;
use crate::time::Timestamp;

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    Router::new().merge(route::<ListSessions>()).merge(route::<RevokeSession>())
}

/// Lists the login sessions of a network, oldest first; `limits.sessions_per_network` bounds them.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ListSessions {
    /// Id or name of the network
    pub network: String,
}

/// The sessions of a network.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sessions {
    /// The sessions.
    pub sessions: Vec<SessionEntry>,
}

/// A session.
#[derive(Debug, Serialize, Deserialize)]
pub struct SessionEntry {
    /// The session.
    pub session_id: SessionId,
    /// The session whose auth code started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<SessionId>,
    /// When it was started.
    pub create_time: Timestamp,
    /// When a token was last made in it, to the hour.
    pub use_time: Timestamp,
}

impl Command for ListSessions {
    const PATH: &'static str = "/session/list";
    type Answer = Sessions;

    async fn run(self, state: &ApiState) -> Result<Sessions, ApiError> {
        let (network_id, _) = find_network(state, &self.network)?;
        let sessions =
            state.service.read(&List { network_id })?.into_iter().map(|(session_id, session)| SessionEntry {
                session_id,
                parent_id: session.ancestors.last().copied(),
                create_time: session.create_time,
                use_time: session.use_time,
            });
        Ok(Sessions { sessions: sessions.collect() })
    }
}

/// Ends a session and all that descend from it; their tokens are dead at once.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct RevokeSession {
    /// Id or name of the network
    pub network: String,
    /// The session
    pub session_id: SessionId,
}

/// What was revoked.
#[derive(Debug, Serialize, Deserialize)]
pub struct RevokedSession {
    /// How many sessions ended.
    pub ended: usize,
}

impl Command for RevokeSession {
    const PATH: &'static str = "/session/revoke";
    type Answer = RevokedSession;

    async fn run(self, state: &ApiState) -> Result<RevokedSession, ApiError> {
        let (network_id, network) = find_network(state, &self.network)?;
        match state.service.run(&Revoke { network_id, session_id: self.session_id }).await? {
            0 => Err(not_found(format!(
                "network {} has no session {}; `warren admin session list {}` shows all",
                network.name, self.session_id, network.name
            ))),
            ended => Ok(RevokedSession { ended }),
        }
    }
}
