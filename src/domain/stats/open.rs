//! Contracts that have no outcome yet. They are in no rollup, but a contract counts from the moment it is made, so
//! answers add those that were open when last looked at, at most [`SNAPSHOT_AGE`] ago.
//!
//! None is counted twice: a snapshot is taken while nobody counts, and loses a contract when the archive's follower
//! counts it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use super::follow;
use super::rollup::parties;
use crate::domain::contract::record::{CONTRACTS, ContractRecord};
use crate::ids::{ClientId, ContractId};
use crate::store::{Store, StoreError};
use crate::time::Timestamp;

/// How old a snapshot may be when it is used.
pub(super) const SNAPSHOT_AGE: Duration = Duration::from_secs(30);

/// Rows read at once.
const PAGE: usize = 1024;

/// An open contract as its provider's statistics see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenContract {
    pub(super) create_time: Timestamp,
    /// The client at the other end.
    pub(super) other: ClientId,
}

/// Contracts that are not counted yet, by provider.
#[derive(Debug, Default)]
pub(super) struct OpenContracts(HashMap<ClientId, HashMap<ContractId, OpenContract>>);

impl OpenContracts {
    /// What is stored as open now, and what was settled but not counted; the archive must be counted to its end and
    /// nobody else may count.
    pub(super) fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let mut open = Self::default();
        CONTRACTS.each(store, &CONTRACTS.prefix(&()), None, PAGE, |id, contract| {
            open.insert(id, &contract);
            ControlFlow::Continue(())
        })?;
        // Settled while this was reading.
        let (position, _) = follow::counted_up_to(store)?;
        follow::each_after(store, position, |_, settled| {
            settled.iter().for_each(|settled| open.insert(settled.contract_id, &settled.contract));
            ControlFlow::Continue(())
        })?;
        Ok(open)
    }

    fn insert(&mut self, id: ContractId, contract: &ContractRecord) {
        if let Some((provider, other)) = parties(contract) {
            let contract = OpenContract { create_time: contract.create_time, other };
            self.0.entry(provider).or_default().insert(id, contract);
        }
    }

    /// Takes out a contract that is counted now.
    pub(super) fn remove(&mut self, provider: ClientId, id: ContractId) {
        if let Some(contracts) = self.0.get_mut(&provider) {
            contracts.remove(&id);
            if contracts.is_empty() {
                self.0.remove(&provider);
            }
        }
    }

    /// Those of a provider.
    pub(super) fn of(&self, provider: ClientId) -> impl Iterator<Item = &OpenContract> {
        self.0.get(&provider).into_iter().flat_map(HashMap::values)
    }
}
