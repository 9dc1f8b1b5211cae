//! `warren admin balance`.

use clap::Subcommand;

use super::desk::Desk;
use super::show::{bytes, details, table, yes_no};
use crate::http::admin::balance::{ClawBackBalance, GrantBalance, ShowBalance, ShownBalance};

/// The commands on balances.
#[derive(Subcommand)]
pub enum Balance {
    /// Show what a network may spend
    Show(ShowBalance),
    /// Give a network a balance
    Grant(GrantBalance),
    /// End a balance now, as after a refund
    ClawBack(ClawBackBalance),
}

impl Balance {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::Show(command) => desk.run(command, show).await,
            Self::Grant(command) => {
                let line = |id, size, end| format!("granted balance {id}: {size} until {end}");
                desk.run(command, |new| line(new.balance_id, bytes(new.bytes), new.end_time)).await
            }
            Self::ClawBack(command) => desk.run(command, |ended| format!("ended balance {}", ended.balance_id)).await,
        }
    }
}

fn show(balance: &ShownBalance) -> String {
    let sums = details([
        ("network", balance.network_id.to_string()),
        ("available", bytes(balance.available_bytes)),
        ("in open contracts", bytes(balance.open_bytes)),
        ("used", bytes(balance.used_bytes)),
        ("provided", bytes(balance.provided_bytes)),
        ("earned, USD", balance.provided_revenue.to_string()),
        ("paid out", bytes(balance.paid_bytes)),
        ("paid out, USD", balance.paid_revenue.to_string()),
        ("pro", yes_no(balance.is_pro)),
    ]);
    let rows = balance.balances.iter().map(|bucket| {
        [
            bucket.balance_id.to_string(),
            bucket.end_time.to_string(),
            bytes(bucket.start_bytes),
            bytes(bucket.available_bytes),
            bucket.net_revenue.to_string(),
            yes_no(bucket.is_pro),
        ]
    });
    format!("{sums}\n\n{}", table(["balance", "ends", "granted", "available", "revenue, USD", "pro"], rows))
}
