//! Companion requests that came before their origin. They wait here, holding no lock and no place in a batch, until a
//! contract in the opposite direction appears or their time is up.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::create::{Created, NewContract};
use super::pairs::PairKey;
use crate::wire::messages::ContractError;

/// How long a request waits. The origin is on its way in the usual race at start-up; the client's own limit is 15 s.
pub const COMPANION_WAIT: Duration = Duration::from_secs(3);

/// Requests that may wait at once, those that found their origin within the last three seconds counted too.
const MAX_WAITING: usize = 65_536;

/// Requests of one ordered pair that may wait at once.
const MAX_WAITING_PER_PAIR: usize = 64;

/// The request's answer.
pub(super) type CreateReply = oneshot::Sender<Result<Created, ContractError>>;

/// A request that waits.
pub(super) struct Waiting {
    pub(super) new: NewContract,
    pub(super) reply: CreateReply,
    /// Kept when the request is parked again, so that waiting never starts over.
    pub(super) deadline: Instant,
}

/// All that wait, by the pair of the contract they ask for.
#[derive(Default)]
pub(super) struct Waiters {
    by_pair: HashMap<PairKey, Vec<Waiting>>,
    /// Every wait is equally long, so the first to park is the first to expire.
    deadlines: VecDeque<(Instant, PairKey)>,
}

impl Waiters {
    /// Lets a request wait; gives back whom to refuse when too many do.
    pub(super) fn park(&mut self, waiting: Waiting) -> Result<(), CreateReply> {
        let pair = pair_of(&waiting.new);
        let of_pair = self.by_pair.get(&pair).map_or(0, Vec::len);
        if self.deadlines.len() >= MAX_WAITING || of_pair >= MAX_WAITING_PER_PAIR {
            return Err(waiting.reply);
        }
        self.deadlines.push_back((waiting.deadline, pair));
        self.by_pair.entry(pair).or_default().push(waiting);
        Ok(())
    }

    /// Takes every request that a new contract of `pair` lets go on.
    pub(super) fn wake(&mut self, (source, destination): PairKey) -> Vec<Waiting> {
        self.by_pair.remove(&(destination, source)).unwrap_or_default()
    }

    /// Takes every request whose time is up.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Waiting> {
        let mut expired = Vec::new();
        while let Some(&(deadline, pair)) = self.deadlines.front()
            && deadline <= now
        {
            self.deadlines.pop_front();
            let Some(waiting) = self.by_pair.remove(&pair) else { continue };
            let (over, left): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|waiting| waiting.deadline <= now);
            expired.extend(over);
            if !left.is_empty() {
                self.by_pair.insert(pair, left);
            }
        }
        expired
    }

    /// When to call [`Waiters::expire`] next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }
}

fn pair_of(new: &NewContract) -> PairKey {
    (new.source.client_id, new.destination.client_id)
}
