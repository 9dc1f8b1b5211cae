//! `warren admin provider`.

use clap::Subcommand;

use super::desk::Desk;
use super::show::{or_dash, page, table};
use crate::http::admin::provider::{ListProviders, Providers};

/// The commands on providers.
#[derive(Subcommand)]
pub enum Provider {
    /// List the connected providers
    List(ListProviders),
}

impl Provider {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::List(command) => desk.run(command, list).await,
        }
    }
}

fn list(answer: &Providers) -> String {
    let rows = answer.providers.iter().map(|provider| {
        [
            provider.client_id.to_string(),
            provider.network_id.to_string(),
            if provider.is_public { "everyone" } else { "its network" }.into(),
            or_dash(provider.country.as_ref()),
            provider.place.clone(),
        ]
    });
    page(table(["client", "network", "open to", "country", "place"], rows), answer.next)
}
