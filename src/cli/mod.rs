//! The commands: one file each. Errors are one sentence on stderr; the exit code is 0 for done, 1 for failed and 2 for
//! wrong usage or configuration.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::load::ConfigError;

mod admin;
mod client;
mod completions;
mod config;
mod demo;
mod serve;

/// Run your own URnetwork-compatible network from one binary.
///
/// Accounts, tokens, provider market, contracts, and the QUIC and WebSocket relay. `warren serve` needs no
/// configuration; `config.toml` in the repository lists every setting.
#[derive(Parser)]
#[command(name = "warren", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::ServeArgs),
    /// Carry a file between two networks through a server of its own, and show what it cost
    Demo(demo::DemoArgs),
    /// Go out through a provider with an access key, and show that the way is open
    Client(client::ClientArgs),
    /// Look after networks, clients, balances and contracts, whether or not the server runs
    Admin(admin::AdminArgs),
    /// Check or show the settings
    Config(config::ConfigArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// Reads the arguments, runs the command and says how it ended.
pub fn run() -> ExitCode {
    // Everything that speaks TLS in this process uses this provider; a second installation would be refused.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Demo(arguments) => serve::runtime().and_then(|runtime| runtime.block_on(demo::run(arguments))),
        Command::Client(arguments) => serve::runtime().and_then(|runtime| runtime.block_on(client::run(arguments))),
        Command::Admin(arguments) => admin::run(arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments, &mut Arguments::command()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(std::io::stderr(), "warren: {error:#}");
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}
