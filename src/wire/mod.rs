//! Bytes to messages and back.
//!
//! `messages` holds the protobuf types under the protocol's own names, `path` reads an address without decoding
//! the rest, `framer` cuts a byte stream into messages, `envelope` wraps one for a datagram, `control_message` names
//! what the control id understands, `contract_signature` signs contracts.
//! Nothing here does I/O or keeps state beyond one buffer.

pub mod contract_signature;
pub mod control_message;
pub mod envelope;
pub mod framer;
pub mod messages;
pub mod path;

/// Largest transport message, both directions: clients close a transport that carries more
/// (`connect/transport.go`).
pub const MAX_FRAME_BYTES: usize = 4096;

/// Messages up to this length are transport control on WebSocket, never a TransferFrame.
pub const MAX_TRANSPORT_CONTROL_BYTES: usize = 16;

/// Bytes that are not the message they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf of the expected type.
    #[error("not a {0} message")]
    Malformed(&'static str),
    /// An id that is not 16 bytes long.
    #[error("{0} is not 16 bytes long")]
    BadId(&'static str),
    /// A message type the control id does not take.
    #[error("message type {0} is not a control message")]
    Unexpected(i32),
}
