//! The one task that changes the ledger. What arrives while a commit is on its way changes memory at once and forms the
//! next batch, so a lone request waits for one commit, many concurrent ones share it, and deciding overlaps with
//! writing. Nobody is answered before their batch is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::CloseError;
use super::close::Report;
use super::companion::{COMPANION_WAIT, CreateReply, Waiters, Waiting};
use super::create::{Created, NewContract, Refusal};
use super::state::State;
use crate::domain::stream::{StreamEvent, StreamPushes};
use crate::ids::{ClientId, ContractId};
use crate::store::{CommitFuture, Committed, Store};
use crate::time::Clock;
use crate::wire::messages::ContractError;

/// Requests taken from the queue at once.
const AT_ONCE: usize = 256;

/// Answers that may wait for their commit; more requests stay in the queue.
const UNANSWERED: usize = 8192;

/// Requests that may wait for the batch at hand; more wait in their own tasks.
pub(super) const QUEUE: usize = 4096;

/// How often the sweeper looks for contracts that are due.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Contracts the sweeper looks at per batch, so that a great many due at once do not hold up requests.
const SWEEP_AT_ONCE: usize = 256;

/// One request to the ledger. The two that every transfer needs have a shape of their own; all others are a function
/// of the state. Reads of balances come this way too, since a read may grant the day's balance.
pub(super) enum Command {
    Create { new: NewContract, reply: CreateReply },
    Close { client: ClientId, contract: ContractId, report: Report, reply: Reply<Result<(), CloseError>> },
    Run(Box<dyn FnOnce(&mut State) -> Release + Send>),
    Stop,
}

/// The answer of a request; dropped without one when the ledger stops or fails.
pub(super) type Reply<T> = oneshot::Sender<T>;

/// Sends the answer of a [`Command::Run`].
pub(super) type Release = Box<dyn FnOnce() + Send>;

/// An answer that waits for its commit.
enum Answer {
    Create(CreateReply, Result<Created, ContractError>),
    Close(Reply<Result<(), CloseError>>, Result<(), CloseError>),
    Run(Release),
}

impl Answer {
    /// Sends it. Whoever has gone away in the meantime does not miss it.
    fn release(self) {
        match self {
            Answer::Create(reply, answer) => drop(reply.send(answer)),
            Answer::Close(reply, answer) => drop(reply.send(answer)),
            Answer::Run(release) => release(),
        }
    }
}

/// A batch on its way to the disk, and what waits for it.
struct InFlight {
    commit: CommitFuture,
    outcome: Outcome,
}

/// What a batch lets go once it is durable.
struct Outcome {
    streams: Vec<StreamEvent>,
    answers: Vec<Answer>,
}

impl Outcome {
    fn release(self, streams: &StreamPushes) {
        streams.publish(self.streams);
        self.answers.into_iter().for_each(Answer::release);
    }
}

/// The task's own state.
pub(super) struct Writer {
    pub(super) state: State,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) commands: mpsc::Receiver<Command>,
    streams: Arc<StreamPushes>,
    pub(super) has_failed: Arc<AtomicBool>,
    waiters: Waiters,
    /// Answers of the batch that gathers.
    answers: Vec<Answer>,
    in_flight: Option<InFlight>,
    next_sweep: Instant,
    is_stopping: bool,
}

impl Writer {
    pub(super) fn new(
        state: State,
        store: Arc<dyn Store>,
        clock: Clock,
        commands: mpsc::Receiver<Command>,
        streams: Arc<StreamPushes>,
        has_failed: Arc<AtomicBool>,
    ) -> Self {
        Self {
            state,
            store,
            clock,
            commands,
            streams,
            has_failed,
            waiters: Waiters::default(),
            answers: Vec::new(),
            in_flight: None,
            next_sweep: Instant::now() + SWEEP_EVERY,
            is_stopping: false,
        }
    }

