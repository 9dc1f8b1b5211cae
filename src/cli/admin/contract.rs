//! `warren admin contract`.

use clap::Subcommand;

use super::desk::Desk;
use super::show::{bytes, details, or_dash, page, table};
use crate::http::admin::contract::{
    ContractState, Contracts, End, ListContracts, ResolveContract, ShowContract, ShownContract, SweepContracts,
};

/// The commands on contracts.
#[derive(Subcommand)]
pub enum Contract {
    /// List contracts without an outcome, oldest first
    List(ListContracts),
    /// Show a contract without an outcome
    Show(ShowContract),
    /// Settle every contract that is due now
    Sweep(SweepContracts),
    /// Settle a disputed contract at the count of one of its ends
    Resolve(ResolveContract),
}

impl Contract {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::List(command) => desk.run(command, list).await,
            Self::Show(command) => desk.run(command, show).await,
            Self::Resolve(command) => {
                let line = |id, used| format!("settled contract {id} at {used}");
                desk.run(command, |resolved| line(resolved.contract_id, bytes(resolved.used_bytes))).await
            }
            Self::Sweep(command) => desk.run(command, |swept| format!("contracts settled: {}", swept.settled)).await,
        }
    }
}

fn list(answer: &Contracts) -> String {
    let rows = answer.contracts.iter().map(|contract| {
        [
            contract.contract_id.to_string(),
            word(contract.state).into(),
            contract.source.client_id.to_string(),
            contract.destination.client_id.to_string(),
            bytes(contract.bytes),
            or_dash(contract.source.reported_bytes.map(bytes)),
            or_dash(contract.destination.reported_bytes.map(bytes)),
            contract.due_time.to_string(),
        ]
    });
    let titles = ["contract", "state", "source", "destination", "size", "by source", "by destination", "due"];
    page(table(titles, rows), answer.next)
}

fn show(contract: &ShownContract) -> String {
    let end = |end: &End| format!("{} of network {}", end.client_id, end.network_id);
    let report = |end: &End| match end.reported_bytes {
        Some(count) => format!("{}, {}", bytes(count), if end.is_final { "final" } else { "checkpoint" }),
        None => "-".into(),
    };
    let reserved = contract.reserved.iter().map(|from| format!("{} from {}", bytes(from.bytes), from.balance_id));
    details([
        ("contract", contract.contract_id.to_string()),
        ("state", word(contract.state).into()),
        ("source", end(&contract.source)),
        ("destination", end(&contract.destination)),
        ("size", bytes(contract.bytes)),
        ("source reported", report(&contract.source)),
        ("destination reported", report(&contract.destination)),
        ("relayed since", or_dash(contract.relayed_bytes)),
        ("payer", or_dash(contract.payer)),
        ("replies to", or_dash(contract.anchor)),
        ("mode", contract.provide_mode.clone()),
        ("reserved", or_dash(Some(reserved.collect::<Vec<_>>().join(", ")).filter(|list| !list.is_empty()))),
        ("created", contract.create_time.to_string()),
        ("due", contract.due_time.to_string()),
    ])
}

fn word(state: ContractState) -> &'static str {
    match state {
        ContractState::Open => "open",
        ContractState::Disputed => "disputed",
    }
}
