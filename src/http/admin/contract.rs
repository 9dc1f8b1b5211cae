//! Contracts without an outcome: list, show, sweep, resolve.

use axum::Router;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{Command, PAGE_MAX, cut, find_network, mode_words, not_found, route};
use crate::domain::contract::list::{ContractQuery, PendingContract};
use crate::domain::contract::record::{Party, Side};
use crate::domain::contract::resolve::ResolveError;
use crate::http::error::ApiError;
use crate::http::state::ApiState;
use crate::ids::{BalanceId, ClientId, ContractId, NetworkId};
use crate::time::Timestamp;
use crate::wire::messages::ProvideMode;

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    Router::new()
        .merge(route::<ListContracts>())
        .merge(route::<ShowContract>())
        .merge(route::<SweepContracts>())
        .merge(route::<ResolveContract>())
}

/// A state of a contract without an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContractState {
    /// May be used.
    Open,
    /// The two reports are too far apart; the sweeper settles it.
    Disputed,
}

/// Lists contracts without an outcome, oldest first.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ListContracts {
    /// Only those with an end or the payer in this network, by id or name
    #[arg(long)]
    pub network: Option<String>,
    /// Only those in this state
    #[arg(long, value_enum)]
    pub state: Option<ContractState>,
    /// Most contracts to list
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=PAGE_MAX as i64))]
    pub limit: u32,
    /// Only those behind this one, the last of the list before
    #[arg(long, value_name = "CONTRACT_ID")]
    pub after: Option<ContractId>,
}

/// A page of contracts.
#[derive(Debug, Serialize, Deserialize)]
pub struct Contracts {
    /// The contracts.
    pub contracts: Vec<ShownContract>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<ContractId>,
}

/// A contract.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownContract {
    /// Names it.
    pub contract_id: ContractId,
    /// Whether it is disputed.
    pub state: ContractState,
    /// Who sends.
    pub source: End,
    /// Who receives.
    pub destination: End,
    /// Granted size.
    pub bytes: i64,
    /// Who pays; absent within a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer: Option<NetworkId>,
    /// The contract it replies to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor: Option<ContractId>,
    /// The mode whose secret signed it.
    pub provide_mode: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// When the sweeper settles it, as things stand.
    pub due_time: Timestamp,
    /// Bytes relayed under it and its neighbours since it was made; absent when that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relayed_bytes: Option<u64>,
    /// What it reserves.
    pub reserved: Vec<Reserved>,
}

/// One end of a contract, and what it has reported.
#[derive(Debug, Serialize, Deserialize)]
pub struct End {
    /// The client.
    pub client_id: ClientId,
    /// Its network.
    pub network_id: NetworkId,
    /// Bytes it has counted; absent before its first report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported_bytes: Option<i64>,
    /// Whether that is its last word.
    pub is_final: bool,
}

/// Bytes reserved from a balance.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reserved {
    /// The balance.
    pub balance_id: BalanceId,
    /// How many.
    pub bytes: i64,
}

impl From<PendingContract> for ShownContract {
    fn from(contract: PendingContract) -> Self {
        let record = contract.record;
        let end = |side: Side, party| End {
            client_id: side.client_id,
            network_id: side.network_id,
            reported_bytes: record.vote(party).map(|vote| vote.used_bytes),
            is_final: record.vote(party).is_some_and(|vote| vote.is_final),
        };
        Self {
            contract_id: contract.contract_id,
            state: if record.dispute_time.is_some() { ContractState::Disputed } else { ContractState::Open },
            source: end(record.source, Party::Source),
            destination: end(record.destination, Party::Destination),
            bytes: record.transfer_bytes,
            payer: record.payer,
            anchor: record.anchor,
            provide_mode: mode_words(ProvideMode::try_from(i32::from(record.provide_mode))).concat(),
            create_time: record.create_time,
            due_time: contract.due_time,
            relayed_bytes: contract.relayed_bytes,
            reserved: record.escrow.iter().map(|&(balance_id, bytes)| Reserved { balance_id, bytes }).collect(),
        }
    }
}

impl Command for ListContracts {
    const PATH: &'static str = "/contract/list";
    type Answer = Contracts;

    async fn run(self, state: &ApiState) -> Result<Contracts, ApiError> {
        let network_id = match &self.network {
            Some(named) => Some(find_network(state, named)?.0),
            None => None,
        };
        let limit = self.limit.min(PAGE_MAX);
        let query = ContractQuery {
            network_id,
            is_disputed: self.state.map(|state| state == ContractState::Disputed),
            after: self.after,
            count: limit as usize + 1,
        };
        let mut contracts = state.ledger.pending(query).await?;
        let next = cut(&mut contracts, limit, |contract| contract.contract_id);
        Ok(Contracts { contracts: contracts.into_iter().map(ShownContract::from).collect(), next })
    }
}

/// Shows a contract without an outcome.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ShowContract {
    /// The contract
    pub contract_id: ContractId,
}

impl Command for ShowContract {
    const PATH: &'static str = "/contract/show";
    type Answer = ShownContract;

    async fn run(self, state: &ApiState) -> Result<ShownContract, ApiError> {
        let found = state.ledger.pending_contract(self.contract_id).await?;
        found.map(ShownContract::from).ok_or_else(|| {
            not_found(format!(
                "no contract {} is open or disputed: it is settled or never was; `warren admin contract list` shows all",
                self.contract_id
            ))
        })
    }
}

/// Settles every contract that is due, as the server does by itself a few at a time.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct SweepContracts {}

/// What was settled.
#[derive(Debug, Serialize, Deserialize)]
pub struct Swept {
    /// How many contracts.
    pub settled: usize,
}

impl Command for SweepContracts {
    const PATH: &'static str = "/contract/sweep";
    type Answer = Swept;

    async fn run(self, state: &ApiState) -> Result<Swept, ApiError> {
        Ok(Swept { settled: state.ledger.sweep().await? })
    }
}

/// Settles a disputed contract at what one of its ends has counted, instead of the average.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ResolveContract {
    /// The contract
    pub contract_id: ContractId,
    /// Whose count is right
    #[arg(value_enum)]
    pub party: ChosenParty,
}

/// An end of a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChosenParty {
    /// The sender.
    Source,
    /// The receiver.
    Destination,
}

/// A dispute that was resolved.
#[derive(Debug, Serialize, Deserialize)]
pub struct Resolved {
    /// The contract.
    pub contract_id: ContractId,
    /// Bytes it counts for.
    pub used_bytes: i64,
}

impl Command for ResolveContract {
    const PATH: &'static str = "/contract/resolve";
    type Answer = Resolved;

    async fn run(self, state: &ApiState) -> Result<Resolved, ApiError> {
        let contract_id = self.contract_id;
        let party = match self.party {
            ChosenParty::Source => Party::Source,
            ChosenParty::Destination => Party::Destination,
        };
        match state.ledger.resolve(contract_id, party).await? {
            Ok(used_bytes) => Ok(Resolved { contract_id, used_bytes }),
            Err(refusal @ ResolveError::NotFound(_)) => Err(not_found(format!(
                "{refusal}; `warren admin contract list --state disputed` shows what can be resolved"
            ))),
            Err(refusal) => Err(ApiError::bad_request(refusal.to_string())),
        }
    }
}
