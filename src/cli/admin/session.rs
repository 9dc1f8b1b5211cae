//! `warren admin session`.

use clap::Subcommand;

use super::desk::Desk;
use super::show::{or_dash, table};
use crate::http::admin::session::{ListSessions, RevokeSession, Sessions};

/// The commands on login sessions.
#[derive(Subcommand)]
pub enum Session {
    /// List the login sessions of a network, oldest first
    List(ListSessions),
    /// End a session and all that descend from it
    Revoke(RevokeSession),
}

impl Session {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::List(command) => desk.run(command, list).await,
            Self::Revoke(command) => desk.run(command, |revoked| format!("sessions ended: {}", revoked.ended)).await,
        }
    }
}

fn list(answer: &Sessions) -> String {
    let rows = answer.sessions.iter().map(|session| {
        [
            session.session_id.to_string(),
            session.create_time.to_string(),
            session.use_time.to_string(),
            or_dash(session.parent_id),
        ]
    });
    table(["session", "started", "last used", "started by"], rows)
}
