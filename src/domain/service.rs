//! Runs operations: begin, apply, commit, hand effects on; again on a conflict.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::effect::{Effect, EffectSink};
use super::error::DomainError;
use super::operation::{Operation, Tx};
use super::seal::SealKey;
use crate::config::Config;
use crate::ids::IdGenerator;
use crate::store::transaction::Transaction;
use crate::store::{Committed, Store};
use crate::time::Clock;

/// Attempts before an operation gives up with [`DomainError::Unavailable`].
const MAX_ATTEMPTS: u32 = 8;

/// The one way to the state: shared by HTTP, the control id, jobs and the operator's commands.
pub struct Service {
    store: Arc<dyn Store>,
    clock: Clock,
    config: Arc<Config>,
    seal: SealKey,
    ids: IdGenerator,
    effects: Arc<dyn EffectSink>,
}

impl Service {
    /// A service over an open store, whose identities are hidden under `seal`.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Clock,
        config: Arc<Config>,
        seal: SealKey,
        effects: Arc<dyn EffectSink>,
    ) -> Self {
        Self { store, clock, config, seal, ids: IdGenerator::new(), effects }
    }

    /// The clock that operations see.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The settings that operations see.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Runs an operation. When it returns, its writes are on disk and its effects are on their way.
    pub async fn run<O: Operation>(&self, operation: &O) -> Result<O::Output, DomainError> {
        for attempt in 0..MAX_ATTEMPTS {
            let (output, commit, effects) = self.attempt(operation)?;
            let committed = if commit.writes.is_empty() && commit.reads.len() <= 1 {
                // One read is one snapshot; there is nothing to validate.
                Committed::Yes
            } else {
                self.store.commit(commit).await?
            };
            match committed {
                Committed::Yes => {
                    for effect in effects {
                        self.effects.apply(effect);
                    }
                    return Ok(output);
                }
                Committed::Conflict => {
                    let pause = rand::rng().random_range(0..=1u64 << attempt);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            }
        }
        Err(DomainError::Unavailable)
    }

    /// Runs an operation that only reads, on the rows as they are, without waiting for a commit. For answers that
    /// may be a moment old: lists, discovery, token checks.
    pub fn read<O: Operation>(&self, operation: &O) -> Result<O::Output, DomainError> {
        let (output, commit, _) = self.attempt(operation)?;
        debug_assert!(commit.writes.is_empty(), "a reading operation wrote");
        Ok(output)
    }

    fn attempt<O: Operation>(
        &self,
        operation: &O,
    ) -> Result<(O::Output, crate::store::Commit, Vec<Effect>), DomainError> {
        let mut tx = Tx {
            now: self.clock.now(),
            config: &self.config,
            seal: &self.seal,
            rng: StdRng::from_rng(&mut rand::rng()),
            ids: &self.ids,
            transaction: Transaction::new(&*self.store),
            effects: Vec::new(),
        };
        let output = operation.apply(&mut tx)?;
        Ok((output, tx.transaction.into_commit(), tx.effects))
    }
}
