//! One side of the conversations of one id with its peers: owns the sequences, gathers their outputs and timers.
//!
//! Feed it frames and messages with the time, then drain `poll_output` and sleep until `poll_timeout`. Frames are sent
//! only between `attach` and `detach`, which tell whether a transport is there.
//!
//! In the control role the client's view is either *known* or *owed a snapshot*. It is owed one at the start, and again
//! when a queue was dropped: no ack for 60 s, or an overflow. `NeedsSnapshot` is given on the next attach or the next
//! valid frame of the client; what is sent from then on goes under a new sequence (`control-and-routing` §4.4).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::contract_window::ProvideSecrets;
use super::incoming::{Body, IncomingAck, IncomingPack, decode, is_for};
use super::lane::Lane;
use super::outgoing::{PACK_OVERHEAD_BYTES, encoded_bytes};
use super::output::{
    ContractRefused, ContractUse, DeliveryId, Ending, MessageHandle, Output, SendOptions, SendRefused, TransferDrop,
};
use super::receive_sequence::{ReceiveEnd, ReceiveSequence};
use super::send_sequence::SendSequence;
use super::sequences::{Key, Sequences};
use super::settings::{EndpointConfig, Expiry};
use super::steady::SteadyTime;
use crate::ids::{ClientId, ContractId, Id, IdGenerator, SequenceId};
use crate::time::Timestamp;
use crate::wire::MAX_FRAME_BYTES;
use crate::wire::messages::{Contract, Frame, Provide, StoredContract};

/// Sequences remembered as refused for a bad contract.
const MAX_REFUSED: usize = 1024;

/// What a sequence sees of its endpoint while it handles one input.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    /// Never steps back; for timers.
    pub(crate) now: Timestamp,
    /// As the caller gave it; for tags and ids.
    pub(crate) wall: Timestamp,
    pub(crate) local: ClientId,
    pub(crate) peer: ClientId,
    pub(crate) lane: Lane,
    ids: &'a IdGenerator,
    pub(crate) out: &'a mut VecDeque<Output>,
}

impl Turn<'_> {
    pub(crate) fn next_id<I: Id>(&self) -> I {
        self.ids.next_random(self.wall)
    }

    pub(crate) fn transmit(&mut self, frame: Bytes) {
        self.out.push_back(Output::Transmit(frame));
    }

    pub(crate) fn close_contracts(&mut self, closed: Vec<ContractUse>) {
        self.out.extend(closed.into_iter().map(Output::CloseContract));
    }
}

/// One side of the conversations of one id.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    time: SteadyTime,
    sending: Sequences<SendSequence>,
    receiving: Sequences<ReceiveSequence>,
    /// Memory of the packs held out of order in all of `receiving`.
    held_bytes: usize,
    /// The newest sequence of a lane that brought a bad contract.
    refused: BTreeMap<Key, SequenceId>,
    secrets: ProvideSecrets,
    out: VecDeque<Output>,
    next_handle: u64,
    attached_at: Option<Timestamp>,
    owes_snapshot: bool,
}

impl Endpoint {
    /// An endpoint that has said and heard nothing, detached. Nothing is due before the first input.
    pub fn new(config: EndpointConfig) -> Self {
        Self {
            owes_snapshot: config.send.expiry == Expiry::Snapshot,
            config,
            time: SteadyTime::default(),
            sending: Sequences::default(),
            receiving: Sequences::default(),
            held_bytes: 0,
            refused: BTreeMap::new(),
            secrets: ProvideSecrets::default(),
            out: VecDeque::new(),
            next_handle: 0,
            attached_at: None,
        }
    }

    /// The id it speaks for.
    pub fn local(&self) -> ClientId {
        self.config.local
    }

    /// Whether a transport is attached.
    pub fn is_attached(&self) -> bool {
        self.attached_at.is_some()
    }

    /// Replaces the provide modes and secrets with which contracts of peers are verified. A paused provider passes the
    /// modes it still takes.
    pub fn set_provide(&mut self, provide: &Provide) {
        self.secrets = ProvideSecrets::new(provide);
    }

    /// The first transport is there, or a new one: everything unacked is sent again at once.
    pub fn attach(&mut self, now: Timestamp) {
        let steady = self.time.at(now);
        self.attached_at = Some(steady);
        self.ask_for_snapshot();
        for key in self.sending.keys() {
            self.with_sending(now, key, |sequence, turn| sequence.attach(turn));
        }
    }

