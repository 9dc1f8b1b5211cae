//! `warren admin stats`.

use clap::Subcommand;

use super::desk::Desk;
use super::show::{details, or_dash, table};
use crate::domain::stats::recount::Recount;
use crate::http::admin::stats::RecountStats;

/// The commands on statistics.
#[derive(Subcommand)]
pub enum Stats {
    /// Count the archive of settled contracts again and compare it with the statistics; repeat safely after a timeout
    Recount(RecountStats),
}

impl Stats {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::Recount(command) => desk.run(command, show).await,
        }
    }
}

fn show(recount: &Recount) -> String {
    let summary = details([
        ("days", format!("{} to {}", recount.first_day, recount.last_day)),
        ("contracts counted", recount.contract_count.to_string()),
        ("rows compared", recount.row_count.to_string()),
        ("rows that differ", recount.difference_count.to_string()),
        ("rows rewritten", recount.fixed_count.to_string()),
    ]);
    if recount.differences.is_empty() {
        return summary;
    }
    let told = |text: &str| or_dash(Some(text).filter(|text| !text.is_empty()));
    let rows = recount.differences.iter().map(|difference| {
        [difference.table.clone(), difference.key.clone(), told(&difference.stored), told(&difference.counted)]
    });
    format!("{summary}\n\n{}", table(["table", "row", "stored", "counted"], rows))
}
