//! `warren admin balance-code`.

use clap::Subcommand;

use super::desk::Desk;
use super::show::{bytes, or_dash, table};
use crate::http::admin::balance_code::{CancelCode, Codes, CreateCodes, CreatedCodes, ListCodes, ShownCode};

/// The commands on balance codes.
#[derive(Subcommand)]
pub enum BalanceCode {
    /// Make codes; they are shown this once
    Create(CreateCodes),
    /// List codes, newest first
    List(ListCodes),
    /// Make a code worthless, as after a refund
    Cancel(CancelCode),
}

impl BalanceCode {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::Create(command) => desk.run(command, created).await,
            Self::List(command) => desk.run(command, list).await,
            Self::Cancel(command) => {
                desk.run(command, |cancelled| match cancelled.ended_balance_id {
                    Some(balance) => format!("cancelled code {}: its balance {balance} has ended", cancelled.code_id),
                    None => format!("cancelled code {}", cancelled.code_id),
                })
                .await
            }
        }
    }
}

fn created(answer: &CreatedCodes) -> String {
    table(["id", "code"], answer.codes.iter().map(|code| [code.code_id.to_string(), code.secret.clone()]))
}

fn list(answer: &Codes) -> String {
    let rows = answer.codes.iter().map(|code| {
        [
            code.code_id.to_string(),
            state(code).into(),
            bytes(code.bytes),
            code.net_revenue.to_string(),
            code.create_time.to_string(),
            or_dash(code.network_id),
            code.purchase.clone(),
        ]
    });
    let list = table(["id", "state", "gives", "revenue, USD", "created", "redeemed by", "purchase"], rows);
    if answer.is_more { format!("{list}\n\nThere is more: raise --limit") } else { list }
}

fn state(code: &ShownCode) -> &'static str {
    match (code.cancel_time, code.redeem_time) {
        (Some(_), _) => "cancelled",
        (None, Some(_)) => "redeemed",
        (None, None) => "unredeemed",
    }
}
