//! `warren admin mail`.

use clap::Subcommand;

use super::desk::Desk;
use crate::http::admin::mail::AllowMail;

/// The commands on letters.
#[derive(Subcommand)]
pub enum Mail {
    /// Send letters again to somebody who wanted no more
    Allow(AllowMail),
}

impl Mail {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::Allow(command) => {
                desk.run(command, |allowed| format!("{} gets letters again", allowed.address)).await
            }
        }
    }
}
