//! What distinguishes the two roles of an endpoint: timers, bounds, contracts. The numbers are those of the protocol
//! (`connect/transfer.go`, the default send and receive buffer settings), not preferences of an operator.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::ids::{ClientId, IdGenerator};

/// Everything an endpoint is told when it is made.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// The id this endpoint speaks for.
    pub local: ClientId,
    /// The only peer it speaks with; `None` for any.
    pub only_peer: Option<ClientId>,
    /// Makes message and sequence ids. Share one per process: a new sequence must have a greater id than any before.
    pub ids: Arc<IdGenerator>,
    /// What it sends. Shared by all that send alike.
    pub send: Arc<SendSettings>,
    /// What it receives. Shared as well.
    pub receive: Arc<ReceiveSettings>,
}

/// How packs are sent and resent.
#[derive(Clone, Copy, Debug)]
pub struct SendSettings {
    /// Time to the first resend while no round trip is known; doubles with each resend of a pack.
    pub resend_interval: Duration,
    /// Longest time between two resends.
    pub max_resend_interval: Duration,
    /// Shortest time to a resend once round trips are measured; `None` never measures.
    pub measured_resend_floor: Option<Duration>,
    /// How long a selectively acked pack is not resent.
    pub selective_pause: Duration,
    /// Time without an ack after which a sequence ends and its packs expire.
    pub ack_timeout: Duration,
    /// What happens then, and whether time without a transport counts.
    pub expiry: Expiry,
    /// Time without a pending pack after which a sequence ends; `None` keeps it.
    pub idle_timeout: Option<Duration>,
    /// Packs unacked at once.
    pub flight: FlightLimits,
    /// Messages of one sequence that are queued or unacked, at most.
    pub max_queued: usize,
    /// Their bytes, at most.
    pub max_queued_bytes: usize,
    /// Bytes of the frames of one message, at most.
    pub max_message_bytes: usize,
    /// Sequences at once; sending on one more is refused.
    pub max_sequences: usize,
    /// Whether the next contract is asked for when one is taken, before a message waits for it.
    pub asks_ahead: bool,
}

/// What the end of a sequence without acks means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The peer's view is unknown from then on: nothing is sent until a snapshot is asked for. Only time without ack
    /// progress while a transport is attached counts.
    Snapshot,
    /// The messages are lost, the next one opens a new sequence. Time since the first send counts.
    Lost,
}

/// Bounds of what is unacked in one sequence.
#[derive(Clone, Copy, Debug)]
pub struct FlightLimits {
    /// Packs at the start.
    pub initial_packs: usize,
    /// Packs after any number of losses.
    pub minimum_packs: usize,
    /// Packs at most.
    pub maximum_packs: usize,
    /// Message bytes at most; one pack always fits.
    pub maximum_bytes: usize,
}

/// How packs are received and acked.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveSettings {
    /// Whether a delivery is acked only after [`confirm`](super::endpoint::Endpoint::confirm).
    pub confirms: bool,
    /// Deliveries of one lane that wait for their confirmation, at most; further packs are dropped without ack.
    pub max_unconfirmed: usize,
    /// How long acks are gathered; where a delivery is confirmed, no longer than others wait for that.
    pub ack_delay: Duration,
    /// Packs of one lane held out of order, at most.
    pub max_held: usize,
    /// Their memory, at most.
    pub max_held_bytes: usize,
    /// Memory of the packs held in all lanes of all peers, at most.
    pub max_total_held_bytes: usize,
    /// How long a gap may last before the sequence ends.
    pub gap_timeout: Duration,
    /// Time without packs after which a sequence ends.
    pub idle_timeout: Duration,
    /// Sequences at once; a pack of one more is dropped.
    pub max_sequences: usize,
    /// Whether acks advertise that a head may name its contract instead of carrying it, and the data lanes.
    pub advertises: bool,
    /// Whether contracts signed in the legacy form are accepted.
    pub legacy_contracts: bool,
}

const SECOND: Duration = Duration::from_secs(1);
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

static CONTROL_SEND: LazyLock<Arc<SendSettings>> = LazyLock::new(|| {
    let packs_in_flight = 16;
    Arc::new(SendSettings {
        resend_interval: 2 * SECOND,
        max_resend_interval: 8 * SECOND,
        measured_resend_floor: None,
        selective_pause: 60 * SECOND,
        ack_timeout: 60 * SECOND,
        expiry: Expiry::Snapshot,
        idle_timeout: None,
        flight: FlightLimits {
            initial_packs: packs_in_flight,
            minimum_packs: packs_in_flight,
            maximum_packs: packs_in_flight,
            maximum_bytes: packs_in_flight * 4 * KIB,
        },
        max_queued: 1024,
        max_queued_bytes: MIB,
        max_message_bytes: 3000,
        max_sequences: 16,
        asks_ahead: false,
    })
});

static CONTROL_RECEIVE: LazyLock<Arc<ReceiveSettings>> = LazyLock::new(|| {
    Arc::new(ReceiveSettings {
        confirms: true,
        max_unconfirmed: 64,
        ack_delay: Duration::from_millis(10),
        max_held: 64,
        max_held_bytes: 256 * KIB,
        max_total_held_bytes: MIB,
        gap_timeout: 60 * SECOND,
        idle_timeout: 120 * SECOND,
        max_sequences: 16,
        advertises: false,
        legacy_contracts: false,
    })
});

impl EndpointConfig {
    /// The server's side towards one client (`control-and-routing` §4).
    pub fn control(client: ClientId, ids: Arc<IdGenerator>) -> Self {
        let (send, receive) = (Arc::clone(&CONTROL_SEND), Arc::clone(&CONTROL_RECEIVE));
        Self { local: ClientId::CONTROL, only_peer: Some(client), ids, send, receive }
    }

    /// One client towards many peers, and towards the control id.
    pub fn client(local: ClientId, ids: Arc<IdGenerator>) -> Self {
        let send = SendSettings {
            resend_interval: 2 * SECOND,
            max_resend_interval: 8 * SECOND,
            measured_resend_floor: Some(Duration::from_millis(300)),
            selective_pause: 60 * SECOND,
            ack_timeout: 60 * SECOND,
            expiry: Expiry::Lost,
            idle_timeout: Some(300 * SECOND),
            // A peer's hand-off holds 256 packs and a relay's outbox 1024 frames: start below the one, end at the
            // other.
            flight: FlightLimits { initial_packs: 64, minimum_packs: 16, maximum_packs: 1024, maximum_bytes: 2 * MIB },
            max_queued: 4096,
            max_queued_bytes: 4 * MIB,
            max_message_bytes: 3000,
            max_sequences: 8192,
            asks_ahead: true,
        };
        let receive = ReceiveSettings {
            confirms: false,
            max_unconfirmed: 4096,
            ack_delay: Duration::from_millis(10),
            max_held: 4096,
            max_held_bytes: 5 * MIB / 2,
            max_total_held_bytes: 64 * MIB,
            gap_timeout: 60 * SECOND,
            idle_timeout: 120 * SECOND,
            max_sequences: 8192,
            advertises: true,
            legacy_contracts: false,
        };
        Self { local, only_peer: None, ids, send: Arc::new(send), receive: Arc::new(receive) }
    }
}
