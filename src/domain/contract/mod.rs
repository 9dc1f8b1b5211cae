//! Contracts: bounded permission to transfer, paid from a balance; where balances come from, and what is earned.
//!
//! The [`Ledger`] owns balances and contracts. Memory decides, one task writes: what arrives while a commit is on its
//! way to the disk forms the next batch, and nobody is answered before the batch that holds their change is durable.
//! Reading the parties of a contract and signing it happen on the task of the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::balance::BalanceView;
use super::error::DomainError;
use super::service::Service;
use super::stream::StreamPushes;
use crate::config::Config;
use crate::ids::{ClientId, ContractId, NetworkId};
use crate::store::{Store, StoreError};
use crate::time::Clock;
use crate::wire::messages::{CloseContract, Contract, ContractError, CreateContract};

mod changes;
pub mod chores;
pub mod close;
mod code_sales;
pub(in crate::domain) mod codec;
pub mod codes;
pub mod companion;
mod create;
mod escrow;
pub mod gate;
pub mod grants;
mod links;
pub mod list;
pub mod pairs;
pub mod payout;
pub mod record;
mod referrals;
pub mod request;
pub mod resolve;
mod restore;
pub(in crate::domain) mod retention;
mod settle;
mod sign;
mod state;
mod streams;
mod sweep;
#[cfg(test)]
mod tests;
mod writer;

use gate::Gate;
use links::Links;
use record::Outcome;
use state::{Rules, State};
use writer::{Command, Writer};

/// The one owner of contracts and balances.
pub struct Ledger {
    service: Arc<Service>,
    clock: Clock,
    config: Arc<Config>,
    gate: Arc<Gate>,
    links: Arc<Links>,
    streams: Arc<StreamPushes>,
    commands: mpsc::Sender<Command>,
    has_failed: Arc<AtomicBool>,
    tasks: Mutex<Option<Tasks>>,
}

/// What runs until [`Ledger::shutdown`].
struct Tasks {
    writer: JoinHandle<()>,
    retention: JoinHandle<()>,
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
    #[error("Contract already closed with outcome {1}: {0}")]
    AlreadyClosed(ContractId, Outcome),
    /// The two reports were too far apart; the sweeper settles it.
    #[error("Contract in dispute: {0}")]
    InDispute(ContractId),
    /// The ledger is stopping or its store has failed.
    #[error("The ledger is not available")]
    Unavailable,
}

impl Ledger {
    /// Reads the ledger's tables from `store` and starts its tasks; needs a tokio runtime. `service` tells it about
    /// clients.
    pub fn open(
        service: Arc<Service>,
        store: Arc<dyn Store>,
        clock: Clock,
        config: Arc<Config>,
    ) -> Result<Arc<Self>, DomainError> {
        let gate = Arc::new(Gate::new(config.relay.contract_linger));
        let links = Arc::new(Links::default());
        let rules = Rules::new(&config);
        let mut state = State::new(rules, Arc::clone(&gate), Arc::clone(&links), clock.now(), Box::new(rand::random));
        state.restore(&*store)?;
        let streams = Arc::new(StreamPushes::default());
        streams.publish(state.take_stream_events());
        let (commands, queue) = mpsc::channel(writer::QUEUE);
        let has_failed = Arc::new(AtomicBool::new(false));
        let writer =
            Writer::new(state, Arc::clone(&store), clock.clone(), queue, Arc::clone(&streams), Arc::clone(&has_failed));
        let tasks = Tasks {
            writer: tokio::spawn(writer.run()),
            retention: tokio::spawn(retention::run(store, clock.clone(), config.contracts.archive_days)),
        };
        let tasks = Mutex::new(Some(tasks));
        Ok(Arc::new(Self { service, clock, config, gate, links, streams, commands, has_failed, tasks }))
    }

    /// Makes a contract from `source`. A companion whose origin is not there yet waits for it, up to
    /// [`companion::COMPANION_WAIT`].
    pub async fn create(&self, source: ClientId, request: &CreateContract) -> Result<Contract, ContractError> {
        let granted = request::grant(&self.service, source, request)?;
        let new = granted.new.clone();
        let created = self.ask(|reply| Command::Create { new, reply }).await.unwrap_or(Err(ContractError::Setup))?;
        Ok(sign::sign(self.config.contracts.hmac, granted, &created))
    }

