//! The sending half of one lane to one peer: numbers packs, keeps them until acked, resends, gives up.
//!
//! A message is *queued* until the flight has room and a contract pays for it, then *unacked*: sent, and sent again
//! after an interval that doubles. A cumulative ack ends it and all before it; a selective ack only pauses its resends.
//! The pack at the front of the unacked ones is the head: a peer that has lost its state resumes there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::contract_window::{Payment, SendContracts};
use super::endpoint::Turn;
use super::flight::Flight;
use super::incoming::{IncomingAck, message_bytes};
use super::outgoing::{OutgoingPack, PACK_OVERHEAD_BYTES, encode_pack, encoded_bytes};
use super::output::{ContractUse, MessageHandle, Output, SendRefused, TransferDrop};
use super::rtt::RttWindow;
use super::settings::{Expiry, SendSettings};
use crate::ids::{ContractId, MessageId, SequenceId};
use crate::time::Timestamp;
use crate::wire::MAX_FRAME_BYTES;
use crate::wire::messages::Frame;

/// Later packs selectively acked before a missing one is resent at once.
const GAP_EVIDENCE: u8 = 3;
/// Unacked packs that one selective ack is evidence against, from the front.
const GAP_REACH: usize = 16;

/// Why a sequence is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendEnd {
    /// No ack, or no contract, for too long.
    Expired,
    /// Nothing to send for too long.
    Idle,
}

/// A message that waits for its turn.
#[derive(Debug)]
struct Queued {
    handle: MessageHandle,
    frames: Vec<Frame>,
    bytes: usize,
    ack: bool,
}

/// A pack that waits for its ack.
#[derive(Debug)]
struct Unacked {
    /// `None` for the pack that opens a contract.
    handle: Option<MessageHandle>,
    message_id: MessageId,
    sequence_number: u64,
    frames: Vec<Frame>,
    bytes: usize,
    contract_id: Option<ContractId>,
    /// Whether a sent copy carried the contract.
    has_carried_contract: bool,
    opens_contract: bool,
    first_sent: Timestamp,
    sent_count: u32,
    resend_at: Timestamp,
    is_selective: bool,
    /// Later packs known to have arrived; at `GAP_EVIDENCE` it is resent early, once.
    gap_evidence: u8,
}

impl Unacked {
    /// The encoded contract of the pack, unless it would make the frame too large.
    fn contract_that_fits(&self, contracts: &SendContracts) -> Option<Bytes> {
        let room = MAX_FRAME_BYTES.saturating_sub(PACK_OVERHEAD_BYTES + encoded_bytes(&self.frames));
        contracts.encoded(self.contract_id?).filter(|encoded| encoded.len() <= room)
    }
}

/// The send sequence of one lane.
#[derive(Debug)]
pub(crate) struct SendSequence {
    settings: Arc<SendSettings>,
    id: SequenceId,
    next_number: u64,
    queued: VecDeque<Queued>,
    unacked: VecDeque<Unacked>,
    /// No unacked pack is resent before it. The pack that it was the time of may be acked by now: then there is nothing
    /// to do at that time but to look for the next.
    next_resend: Option<Timestamp>,
    unacked_bytes: usize,
    /// Bytes of queued and unacked messages.
    held_bytes: usize,
    rtt: RttWindow,
    flight: Flight,
    /// Losses of packs numbered below it have been counted.
    loss_counted_below: u64,
    contracts: Option<Box<SendContracts>>,
    last_progress: Timestamp,
    attached_at: Option<Timestamp>,
}

impl SendSequence {
    /// A sequence that has sent nothing. `is_paid` says whether its packs need contracts; `attached_at` since when a
    /// transport takes them.
    pub(crate) fn new(
        turn: &mut Turn<'_>,
        settings: Arc<SendSettings>,
        is_paid: bool,
        attached_at: Option<Timestamp>,
    ) -> Self {
        Self {
            id: turn.next_id(),
            next_number: 0,
            queued: VecDeque::new(),
            unacked: VecDeque::new(),
            next_resend: None,
            unacked_bytes: 0,
            held_bytes: 0,
            rtt: RttWindow::default(),
            flight: Flight::new(settings.flight),
            settings,
            loss_counted_below: 0,
            contracts: is_paid.then(Box::default),
            last_progress: turn.now,
            attached_at,
        }
    }

    /// The sequence id its packs carry.
    pub(crate) fn id(&self) -> SequenceId {
        self.id
    }

    /// Its contracts, when its packs need any.
    pub(crate) fn contracts_mut(&mut self) -> Option<&mut SendContracts> {
        self.contracts.as_deref_mut()
    }