    /// The last transport is gone: nothing is sent until the next attach.
    pub fn detach(&mut self, now: Timestamp) {
        self.time.at(now);
        self.attached_at = None;
        self.sending.values_mut().for_each(|sequence| sequence.detach());
    }

    /// Queues a message for a peer. It ends in `Acked` or `Expired`.
    pub fn send(
        &mut self,
        now: Timestamp,
        to: ClientId,
        frames: Vec<Frame>,
        options: SendOptions,
    ) -> Result<MessageHandle, SendRefused> {
        self.check_message(to, &frames)?;
        let steady = self.time.at(now);
        let key = (to, options.lane);
        if !self.sending.contains(&key) {
            if self.sending.len() >= self.config.send.max_sequences {
                return Err(SendRefused::TooManySequences);
            }
            let is_paid = self.is_paid(to);
            let (settings, attached_at) = (Arc::clone(&self.config.send), self.attached_at);
            let sequence = SendSequence::new(&mut self.turn(steady, now, key), settings, is_paid, attached_at);
            self.sending.insert(key, sequence);
        }
        let handle = MessageHandle(self.next_handle);
        self.next_handle += 1;
        let sent = self.with_sending(now, key, |sequence, turn| sequence.send(turn, handle, frames, options.ack));
        match sent {
            Some(Err(SendRefused::QueueFull)) if self.config.send.expiry == Expiry::Snapshot => {
                self.lose_view(now);
                Err(SendRefused::QueueFull)
            }
            sent => sent.unwrap_or(Err(SendRefused::TooManySequences)).map(|()| handle),
        }
    }

    fn check_message(&self, to: ClientId, frames: &[Frame]) -> Result<(), SendRefused> {
        if to == self.config.local || self.config.only_peer.is_some_and(|peer| peer != to) {
            return Err(SendRefused::WrongPeer);
        }
        if self.owes_snapshot {
            return Err(SendRefused::SnapshotOwed);
        }
        if frames.is_empty() {
            return Err(SendRefused::Empty);
        }
        let encoded = encoded_bytes(frames);
        if encoded > self.config.send.max_message_bytes || encoded + PACK_OVERHEAD_BYTES > MAX_FRAME_BYTES {
            return Err(SendRefused::TooLarge);
        }
        Ok(())
    }

    /// Takes an encoded TransferFrame. An error says why it had no effect beyond, perhaps, a repeated ack.
    pub fn handle_frame(&mut self, now: Timestamp, frame: Bytes) -> Result<(), TransferDrop> {
        let (path, body) = decode(frame)?;
        if !is_for(&path, self.config.local, self.config.only_peer) {
            return Err(TransferDrop::WrongPath);
        }
        self.time.at(now);
        self.ask_for_snapshot();
        match body {
            Body::Pack(pack) => self.handle_pack(now, path.source, pack),
            Body::Ack(ack) => self.handle_ack(now, path.source, &ack),
        }
    }

    fn handle_ack(&mut self, now: Timestamp, from: ClientId, ack: &IncomingAck) -> Result<(), TransferDrop> {
        let (key, _) = self
            .sending
            .of(from)
            .find(|(_, sequence)| sequence.id() == ack.sequence_id)
            .ok_or(TransferDrop::UnknownAck)?;
        self.with_sending(now, key, |sequence, turn| sequence.handle_ack(turn, ack))
            .unwrap_or(Err(TransferDrop::UnknownAck))
    }

    fn handle_pack(&mut self, now: Timestamp, from: ClientId, pack: IncomingPack) -> Result<(), TransferDrop> {
        let key = (from, pack.lane);
        if let Some(refused) = self.refused.get(&key) {
            if pack.sequence_id <= *refused {
                return Err(TransferDrop::BadContract);
            }
            self.refused.remove(&key);
        }
        let known = self.receiving.get(&key).map(|sequence| sequence.id());
        match known {
            Some(id) if pack.sequence_id < id => return Err(TransferDrop::OlderSequence),
            Some(id) if pack.sequence_id == id => {}
            known => {
                if known.is_some() {
                    self.end_receiving(now, key, Ending::Pause);
                } else if self.receiving.len() >= self.config.receive.max_sequences {
                    return Err(TransferDrop::Full);
                }
                let is_paid = self.is_paid(from);
                let steady = self.time.at(now);
                let sequence =
                    ReceiveSequence::new(steady, Arc::clone(&self.config.receive), pack.sequence_id, is_paid);
                self.receiving.insert(key, sequence);
            }
        }
        let sequence_id = pack.sequence_id;
        let bound = self.config.receive.max_total_held_bytes;
        let held_elsewhere = self.held_bytes - self.receiving.get(&key).map_or(0, |sequence| sequence.held_bytes());
        let room = bound.saturating_sub(held_elsewhere);
        let received =
            self.with_receiving(now, key, |sequence, turn, secrets| sequence.handle_pack(turn, secrets, pack, room));
        match received {
            Some(Ok(outcome)) => outcome,
            Some(Err(end)) => Err(self.refuse(now, key, sequence_id, end)),
            None => Err(TransferDrop::Full),
        }
    }

