//! Scripts: an input at an instant, then exactly the outputs expected and nothing more.

mod client;
mod control;

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;

use super::*;
use crate::config::contracts::HmacForm;
use crate::transfer::output::Delivery;
use crate::wire::contract_signature;
use crate::wire::messages::{Ack, MessageType, Pack, ProvideKey, ProvideMode, Tag, TransferFrame, TransferPath};

const SECRET: &[u8] = &[7; 32];

fn client_id(of: u8) -> ClientId {
    ClientId::new([of; 16])
}

/// The sequence ids of scripted peers; greater numbers replace smaller ones.
fn sequence_id(of: u8) -> SequenceId {
    SequenceId::new([of; 16])
}

/// A message of so many bytes that tests can tell from others.
fn message(name: u8, bytes: usize) -> Frame {
    let message_bytes = Bytes::from(vec![name; bytes]);
    Frame { message_type: MessageType::TestSimpleMessage.into(), message_bytes, raw: false }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A pack of a scripted peer. Its message id repeats its number.
fn pack(sequence: u8, number: u64, head: bool) -> Pack {
    Pack {
        message_id: vec![number as u8; 16].into(),
        sequence_id: sequence_id(sequence).into(),
        sequence_number: number,
        head,
        frames: vec![message(number as u8, 1)],
        tag: Some(Tag { send_time: 5 }),
        ..Pack::default()
    }
}

fn contract(id: u8, source: ClientId, destination: ClientId, transfer_byte_count: u64) -> Contract {
    let stored = StoredContract {
        contract_id: vec![id; 16].into(),
        transfer_byte_count,
        source_id: Some(source.into()),
        destination_id: Some(destination.into()),
        roles: vec!["admin".into()],
        principal: "someone".into(),
        ..StoredContract::default()
    };
    let stored_contract_bytes = Bytes::from(stored.encode_to_vec());
    Contract {
        stored_contract_hmac: contract_signature::sign(HmacForm::Standard, SECRET, &stored_contract_bytes),
        stored_contract_bytes,
        provide_mode: ProvideMode::Public.into(),
        ..Contract::default()
    }
}

fn contract_frame(contract: &Contract) -> Option<Frame> {
    Some(crate::wire::control_message::frame(MessageType::TransferContract, contract))
}

/// An endpoint in a test, and what it has done.
struct Script {
    endpoint: Endpoint,
    start: Timestamp,
    now: Timestamp,
    /// Packs it sent, by number: the last copy of each.
    sent: BTreeMap<u64, Pack>,
    deliveries: Vec<Delivery>,
}

impl Script {
    fn new(config: EndpointConfig) -> Self {
        let start = Timestamp::from_secs(1_700_000_000);
        let endpoint = Endpoint::new(config);
        Self { endpoint, start, now: start, sent: BTreeMap::new(), deliveries: Vec::new() }
    }

    /// Goes to an instant after the start, without doing what is due on the way.
    fn at(&mut self, since_start: Duration) -> &mut Self {
        self.now = self.start + since_start;
        self
    }

    /// Does everything that is due until an instant after the start, and expects these outputs, each with its
    /// milliseconds since the start.
    fn until(&mut self, since_start: Duration, expected: &[(u64, &str)]) {
        let end = self.start + since_start;
        let mut seen = Vec::new();
        let mut turns = 0;
        while let Some(due) = self.endpoint.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.endpoint.handle_timeout(self.now);
            let at = self.now.since(self.start).as_millis() as u64;
            seen.extend(self.outputs().into_iter().map(|output| (at, output)));
            turns += 1;
            assert!(turns < 1000, "timers that are due without end");
        }
        self.now = end;
        let seen: Vec<(u64, &str)> = seen.iter().map(|(at, output)| (*at, output.as_str())).collect();
        assert_eq!(seen, expected);
    }

    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        assert_eq!(self.outputs(), expected);
    }

    fn send(&mut self, to: ClientId, frame: Frame) -> Result<MessageHandle, SendRefused> {
        self.endpoint.send(self.now, to, vec![frame], SendOptions::default())
    }

    /// A pack from a peer arrives.
    fn pack(&mut self, from: ClientId, pack: Pack) -> Result<(), TransferDrop> {
        self.frame(from, TransferFrame { pack: Some(pack), ..TransferFrame::default() })
    }

    /// An ack arrives for the pack it sent under this number.
    fn ack(&mut self, from: ClientId, number: u64, selective: bool) -> Result<(), TransferDrop> {
        let sent = &self.sent[&number];
        let ack = Ack {
            message_id: sent.message_id.clone(),
            sequence_id: sent.sequence_id.clone(),
            selective,
            tag: sent.tag,
            ..Ack::default()
        };
        self.frame(from, TransferFrame { ack: Some(ack), ..TransferFrame::default() })
    }

    fn frame(&mut self, from: ClientId, frame: TransferFrame) -> Result<(), TransferDrop> {
        let on_wire = |id: ClientId| (!id.is_control()).then(|| Bytes::from(id));
        let path =
            TransferPath { destination_id: on_wire(self.endpoint.local()), source_id: on_wire(from), stream_id: None };
        let frame = TransferFrame { transfer_path: Some(path), ..frame };
        self.endpoint.handle_frame(self.now, frame.encode_to_vec().into())
    }

    fn confirm_all(&mut self) {
        for delivery in std::mem::take(&mut self.deliveries) {
            self.endpoint.confirm(self.now, delivery.id);
        }
    }

    /// What it wants done, one line each.
    fn outputs(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.endpoint.poll_output())
            .collect::<Vec<_>>()
            .into_iter()
            .map(|o| self.line(o))
            .collect()
    }

    fn line(&mut self, output: Output) -> String {
        match output {
            Output::Transmit(bytes) => self.transmitted(TransferFrame::decode(bytes).unwrap()),
            Output::Deliver(delivery) => {
                let names: Vec<u8> = delivery.frames.iter().map(|frame| frame.message_bytes[0]).collect();
                self.deliveries.push(delivery);
                format!("deliver {names:?}")
            }
            Output::Acked { message, .. } => format!("acked {}", message.0),
            Output::Expired { message, .. } => format!("expired {}", message.0),
            Output::NeedsSnapshot => "needs snapshot".into(),
            Output::NeedsContract { transfer_byte_count, .. } => format!("needs contract {transfer_byte_count}"),
            Output::CloseContract(used) => {
                let verb = if used.checkpoint { "checkpoint" } else { "close" };
                let id = used.contract_id.as_bytes()[0];
                format!("{verb} {id} {}+{}", used.acked_byte_count, used.unacked_byte_count)
            }
        }
    }

    fn transmitted(&mut self, frame: TransferFrame) -> String {
        if let Some(ack) = frame.ack {
            let kind = match (&ack.missing_contract_id, ack.selective) {
                (Some(_), _) => "ask contract for",
                (None, true) => "ack only",
                (None, false) => "ack",
            };
            let echo = if ack.tag.is_some() { "" } else { " again" };
            return format!("{kind} {}{echo}", ack.message_id[0]);
        }
        let pack = frame.pack.unwrap();
        let names: Vec<u8> = pack.frames.iter().map(|frame| frame.message_bytes[0]).collect();
        let head = if pack.head { " head" } else { "" };
        let nack = if pack.nack { " nack" } else { "" };
        let contract = match (&pack.contract_frame, &pack.contract_id) {
            (Some(_), _) => " with contract",
            (None, Some(_)) => " naming contract",
            (None, None) => "",
        };
        let line = format!("pack {}{head}{nack}{contract} {names:?}", pack.sequence_number);
        if !pack.nack {
            self.sent.insert(pack.sequence_number, pack);
        }
        line
    }
}