    /// Queues a message, and sends it when there is room.
    pub(crate) fn send(
        &mut self,
        turn: &mut Turn<'_>,
        handle: MessageHandle,
        frames: Vec<Frame>,
        ack: bool,
    ) -> Result<(), SendRefused> {
        let bytes = message_bytes(&frames);
        let held = self.queued.len() + self.unacked.len();
        if held >= self.settings.max_queued || self.held_bytes + bytes > self.settings.max_queued_bytes {
            return Err(SendRefused::QueueFull);
        }
        if held == 0 {
            // The time without progress counts from the moment something waits.
            self.last_progress = turn.now;
        }
        self.held_bytes += bytes;
        self.queued.push_back(Queued { handle, frames, bytes, ack });
        self.pump(turn);
        Ok(())
    }

    /// A transport takes packs from now on: everything unacked is sent again, the oldest as head.
    pub(crate) fn attach(&mut self, turn: &mut Turn<'_>) {
        self.attached_at = Some(turn.now);
        for at in 0..self.unacked.len() {
            if !self.unacked[at].is_selective {
                self.unacked[at].sent_count = 0;
                self.transmit(turn, at, false);
            }
        }
        self.pump(turn);
    }

    /// Gives back the memory of messages that are gone.
    pub(crate) fn shrink(&mut self) {
        if self.queued.is_empty() {
            self.queued = VecDeque::new();
        }
        if self.unacked.is_empty() {
            self.unacked = VecDeque::new();
        }
    }

    /// No transport takes packs: nothing is sent until the next attach.
    pub(crate) fn detach(&mut self) {
        self.attached_at = None;
    }

    /// Sends queued messages while the flight has room and contracts pay.
    pub(crate) fn pump(&mut self, turn: &mut Turn<'_>) {
        if self.attached_at.is_none() {
            return;
        }
        while let Some(next) = self.queued.front() {
            if !self.flight.admits(self.unacked.len(), self.unacked_bytes, next.bytes) {
                return;
            }
            if !self.pay(turn) {
                return;
            }
            if let Some(message) = self.queued.pop_front() {
                self.send_message(turn, message);
            }
        }
    }

    /// Whether the front of the queue is paid for. Opens contracts and asks for them on the way.
    fn pay(&mut self, turn: &mut Turn<'_>) -> bool {
        let (Some(contracts), Some(next)) = (self.contracts.as_mut(), self.queued.front()) else { return true };
        let bytes = next.bytes;
        let mut closed = Vec::new();
        let payment = contracts.pay(turn.now, bytes, &mut closed);
        let wanted = match payment {
            Payment::Charged => None,
            Payment::Opened => self.settings.asks_ahead.then(|| contracts.next_byte_count(bytes)),
            Payment::Waiting => contracts.ask(turn.now, bytes),
        };
        let contract_id = contracts.current();
        turn.close_contracts(closed);
        if payment == Payment::Opened {
            self.push_unacked(turn, None, Vec::new(), 0, contract_id);
        }
        if let Some(transfer_byte_count) = wanted {
            turn.out.push_back(Output::NeedsContract { to: turn.peer, lane: turn.lane, transfer_byte_count });
        }
        payment != Payment::Waiting
    }

    fn send_message(&mut self, turn: &mut Turn<'_>, message: Queued) {
        let contract_id = self.contracts.as_deref().and_then(SendContracts::current);
        // Before the peer has the contract, a pack without ack could overtake it.
        let is_proven = self.contracts.as_deref().is_none_or(SendContracts::is_proven);
        if message.ack || !is_proven {
            self.push_unacked(turn, Some(message.handle), message.frames, message.bytes, contract_id);
            return;
        }
        let pack = OutgoingPack {
            message_id: turn.next_id(),
            sequence_id: self.id,
            sequence_number: 0,
            head: false,
            nack: true,
            frames: &message.frames,
            contract: None,
            contract_id,
            sent_millis: turn.wall.as_millis(),
        };
        turn.transmit(encode_pack(turn.local, turn.peer, turn.lane, &pack));
        self.held_bytes -= message.bytes;
        self.settle(turn, contract_id, message.bytes, None);
        turn.out.push_back(Output::Acked { to: turn.peer, message: message.handle });
    }

    fn push_unacked(
        &mut self,
        turn: &mut Turn<'_>,
        handle: Option<MessageHandle>,
        frames: Vec<Frame>,
        bytes: usize,
        contract_id: Option<ContractId>,
    ) {
        let message_id = turn.next_id();
        if self.unacked.capacity() == 0 {
            // Often it stays the only one.
            self.unacked.reserve_exact(1);
        }
        self.unacked.push_back(Unacked {
            handle,
            message_id,
            sequence_number: self.next_number,
            frames,
            bytes,
            contract_id,
            has_carried_contract: false,
            opens_contract: handle.is_none(),
            first_sent: turn.now,
            sent_count: 0,
            resend_at: turn.now,
            is_selective: false,
            gap_evidence: 0,
        });
        self.next_number += 1;
        self.unacked_bytes += bytes;
        self.transmit(turn, self.unacked.len() - 1, false);
    }

