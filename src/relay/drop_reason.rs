//! Every reason a frame is dropped, and every reason a connection ends. Closed lists: each has one counter,
//! created at start, so that counting is an addition.

use crate::wire::envelope::EnvelopeError;
use crate::wire::path::PathError;

/// Declares an enum with one snake-case name per variant, for labels.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every reason, in the order of its counter.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
            /// The labels, in the same order.
            pub const LABELS: &'static [&'static str] = &[$($label,)*];

            /// Position of this reason's counter.
            pub const fn index(self) -> usize {
                self as usize
            }

            /// The label in metrics and logs.
            pub fn label(self) -> &'static str {
                Self::LABELS.get(self.index()).copied().unwrap_or("unknown")
            }
        }
    };
}

reasons! {
    /// Why a frame went nowhere. Never reported to a client: the protocol repairs losses end to end.
    DropReason {
        /// Not protobuf, no path, or too short to hold one.
        Malformed => "malformed",
        /// An id in the path is not 16 bytes long.
        BadId => "bad_id",
        /// The path, or an id in it, is given twice.
        Repeated => "repeated",
        /// The frame names a stream; streams do not run over the platform.
        Stream => "stream",
        /// The source is not the client that sent it.
        Spoofed => "spoofed",
        /// The client sent to itself.
        ToSelf => "to_self",
        /// The destination is unknown or has no transport.
        Offline => "offline",
        /// No contract between the pair is open, nor was one until a moment ago.
        NoContract => "no_contract",
        /// The client already sends to as many destinations as it may.
        FlowLimit => "flow_limit",
        /// Every outbox of the destination is full.
        QueueFull => "queue_full",
        /// All outboxes together hold as much as they may, and the destination lags behind.
        MemoryFull => "memory_full",
        /// Too many frames wait for the control id; the client sends them again.
        ControlQueueFull => "control_queue_full",
        /// The control id could not read the frame.
        ControlMalformed => "control_malformed",
        /// A QUIC datagram that holds no whole message.
        DatagramMalformed => "datagram_malformed",
        /// A message of the datagram lane that was here before.
        DatagramRepeated => "datagram_repeated",
    }
}

impl From<PathError> for DropReason {
    fn from(error: PathError) -> Self {
        match error {
            PathError::Malformed => Self::Malformed,
            PathError::BadId => Self::BadId,
            PathError::Repeated => Self::Repeated,
        }
    }
}

impl From<EnvelopeError> for DropReason {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::Malformed => Self::DatagramMalformed,
            EnvelopeError::Repeated => Self::DatagramRepeated,
        }
    }
}

reasons! {
    /// Why a connection ended. Logged and counted once.
    EndReason {
        /// The peer closed it, or the network did.
        PeerClosed => "peer_closed",
        /// Nothing was read for too long.
        ReadTimeout => "read_timeout",
        /// A write made no progress for too long.
        WriteTimeout => "write_timeout",
        /// A message above the limit.
        Oversize => "oversize",
        /// Bytes that are not the transport's protocol.
        Protocol => "protocol",
        /// Who is there was not said in time.
        AuthTimeout => "auth_timeout",
        /// The first message was no authentication.
        NoAuth => "no_auth",
        /// The token is not good for a client.
        Unauthorized => "unauthorized",
        /// The token could not be checked; the client comes back.
        AuthUnavailable => "auth_unavailable",
        /// Too many transports from this address, or too many not yet authenticated.
        TooMany => "too_many",
        /// Another instance of the client has connected.
        Replaced => "replaced",
        /// The client has opened more transports than it may; the oldest goes.
        Surplus => "surplus",
        /// The client, or all tokens of its network, were removed.
        Removed => "removed",
        /// A flood of frames in another client's name.
        Abuse => "abuse",
        /// A message to the control id could not be stored; the client comes back and sends it again.
        Unstored => "unstored",
        /// The server is shutting down.
        Drained => "drained",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_label_at_its_index() {
        for (at, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!((reason.index(), reason.label()), (at, DropReason::LABELS[at]));
        }
        for (at, reason) in EndReason::ALL.iter().enumerate() {
            assert_eq!((reason.index(), reason.label()), (at, EndReason::LABELS[at]));
        }
    }
}
