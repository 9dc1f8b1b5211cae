//! The sweeper: gives an outcome to contracts that their parties leave without one.
//!
//! It is on the main path. A receiver ends a sequence with a checkpoint, and a prefetched contract is known to its
//! sender only, so the last contracts of nearly every sequence end here. What keeps a contract alive is activity, not
//! age, but traffic extends only contracts whose source may still send, and only the newest of a pair: each sequence
//! leaves a few one-sided ones behind, and on a busy pair those would reserve the whole balance.

use std::cmp::Reverse;
use std::time::Duration;

use super::close::average;
use super::record::{ContractRecord, Outcome, Party};
use super::state::{CHECK_EVERY, LiveContract, State, is_extendable};
use crate::config::contracts::Dispute;
use crate::ids::ContractId;
use crate::time::Timestamp;

/// Silence after which a contract is due.
const IDLE: Duration = Duration::from_secs(300);

/// A contract is due at this age whatever happens.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// How long both clients must have been gone.
const GONE: Duration = Duration::from_secs(60);

/// Contracts of one ordered pair that traffic keeps alive.
const EXTENDED_PER_PAIR: usize = 32;

impl State {
    /// Looks at contracts whose turn it is, at most `limit`, and settles those that are due. Returns how many, and
    /// whether more are waiting.
    pub(super) fn sweep(&mut self, limit: usize) -> (usize, bool) {
        let mut swept = 0;
        for _ in 0..limit {
            match self.checks.peek() {
                Some(Reverse((at, _))) if *at <= self.now => {}
                _ => return (swept, false),
            }
            let Some(Reverse((_, id))) = self.checks.pop() else { return (swept, false) };
            let Some(contract) = self.contracts.get(&id) else { continue };
            let due = self.due(id, contract);
            if due <= self.now {
                swept += 1;
                self.force(id);
            }
            // Still there when it was not due, or when it has become a dispute.
            if self.contracts.contains_key(&id) {
                let next = if due <= self.now { self.now + CHECK_EVERY } else { due.min(self.now + CHECK_EVERY) };
                self.checks.push(Reverse((next, id)));
            }
        }
        let is_more = self.checks.peek().is_some_and(|Reverse((at, _))| *at <= self.now);
        (swept, is_more)
    }

    /// Settles every contract that is due now; returns how many.
    pub(super) fn sweep_all(&mut self) -> usize {
        let (swept, _) = self.sweep(usize::MAX);
        swept
    }

    /// When a contract is to be settled, as things stand.
    pub(super) fn due(&self, id: ContractId, contract: &LiveContract) -> Timestamp {
        let record = &contract.record;
        let touched = record.create_time.max(record.last_vote());
        let mut last_active = touched;
        if is_extendable(record) && self.is_among_newest(id, record) {
            let last_frame = contract.traffic.as_ref().map_or(Timestamp::ZERO, |traffic| traffic.last_frame());
            let (source, destination) = record.pair();
            let last_connect = self.links.last_connect(source).max(self.links.last_connect(destination));
            last_active = touched.max(last_frame).max(last_connect).max(self.started);
        }
        let mut due = last_active + IDLE;
        if let Some(gone) = self.gone_since(record).filter(|_| record.has_votes()) {
            let earliest = if record.has_both_votes() { Timestamp::ZERO } else { record.create_time + IDLE };
            due = due.min(earliest.max(gone + GONE + Duration::from_millis(1)));
        }
        due.min(record.create_time + MAX_AGE)
    }

    fn is_among_newest(&self, id: ContractId, record: &ContractRecord) -> bool {
        let contracts = self.pairs.get(record.pair());
        contracts.is_none_or(|contracts| contracts.newer_extendable(id, EXTENDED_PER_PAIR) < EXTENDED_PER_PAIR)
    }

    /// Since when both clients, having been there in the contract's life, are gone.
    fn gone_since(&self, record: &ContractRecord) -> Option<Timestamp> {
        let (source, destination) = record.pair();
        let source = self.links.gone_since(source, record.create_time)?;
        Some(source.max(self.links.gone_since(destination, record.create_time)?))
    }

    /// Gives a contract an outcome, or makes it a dispute when both parties' checkpoints are too far apart.
    fn force(&mut self, id: ContractId) {
        let rule = self.rules.dispute;
        let Some(contract) = self.contracts.get_mut(&id) else { return };
        let record = &mut contract.record;
        match record.votes {
            [None, None] => self.settle(id, 0, Outcome::Swept),
            [Some(source), None] => {
                let used = believable(contract, Party::Source, source.used_bytes, rule);
                self.settle(id, used, Outcome::Swept);
            }
            [None, Some(destination)] => {
                let used = believable(contract, Party::Destination, destination.used_bytes, rule);
                self.settle(id, used, Outcome::Swept);
            }
            [Some(source), Some(destination)] if record.dispute_time.is_some() => {
                self.settle(id, average(source.used_bytes, destination.used_bytes), Outcome::Swept);
            }
            [Some(_), Some(_)] => {
                for vote in record.votes.iter_mut().flatten() {
                    vote.is_final = true;
                }
                self.changes.contracts.insert(id);
                self.voted(id);
            }
        }
    }
}

/// What the only party that spoke is believed. The payee claims money from a payer that may never have seen the
/// contract, so its claim is bounded by what the relay carried, where that is known; by setting, anybody's is.
fn believable(contract: &LiveContract, claimant: Party, claimed: i64, rule: Dispute) -> i64 {
    let record = &contract.record;
    if record.payer.is_none() || (record.payee_party() != claimant && rule != Dispute::Relay) {
        return claimed;
    }
    carried(contract).map_or(claimed, |carried| claimed.min(carried))
}

/// What the relay has carried under an open contract, as far as it knows, and a tenth; `None` where it has not counted
/// the whole life of the contract.
pub(super) fn carried(contract: &LiveContract) -> Option<i64> {
    let (traffic, before) = (contract.traffic.as_ref()?, contract.relayed_before?);
    let relayed = traffic.relayed_bytes().saturating_sub(before);
    Some(i64::try_from(relayed.saturating_add(relayed / 10)).unwrap_or(i64::MAX))
}