    /// Serves requests until told to stop, or until a commit fails: memory is then ahead of the store, so nothing that
    /// follows could be trusted. Requests that are left are dropped, which their callers take for a refusal.
    pub(super) async fn run(mut self) {
        let mut requests = Vec::with_capacity(AT_ONCE);
        while !self.is_stopping || self.in_flight.is_some() {
            let wake_at = self.wake_at();
            let is_taking = !self.is_stopping && self.answers.len() < UNANSWERED;
            tokio::select! {
                biased;
                outcome = landed(&mut self.in_flight) => {
                    let Some(outcome) = outcome else {
                        self.has_failed.store(true, Ordering::Relaxed);
                        return;
                    };
                    outcome.release(&self.streams);
                }
                count = self.commands.recv_many(&mut requests, AT_ONCE), if is_taking => self.is_stopping = count == 0,
                () = tokio::time::sleep_until(wake_at), if is_taking => {}
            }
            self.state.advance(self.clock.now());
            for request in requests.drain(..) {
                self.apply(request);
            }
            self.keep_time();
            if self.in_flight.is_none() {
                self.submit();
            }
        }
    }

    /// When time alone gives it something to do. The sweeper waits for the batch on its way, so that its share of the
    /// next one stays small.
    fn wake_at(&self) -> Instant {
        let sweep = match self.in_flight {
            None => self.next_sweep,
            Some(_) => Instant::now() + SWEEP_EVERY,
        };
        self.waiters.next_deadline().map_or(sweep, |at| at.min(sweep))
    }

    /// Sends what has gathered on its way; answers that changed nothing leave at once, for nothing is ahead of them.
    fn submit(&mut self) {
        let outcome = Outcome { streams: self.state.take_stream_events(), answers: std::mem::take(&mut self.answers) };
        match self.state.take_commit() {
            Some(commit) => self.in_flight = Some(InFlight { commit: self.store.commit(commit), outcome }),
            None => outcome.release(&self.streams),
        }
    }

    fn apply(&mut self, command: Command) {
        let state = &mut self.state;
        let answer = match command {
            Command::Create { new, reply } => {
                return self.create(Waiting { new, reply, deadline: Instant::now() + COMPANION_WAIT });
            }
            Command::Close { client, contract, report, reply } => {
                Answer::Close(reply, state.close(client, contract, report))
            }
            Command::Run(operation) => Answer::Run(operation(state)),
            Command::Stop => return self.is_stopping = true,
        };
        self.answers.push(answer);
    }

    /// Makes a contract, and those that waited for it, and those that waited for these.
    fn create(&mut self, request: Waiting) {
        let mut ready = vec![request];
        while let Some(request) = ready.pop() {
            // Nobody would use it, and it would keep its reservation for five minutes.
            if request.reply.is_closed() {
                continue;
            }
            let answer = match self.state.create(&request.new) {
                Ok(created) => {
                    let new = &request.new;
                    ready.extend(self.waiters.wake((new.source.client_id, new.destination.client_id)));
                    Ok(created)
                }
                Err(Refusal::NoAnchor) => match self.waiters.park(request) {
                    Ok(()) => continue,
                    Err(reply) => {
                        self.answers.push(Answer::Create(reply, Err(ContractError::Setup)));
                        continue;
                    }
                },
                Err(Refusal::InsufficientBalance) => Err(ContractError::InsufficientBalance),
                Err(Refusal::TooMany) => Err(ContractError::Setup),
            };
            self.answers.push(Answer::Create(request.reply, answer));
        }
    }

    /// Gives up on companions whose time is up, sweeps a little, forgets what is old.
    fn keep_time(&mut self) {
        let now = Instant::now();
        for waiting in self.waiters.expire(now) {
            self.answers.push(Answer::Create(waiting.reply, Err(ContractError::Setup)));
        }
        if now >= self.next_sweep && self.in_flight.is_none() {
            let (_, is_more) = self.state.sweep(SWEEP_AT_ONCE);
            let is_more = self.state.forget_old(SWEEP_AT_ONCE) || is_more;
            let is_more = self.state.grant_months(SWEEP_AT_ONCE) || is_more;
            self.state.links.forget(self.state.now);
            self.next_sweep = if is_more { now } else { now + SWEEP_EVERY };
        }
    }
}

/// Waits for the batch on its way, for ever when there is none; `None` when it failed, else what it lets go.
async fn landed(in_flight: &mut Option<InFlight>) -> Option<Outcome> {
    let Some(batch) = in_flight else { return std::future::pending().await };
    let outcome = (&mut batch.commit).await;
    let batch = in_flight.take()?;
    match outcome {
        Ok(Committed::Yes) => return Some(batch.outcome),
        Ok(Committed::Conflict) => {
            tracing::error!(
                "the ledger's rows were changed by someone else; no contract is made or closed until a restart"
            );
        }
        Err(error) => tracing::error!(%error, "the ledger cannot write; no contract is made or closed until a restart"),
    }
    None
}
