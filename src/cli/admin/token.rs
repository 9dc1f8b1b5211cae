//! `warren admin tokens`.

use clap::Subcommand;

use super::desk::Desk;
use super::show::{or_dash, table};
use crate::http::admin::token::{ListTokens, RevokeToken, Tokens as Listed};

/// The commands on tokens of the client API.
#[derive(Subcommand)]
pub enum Tokens {
    /// List the devices of a network and their tokens
    List(ListTokens),
    /// Sign a device out
    Revoke(RevokeToken),
}

impl Tokens {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::List(command) => desk.run(command, list).await,
            Self::Revoke(command) => desk.run(command, |revoked| format!("signed out device {}", revoked.device)).await,
        }
    }
}

fn list(answer: &Listed) -> String {
    let rows = answer.tokens.iter().map(|token| {
        [
            token.device.to_string(),
            token.app_name.clone(),
            token.name.clone(),
            token.client_id.to_string(),
            token.create_time.to_string(),
            or_dash(token.token_time),
        ]
    });
    table(["device", "app's name", "name", "client", "first seen", "token since"], rows)
}
