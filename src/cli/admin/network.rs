//! `warren admin network`.

use clap::Subcommand;

use super::desk::Desk;
use super::show::{bytes, details, or_dash, page, table, yes_no};
use crate::http::admin::network::{DeleteNetwork, ListNetworks, Networks, ShowNetwork, ShownNetwork};

/// The commands on networks.
#[derive(Subcommand)]
pub enum Network {
    /// List networks, oldest first
    List(ListNetworks),
    /// Show a network and who administers it
    Show(ShowNetwork),
    /// Delete a network with its user, clients, sessions and keys
    Delete(DeleteNetwork),
}

impl Network {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::List(command) => desk.run(command, list).await,
            Self::Show(command) => desk.run(command, show).await,
            Self::Delete(command) => {
                desk.run(command, |deleted| format!("deleted network {} ({})", deleted.name, deleted.network_id)).await
            }
        }
    }
}

fn list(answer: &Networks) -> String {
    let rows = answer.networks.iter().map(|network| {
        [
            network.network_id.to_string(),
            network.name.clone(),
            network.create_time.to_string(),
            network.clients_connected.to_string(),
        ]
    });
    page(table(["network", "name", "created", "connected"], rows), answer.next)
}

fn show(network: &ShownNetwork) -> String {
    let sign_in = network.sign_in.iter().map(|method| {
        let proof = if method.is_verified { "" } else { " (not verified)" };
        format!("{} {}{proof}", method.kind, method.user_auth.as_deref().unwrap_or_default()).trim_end().to_owned()
    });
    details([
        ("network", network.network_id.to_string()),
        ("name", network.name.clone()),
        ("created", network.create_time.to_string()),
        ("user", network.user_id.to_string()),
        ("user name", network.user_name.clone()),
        ("signs in with", or_dash(Some(sign_in.collect::<Vec<_>>().join(", ")).filter(|list| !list.is_empty()))),
        ("referral code", network.referral_code.clone()),
        ("referred by", or_dash(network.referred_by)),
        ("clients connected", network.clients_connected.to_string()),
        ("available", bytes(network.available_bytes)),
        ("pro", yes_no(network.is_pro)),
    ])
}
