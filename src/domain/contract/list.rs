//! Contracts without an outcome, as an operator looks at them.

use std::collections::BTreeSet;

use super::Ledger;
use super::record::ContractRecord;
use super::state::{LiveContract, State};
use crate::domain::error::DomainError;
use crate::ids::{ContractId, NetworkId};
use crate::time::Timestamp;

/// Which contracts to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContractQuery {
    /// Only those with a party or the payer in this network.
    pub network_id: Option<NetworkId>,
    /// Only disputed ones, or only those that are not.
    pub is_disputed: Option<bool>,
    /// Only those behind this one.
    pub after: Option<ContractId>,
    /// Most to give.
    pub count: usize,
}

impl ContractQuery {
    fn matches(&self, id: ContractId, record: &ContractRecord) -> bool {
        let is_of = |network| {
            record.source.network_id == network
                || record.destination.network_id == network
                || record.payer == Some(network)
        };
        self.after.is_none_or(|after| id > after)
            && self.network_id.is_none_or(is_of)
            && self.is_disputed.is_none_or(|is_disputed| record.dispute_time.is_some() == is_disputed)
    }
}

/// A contract without an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingContract {
    /// Names it.
    pub contract_id: ContractId,
    /// What is stored of it.
    pub record: ContractRecord,
    /// When the sweeper settles it, as things stand.
    pub due_time: Timestamp,
    /// Bytes relayed between its parties, in its direction, since it was made; none when that is not known.
    pub relayed_bytes: Option<u64>,
}

impl State {
    /// The oldest contracts that match.
    fn pending(&self, query: &ContractQuery) -> Vec<PendingContract> {
        let mut found = BTreeSet::new();
        for (id, contract) in &self.contracts {
            if query.matches(*id, &contract.record) {
                found.insert(*id);
                if found.len() > query.count {
                    found.pop_last();
                }
            }
        }
        found.into_iter().filter_map(|id| self.pending_one(id)).collect()
    }

    fn pending_one(&self, contract_id: ContractId) -> Option<PendingContract> {
        let contract: &LiveContract = self.contracts.get(&contract_id)?;
        let relayed = contract.traffic.as_ref().map(|traffic| traffic.relayed_bytes());
        Some(PendingContract {
            contract_id,
            record: contract.record.clone(),
            due_time: self.due(contract_id, contract),
            relayed_bytes: relayed.zip(contract.relayed_before).map(|(now, before)| now.saturating_sub(before)),
        })
    }
}

impl Ledger {
    /// Contracts without an outcome, oldest first.
    pub async fn pending(&self, query: ContractQuery) -> Result<Vec<PendingContract>, DomainError> {
        self.run(move |state| state.pending(&query)).await
    }

    /// A contract, unless it has an outcome.
    pub async fn pending_contract(&self, contract_id: ContractId) -> Result<Option<PendingContract>, DomainError> {
        self.run(move |state| state.pending_one(contract_id)).await
    }
}