    /// Sends the unacked pack at `at`, with the contract it needs there, and sets its next resend.
    fn transmit(&mut self, turn: &mut Turn<'_>, at: usize, with_contract: bool) {
        let interval = self.resend_interval(turn.now, self.unacked.get(at).map_or(0, |item| item.sent_count));
        let Some(item) = self.unacked.get_mut(at) else { return };
        let head = at == 0;
        let (mut contract, mut contract_id) = (None, None);
        if let (Some(id), Some(contracts)) = (item.contract_id, &self.contracts)
            && (head || item.opens_contract)
        {
            let needs_full = with_contract || item.opens_contract || !contracts.is_recoverable(id);
            match item.contract_that_fits(contracts) {
                Some(encoded) if needs_full => contract = Some(encoded),
                // Either the peer can ask for it, or it does not fit beside the message and the peer has it from the
                // pack that opened it.
                _ => contract_id = Some(id),
            }
        }
        item.has_carried_contract |= contract.is_some();
        let pack = OutgoingPack {
            message_id: item.message_id,
            sequence_id: self.id,
            sequence_number: item.sequence_number,
            head,
            nack: false,
            frames: &item.frames,
            contract,
            contract_id,
            sent_millis: turn.wall.as_millis(),
        };
        let frame = encode_pack(turn.local, turn.peer, turn.lane, &pack);
        item.resend_at = turn.now + interval;
        item.sent_count = item.sent_count.saturating_add(1);
        self.next_resend = Some(self.next_resend.map_or(item.resend_at, |next| next.min(item.resend_at)));
        turn.transmit(frame);
    }

    /// Time to the next resend of a pack that was sent `sent_count` times before this one.
    fn resend_interval(&mut self, now: Timestamp, sent_count: u32) -> Duration {
        let settings = &self.settings;
        let measured = settings.measured_resend_floor.and_then(|floor| {
            let mean = self.rtt.mean(now)?;
            Some((mean * 2).clamp(floor, settings.max_resend_interval))
        });
        let first = measured.unwrap_or(settings.resend_interval);
        first.saturating_mul(1 << sent_count.min(16)).min(settings.max_resend_interval)
    }

    /// Takes an ack of this sequence.
    pub(crate) fn handle_ack(&mut self, turn: &mut Turn<'_>, ack: &IncomingAck) -> Result<(), TransferDrop> {
        // Message ids grow with the sequence number.
        let at = self
            .unacked
            .binary_search_by(|item| item.message_id.cmp(&ack.message_id))
            .map_err(|_| TransferDrop::UnknownAck)?;
        if let Some(missing) = ack.missing_contract_id {
            return self.restore_contract(turn, at, missing);
        }
        if let (Some(sent), Some(_)) = (ack.sent_millis, self.settings.measured_resend_floor) {
            self.rtt.echo(turn.now, turn.wall, sent);
        }
        if ack.selective {
            self.hold(turn, at);
        } else {
            self.settle_through(turn, at, ack.compact_contract_recovery);
        }
        self.pump(turn);
        Ok(())
    }

    /// The peer has lost the contract of a head that only named it: the head is sent with all of it, at once.
    fn restore_contract(&mut self, turn: &mut Turn<'_>, at: usize, missing: ContractId) -> Result<(), TransferDrop> {
        let item = self.unacked.get_mut(at).ok_or(TransferDrop::UnknownAck)?;
        let fits = self.contracts.as_deref().is_some_and(|contracts| item.contract_that_fits(contracts).is_some());
        if at != 0 || item.contract_id != Some(missing) || !fits || self.attached_at.is_none() {
            return Err(TransferDrop::UnknownAck);
        }
        // Not a loss: the interval does not grow.
        item.sent_count = item.sent_count.saturating_sub(1);
        self.transmit(turn, at, true);
        Ok(())
    }

    /// The pack at `at` has arrived out of order.
    fn hold(&mut self, turn: &mut Turn<'_>, at: usize) {
        let Some(item) = self.unacked.get_mut(at) else { return };
        if item.is_selective {
            return;
        }
        item.is_selective = true;
        item.first_sent = turn.now;
        item.resend_at = turn.now + self.settings.selective_pause;
        for earlier in 0..at.min(GAP_REACH) {
            let item = &mut self.unacked[earlier];
            if item.is_selective {
                continue;
            }
            item.gap_evidence = item.gap_evidence.saturating_add(1);
            if item.gap_evidence == GAP_EVIDENCE && self.attached_at.is_some() {
                self.count_loss(earlier);
                self.transmit(turn, earlier, false);
            }
        }
    }