    /// Records what `party` counted under a contract, and settles it when both have.
    pub async fn close(&self, party: ClientId, request: &CloseContract) -> Result<(), CloseError> {
        let answer = self.begin_close(party, request).await?;
        answer.await.unwrap_or(Err(CloseError::Unavailable))
    }

    /// As [`Ledger::close`] for several reports, which take effect in this order and share a commit.
    pub async fn close_all(&self, party: ClientId, requests: &[CloseContract]) -> Vec<Result<(), CloseError>> {
        let mut begun = Vec::with_capacity(requests.len());
        for request in requests {
            begun.push(self.begin_close(party, request).await);
        }
        let mut outcomes = Vec::with_capacity(begun.len());
        for close in begun {
            outcomes.push(match close {
                Ok(answer) => answer.await.unwrap_or(Err(CloseError::Unavailable)),
                Err(refused) => Err(refused),
            });
        }
        outcomes
    }

    /// Hands a report to the ledger's task; what is returned says what became of it.
    async fn begin_close(
        &self,
        party: ClientId,
        request: &CloseContract,
    ) -> Result<oneshot::Receiver<Result<(), CloseError>>, CloseError> {
        let contract = ContractId::from_slice(&request.contract_id).ok_or(CloseError::Malformed)?;
        let report = close::Report {
            acked: request.acked_byte_count,
            unacked: request.unacked_byte_count,
            is_checkpoint: request.checkpoint,
        };
        let (reply, answer) = oneshot::channel();
        let close = Command::Close { client: party, contract, report, reply };
        self.commands.send(close).await.map_err(|_| CloseError::Unavailable)?;
        Ok(answer)
    }

    /// The balance of a network, after the grants that are due.
    pub async fn balance(&self, network: NetworkId) -> Result<BalanceView, DomainError> {
        self.run(move |state| state.balance_view(network)).await
    }

    /// The relay's view of the open contracts.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// The nodes of the streams that contracts are in, and what they are told.
    pub fn streams(&self) -> &Arc<StreamPushes> {
        &self.streams
    }

    /// A client has its first transport.
    pub fn connected(&self, client: ClientId) {
        self.links.connected(client, self.clock.now());
    }

    /// A client has lost its last transport.
    pub fn disconnected(&self, client: ClientId) {
        self.links.disconnected(client, self.clock.now());
    }

    /// Settles every contract that is due now, however many; returns how many. The ledger's own task does the same a
    /// few at a time.
    pub async fn sweep(&self) -> Result<usize, DomainError> {
        self.run(State::sweep_all).await
    }

    /// Whether a commit has failed; everything is refused from then on.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// Finishes what has been asked so far and stops; later calls are refused.
    pub async fn shutdown(&self) {
        let Some(tasks) = self.tasks.lock().take() else { return };
        // The task may have ended by itself, after a failed commit.
        let _ = self.commands.send(Command::Stop).await;
        if tasks.writer.await.is_err() {
            tracing::error!("the ledger's task panicked");
        }
        tasks.retention.abort();
    }

    /// Runs one operation on the state, alone; returns once what it changed is durable.
    async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, DomainError> {
        self.ask(|reply| {
            Command::Run(Box::new(move |state| {
                let answer = operation(state);
                // Whoever has gone away in the meantime does not miss it.
                Box::new(move || drop(reply.send(answer)))
            }))
        })
        .await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, DomainError> {
        let (reply, answer) = oneshot::channel();
        let refused = || match self.has_failed() {
            true => DomainError::Store(StoreError::Failed("the ledger has stopped after a failed commit".into())),
            false => DomainError::Unavailable,
        };
        self.commands.send(command(reply)).await.map_err(|_| refused())?;
        answer.await.map_err(|_| refused())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Some(tasks) = self.tasks.lock().take() {
            tasks.retention.abort();
            // The writer ends with the last sender, after what has been asked so far.
        }
    }
}
