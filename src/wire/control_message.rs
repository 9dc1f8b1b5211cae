//! The messages of the control id, as an enum over their frames.

use bytes::Bytes;
use prost::Message;

use super::DecodeError;
use super::messages::{
    ClientKey, CloseContract, CreateContract, CreateContractResult, EncryptedKey, Frame, MessageType,
    NetworkPeersReset, NetworkPeersUpdate, PeerAudit, Provide, StreamClose, StreamOpen, StreamReset,
};

/// What a client may send to the control id.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Replaces the client's provide modes and secrets.
    Provide(Provide),
    /// Asks for permission to transfer; answered only over HTTP.
    CreateContract(CreateContract),
    /// Reports the bytes counted under a contract.
    CloseContract(CloseContract),
    /// Publishes a certificate chain and its signature.
    EncryptedKey(EncryptedKey),
    /// Publishes an identity key.
    ClientKey(ClientKey),
    /// A report on a peer.
    PeerAudit(PeerAudit),
    /// Activity.
    ControlPing,
    /// Activity of a provider.
    ProvidePing,
}

impl Request {
    /// Decodes the body of a frame.
    pub fn decode(frame: &Frame) -> Result<Self, DecodeError> {
        fn body<M: Message + Default>(frame: &Frame, name: &'static str) -> Result<M, DecodeError> {
            M::decode(frame.message_bytes.clone()).map_err(|_| DecodeError::Malformed(name))
        }
        match MessageType::try_from(frame.message_type) {
            Ok(MessageType::TransferProvide) => body(frame, "Provide").map(Self::Provide),
            Ok(MessageType::TransferCreateContract) => body(frame, "CreateContract").map(Self::CreateContract),
            Ok(MessageType::TransferCloseContract) => body(frame, "CloseContract").map(Self::CloseContract),
            Ok(MessageType::TransferEncryptedKey) => body(frame, "EncryptedKey").map(Self::EncryptedKey),
            Ok(MessageType::TransferClientKey) => body(frame, "ClientKey").map(Self::ClientKey),
            Ok(MessageType::TransferPeerAudit) => body(frame, "PeerAudit").map(Self::PeerAudit),
            Ok(MessageType::TransferControlPing) => Ok(Self::ControlPing),
            Ok(MessageType::TransferProvidePing) => Ok(Self::ProvidePing),
            _ => Err(DecodeError::Unexpected(frame.message_type)),
        }
    }

    /// The frame that carries this message.
    pub fn to_frame(&self) -> Frame {
        match self {
            Self::Provide(message) => frame(MessageType::TransferProvide, message),
            Self::CreateContract(message) => frame(MessageType::TransferCreateContract, message),
            Self::CloseContract(message) => frame(MessageType::TransferCloseContract, message),
            Self::EncryptedKey(message) => frame(MessageType::TransferEncryptedKey, message),
            Self::ClientKey(message) => frame(MessageType::TransferClientKey, message),
            Self::PeerAudit(message) => frame(MessageType::TransferPeerAudit, message),
            Self::ControlPing => empty(MessageType::TransferControlPing),
            Self::ProvidePing => empty(MessageType::TransferProvidePing),
        }
    }
}

/// What the control id sends to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Push {
    /// The answer to CreateContract, over HTTP only.
    CreateContractResult(Box<CreateContractResult>),
    /// A hop was added.
    StreamOpen(StreamOpen),
    /// A hop was removed.
    StreamClose(StreamClose),
    /// All hops of the client.
    StreamReset(StreamReset),
    /// Forget the peers known so far.
    NetworkPeersReset,
    /// Peers that came, changed or left.
    NetworkPeersUpdate(NetworkPeersUpdate),
}

impl Push {
    /// The frame that carries this message.
    pub fn to_frame(&self) -> Frame {
        match self {
            Self::CreateContractResult(message) => frame(MessageType::TransferCreateContractResult, &**message),
            Self::StreamOpen(message) => frame(MessageType::TransferStreamOpen, message),
            Self::StreamClose(message) => frame(MessageType::TransferStreamClose, message),
            Self::StreamReset(message) => frame(MessageType::TransferStreamReset, message),
            Self::NetworkPeersReset => frame(MessageType::TransferNetworkPeersReset, &NetworkPeersReset {}),
            Self::NetworkPeersUpdate(message) => frame(MessageType::TransferNetworkPeersUpdate, message),
        }
    }
}

/// Wraps a message in a frame of the given type.
pub fn frame(message_type: MessageType, message: &impl Message) -> Frame {
    Frame { message_type: message_type.into(), message_bytes: message.encode_to_vec().into(), raw: false }
}

fn empty(message_type: MessageType) -> Frame {
    Frame { message_type: message_type.into(), message_bytes: Bytes::new(), raw: false }
}
