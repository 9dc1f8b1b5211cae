//! Packs and acks to encoded TransferFrames, byte for byte as the peer implementation writes them
//! (`connect/frame_protobuf.go`).

use bytes::Bytes;
use prost::Message;

use super::lane::Lane;
use crate::ids::{ClientId, ContractId, MessageId, SequenceId};
use crate::wire::messages::{Ack, Frame, MessageType, Pack, SequenceRole, Tag, TransferFrame, TransferPath};

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

/// Encodes a pack on `lane`. The control id is left out of the path; false, 0 and the client role are left out too.
pub(crate) fn encode_pack(local: ClientId, peer: ClientId, lane: Lane, pack: &OutgoingPack<'_>) -> Bytes {
    let body = Pack {
        message_id: pack.message_id.into(),
        sequence_id: pack.sequence_id.into(),
        sequence_number: pack.sequence_number,
        head: pack.head,
        frames: pack.frames.to_vec(),
        nack: pack.nack,
        contract_frame: pack.contract.clone().map(|message_bytes| Frame {
            message_type: MessageType::TransferContract.into(),
            message_bytes,
            raw: false,
        }),
        tag: Some(Tag { send_time: pack.sent_millis }),
        contract_id: pack.contract_id.map(Bytes::from),
        force_stream: lane.force_stream,
        companion_contract: lane.companion_contract,
        logical_lane: lane.logical_lane.into(),
    };
    let frame = TransferFrame {
        transfer_path: Some(path(local, peer)),
        message_type: Some(MessageType::TransferPack.into()),
        pack: Some(body),
        session_role: lane.server_role.then_some(SequenceRole::Server.into()),
        session_companion: lane.session_companion.then_some(true),
        ..TransferFrame::default()
    };
    frame.encode_to_vec().into()
}

/// Encodes an ack.
pub(crate) fn encode_ack(local: ClientId, peer: ClientId, ack: Ack) -> Bytes {
    let frame = TransferFrame {
        transfer_path: Some(path(local, peer)),
        message_type: Some(MessageType::TransferAck.into()),
        ack: Some(ack),
        ..TransferFrame::default()
    };
    frame.encode_to_vec().into()
}

/// Bytes of `frames` inside a pack, their envelopes included.
pub(crate) fn encoded_bytes(frames: &[Frame]) -> usize {
    // Tag and length of the frame itself: 1 + up to 3.
    frames.iter().map(|frame| frame.encoded_len() + 4).sum()
}

fn path(source: ClientId, destination: ClientId) -> TransferPath {
    let on_wire = |id: ClientId| (!id.is_control()).then(|| Bytes::from(id));
    TransferPath { destination_id: on_wire(destination), source_id: on_wire(source), stream_id: None }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let ack = Ack {
            message_id: count_up(0xc0).into(),
            sequence_id: count_up(0xd0).into(),
            tag: Some(Tag { send_time: 1_700_000_000_001 }),
            compact_contract_recovery: true,
            logical_lane_version: 1,
            ..Ack::default()
        };
        let client = ClientId::from_slice(&count_up(1)).unwrap();
        let vector = "0a1212100102030405060708090a0b0c0d0e0f1018012a310a10c0c1c2c3c4c5c6c7c8c9cacbcccdcecf1210d0d1d2d3\
                      d4d5d6d7d8d9dadbdcdddedf22070881d095ffbc3130013801";
        assert_eq!(hex::encode(encode_ack(client, ClientId::CONTROL, ack)), vector);
    }
}