    /// Ends a receive sequence that went wrong.
    fn refuse(&mut self, now: Timestamp, key: Key, sequence_id: SequenceId, end: ReceiveEnd) -> TransferDrop {
        self.end_receiving(now, key, Ending::Pause);
        if end != ReceiveEnd::BadContract {
            return TransferDrop::NoContract;
        }
        if self.refused.len() >= MAX_REFUSED {
            self.refused.pop_first();
        }
        self.refused.insert(key, sequence_id);
        TransferDrop::BadContract
    }

    /// Says that a delivery has been applied: its ack may leave. Confirm in the order of delivery; unknown ones, as
    /// after a newer sequence, are ignored.
    pub fn confirm(&mut self, now: Timestamp, delivery: DeliveryId) {
        let Some(number) = delivery.sequence_number else { return };
        let key = (delivery.from, delivery.lane);
        if self.receiving.get(&key).is_none_or(|sequence| sequence.id() != delivery.sequence_id) {
            return;
        }
        let confirmed =
            self.with_receiving(now, key, |sequence, turn, secrets| sequence.handle_confirmed(turn, secrets, number));
        if let Some(Err(end)) = confirmed {
            self.refuse(now, key, delivery.sequence_id, end);
        }
    }

    /// Hands in a contract that was asked for. One that is not needed is closed unused; any other refusal leaves
    /// closing it to the caller.
    pub fn add_contract(
        &mut self,
        now: Timestamp,
        to: ClientId,
        lane: Lane,
        contract: &Contract,
    ) -> Result<(), ContractRefused> {
        let local = self.config.local;
        let added = self.with_sending(now, (to, lane), |sequence, turn| {
            let steady = turn.now;
            let added = match sequence.contracts_mut() {
                Some(contracts) => contracts.add(steady, contract, local, to),
                None => Err(ContractRefused::NotNeeded),
            };
            sequence.pump(turn);
            added
        });
        let added = added.unwrap_or(Err(ContractRefused::NotNeeded));
        if added == Err(ContractRefused::NotNeeded) {
            self.close_unused(contract)?;
        }
        added
    }

    fn close_unused(&mut self, contract: &Contract) -> Result<(), ContractRefused> {
        let stored: StoredContract =
            prost::Message::decode(contract.stored_contract_bytes.clone()).map_err(|_| ContractRefused::Malformed)?;
        let contract_id = ContractId::from_slice(&stored.contract_id).ok_or(ContractRefused::Malformed)?;
        let unused = ContractUse { contract_id, acked_byte_count: 0, unacked_byte_count: 0, checkpoint: false };
        self.out.push_back(Output::CloseContract(unused));
        Ok(())
    }

    /// Gives up what is being sent on a lane: its messages expire, its contracts are closed. For a platform that has
    /// refused a contract for good.
    pub fn abandon(&mut self, now: Timestamp, to: ClientId, lane: Lane) {
        self.end_sending(now, (to, lane));
    }

    /// Ends all sequences with one peer.
    pub fn close_peer(&mut self, now: Timestamp, peer: ClientId, ending: Ending) {
        for key in self.sending.of(peer).map(|(key, _)| key).collect::<Vec<_>>() {
            self.end_sending(now, key);
        }
        for key in self.receiving.of(peer).map(|(key, _)| key).collect::<Vec<_>>() {
            self.end_receiving(now, key, ending);
        }
    }

    /// Ends all sequences with all peers but the control id, to which the closes still have to go.
    pub fn close(&mut self, now: Timestamp, ending: Ending) {
        let keys = self.sending.keys().into_iter().chain(self.receiving.keys());
        let mut peers: Vec<ClientId> = keys.map(|(peer, _)| peer).collect();
        peers.dedup();
        for peer in peers.into_iter().filter(|peer| !peer.is_control()) {
            self.close_peer(now, peer, ending);
        }
    }

