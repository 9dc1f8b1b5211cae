//! Two endpoints, a lossy link between them and a clock that jumps to the next event: for tests and benches.
//!
//! Everything follows from the seed. The simulation plays the platform too: it grants every contract that is asked for,
//! and confirms deliveries where the endpoint waits for that.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::endpoint::Endpoint;
use super::lane::Lane;
use super::output::{ContractUse, Delivery, DeliveryId, MessageHandle, Output, SendOptions, SendRefused};
use crate::config::contracts::HmacForm;
use crate::ids::{ClientId, Id};
use crate::time::Timestamp;
use crate::wire::contract_signature;
use crate::wire::messages::{Contract, Frame, MessageType, Provide, ProvideKey, ProvideMode, StoredContract};

/// The secret both ends register for mode Public, with which the contracts of a simulation are signed.
const PROVIDE_SECRET: &[u8] = b"the secret of a simulated client";

/// How the link treats frames, each way.
#[derive(Clone, Copy, Debug)]
pub struct LinkSettings {
    /// Time a frame takes.
    pub delay: Duration,
    /// Further time, up to this, drawn for each frame: frames overtake each other.
    pub jitter: Duration,
    /// Frames lost, of 256.
    pub loss: u8,
    /// Frames that arrive twice, of 256.
    pub duplication: u8,
    /// Bytes of a frame damaged on the way, of 256 frames.
    pub damage: u8,
    /// Time the platform takes to grant a contract.
    pub grant_delay: Duration,
    /// Time a receiver takes to apply a delivery, where it confirms.
    pub confirm_delay: Duration,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
            loss: 0,
            duplication: 0,
            damage: 0,
            grant_delay: Duration::from_millis(50),
            confirm_delay: Duration::from_millis(1),
        }
    }
}

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The first endpoint given.
    Left,
    /// The second endpoint given.
    Right,
}

impl Side {
    /// The other end.
    pub fn other(self) -> Self {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }
}

/// What an end has seen, in order.
#[derive(Debug, Default)]
pub struct Seen {
    /// Deliveries.
    pub delivered: Vec<Delivery>,
    /// Messages it sent that arrived.
    pub acked: Vec<MessageHandle>,
    /// Messages it sent that were given up.
    pub expired: Vec<MessageHandle>,
    /// Contracts it reported.
    pub closed: Vec<ContractUse>,
    /// Contracts it was granted.
    pub granted: usize,
    /// Snapshots it was asked for.
    pub snapshots: usize,
    /// Frames it put on the link.
    pub transmitted: usize,
    /// Frames that came and had no effect.
    pub dropped: usize,
}

/// What happens at an instant.
#[derive(Debug)]
enum Event {
    Arrive(Side, Bytes),
    Grant(Side, ClientId, Lane, u64),
    Confirm(Side, DeliveryId),
}

/// Two endpoints and what is between them.
#[derive(Debug)]
pub struct Simulation {
    /// The time at both ends; a test may set it to make the clock jump.
    pub now: Timestamp,
    /// How the link treats frames; a test may change it on the way.
    pub link: LinkSettings,
    left: (Endpoint, Seen),
    right: (Endpoint, Seen),
    events: BTreeMap<(Duration, u64), Event>,
    /// Time that has really passed, whatever the clock says.
    elapsed: Duration,
    next_event: u64,
    random: u64,
}

impl Simulation {
    /// Both ends attached, both providing publicly.
    pub fn new(mut left: Endpoint, mut right: Endpoint, link: LinkSettings, seed: u64) -> Self {
        let now = Timestamp::from_secs(1_700_000_000);
        for endpoint in [&mut left, &mut right] {
            let provide_secret_key = Bytes::from_static(PROVIDE_SECRET);
            let key = ProvideKey { mode: ProvideMode::Public.into(), provide_secret_key };
            endpoint.set_provide(&Provide { keys: vec![key] });
            endpoint.attach(now);
        }
        let mut simulation = Self {
            now,
            link,
            left: (left, Seen::default()),
            right: (right, Seen::default()),
            events: BTreeMap::new(),
            elapsed: Duration::ZERO,
            next_event: 0,
            random: seed,
        };
        simulation.take_outputs(Side::Left);
        simulation.take_outputs(Side::Right);
        simulation
    }

    /// What an end has seen.
    pub fn seen(&self, side: Side) -> &Seen {
        &self.end(side).1
    }

    /// The endpoint of an end.
    pub fn endpoint(&self, side: Side) -> &Endpoint {
        &self.end(side).0
    }

    /// Does something to the endpoint of an end and carries out what follows.
    pub fn act<R>(&mut self, side: Side, act: impl FnOnce(&mut Endpoint, Timestamp) -> R) -> R {
        let now = self.now;
        let done = act(&mut self.end_mut(side).0, now);
        self.take_outputs(side);
        done
    }

    /// Sends one message of these bytes to the other end.
    pub fn send(
        &mut self,
        from: Side,
        message_bytes: Bytes,
        options: SendOptions,
    ) -> Result<MessageHandle, SendRefused> {
        let to = self.endpoint(from.other()).local();
        let frame = Frame { message_type: MessageType::TestSimpleMessage.into(), message_bytes, raw: true };
        self.act(from, |endpoint, now| endpoint.send(now, to, vec![frame], options))
    }

