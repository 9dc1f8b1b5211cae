//! `[relay]`: transports, queues and admission of frames.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::{ByteSize, duration};

/// Settings of the frame relay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Relay {
    /// Whether the raw QUIC listener is open.
    pub quic: bool,
    /// UDP address of the raw QUIC relay; unmodified apps only ever dial port 443.
    pub quic_listen: SocketAddr,
    /// Whether QUIC clients that offer it send and get small frames in datagrams of their own, beside the stream.
    pub quic_datagrams: bool,
    /// Silence after which the server writes a keepalive.
    #[serde(with = "duration")]
    pub keepalive: Duration,
    /// Silence of the client after which its transport is closed.
    #[serde(with = "duration")]
    pub read_timeout: Duration,
    /// A write that makes no progress for this long closes the transport.
    #[serde(with = "duration")]
    pub write_timeout: Duration,
    /// Time for the first-message authentication.
    #[serde(with = "duration")]
    pub auth_timeout: Duration,
    /// Whether TLS handshakes ask clients for a certificate, which one that has it may show in place of a token.
    pub client_certificates: bool,
    /// Transports that have not yet proven who they are, at once.
    pub max_unauthenticated: usize,
    /// Transports of one client at once; the oldest is closed above it.
    pub transports_per_client: usize,
    /// Transports from one address bucket (IPv4 /29, IPv6 /56) at once; loopback is exempt; 0 for no limit.
    pub transports_per_address: usize,
    /// Frames waiting for one transport.
    pub outbox_frames: usize,
    /// Bytes waiting for one transport.
    pub outbox_bytes: ByteSize,
    /// Bytes waiting for all transports together; when it is reached, a transport that lags behind by more than 64 KiB
    /// gets no more. As many may wait on their way in over QUIC.
    pub outbox_total_bytes: ByteSize,
    /// Destinations one client may send to at once.
    pub destinations_per_client: usize,
    /// Whether frames between clients need a contract.
    pub contract_gate: bool,
    /// How long a pair keeps flowing after its last contract has closed.
    #[serde(with = "duration")]
    pub contract_linger: Duration,
    /// How long the state of a client is kept after its last transport.
    #[serde(with = "duration")]
    pub resident_linger: Duration,
    /// How long a transport must have lived before the client counts as present.
    #[serde(with = "duration")]
    pub announce_delay: Duration,
    /// How long a client without transport still shows to the peers of its network; keep it above 30s, because peers
    /// drop their direct streams when it ends, and not above `resident_linger`.
    #[serde(with = "duration")]
    pub peer_grace: Duration,
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            quic: true,
            quic_listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            quic_datagrams: true,
            keepalive: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(15),
            auth_timeout: Duration::from_secs(30),
            client_certificates: true,
            max_unauthenticated: 4096,
            transports_per_client: 16,
            transports_per_address: 1024,
            outbox_frames: 1024,
            outbox_bytes: ByteSize::mib(4),
            outbox_total_bytes: ByteSize::gib(1),
            destinations_per_client: 8192,
            contract_gate: true,
            contract_linger: Duration::from_secs(300),
            resident_linger: Duration::from_secs(300),
            announce_delay: Duration::from_secs(5),
            peer_grace: Duration::from_secs(60),
        }
    }
}
