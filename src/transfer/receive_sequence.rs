//! The receiving half of one lane of one peer: puts packs in order, delivers each once, acks what was delivered.
//!
//! A pack with the *next* number is delivered at once; one ahead of it is *held* and named in a selective ack; one
//! behind it is a duplicate, acked again and not delivered. A head ahead of the next number moves it: the sender knows
//! that everything before was acked. A delivery is acked when it is confirmed, at once where nobody confirms.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::ack::{AckOf, AckWindow};
use super::contract_window::{ProvideSecrets, ReceiveContracts};
use super::endpoint::Turn;
use super::incoming::IncomingPack;
use super::outgoing::encode_ack;
use super::output::{Delivery, DeliveryId, Ending, Output, TransferDrop, VerifiedContract};
use super::settings::ReceiveSettings;
use crate::ids::SequenceId;
use crate::time::Timestamp;

/// Why a sequence is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceiveEnd {
    /// Silence, or a gap that lasted too long.
    TimedOut,
    /// The peer sent a contract that does not verify; more of this sequence is refused.
    BadContract,
    /// The contract is used up, or there was none.
    NoContract,
}

/// What a pack did.
pub(crate) type Received = Result<Result<(), TransferDrop>, ReceiveEnd>;

/// A pack held until those before it are here.
#[derive(Debug)]
struct Held {
    bytes: usize,
    pack: IncomingPack,
}

/// A delivery the caller has not confirmed.
#[derive(Debug)]
struct Unconfirmed {
    of: AckOf,
    is_confirmed: bool,
}

/// The receive sequence of one lane.
#[derive(Debug)]
pub(crate) struct ReceiveSequence {
    settings: Arc<ReceiveSettings>,
    id: SequenceId,
    next_number: u64,
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    /// Since when the next pack is missing while later ones are held.
    gap_since: Timestamp,
    unconfirmed: VecDeque<Unconfirmed>,
    /// The newest pack that was delivered and confirmed with all before it.
    confirmed: Option<AckOf>,
    acks: AckWindow,
    contracts: Option<Box<ReceiveContracts>>,
    last_pack: Timestamp,
}

impl ReceiveSequence {
    /// A sequence from which nothing has come. `is_paid` says whether its packs need contracts.
    pub(crate) fn new(now: Timestamp, settings: Arc<ReceiveSettings>, id: SequenceId, is_paid: bool) -> Self {
        Self {
            settings,
            id,
            next_number: 0,
            held: BTreeMap::new(),
            held_bytes: 0,
            gap_since: now,
            unconfirmed: VecDeque::new(),
            confirmed: None,
            acks: AckWindow::default(),
            contracts: is_paid.then(Box::default),
            last_pack: now,
        }
    }

    /// The sequence id its packs carry.
    pub(crate) fn id(&self) -> SequenceId {
        self.id
    }

    /// Memory of the packs it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Gives back the memory of packs that are gone.
    pub(crate) fn shrink(&mut self) {
        if self.held.is_empty() {
            self.held = BTreeMap::new();
        }
        if self.unconfirmed.is_empty() {
            self.unconfirmed = VecDeque::new();
        }
        self.acks.shrink();
    }

    /// Takes a pack of this sequence. Held packs may take `room` bytes of memory.
    pub(crate) fn handle_pack(
        &mut self,
        turn: &mut Turn<'_>,
        secrets: &ProvideSecrets,
        pack: IncomingPack,
        room: usize,
    ) -> Received {
        self.last_pack = turn.now;
        if pack.nack {
            return self.deliver_unordered(turn, secrets, pack);
        }
        if self.lacks_contract(turn, &pack) {
            return Ok(Err(TransferDrop::NoContract));
        }
        if pack.head && self.next_number < pack.sequence_number {
            self.move_to(pack.sequence_number);
        }
        if pack.sequence_number < self.next_number {
            self.ack_again(turn.now);
            return Ok(Err(TransferDrop::Duplicate));
        }
        if pack.sequence_number > self.next_number {
            return Ok(self.hold(turn.now, pack, room.min(self.settings.max_held_bytes)));
        }
        if self.unconfirmed.len() >= self.settings.max_unconfirmed {
            return Ok(Err(TransferDrop::Full));
        }
        self.release(pack.sequence_number);
        self.deliver(turn, secrets, pack)?;
        self.deliver_held(turn, secrets)?;
        Ok(Ok(()))
    }