    /// Moves the clock of both ends without time passing: a positive or negative correction.
    pub fn set_clock(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Goes to the next event and handles it; false when there is none within `horizon` from the start.
    pub fn step(&mut self, horizon: Duration) -> bool {
        let due = |endpoint: &Endpoint| endpoint.poll_timeout().map(|due| self.elapsed + due.since(self.now));
        let timers = [(Side::Left, due(&self.left.0)), (Side::Right, due(&self.right.0))];
        let timer = timers.into_iter().filter_map(|(side, due)| due.map(|due| (due, side))).min();
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let next = [timer.map(|(due, _)| due), event].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= horizon) else { return false };
        self.now = self.now + next.saturating_sub(self.elapsed);
        self.elapsed = self.elapsed.max(next);
        match timer {
            Some((due, side)) if event.is_none_or(|event| due < event) => {
                self.act(side, |endpoint, now| endpoint.handle_timeout(now));
            }
            _ => {
                if let Some((_, event)) = self.events.pop_first() {
                    self.handle(event);
                }
            }
        }
        true
    }

    /// Steps until nothing happens any more within `horizon` from the start; returns the number of steps.
    pub fn run(&mut self, horizon: Duration) -> usize {
        std::iter::from_fn(|| self.step(horizon).then_some(())).count()
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive(side, frame) => {
                let handled = self.act(side, |endpoint, now| endpoint.handle_frame(now, frame));
                self.end_mut(side).1.dropped += usize::from(handled.is_err());
            }
            Event::Grant(side, to, lane, bytes) => {
                let source = self.endpoint(side).local();
                let contract = self.contract(source, to, bytes);
                let added = self.act(side, |endpoint, now| endpoint.add_contract(now, to, lane, &contract));
                self.end_mut(side).1.granted += usize::from(added.is_ok());
            }
            Event::Confirm(side, delivery) => self.act(side, |endpoint, now| endpoint.confirm(now, delivery)),
        }
    }

    fn take_outputs(&mut self, side: Side) {
        while let Some(output) = self.end_mut(side).0.poll_output() {
            let seen = &mut self.end_mut(side).1;
            match output {
                Output::Transmit(frame) => {
                    seen.transmitted += 1;
                    self.transmit(side.other(), frame);
                }
                Output::Deliver(delivery) => {
                    let id = delivery.id;
                    seen.delivered.push(delivery);
                    self.after(self.link.confirm_delay, Event::Confirm(side, id));
                }
                Output::Acked { message, .. } => seen.acked.push(message),
                Output::Expired { message, .. } => seen.expired.push(message),
                Output::NeedsSnapshot => seen.snapshots += 1,
                Output::CloseContract(used) => seen.closed.push(used),
                Output::NeedsContract { to, lane, transfer_byte_count } => {
                    self.after(self.link.grant_delay, Event::Grant(side, to, lane, transfer_byte_count));
                }
            }
        }
    }

    fn transmit(&mut self, to: Side, frame: Bytes) {
        if self.chance(self.link.loss) {
            return;
        }
        let copies = 1 + usize::from(self.chance(self.link.duplication));
        for _ in 0..copies {
            let jitter = self.link.jitter.as_millis() as u64;
            let late = Duration::from_millis(if jitter == 0 { 0 } else { self.draw() % (jitter + 1) });
            let frame = if self.chance(self.link.damage) { self.damaged(&frame) } else { frame.clone() };
            self.after(self.link.delay + late, Event::Arrive(to, frame));
        }
    }

    fn damaged(&mut self, frame: &Bytes) -> Bytes {
        let mut bytes = frame.to_vec();
        let at = self.draw() as usize % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << (self.draw() % 8);
        }
        bytes.into()
    }

    fn contract(&mut self, source: ClientId, destination: ClientId, transfer_byte_count: u64) -> Contract {
        self.next_event += 1;
        let stored = StoredContract {
            contract_id: Bytes::copy_from_slice(&u128::from(self.next_event).to_be_bytes()),
            transfer_byte_count,
            source_id: Some(Bytes::copy_from_slice(&source.to_bytes())),
            destination_id: Some(Bytes::copy_from_slice(&destination.to_bytes())),
            ..StoredContract::default()
        };
        let stored_contract_bytes = Bytes::from(stored.encode_to_vec());
        let stored_contract_hmac = contract_signature::sign(HmacForm::Standard, PROVIDE_SECRET, &stored_contract_bytes);
        let provide_mode = ProvideMode::Public.into();
        Contract { stored_contract_bytes, stored_contract_hmac, provide_mode, ..Contract::default() }
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.next_event += 1;
        self.events.insert((self.elapsed + delay, self.next_event), event);
    }

    fn chance(&mut self, of_256: u8) -> bool {
        of_256 > 0 && self.draw() % 256 < u64::from(of_256)
    }

    /// SplitMix64: small, and the same on every machine.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn end(&self, side: Side) -> &(Endpoint, Seen) {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    fn end_mut(&mut self, side: Side) -> &mut (Endpoint, Seen) {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }
}

#[cfg(test)]
mod tests;
