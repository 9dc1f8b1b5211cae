//! `warren admin`: the operator's commands. One file per group of commands: its subcommands, and the tables that show
//! their answers. What a command does is in `http/admin`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::config::load::{self, Sources};
use crate::http::admin::status::ShowStatus;

mod balance;
mod balance_code;
mod certificate;
mod client;
mod contract;
mod desk;
mod invoice;
mod mail;
mod network;
mod payout;
mod provider;
mod session;
mod show;
mod stats;
mod status;
mod token;
mod wallet;

use desk::Desk;

/// Asks the running server through the socket in its data folder; when none runs, works on the store itself. Networks
/// are named by id or by name.
#[derive(Args)]
pub struct AdminArgs {
    /// Data folder of the server (store.path)
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// File with the settings of the server; without it only defaults and environment count
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    group: Group,
}

#[derive(Subcommand)]
enum Group {
    /// How the server is
    Status(ShowStatus),
    /// List, show and delete networks
    #[command(subcommand)]
    Network(network::Network),
    /// List and remove clients
    #[command(subcommand)]
    Client(client::Client),
    /// List and revoke login sessions
    #[command(subcommand)]
    Session(session::Session),
    /// Hand out, list and revoke client certificates
    #[command(subcommand, alias = "certificate")]
    Certificates(certificate::Certificates),
    /// List and sign out devices of the client API
    #[command(subcommand, alias = "token")]
    Tokens(token::Tokens),
    /// Send letters again to somebody who wanted no more
    #[command(subcommand)]
    Mail(mail::Mail),
    /// Show, grant and claw back balances
    #[command(subcommand)]
    Balance(balance::Balance),
    /// Make, list and cancel balance codes
    #[command(subcommand)]
    BalanceCode(balance_code::BalanceCode),
    /// Plan, list and settle payments to networks
    #[command(subcommand)]
    Payout(payout::Payout),
    /// List, show, sweep and resolve contracts
    #[command(subcommand)]
    Contract(contract::Contract),
    /// List the connected providers
    #[command(subcommand)]
    Provider(provider::Provider),
    /// Count the statistics again
    #[command(subcommand)]
    Stats(stats::Stats),
    /// Credit wallets, and tell what became of transfers out of them
    #[command(subcommand)]
    Wallet(wallet::Wallet),
    /// Approve and refuse orders
    #[command(subcommand)]
    Order(wallet::Order),
    /// List invoices of subscriptions, mark them paid or paid back
    #[command(subcommand)]
    Invoices(invoice::Invoices),
    /// Sign receipts that stand in for those of stores
    #[command(subcommand)]
    Receipts(invoice::Receipts),
}

/// Runs the command.
pub fn run(arguments: AdminArgs) -> anyhow::Result<()> {
    let mut sources = Sources::of_process(arguments.config);
    if let Some(data) = &arguments.data {
        sources.command_line.push(("--data", "store.path", data.to_string_lossy().into_owned()));
    }
    let mut config = load::load(&sources)?.config;
    // The answer is the output; without a server, only what fails behind it is worth a line beside it.
    config.telemetry.log_filter = "error".into();
    let _log = crate::telemetry::tracing::start(&config.telemetry)?;
    super::serve::runtime()?.block_on(async {
        let desk = Desk::open(Arc::new(config), arguments.json).await?;
        let outcome = match arguments.group {
            Group::Status(command) => desk.run(command, status::table).await,
            Group::Network(command) => command.run(&desk).await,
            Group::Client(command) => command.run(&desk).await,
            Group::Session(command) => command.run(&desk).await,
            Group::Certificates(command) => command.run(&desk).await,
            Group::Tokens(command) => command.run(&desk).await,
            Group::Mail(command) => command.run(&desk).await,
            Group::Balance(command) => command.run(&desk).await,
            Group::BalanceCode(command) => command.run(&desk).await,
            Group::Payout(command) => command.run(&desk).await,
            Group::Contract(command) => command.run(&desk).await,
            Group::Provider(command) => command.run(&desk).await,
            Group::Stats(command) => command.run(&desk).await,
            Group::Wallet(command) => command.run(&desk).await,
            Group::Order(command) => command.run(&desk).await,
            Group::Invoices(command) => command.run(&desk).await,
            Group::Receipts(command) => command.run(&desk).await,
        };
        desk.close().await;
        outcome
    })
}
