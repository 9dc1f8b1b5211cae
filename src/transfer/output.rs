//! What goes into and comes out of an endpoint besides frames.

use std::sync::Arc;

use bytes::Bytes;

use super::lane::Lane;
use crate::ids::{ClientId, ContractId, SequenceId, StreamId};
use crate::wire::messages::{Frame, ProvideMode};

/// Names a message from `send` until its `Acked` or `Expired`; unique within the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageHandle(pub(crate) u64);

/// How a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendOptions {
    /// The lane it goes on. `companion_contract` of the lane also says which contract pays.
    pub lane: Lane,
    /// False sends it once, unordered, as soon as the contract is known to the peer (nack packs).
    pub ack: bool,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self { lane: Lane::default(), ack: true }
    }
}

/// What the caller must do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this encoded TransferFrame on any transport.
    Transmit(Bytes),
    /// Messages of a peer.
    Deliver(Delivery),
    /// The message has reached the peer; one sent without ack has been handed to the transport.
    Acked {
        /// The receiver.
        to: ClientId,
        /// What `send` returned.
        message: MessageHandle,
    },
    /// The message was given up, and with it everything behind it in its sequence.
    Expired {
        /// The receiver.
        to: ClientId,
        /// What `send` returned.
        message: MessageHandle,
    },
    /// Control role only: the client's view is unknown. Send the full snapshot now; nothing else is taken before.
    NeedsSnapshot,
    /// Ask the platform for a contract and hand the answer to `add_contract`. Asked again when none comes in time.
    NeedsContract {
        /// The destination of the contract.
        to: ClientId,
        /// The lane that waits for it; `companion_contract` and `force_stream` belong into the request.
        lane: Lane,
        /// Bytes to ask for.
        transfer_byte_count: u64,
    },
    /// Report the bytes counted under a contract.
    CloseContract(ContractUse),
}

/// The bytes counted under a contract, for a CloseContract message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContractUse {
    /// The contract.
    pub contract_id: ContractId,
    /// Bytes that arrived.
    pub acked_byte_count: u64,
    /// Bytes sent whose arrival is unknown.
    pub unacked_byte_count: u64,
    /// The sequence may go on under this contract; counts of several checkpoints add up.
    pub checkpoint: bool,
}

/// Messages of a peer, in order within their lane unless sent without ack.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// For [`confirm`](super::endpoint::Endpoint::confirm), where the endpoint waits for it.
    pub id: DeliveryId,
    /// The sender.
    pub from: ClientId,
    /// The lane it came on; `reply` gives the one to answer on.
    pub lane: Lane,
    /// The messages.
    pub frames: Vec<Frame>,
    /// Who the platform says the sender is; `None` without contract (the control id).
    pub contract: Option<Arc<VerifiedContract>>,
}

/// What a verified contract says about its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedContract {
    /// The contract that paid.
    pub contract_id: ContractId,
    /// The mode whose secret signed it; a number this program does not know cannot occur, it would not verify.
    pub provide_mode: ProvideMode,
    /// Roles of the sender, only in mode Network.
    pub roles: Vec<String>,
    /// Principal of the sender, only in mode Network.
    pub principal: String,
    /// The stream that both ends shall use.
    pub stream_id: Option<StreamId>,
}

/// Names one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryId {
    pub(crate) from: ClientId,
    pub(crate) lane: Lane,
    pub(crate) sequence_id: SequenceId,
    /// `None` for a pack that is not acked.
    pub(crate) sequence_number: Option<u64>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendRefused {
    /// Too much is waiting already: try again after an `Acked`. In the control role the queue is gone and a snapshot
    /// will be asked for.
    #[error("the queue to the peer is full")]
    QueueFull,
    /// The frames do not fit one pack.
    #[error("the message is larger than a pack may be")]
    TooLarge,
    /// There is nothing in it.
    #[error("the message has no frames")]
    Empty,
    /// The peer's view is unknown until [`Output::NeedsSnapshot`] was answered.
    #[error("a snapshot has to come first")]
    SnapshotOwed,
    /// The peer is the endpoint itself, or not the one it serves.
    #[error("this endpoint does not speak with that peer")]
    WrongPeer,
    /// Too many sequences at once.
    #[error("too many sequences")]
    TooManySequences,
}

/// Why a received frame had no effect. Counted, never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TransferDrop {
    /// Not protobuf of this shape, an id of another length, or both or neither of pack and ack.
    #[error("not a transfer frame")]
    Malformed,
    /// Source or destination do not fit this endpoint.
    #[error("not between this endpoint and its peer")]
    WrongPath,
    /// Sealed end to end, which this endpoint does not take part in.
    #[error("end-to-end sealed")]
    Sealed,
    /// A logical lane above the highest.
    #[error("no such lane")]
    BadLane,
    /// A newer sequence of the lane is known.
    #[error("an older sequence")]
    OlderSequence,
    /// An ack that fits nothing unacked.
    #[error("nothing waits for this ack")]
    UnknownAck,
    /// Delivered before; acked again.
    #[error("a duplicate")]
    Duplicate,
    /// A bound is reached; not acked, so it comes again.
    #[error("no room")]
    Full,
    /// No contract pays for it.
    #[error("no contract")]
    NoContract,
    /// The contract it carries is not valid here; its sequence is refused from now on.
    #[error("the contract does not verify")]
    BadContract,
}

/// Why a contract was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractRefused {
    /// It does not parse.
    #[error("not a contract")]
    Malformed,
    /// It names another source or destination.
    #[error("the contract is for another pair")]
    WrongPair,
    /// It is known already.
    #[error("the contract is in use already")]
    InUse,
    /// The sequence is gone, or holds as many unused contracts as it may; the contract is closed unused.
    #[error("nothing waits for the contract")]
    NotNeeded,
}

/// How conversations end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The process may come back: the contracts in use are reported as checkpoints.
    Pause,
    /// Nothing more will come under any contract: all are reported as closed.
    Final,
}
