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
