//! An encoded TransferFrame to a checked pack or ack.

use bytes::Bytes;
use prost::Message;

use super::lane::Lane;
use super::output::TransferDrop;
use crate::ids::{ClientId, ContractId, MessageId, SequenceId};
use crate::wire::MAX_FRAME_BYTES;
use crate::wire::messages::{Ack, Contract, Frame, MessageType, Pack, TransferFrame};
use crate::wire::path::{Path, peek_path};

/// A pack whose ids are well formed.
#[derive(Debug)]
pub(crate) struct IncomingPack {
    pub(crate) message_id: MessageId,
    pub(crate) sequence_id: SequenceId,
    pub(crate) sequence_number: u64,
    pub(crate) lane: Lane,
    pub(crate) head: bool,
    pub(crate) nack: bool,
    pub(crate) frames: Vec<Frame>,
    pub(crate) contract: Option<Contract>,
    pub(crate) contract_id: Option<ContractId>,
    pub(crate) sent_millis: Option<u64>,
    /// Length of the frame it came in, whose memory its parts share.
    frame_bytes: usize,
}

impl IncomingPack {
    /// Memory that holding it takes: many empty messages fit into few bytes on the wire.
    pub(crate) fn held_bytes(&self) -> usize {
        self.frame_bytes + self.frames.len() * size_of::<Frame>()
    }

    /// Bytes a contract is charged for: the message bytes alone.
    pub(crate) fn message_bytes(&self) -> usize {
        message_bytes(&self.frames)
    }
}

/// Bytes of the messages in `frames`, without their envelopes.
pub(crate) fn message_bytes(frames: &[Frame]) -> usize {
    frames.iter().map(|frame| frame.message_bytes.len()).sum()
}

/// An ack whose ids are well formed.
#[derive(Debug)]
pub(crate) struct IncomingAck {
    pub(crate) message_id: MessageId,
    pub(crate) sequence_id: SequenceId,
    pub(crate) selective: bool,
    pub(crate) sent_millis: Option<u64>,
    pub(crate) missing_contract_id: Option<ContractId>,
    pub(crate) compact_contract_recovery: bool,
}

/// What a frame carries.
#[derive(Debug)]
pub(crate) enum Body {
    Pack(IncomingPack),
    Ack(IncomingAck),
}

/// Decodes a frame and its address. Both the current carrier (fields 4 and 5) and the one before version 2 (field 2)
/// are read.
pub(crate) fn decode(frame: Bytes) -> Result<(Path, Body), TransferDrop> {
    let frame_bytes = frame.len();
    if frame_bytes > MAX_FRAME_BYTES {
        return Err(TransferDrop::Malformed);
    }
    let path = peek_path(&frame).map_err(|_| TransferDrop::Malformed)?;
    if path.has_stream {
        return Err(TransferDrop::WrongPath);
    }
    let frame = TransferFrame::decode(frame).map_err(|_| TransferDrop::Malformed)?;
    if frame.encrypted_transfer_frame.is_some() {
        return Err(TransferDrop::Sealed);
    }
    let (mut pack, mut ack) = (frame.pack, frame.ack);
    if let Some(carrier) = frame.frame {
        let bytes = carrier.message_bytes;
        match MessageType::try_from(carrier.message_type) {
            Ok(MessageType::TransferPack) if pack.is_none() => {
                pack = Some(Pack::decode(bytes).map_err(|_| TransferDrop::Malformed)?);
            }
            Ok(MessageType::TransferAck) if ack.is_none() => {
                ack = Some(Ack::decode(bytes).map_err(|_| TransferDrop::Malformed)?);
            }
            _ => return Err(TransferDrop::Malformed),
        }
    }
    let body = match (pack, ack) {
        (Some(pack), None) => {
            let lane = Lane::of(&pack, frame.session_role, frame.session_companion).ok_or(TransferDrop::BadLane)?;
            check_pack(pack, lane, frame_bytes).map(Body::Pack)
        }
        (None, Some(ack)) => check_ack(&ack).map(Body::Ack),
        _ => None,
    };
    body.map(|body| (path, body)).ok_or(TransferDrop::Malformed)
}

/// An absent id is none; a present one of another length than 16 makes the message malformed.
fn optional_id(bytes: Option<&Bytes>) -> Option<Option<ContractId>> {
    match bytes {
        None => Some(None),
        Some(bytes) => ContractId::from_slice(bytes).map(Some),
    }
}

fn check_pack(pack: Pack, lane: Lane, frame_bytes: usize) -> Option<IncomingPack> {
    let contract = match pack.contract_frame {
        None => None,
        Some(frame) if frame.message_type == i32::from(MessageType::TransferContract) => {
            Some(Contract::decode(frame.message_bytes).ok()?)
        }
        Some(_) => return None,
    };
    Some(IncomingPack {
        message_id: MessageId::from_slice(&pack.message_id)?,
        sequence_id: SequenceId::from_slice(&pack.sequence_id)?,
        sequence_number: pack.sequence_number,
        lane,
        head: pack.head,
        nack: pack.nack,
        frames: pack.frames,
        contract,
        contract_id: optional_id(pack.contract_id.as_ref())?,
        sent_millis: pack.tag.map(|tag| tag.send_time),
        frame_bytes,
    })
}

fn check_ack(ack: &Ack) -> Option<IncomingAck> {
    Some(IncomingAck {
        message_id: MessageId::from_slice(&ack.message_id)?,
        sequence_id: SequenceId::from_slice(&ack.sequence_id)?,
        selective: ack.selective,
        sent_millis: ack.tag.map(|tag| tag.send_time),
        missing_contract_id: optional_id(ack.missing_contract_id.as_ref())?,
        compact_contract_recovery: ack.compact_contract_recovery,
    })
}

/// Whether a frame from `source` to `destination` is for the endpoint of `local`.
pub(crate) fn is_for(path: &Path, local: ClientId, only_peer: Option<ClientId>) -> bool {
    path.destination == local && path.source != local && only_peer.is_none_or(|peer| path.source == peer)
}
