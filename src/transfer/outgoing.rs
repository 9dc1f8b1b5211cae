//! Packs and acks to encoded TransferFrames, byte for byte as the peer implementation writes them
//! (`connect/frame_protobuf.go`).

use bytes::Bytes;
use prost::Message;

use super::lane::Lane;
use crate::ids::{ClientId, ContractId, MessageId, SequenceId};
use crate::wire::messages::{Frame, MessageType, SequenceRole};

/// Bytes around the frames of a pack, at most: address 40, message type 2, pack header 5, ids 54, number and flags 20,
/// tag 13, role and companion 4, envelope of a contract 12.
pub(crate) const PACK_OVERHEAD_BYTES: usize = 160;

/// A pack about to be encoded.
#[derive(Debug)]
pub(crate) struct OutgoingPack<'a> {
    pub(crate) message_id: MessageId,
    pub(crate) sequence_id: SequenceId,
    pub(crate) sequence_number: u64,
    pub(crate) head: bool,
    pub(crate) nack: bool,
    pub(crate) frames: &'a [Frame],
    pub(crate) contract: Option<Bytes>,
    pub(crate) contract_id: Option<ContractId>,
    pub(crate) sent_millis: u64,
}

/// An ack about to be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutgoingAck {
    pub(crate) message_id: MessageId,
    pub(crate) sequence_id: SequenceId,
    pub(crate) selective: bool,
    pub(crate) sent_millis: Option<u64>,
    pub(crate) missing_contract_id: Option<ContractId>,
    /// Whether it says what the receiver is able to do.
    pub(crate) advertises: bool,
}

/// Encodes a pack on `lane`. The control id is left out of the path; false, 0 and the client role are left out too.
pub(crate) fn encode_pack(local: ClientId, peer: ClientId, lane: Lane, pack: &OutgoingPack<'_>) -> Bytes {
    let contract_bytes = pack.contract.as_ref().map_or(0, Bytes::len);
    let mut out = Writer(Vec::with_capacity(PACK_OVERHEAD_BYTES + encoded_bytes(pack.frames) + contract_bytes));
    out.path(local, peer);
    out.present(3, i32::from(MessageType::TransferPack) as u64);
    out.message(4, |out| {
        out.bytes(1, pack.message_id.as_bytes());
        out.bytes(2, pack.sequence_id.as_bytes());
        out.number(3, pack.sequence_number);
        out.flag(4, pack.head);
        for frame in pack.frames {
            out.message(5, |out| out.frame(frame));
        }
        out.flag(6, pack.nack);
        if let Some(contract) = &pack.contract {
            out.message(7, |out| {
                out.number(1, i32::from(MessageType::TransferContract) as u64);
                out.bytes(2, contract);
            });
        }
        out.message(8, |out| out.number(1, pack.sent_millis));
        if let Some(contract_id) = pack.contract_id {
            out.bytes(9, contract_id.as_bytes());
        }
        out.flag(10, lane.force_stream);
        out.flag(11, lane.companion_contract);
        out.number(12, lane.logical_lane.into());
    });
    out.number(7, if lane.server_role { i32::from(SequenceRole::Server) as u64 } else { 0 });
    out.flag(8, lane.session_companion);
    out.finish()
}

/// Encodes an ack.
pub(crate) fn encode_ack(local: ClientId, peer: ClientId, ack: &OutgoingAck) -> Bytes {
    let mut out = Writer(Vec::with_capacity(PACK_OVERHEAD_BYTES));
    out.path(local, peer);
    out.present(3, i32::from(MessageType::TransferAck) as u64);
    out.message(5, |out| {
        out.bytes(1, ack.message_id.as_bytes());
        out.bytes(2, ack.sequence_id.as_bytes());
        out.flag(3, ack.selective);
        if let Some(sent_millis) = ack.sent_millis {
            out.message(4, |out| out.number(1, sent_millis));
        }
        if let Some(contract_id) = ack.missing_contract_id {
            out.bytes(5, contract_id.as_bytes());
        }
        out.flag(6, ack.advertises);
        out.number(7, ack.advertises.into());
    });
    out.finish()
}

