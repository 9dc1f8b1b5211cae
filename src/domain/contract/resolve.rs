//! The operator's word on a dispute: settled at one party's count instead of the average.

use super::Ledger;
use super::record::{Outcome, Party};
use super::state::State;
use crate::domain::error::DomainError;
use crate::ids::ContractId;

/// Why a dispute was not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Never existed, or is long gone.
    #[error("no contract has the id {0}")]
    NotFound(ContractId),
    /// Open.
    #[error("the contract {0} is not in dispute")]
    NotDisputed(ContractId),
    /// It has an outcome, for instance because the sweeper came first.
    #[error("the contract {0} is closed with outcome {1}")]
    AlreadyClosed(ContractId, Outcome),
}

impl Ledger {
    /// Settles a disputed contract at what `party` counted; says how many bytes that is.
    pub async fn resolve(&self, contract: ContractId, party: Party) -> Result<Result<i64, ResolveError>, DomainError> {
        self.run(move |state| state.resolve(contract, party)).await
    }
}

impl State {
    pub(super) fn resolve(&mut self, id: ContractId, party: Party) -> Result<i64, ResolveError> {
        let Some(contract) = self.contracts.get(&id) else {
            return Err(match self.outcome(id) {
                Some(outcome) => ResolveError::AlreadyClosed(id, outcome),
                None => ResolveError::NotFound(id),
            });
        };
        if contract.record.dispute_time.is_none() {
            return Err(ResolveError::NotDisputed(id));
        }
        let used = contract.record.vote(party).map_or(0, |vote| vote.used_bytes);
        let outcome = match party {
            Party::Source => Outcome::ResolvedToSource,
            Party::Destination => Outcome::ResolvedToDestination,
        };
        self.settle(id, used, outcome);
        Ok(used)
    }
}
