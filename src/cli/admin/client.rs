//! `warren admin client`.

use clap::Subcommand;

use super::desk::Desk;
use super::show::{or_dash, table};
use crate::http::admin::client::{Clients, ListClients, RemoveClient};

/// The commands on clients.
#[derive(Subcommand)]
pub enum Client {
    /// List the clients of a network, connected ones first
    List(ListClients),
    /// Remove a client and all that is derived from it
    Remove(RemoveClient),
}

impl Client {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::List(command) => desk.run(command, list).await,
            Self::Remove(command) => {
                desk.run(command, |removed| {
                    format!("removed client {} of network {}", removed.client_id, removed.network_id)
                })
                .await
            }
        }
    }
}

fn list(answer: &Clients) -> String {
    let rows = answer.clients.iter().map(|client| {
        let addresses = client.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        [
            client.client_id.to_string(),
            client.description.clone(),
            or_dash(Some(client.provide_modes.join(" ")).filter(|modes| !modes.is_empty())),
            client.auth_time.to_string(),
            or_dash(client.connect_time),
            or_dash(Some(addresses).filter(|addresses| !addresses.is_empty())),
        ]
    });
    let list = table(["client", "description", "provides", "last token", "connected since", "from"], rows);
    if answer.is_more { format!("{list}\n\nThere is more: raise --limit") } else { list }
}
