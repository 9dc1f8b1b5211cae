//! The relay: carries frames between authenticated clients, and between clients and the control id.
//!
//! The road of a frame: `transport` reads it, `connection` peeks at its path, `route` names the way, `admission` knows
//! whether the pair may talk, `deliver` pushes it to the receiver's `outbox`, whose connection writes it. A receiver
//! that does not keep up loses frames, counted by `drop_reason`; it never slows a sender down.
//!
//! [`Relay`] is the front door: the server hands it upgraded WebSockets and incoming QUIC connections.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::http::Response;
use hyper::http::request::Parts;
use prometheus_client::registry::Registry as MetricsRegistry;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::address_limit::AddressLimit;
use self::admission::Flows;
use self::alarms::Alarms;
use self::budget::Budget;
use self::drop_reason::{DropReason, EndReason};
use self::outbox::{Bounds, Outbox};
use self::ports::{Authenticate, ContractGate, HandleControl, Resync};
use self::registry::Registry;
use self::resident::Resident;
use self::transport::websocket::{WebSocketReader, WebSocketWriter};
use self::turns::Turns;
use crate::config::Config;
use crate::domain::presence::Presence;
use crate::domain::push::PushSink;
use crate::ids::{ClientId, IdGenerator, NetworkId};
use crate::telemetry::relay_metrics::RelayMetrics;
use crate::time::Clock;
use crate::wire::control_message::Push;

pub mod accept;
pub mod address_limit;
pub mod admission;
pub mod alarms;
pub mod announce;
pub mod budget;
pub mod connection;
pub mod control_link;
pub mod control_queue;
pub mod deliver;
pub mod drop_reason;
pub mod frames;
pub mod handshake;
pub mod id_hash;
pub mod keepalive;
pub mod meter;
pub mod outbox;
pub mod ports;
pub mod probe;
pub mod registry;
pub mod resident;
pub mod road;
pub mod route;
pub mod tally;
pub mod transport;
pub mod turns;

#[cfg(test)]
mod probing_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// Time over which the closes of a drain are spread, so that clients do not all come back at once.
const DRAIN_SPREAD: Duration = Duration::from_secs(2);
/// Time for the connections to end once told to.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Residents closed at once while draining.
const DRAIN_STEP: usize = 64;

/// What a relay is made of.
pub struct RelayParts {
    /// Settings.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// Checks client tokens and certificates.
    pub authenticator: Arc<dyn Authenticate>,
    /// Runs what clients send to the control id.
    pub control: Arc<dyn HandleControl>,
    /// Says which pairs may exchange frames; unused when `relay.contract_gate` is off.
    pub gate: Arc<dyn ContractGate>,
    /// The register of live transports.
    pub presence: Arc<Presence>,
    /// Sends the full list of peers to a client whose control conversation was lost.
    pub peers: Arc<dyn Resync>,
    /// Sends the full list of streams to a client that is new, or whose control conversation was lost.
    pub streams: Arc<dyn Resync>,
    /// Counters, made by [`metrics`].
    pub metrics: Arc<RelayMetrics>,
}

/// The relay of this node.
pub struct Relay {
    config: Arc<Config>,
    clock: Clock,
    ids: Arc<IdGenerator>,
    authenticator: Arc<dyn Authenticate>,
    control: Arc<dyn HandleControl>,
    gate: Option<Arc<dyn ContractGate>>,
    presence: Arc<Presence>,
    peers: Arc<dyn Resync>,
    streams: Arc<dyn Resync>,
    metrics: Arc<RelayMetrics>,
    registry: Arc<Registry>,
    budget: Arc<Budget>,
    alarms: Arc<Alarms>,
    unauthenticated: Arc<Semaphore>,
    turns: Turns,
    addresses: Arc<AddressLimit>,
    is_draining: AtomicBool,
    stopping: CancellationToken,
    tasks: TaskTracker,
    runtime: Handle,
    /// For tasks that it spawns where only a reference is at hand.
    this: Weak<Self>,
}

/// Creates the relay's series in a metrics registry.
pub fn metrics(registry: &mut MetricsRegistry) -> Arc<RelayMetrics> {
    Arc::new(RelayMetrics::new(registry, DropReason::LABELS, EndReason::LABELS))
}