    /// A head that only names a contract unknown here: the sender is asked for all of it, nothing else happens.
    fn lacks_contract(&mut self, turn: &Turn<'_>, pack: &IncomingPack) -> bool {
        let (Some(contracts), Some(id)) = (&self.contracts, pack.contract_id) else { return false };
        let is_missing = pack.head && pack.contract.is_none() && !contracts.knows(id);
        if is_missing {
            self.acks.ask_for_contract(turn.now, pack.message_id, id);
        }
        is_missing
    }

    /// The sender knows that everything before `number` was acked.
    fn move_to(&mut self, number: u64) {
        self.next_number = number;
        while let Some(held) = self.held.first_entry()
            && *held.key() < number
        {
            self.held_bytes -= held.remove().bytes;
        }
    }

    /// Forgets a held copy of a pack that came again.
    fn release(&mut self, number: u64) {
        if let Some(held) = self.held.remove(&number) {
            self.held_bytes -= held.bytes;
        }
    }

    fn hold(&mut self, now: Timestamp, pack: IncomingPack, room: usize) -> Result<(), TransferDrop> {
        let number = pack.sequence_number;
        self.release(number);
        if self.held.is_empty() {
            self.gap_since = now;
        }
        let bytes = pack.held_bytes();
        while self.held.len() >= self.settings.max_held || self.held_bytes + bytes > room {
            // What is furthest ahead makes room for what is needed sooner.
            match self.held.last_entry() {
                Some(last) if *last.key() > number => self.held_bytes -= last.remove().bytes,
                _ => return Err(TransferDrop::Full),
            }
        }
        let of = ack_of(&pack);
        self.held_bytes += bytes;
        self.held.insert(number, Held { bytes, pack });
        // A sender stops resending what is acked. While nothing was delivered, the gap may be as old as a process that
        // is gone, and only resends lead to the head that closes it.
        if self.confirmed.is_some() || !self.unconfirmed.is_empty() {
            self.acks.hold(now, self.settings.ack_delay, of);
        }
        Ok(())
    }

    /// Delivers held packs that have become next, while the caller keeps up.
    fn deliver_held(&mut self, turn: &mut Turn<'_>, secrets: &ProvideSecrets) -> Result<(), ReceiveEnd> {
        while self.unconfirmed.len() < self.settings.max_unconfirmed
            && let Some(held) = self.held.remove(&self.next_number)
        {
            self.held_bytes -= held.bytes;
            self.deliver(turn, secrets, held.pack)?;
        }
        Ok(())
    }

    /// Delivers the pack with the next number.
    fn deliver(
        &mut self,
        turn: &mut Turn<'_>,
        secrets: &ProvideSecrets,
        mut pack: IncomingPack,
    ) -> Result<(), ReceiveEnd> {
        let of = ack_of(&pack);
        self.next_number = pack.sequence_number.saturating_add(1);
        self.gap_since = turn.now;
        let contract = self.charge(turn, secrets, &mut pack)?;
        self.unconfirmed.push_back(Unconfirmed { of, is_confirmed: false });
        let has_frames = !pack.frames.is_empty();
        if has_frames {
            self.push_delivery(turn, pack, contract);
        }
        // A pack that only opens a contract has nothing to confirm.
        if !self.settings.confirms || !has_frames {
            self.confirm(turn.now, of.sequence_number);
        }
        Ok(())
    }

    fn deliver_unordered(&mut self, turn: &mut Turn<'_>, secrets: &ProvideSecrets, mut pack: IncomingPack) -> Received {
        let contract = match self.charge(turn, secrets, &mut pack) {
            Ok(contract) => contract,
            Err(ReceiveEnd::NoContract) => return Ok(Err(TransferDrop::NoContract)),
            Err(end) => return Err(end),
        };
        if !pack.frames.is_empty() {
            self.push_delivery(turn, pack, contract);
        }
        Ok(Ok(()))
    }

    /// Registers the contract a pack carries and charges the pack.
    fn charge(
        &mut self,
        turn: &mut Turn<'_>,
        secrets: &ProvideSecrets,
        pack: &mut IncomingPack,
    ) -> Result<Option<Arc<VerifiedContract>>, ReceiveEnd> {
        let Some(contracts) = &mut self.contracts else { return Ok(None) };
        if let Some(contract) = pack.contract.take() {
            let mut closed = Vec::new();
            let pair = (turn.peer, turn.local);
            let verified = contracts.register(contract, secrets, self.settings.legacy_contracts, pair, &mut closed);
            turn.close_contracts(closed);
            verified.ok_or(ReceiveEnd::BadContract)?;
        }
        let charged = contracts.charge(pack.contract_id, pack.message_bytes());
        charged.map(Some).ok_or(ReceiveEnd::NoContract)
    }

