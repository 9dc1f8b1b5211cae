//! `warren admin wallet` and `warren admin order`.

use clap::Subcommand;

use super::desk::Desk;
use super::show::table;
use crate::http::admin::wallet::{
    CreditWallet, ListTransfers, OrderState, PayForOrder, RejectOrder, RejectTransfer, SentTransfer, TransferState,
    Transfers,
};

/// The commands on wallets.
#[derive(Subcommand)]
pub enum Wallet {
    /// Credit the wallet of a network's user
    Credit(CreditWallet),
    /// List the transfers to a chain that wait to be sent
    Transfers(ListTransfers),
    /// Record that a transfer was sent
    Sent(SentTransfer),
    /// Refuse a transfer that waits; its amount goes back
    Reject(RejectTransfer),
}

impl Wallet {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::Credit(command) => {
                desk.run(command, |new| format!("credited {} USD to wallet {}", new.amount, new.wallet_id)).await
            }
            Self::Transfers(command) => desk.run(command, transfers).await,
            Self::Sent(command) => desk.run(command, transfer).await,
            Self::Reject(command) => desk.run(command, transfer).await,
        }
    }
}

/// The commands on orders.
#[derive(Subcommand)]
pub enum Order {
    /// Approve an order, which counts as paid
    Pay(PayForOrder),
    /// Refuse an order that was not paid
    Reject(RejectOrder),
}

impl Order {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::Pay(command) => desk.run(command, order).await,
            Self::Reject(command) => desk.run(command, order).await,
        }
    }
}

fn transfers(waiting: &Transfers) -> String {
    let rows = waiting.transfers.iter().map(|transfer| {
        [
            transfer.challenge_id.to_string(),
            transfer.network_id.to_string(),
            transfer.amount.to_string(),
            transfer.to_address.clone(),
            transfer.create_time.to_string(),
        ]
    });
    table(["transfer", "network", "USD", "to", "begun"], rows)
}

fn transfer(state: &TransferState) -> String {
    format!("transfer {} is {}", state.challenge_id, state.status.name())
}

fn order(state: &OrderState) -> String {
    format!("order {} is {}", state.order, state.status)
}