impl Relay {
    /// A relay nobody is connected to. Within a runtime, which runs its tasks.
    pub fn new(parts: RelayParts) -> Arc<Self> {
        let config = Arc::clone(&parts.config);
        let settings = &config.relay;
        let budget = Arc::new(Budget::new(settings.outbox_total_bytes.0, parts.metrics.outbox_bytes.clone()));
        let relay = Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            gate: settings.contract_gate.then_some(parts.gate),
            unauthenticated: Arc::new(Semaphore::new(settings.max_unauthenticated.min(Semaphore::MAX_PERMITS))),
            turns: Turns::default(),
            addresses: AddressLimit::new(settings.transports_per_address),
            config: parts.config,
            clock: parts.clock,
            ids: Arc::new(IdGenerator::new()),
            authenticator: parts.authenticator,
            control: parts.control,
            presence: parts.presence,
            peers: parts.peers,
            streams: parts.streams,
            metrics: parts.metrics,
            registry: Arc::default(),
            budget,
            alarms: Arc::default(),
            is_draining: AtomicBool::new(false),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
        });
        let (alarms, stopping, rung) = (Arc::clone(&relay.alarms), relay.stopping.clone(), Weak::clone(&relay.this));
        tokio::spawn(async move {
            let ring = |resident: Arc<Resident>| {
                resident.control.queue.ring();
                if let Some(relay) = rung.upgrade() {
                    control_link::serve(&relay, &resident);
                }
            };
            alarms.run(&stopping, ring).await;
        });
        relay
    }

    /// Answers a request on the relay's path. `Ok`: send the response (101), or let the ticket owe it, then give the
    /// upgraded connection and the ticket to [`Relay::serve_websocket`]. `Err`: send that and be done. `address` is the client's, after trusted
    /// proxies, `certificate` what it showed in its TLS handshake. A bad token is not refused here: clients take any answer but 101 for a broken server
    /// (`transport` section 2.2).
    pub fn websocket_response(
        &self,
        request: &Parts,
        address: IpAddr,
        certificate: Option<&CertificateDer<'static>>,
    ) -> Result<(Response<()>, accept::WebSocketTicket), handshake::Refusal> {
        accept::websocket_response(self, request, address, certificate)
    }

    /// Serves an upgraded WebSocket until it ends. `ahead` was read with the upgrade request.
    pub fn serve_websocket<R, W>(
        self: &Arc<Self>,
        read: R,
        write: W,
        ahead: &[u8],
        mut ticket: accept::WebSocketTicket,
    ) -> impl Future<Output = EndReason> + Send + use<R, W>
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (reader, writer) = (WebSocketReader::new(read, ahead), WebSocketWriter::new(write, ticket.take_owed()));
        accept::serve_websocket(self, reader, writer, ticket)
    }

    /// Serves an incoming QUIC connection until it ends.
    pub fn serve_quic(self: &Arc<Self>, incoming: quinn::Incoming) -> impl Future<Output = EndReason> + Send + use<> {
        accept::serve_quic(self, incoming)
    }

    /// Cuts the transports of a client that was removed, or whose certificate ended, and forgets its state.
    pub fn disconnect(&self, client_id: ClientId) {
        self.registry.remove(client_id, EndReason::Removed);
    }

    /// Cuts the transports of a network whose tokens are all dead.
    pub fn disconnect_network(&self, network_id: NetworkId) {
        self.registry.remove_network(network_id, EndReason::Removed);
    }

    /// Sends messages of the control id to a client, in one pack and until they are acknowledged. A client that is not
    /// here, which the answer says, gets full lists when it comes.
    pub fn push(&self, client_id: ClientId, pushes: Vec<Push>) -> bool {
        let resident = self.registry.get(client_id);
        resident.map(|resident| control_link::push(self, &resident, pushes)).is_some()
    }

    /// Clients with state here, and whether each has a transport.
    pub fn resident_count(&self) -> usize {
        self.registry.len()
    }

    /// Refuses new transports from now on.
    pub fn start_drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Refuses new transports, closes those that are open over a moment, and waits for them. For the server's drain
    /// script; the relay serves nobody afterwards.
    pub async fn drain(&self) {
        self.start_drain();
        let residents = self.registry.all();
        let steps = residents.len().div_ceil(DRAIN_STEP).max(1) as u32;
        for (at, step) in residents.chunks(DRAIN_STEP).enumerate() {
            if at > 0 {
                tokio::time::sleep((DRAIN_SPREAD / steps).min(Duration::from_millis(50))).await;
            }
            for resident in step {
                resident.close_transports(EndReason::Drained);
            }
        }
        self.stopping.cancel();
        for resident in self.registry.all() {
            resident.control.end();
        }
        self.tasks.close();
        if tokio::time::timeout(DRAIN_LIMIT, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "connections did not end in time");
        }
    }

    fn flows(&self, resident: &Arc<Resident>) -> Flows {
        let limit = self.config.relay.destinations_per_client;
        Flows::new(Arc::clone(resident), Arc::clone(&self.registry), self.gate.clone(), limit)
    }

    fn new_outbox(&self) -> Arc<Outbox> {
        let settings = &self.config.relay;
        let bytes = usize::try_from(settings.outbox_bytes.0).unwrap_or(usize::MAX);
        Arc::new(Outbox::within(Bounds { frames: settings.outbox_frames, bytes }, Arc::clone(&self.budget)))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

impl PushSink for Relay {
    fn push(&self, client_id: ClientId, pushes: Vec<Push>) -> bool {
        Relay::push(self, client_id, pushes)
    }
}

/// The address part that limits and presence use.
fn ip(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}
