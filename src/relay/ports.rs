//! What the relay needs from the layers above it, as narrow traits: tests and benches stand in for them, and the
//! frame road knows nothing of stores and ledgers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::control::{Control, ControlCaller, Via};
use crate::domain::contract::gate::{Gate, PairTraffic};
use crate::domain::peer::Peers;
use crate::domain::stream::StreamPushes;
use crate::ids::{ClientId, NetworkId};
use crate::time::Timestamp;
use crate::wire::messages::Frame;

/// A future of a port.
pub type PortFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a client proves with who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// A client token.
    Token(String),
    /// The certificate of the TLS connection, whose handshake has accepted it.
    Certificate(CertificateDer<'static>),
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::Certificate(_) => "Certificate",
        })
    }
}

/// The client behind a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The client.
    pub client_id: ClientId,
    /// Its network.
    pub network_id: NetworkId,
}

/// Why it proves nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// Not a valid token or certificate of an active client.
    Rejected,
    /// It could not be checked.
    Unavailable,
}

/// Proves who connects.
pub trait Authenticate: Send + Sync + 'static {
    /// Checks what a client shows.
    fn authenticate<'a>(&'a self, proof: &'a Proof) -> PortFuture<'a, Result<Identity, AuthFailure>>;
}

/// Says which pairs may exchange frames.
pub trait ContractGate: Send + Sync + 'static {
    /// The traffic of the pair when it has an open contract in either direction, or had one a moment ago. Answers
    /// from memory.
    fn admit(&self, source: ClientId, destination: ClientId, now: Timestamp) -> Option<Arc<dyn Traffic>>;
}

/// One ordered pair's permission and byte count, as a flow caches it.
pub trait Traffic: Send + Sync + 'static {
    /// Counts relayed bytes.
    fn record(&self, bytes: usize, now: Timestamp);
    /// Whether the pair may still exchange frames.
    fn is_live(&self, now: Timestamp) -> bool;
    /// When bytes were last counted.
    fn last_frame(&self) -> Timestamp;
}

impl ContractGate for Gate {
    fn admit(&self, source: ClientId, destination: ClientId, now: Timestamp) -> Option<Arc<dyn Traffic>> {
        Gate::admit(self, source, destination, now).map(|traffic| traffic as Arc<dyn Traffic>)
    }
}

impl Traffic for PairTraffic {
    #[inline]
    fn record(&self, bytes: usize, now: Timestamp) {
        PairTraffic::record(self, bytes, now);
    }

    #[inline]
    fn is_live(&self, now: Timestamp) -> bool {
        PairTraffic::is_live(self, now)
    }

    fn last_frame(&self) -> Timestamp {
        PairTraffic::last_frame(self)
    }
}

/// Runs the messages that clients send to the control id.
pub trait HandleControl: Send + Sync + 'static {
    /// Handles the frames of one pack in order; returns when their effects are durable. False when one of them could
    /// not be handled now: the client must send the pack again.
    fn handle<'a>(&'a self, caller: ControlCaller, frames: &'a [Frame]) -> PortFuture<'a, bool>;
}

impl HandleControl for Control {
    fn handle<'a>(&'a self, caller: ControlCaller, frames: &'a [Frame]) -> PortFuture<'a, bool> {
        // A frame in a pack has no answer but the pack's acknowledgement; failures are counted by the handler.
        Box::pin(async move { !Control::handle(self, caller, frames, Via::Relay).await.is_unfinished })
    }
}

/// Sends a client a full list.
pub trait Resync: Send + Sync + 'static {
    /// Asks for the full list, which arrives as pushes.
    fn resync(&self, client_id: ClientId);
}

impl Resync for Peers {
    fn resync(&self, client_id: ClientId) {
        Peers::resync(self, client_id);
    }
}

impl Resync for StreamPushes {
    fn resync(&self, client_id: ClientId) {
        StreamPushes::resync(self, client_id);
    }
}