/// Protobuf, field by field in order: prost wants each id in memory of its own, and measures each part before it
/// writes it.
struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A number; 0 is left out.
    fn number(&mut self, field: u8, value: u64) {
        if value != 0 {
            self.present(field, value);
        }
    }

    /// A number, also 0.
    fn present(&mut self, field: u8, value: u64) {
        self.0.push(field << 3);
        self.varint(value);
    }

    /// A flag; false is left out.
    fn flag(&mut self, field: u8, value: bool) {
        self.number(field, value.into());
    }

    /// Bytes, also none.
    fn bytes(&mut self, field: u8, value: &[u8]) {
        self.0.push(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A message, whose length is known once it is written.
    fn message(&mut self, field: u8, write: impl FnOnce(&mut Self)) {
        self.0.push(field << 3 | 2);
        let start = self.0.len();
        write(self);
        let end = self.0.len();
        self.varint((end - start) as u64);
        let length_bytes = self.0.len() - end;
        self.0[start..].rotate_right(length_bytes);
    }

    fn path(&mut self, source: ClientId, destination: ClientId) {
        self.message(1, |out| {
            for (field, id) in [(1, destination), (2, source)] {
                if !id.is_control() {
                    out.bytes(field, id.as_bytes());
                }
            }
        });
    }

    fn frame(&mut self, frame: &Frame) {
        self.number(1, frame.message_type as u64);
        if !frame.message_bytes.is_empty() {
            self.bytes(2, &frame.message_bytes);
        }
        self.flag(3, frame.raw);
    }

    /// What was written, in memory of its size.
    fn finish(self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

/// Bytes of `frames` inside a pack, their envelopes included.
pub(crate) fn encoded_bytes(frames: &[Frame]) -> usize {
    // Tag and length of the frame itself: 1 + up to 3.
    frames.iter().map(|frame| frame.encoded_len() + 4).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::messages::{Ack, Pack, Tag, TransferFrame, TransferPath};

    #[test]
    fn the_overhead_of_a_pack_with_everything_in_it_stays_below_its_bound() {
        let lane = Lane {
            force_stream: true,
            companion_contract: true,
            logical_lane: 8,
            server_role: true,
            session_companion: true,
        };
        let message = |bytes| Frame { message_type: 28, message_bytes: vec![1; bytes].into(), raw: true };
        for frames in [vec![message(1), message(3000)], vec![Frame::default(); 1500]] {
            let contract = Bytes::from(vec![2; 700]);
            let pack = OutgoingPack {
                message_id: MessageId::new([1; 16]),
                sequence_id: SequenceId::new([2; 16]),
                sequence_number: u64::MAX,
                head: true,
                nack: true,
                frames: &frames,
                contract: Some(contract.clone()),
                contract_id: Some(ContractId::new([3; 16])),
                sent_millis: u64::MAX,
            };
            let frame = encode_pack(ClientId::new([4; 16]), ClientId::new([5; 16]), lane, &pack);
            assert!(frame.len() <= PACK_OVERHEAD_BYTES + encoded_bytes(&frames) + contract.len(), "{}", frame.len());
        }
    }

    #[test]
    fn a_push_of_the_platform_has_the_bytes_of_the_protocol_s_vector() {
        let count_up = |first: u8| std::array::from_fn(|at| first + at as u8);
        let frames = [Frame { message_type: MessageType::TransferStreamReset.into(), ..Frame::default() }];
        let pack = OutgoingPack {
            message_id: MessageId::new(count_up(0xc0)),
            sequence_id: SequenceId::new(count_up(0xd0)),
            sequence_number: 0,
            head: true,
            nack: false,
            frames: &frames,
            contract: None,
            contract_id: None,
            sent_millis: 1_700_000_000_001,
        };
        let frame = encode_pack(ClientId::CONTROL, ClientId::new(count_up(1)), Lane::default(), &pack);
        let vector = "0a120a100102030405060708090a0b0c0d0e0f10180022330a10c0c1c2c3c4c5c6c7c8c9cacbcccdcecf1210d0d1d2d3\
                      d4d5d6d7d8d9dadbdcdddedf20012a02081642070881d095ffbc31";
        assert_eq!(hex::encode(frame), vector);
    }

    #[test]
    fn a_client_s_ack_has_the_bytes_of_the_protocol_s_vector() {
        let count_up = |first: u8| (first..first + 16).collect::<Vec<u8>>();
        let ack = OutgoingAck {
            message_id: MessageId::from_slice(&count_up(0xc0)).unwrap(),
            sequence_id: SequenceId::from_slice(&count_up(0xd0)).unwrap(),
            selective: false,
            sent_millis: Some(1_700_000_000_001),
            missing_contract_id: None,
            advertises: true,
        };
        let client = ClientId::from_slice(&count_up(1)).unwrap();
        let vector = "0a1212100102030405060708090a0b0c0d0e0f1018012a310a10c0c1c2c3c4c5c6c7c8c9cacbcccdcecf1210d0d1d2d3\
                      d4d5d6d7d8d9dadbdcdddedf22070881d095ffbc3130013801";
        assert_eq!(hex::encode(encode_ack(client, ClientId::CONTROL, &ack)), vector);
    }

    fn path(source: ClientId, destination: ClientId) -> Option<TransferPath> {
        let on_wire = |id: ClientId| (!id.is_control()).then(|| Bytes::from(id));
        Some(TransferPath { destination_id: on_wire(destination), source_id: on_wire(source), stream_id: None })
    }

    fn id() -> impl Strategy<Value = [u8; 16]> {
        prop_oneof![Just([0; 16]), any::<[u8; 16]>()]
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let bytes = prop::collection::vec(any::<u8>(), 0..300);
        (prop_oneof![Just(0), Just(-1), any::<i32>()], bytes, any::<bool>())
            .prop_map(|(message_type, bytes, raw)| Frame { message_type, message_bytes: bytes.into(), raw })
    }

    proptest! {
        #[test]
        fn a_pack_has_the_bytes_that_prost_would_write(
            (local, peer, message_id, sequence_id) in (id(), id(), id(), id()),
            (sequence_number, sent_millis, logical_lane) in (any::<u64>(), prop_oneof![Just(0), any::<u64>()], 0..9_u8),
            flags in any::<[bool; 6]>(),
            frames in prop::collection::vec(frame(), 0..4),
            contract in prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
            contract_id in prop::option::of(id()),
        ) {
            let [head, nack, force_stream, companion_contract, server_role, session_companion] = flags;
            let lane = Lane { force_stream, companion_contract, logical_lane, server_role, session_companion };
            let (local, peer) = (ClientId::new(local), ClientId::new(peer));
            let pack = OutgoingPack {
                message_id: MessageId::new(message_id),
                sequence_id: SequenceId::new(sequence_id),
                sequence_number,
                head,
                nack,
                frames: &frames,
                contract: contract.clone().map(Bytes::from),
                contract_id: contract_id.map(ContractId::new),
                sent_millis,
            };
            let body = Pack {
                message_id: pack.message_id.into(),
                sequence_id: pack.sequence_id.into(),
                sequence_number,
                head,
                frames: frames.clone(),
                nack,
                contract_frame: pack.contract.clone().map(|message_bytes| Frame {
                    message_type: MessageType::TransferContract.into(),
                    message_bytes,
                    raw: false,
                }),
                tag: Some(Tag { send_time: sent_millis }),
                contract_id: pack.contract_id.map(Bytes::from),
                force_stream,
                companion_contract,
                logical_lane: logical_lane.into(),
            };
            let whole = TransferFrame {
                transfer_path: path(local, peer),
                message_type: Some(MessageType::TransferPack.into()),
                pack: Some(body),
                session_role: server_role.then_some(SequenceRole::Server.into()),
                session_companion: session_companion.then_some(true),
                ..TransferFrame::default()
            };
            // A contract is never empty; prost leaves the bytes of an empty one out.
            prop_assume!(contract.is_none_or(|contract| !contract.is_empty()));
            prop_assert_eq!(&encode_pack(local, peer, lane, &pack)[..], &whole.encode_to_vec());
        }

        #[test]
        fn an_ack_has_the_bytes_that_prost_would_write(
            (local, peer, message_id, sequence_id) in (id(), id(), id(), id()),
            (selective, advertises) in any::<(bool, bool)>(),
            sent_millis in prop::option::of(prop_oneof![Just(0), any::<u64>()]),
            missing in prop::option::of(id()),
        ) {
            let (local, peer) = (ClientId::new(local), ClientId::new(peer));
            let ack = OutgoingAck {
                message_id: MessageId::new(message_id),
                sequence_id: SequenceId::new(sequence_id),
                selective,
                sent_millis,
                missing_contract_id: missing.map(ContractId::new),
                advertises,
            };
            let body = Ack {
                message_id: ack.message_id.into(),
                sequence_id: ack.sequence_id.into(),
                selective,
                tag: sent_millis.map(|send_time| Tag { send_time }),
                missing_contract_id: ack.missing_contract_id.map(Bytes::from),
                compact_contract_recovery: advertises,
                logical_lane_version: advertises.into(),
            };
            let whole = TransferFrame {
                transfer_path: path(local, peer),
                message_type: Some(MessageType::TransferAck.into()),
                ack: Some(body),
                ..TransferFrame::default()
            };
            prop_assert_eq!(&encode_ack(local, peer, &ack)[..], &whole.encode_to_vec());
        }
    }
}