    /// Drops what is queued for the client and owes it a snapshot: for a caller that could not send one in full, and
    /// for one whose own state began anew.
    pub fn lose_view(&mut self, now: Timestamp) {
        for key in self.sending.keys() {
            self.end_sending(now, key);
        }
        self.owes_snapshot = self.config.send.expiry == Expiry::Snapshot;
    }

    /// Gives back the memory of a past burst. For an endpoint that is idle most of the time.
    pub fn shrink(&mut self) {
        self.sending.values_mut().for_each(SendSequence::shrink);
        self.receiving.values_mut().for_each(ReceiveSequence::shrink);
        self.sending.shrink();
        self.receiving.shrink();
        if self.out.is_empty() {
            self.out = VecDeque::new();
        }
    }

    /// The next thing to do; drain it after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When `handle_timeout` must be called, on the caller's clock; earlier than now when it is overdue.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let sending = self.sending.values().filter_map(|sequence| sequence.timeout());
        let receiving = self.receiving.values().filter_map(|sequence| sequence.timeout());
        sending.chain(receiving).min().map(|due| self.time.to_caller(due))
    }

    /// Does what is due: acks, resends, requests for contracts, ends.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.time.at(now);
        for key in self.receiving.keys() {
            let end = self.with_receiving(now, key, |sequence, turn, _| sequence.handle_timeout(turn));
            if end.flatten().is_some() {
                self.end_receiving(now, key, Ending::Pause);
            }
        }
        for key in self.sending.keys() {
            let end = self.with_sending(now, key, |sequence, turn| sequence.handle_timeout(turn));
            match end.flatten() {
                Some(_) if self.config.send.expiry == Expiry::Snapshot => self.lose_view(now),
                Some(_) => self.end_sending(now, key),
                None => {}
            }
        }
    }

    /// Asks for the owed snapshot: the client is there.
    fn ask_for_snapshot(&mut self) {
        if std::mem::take(&mut self.owes_snapshot) {
            self.out.push_back(Output::NeedsSnapshot);
        }
    }

    /// Whether packs between this endpoint and the peer need contracts: with the control id at either end they do not.
    fn is_paid(&self, peer: ClientId) -> bool {
        !self.config.local.is_control() && !peer.is_control()
    }

    fn end_sending(&mut self, now: Timestamp, key: Key) {
        let steady = self.time.at(now);
        if let Some(sequence) = self.sending.remove(&key) {
            sequence.end(&mut self.turn(steady, now, key));
        }
    }

    fn end_receiving(&mut self, now: Timestamp, key: Key, ending: Ending) {
        let steady = self.time.at(now);
        if let Some(sequence) = self.receiving.remove(&key) {
            self.held_bytes -= sequence.held_bytes();
            sequence.end(&mut self.turn(steady, now, key), ending);
        }
    }

    fn turn(&mut self, steady: Timestamp, wall: Timestamp, (peer, lane): Key) -> Turn<'_> {
        Turn { now: steady, wall, local: self.config.local, peer, lane, ids: &self.config.ids, out: &mut self.out }
    }

    fn with_sending<R>(
        &mut self,
        now: Timestamp,
        key: Key,
        act: impl FnOnce(&mut SendSequence, &mut Turn<'_>) -> R,
    ) -> Option<R> {
        let steady = self.time.at(now);
        let sequence = self.sending.get_mut(&key)?;
        let (local, ids, out) = (self.config.local, &*self.config.ids, &mut self.out);
        Some(act(sequence, &mut Turn { now: steady, wall: now, local, peer: key.0, lane: key.1, ids, out }))
    }

    fn with_receiving<R>(
        &mut self,
        now: Timestamp,
        key: Key,
        act: impl FnOnce(&mut ReceiveSequence, &mut Turn<'_>, &ProvideSecrets) -> R,
    ) -> Option<R> {
        let steady = self.time.at(now);
        let sequence = self.receiving.get_mut(&key)?;
        let (local, ids, out) = (self.config.local, &*self.config.ids, &mut self.out);
        let turn = &mut Turn { now: steady, wall: now, local, peer: key.0, lane: key.1, ids, out };
        self.held_bytes -= sequence.held_bytes();
        let done = act(sequence, turn, &self.secrets);
        self.held_bytes += sequence.held_bytes();
        Some(done)
    }
}

#[cfg(test)]
mod tests;