    fn push_delivery(&self, turn: &mut Turn<'_>, pack: IncomingPack, contract: Option<Arc<VerifiedContract>>) {
        let id = DeliveryId {
            from: turn.peer,
            lane: turn.lane,
            sequence_id: self.id,
            sequence_number: (!pack.nack).then_some(pack.sequence_number),
        };
        turn.out.push_back(Output::Deliver(Delivery {
            id,
            from: turn.peer,
            lane: turn.lane,
            frames: pack.frames,
            contract,
        }));
    }

    /// The caller has applied a delivery: it and all confirmed ones before it are acked.
    fn confirm(&mut self, now: Timestamp, number: u64) {
        let Ok(at) = self.unconfirmed.binary_search_by_key(&number, |waiting| waiting.of.sequence_number) else {
            return;
        };
        self.unconfirmed[at].is_confirmed = true;
        while let Some(first) = self.unconfirmed.pop_front_if(|waiting| waiting.is_confirmed) {
            self.confirmed = Some(AckOf { sent_millis: None, ..first.of });
            self.acks.deliver(now, self.settings.ack_delay, first.of);
        }
    }

    /// The caller has applied a delivery. Room for held packs may open. Once it has applied all, there is nothing to wait
    /// for that the acks could also cover.
    pub(crate) fn handle_confirmed(
        &mut self,
        turn: &mut Turn<'_>,
        secrets: &ProvideSecrets,
        number: u64,
    ) -> Result<(), ReceiveEnd> {
        self.confirm(turn.now, number);
        self.deliver_held(turn, secrets)?;
        if self.settings.confirms && self.unconfirmed.is_empty() {
            self.acks.hurry(turn.now);
            self.flush(turn);
        }
        Ok(())
    }

    /// A duplicate came: the ack of what it duplicates was lost, unless it has not left yet.
    fn ack_again(&mut self, now: Timestamp) {
        if let Some(confirmed) = self.confirmed {
            self.acks.deliver(now, self.settings.ack_delay, confirmed);
        }
    }

    /// Sends the acks that are due. The sequence is over when this returns why.
    pub(crate) fn handle_timeout(&mut self, turn: &mut Turn<'_>) -> Option<ReceiveEnd> {
        self.flush(turn);
        let ends = [Some(self.idle_deadline()), self.gap_deadline()];
        ends.into_iter().flatten().any(|deadline| deadline <= turn.now).then_some(ReceiveEnd::TimedOut)
    }

    fn flush(&mut self, turn: &mut Turn<'_>) {
        for ack in self.acks.take(turn.now, self.id, self.settings.advertises) {
            turn.transmit(encode_ack(turn.local, turn.peer, &ack));
        }
    }

    /// When `handle_timeout` next has something to do.
    pub(crate) fn timeout(&self) -> Option<Timestamp> {
        [self.acks.due(), Some(self.idle_deadline()), self.gap_deadline()].into_iter().flatten().min()
    }

    fn idle_deadline(&self) -> Timestamp {
        self.last_pack + self.settings.idle_timeout
    }

    /// A gap counts only while the caller keeps up: otherwise the next pack may be here and wait for room.
    fn gap_deadline(&self) -> Option<Timestamp> {
        if self.unconfirmed.len() >= self.settings.max_unconfirmed {
            return None;
        }
        (!self.held.is_empty()).then(|| self.gap_since + self.settings.gap_timeout)
    }

    /// The sequence is over: what is confirmed is acked and every contract is reported.
    pub(crate) fn end(mut self, turn: &mut Turn<'_>, ending: Ending) {
        let at = turn.now;
        turn.now = at.max(self.acks.due().unwrap_or(at));
        self.flush(turn);
        turn.now = at;
        if let Some(contracts) = &mut self.contracts {
            let mut closed = Vec::new();
            contracts.close_all(ending, &mut closed);
            turn.close_contracts(closed);
        }
    }
}

fn ack_of(pack: &IncomingPack) -> AckOf {
    AckOf { message_id: pack.message_id, sequence_number: pack.sequence_number, sent_millis: pack.sent_millis }
}