    /// The packs up to `at` are delivered.
    fn settle_through(&mut self, turn: &mut Turn<'_>, at: usize, can_recover_contract: bool) {
        self.last_progress = turn.now;
        self.flight.on_acked(at + 1);
        for _ in 0..=at {
            let Some(item) = self.unacked.pop_front() else { break };
            self.unacked_bytes -= item.bytes;
            self.held_bytes -= item.bytes;
            let proof = item.has_carried_contract.then_some(can_recover_contract);
            self.settle(turn, item.contract_id, item.bytes, proof);
            if let Some(message) = item.handle {
                turn.out.push_back(Output::Acked { to: turn.peer, message });
            }
        }
        self.next_resend = self.next_resend.filter(|_| !self.unacked.is_empty());
    }

    fn settle(&mut self, turn: &mut Turn<'_>, id: Option<ContractId>, bytes: usize, proof: Option<bool>) {
        if let (Some(contracts), Some(id)) = (self.contracts.as_mut(), id) {
            let mut closed: Vec<ContractUse> = Vec::new();
            contracts.ack(id, bytes, proof, &mut closed);
            turn.close_contracts(closed);
        }
    }

    /// Counts the loss of the pack at `at` once for all that was in flight with it.
    fn count_loss(&mut self, at: usize) {
        if self.unacked.get(at).is_some_and(|item| item.sequence_number >= self.loss_counted_below) {
            self.loss_counted_below = self.next_number;
            self.flight.on_lost();
        }
    }

    /// Resends what is due. The sequence is over when this returns why.
    pub(crate) fn handle_timeout(&mut self, turn: &mut Turn<'_>) -> Option<SendEnd> {
        if self.deadline().is_some_and(|deadline| deadline <= turn.now) {
            return Some(SendEnd::Expired);
        }
        if self.idle_deadline().is_some_and(|deadline| deadline <= turn.now) {
            return Some(SendEnd::Idle);
        }
        if let Some(contracts) = &mut self.contracts {
            if contracts.is_given_up(turn.now) {
                return Some(SendEnd::Expired);
            }
            let mut unused = Vec::new();
            contracts.close_unused(turn.now, &mut unused);
            turn.close_contracts(unused);
        }
        if self.attached_at.is_some() {
            self.resend_due(turn);
            self.pump(turn);
        }
        None
    }

    fn resend_due(&mut self, turn: &mut Turn<'_>) {
        if self.next_resend.is_none_or(|due| turn.now < due) {
            return;
        }
        for at in 0..self.unacked.len() {
            if self.unacked[at].resend_at <= turn.now {
                self.count_loss(at);
                // After the pause the peer may have dropped what it held.
                self.unacked[at].is_selective = false;
                self.transmit(turn, at, false);
            }
        }
        self.next_resend = self.unacked.iter().map(|item| item.resend_at).min();
    }

    /// When `handle_timeout` next has something to do.
    pub(crate) fn timeout(&self) -> Option<Timestamp> {
        let is_attached = self.attached_at.is_some();
        let resend = self.next_resend.filter(|_| is_attached);
        let contracts = self.contracts.as_deref().and_then(|contracts| contracts.timeout(is_attached));
        [resend, contracts, self.deadline(), self.idle_deadline()].into_iter().flatten().min()
    }

    /// When the sequence is given up.
    fn deadline(&self) -> Option<Timestamp> {
        let since = match self.settings.expiry {
            Expiry::Lost => self.unacked.front()?.first_sent,
            Expiry::Snapshot => {
                let oldest = self.unacked.front()?.first_sent;
                oldest.max(self.last_progress).max(self.attached_at?)
            }
        };
        Some(since + self.settings.ack_timeout)
    }

    fn idle_deadline(&self) -> Option<Timestamp> {
        let is_idle = self.unacked.is_empty() && self.queued.is_empty();
        self.settings.idle_timeout.filter(|_| is_idle).map(|timeout| self.last_progress + timeout)
    }

    /// The sequence is over: every message expires and every contract is closed.
    pub(crate) fn end(mut self, turn: &mut Turn<'_>) {
        let unacked = self.unacked.drain(..).filter_map(|item| item.handle);
        let queued = self.queued.drain(..).map(|message| message.handle);
        for message in unacked.chain(queued) {
            turn.out.push_back(Output::Expired { to: turn.peer, message });
        }
        if let Some(contracts) = &mut self.contracts {
            let mut closed = Vec::new();
            contracts.close_all(&mut closed);
            turn.close_contracts(closed);
        }
    }
}
