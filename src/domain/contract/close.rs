//! Recording what the parties counted: closes and checkpoints, and what follows from them.

use std::time::Duration;

use super::CloseError;
use super::record::{ContractRecord, Outcome, Party, Vote};
use super::state::{State, is_extendable};
use super::sweep::carried;
use crate::config::contracts::Dispute;
use crate::ids::{ClientId, ContractId};
use crate::time::Timestamp;

/// How far apart two reports may be to settle at their average; inclusive.
pub const ACCEPTABLE_DIFFERENCE_BYTES: i64 = 16 << 20;

/// A checkpoint equal to the one before, this soon after it, is the same one sent again.
const SAME_CHECKPOINT: Duration = Duration::from_secs(60);

/// One report of a party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) acked: u64,
    pub(super) unacked: u64,
    pub(super) is_checkpoint: bool,
}

impl State {
    /// Records a report of `client`; settles or disputes the contract when both parties are final.
    pub(super) fn close(&mut self, client: ClientId, id: ContractId, report: Report) -> Result<(), CloseError> {
        let acked = i64::try_from(report.acked).map_err(|_| CloseError::Malformed)?;
        let Some(contract) = self.contracts.get_mut(&id) else {
            return Err(match self.outcome(id) {
                Some(outcome) => CloseError::AlreadyClosed(id, outcome),
                None => CloseError::NotFound(id),
            });
        };
        let record = &mut contract.record;
        let party = match client {
            client if client == record.source.client_id => Party::Source,
            client if client == record.destination.client_id => Party::Destination,
            _ => return Err(CloseError::NotAParty(id)),
        };
        if record.dispute_time.is_some() {
            return Err(CloseError::InDispute(id));
        }
        let had_votes = record.has_votes();
        let limit = record.transfer_bytes;
        let Some(vote) = next_vote(record.votes[party as usize], report, acked, limit, self.now) else {
            return Ok(());
        };
        record.votes[party as usize] = Some(vote);
        if let Some(traffic) = contract.traffic.as_ref().filter(|_| !had_votes) {
            traffic.record_vote();
        }
        self.changes.contracts.insert(id);
        self.voted(id);
        Ok(())
    }

    /// Follows up a changed vote of a contract that is not disputed.
    pub(super) fn voted(&mut self, id: ContractId) {
        let Some(contract) = self.contracts.get(&id) else { return };
        let record = &contract.record;
        if is_given_up(record) {
            return self.settle(id, 0, Outcome::Settled);
        }
        if let [Some(source), Some(destination)] = record.votes
            && source.is_final
            && destination.is_final
        {
            let is_near = source.used_bytes.abs_diff(destination.used_bytes) <= ACCEPTABLE_DIFFERENCE_BYTES as u64;
            if record.payer.is_none() || is_near {
                return self.settle(id, average(source.used_bytes, destination.used_bytes), Outcome::Settled);
            }
            let claimed = record.votes[record.payee_party() as usize].map_or(0, |vote| vote.used_bytes);
            return match carried(contract).filter(|_| self.rules.dispute == Dispute::Relay) {
                Some(carried) => self.settle(id, claimed.min(carried), Outcome::Settled),
                None => self.dispute(id),
            };
        }
        let (pair, is_extendable) = (record.pair(), is_extendable(record));
        if let Some(entry) = self.pairs.entry(pair).open.iter_mut().rev().find(|entry| entry.id == id) {
            entry.is_extendable = is_extendable;
        }
    }

    /// The reports are too far apart: no longer open, but the reservation stays until the sweeper or the operator
    /// settles it.
    fn dispute(&mut self, id: ContractId) {
        self.unindex_open(id);
        let Some(contract) = self.contracts.get_mut(&id) else { return };
        contract.record.dispute_time = Some(self.now);
        let record = contract.record.clone();
        self.remember_close(id, &record, self.now);
        self.changes.contracts.insert(id);
    }
}

/// Whether a sender that would be paid says that it sent nothing and never will: nobody can owe it anything, and what the
/// payer reserved returns at once. A receiver's word is not enough: what it has not seen yet may still be on its way.
fn is_given_up(record: &ContractRecord) -> bool {
    let is_paid_to_source = record.payer.is_some() && record.payee_party() == Party::Source;
    let sent_nothing = |vote: &Vote| vote.is_final && (vote.used_bytes, vote.unacked) == (0, 0);
    is_paid_to_source && record.vote(Party::Source).is_some_and(sent_nothing)
}

/// The vote after a report; `None` when the report changes nothing. Checkpoints add up, because a receiver that resumes
/// starts counting at zero; a final vote stays as it is.
fn next_vote(before: Option<Vote>, report: Report, acked: i64, limit: i64, now: Timestamp) -> Option<Vote> {
    let counted_before = match before {
        None => 0,
        Some(vote) if vote.is_final => return None,
        Some(vote) if report.is_checkpoint && is_same_checkpoint(&vote, report, now) => return None,
        Some(vote) => vote.used_bytes,
    };
    Some(Vote {
        used_bytes: counted_before.saturating_add(acked).min(limit),
        is_final: !report.is_checkpoint,
        time: now,
        acked: report.acked,
        unacked: report.unacked,
    })
}

fn is_same_checkpoint(before: &Vote, report: Report, now: Timestamp) -> bool {
    report.acked > 0
        && (report.acked, report.unacked) == (before.acked, before.unacked)
        && now.since(before.time) < SAME_CHECKPOINT
}

/// The mean of two counts, rounded down.
pub(super) fn average(a: i64, b: i64) -> i64 {
    ((i128::from(a) + i128::from(b)) / 2) as i64
}
