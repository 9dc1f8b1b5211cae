//! `warren admin invoices` and `warren admin receipts`.

use clap::Subcommand;

use super::desk::Desk;
use super::show::{or_dash, table};
use crate::http::admin::invoice::{
    Invoices as Listed, ListInvoices, MovedInvoice, PayInvoice, RefundInvoice, SignReceipt, State,
};

/// The commands on invoices.
#[derive(Subcommand)]
pub enum Invoices {
    /// List invoices, newest first
    List(ListInvoices),
    /// Mark an open invoice paid
    Pay(PayInvoice),
    /// Note that a paid invoice was paid back
    Refund(RefundInvoice),
}

impl Invoices {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::List(command) => desk.run(command, list).await,
            Self::Pay(command) => desk.run(command, moved).await,
            Self::Refund(command) => desk.run(command, moved).await,
        }
    }
}

/// The commands on receipts.
#[derive(Subcommand)]
pub enum Receipts {
    /// Sign a receipt that stands in for one of a store
    Sign(SignReceipt),
}

impl Receipts {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::Sign(command) => desk.run(command, |made| made.receipt.clone()).await,
        }
    }
}

fn list(answer: &Listed) -> String {
    let rows = answer.invoices.iter().map(|invoice| {
        [
            invoice.invoice.clone(),
            word(invoice.state).into(),
            invoice.network_id.to_string(),
            invoice.plan.name().into(),
            invoice.amount.to_string(),
            invoice.create_time.to_string(),
            or_dash(invoice.paid_until),
            invoice.paid_with.clone(),
        ]
    });
    let titles = ["invoice", "state", "network", "plan", "USD", "written", "paid until", "paid with"];
    let list = table(titles, rows);
    if answer.is_more { format!("{list}\n\nThere is more: raise --limit") } else { list }
}

fn moved(invoice: &MovedInvoice) -> String {
    match invoice.paid_until {
        Some(until) => format!("invoice {} is {}; it pays until {until}", invoice.invoice, word(invoice.state)),
        None => format!("invoice {} is {}", invoice.invoice, word(invoice.state)),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Open => "open",
        State::Paid => "paid",
        State::Void => "void",
        State::Refunded => "refunded",
    }
}
