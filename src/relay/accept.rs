//! From an accepted socket to a served connection: limits, the handshake, joining the resident, and its end.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{FutureExt, TryFutureExt};
use hyper::http::Response;
use hyper::http::request::Parts;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::address_limit::AddressPermit;
use super::connection::Attached;
use super::drop_reason::EndReason;
use super::frames::Frames;
use super::handshake::{self, Credentials};
use super::ports::Identity;
use super::probe::{Prober, Wanted};
use super::transport::lane::{ReadLane, WriteLane};
use super::transport::quic::{QuicReader, QuicWriter};
use super::transport::websocket::{WebSocketReader, WebSocketWriter};
use super::transport::{FrameReader, FrameWriter, Kind};
use super::{Relay, announce, connection, control_link, ip};
use crate::telemetry::metrics::GaugeGuard;

/// Time to say goodbye to a transport that failed to authenticate.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// The right to serve one WebSocket, made with its 101. Boxed, because whoever waits for the upgrade keeps it.
#[derive(Debug)]
pub struct WebSocketTicket(Box<Ticket>);

#[derive(Debug)]
struct Ticket {
    credentials: Option<Credentials>,
    certificate: Option<CertificateDer<'static>>,
    echoes_probes: bool,
    address: IpAddr,
    unauthenticated: OwnedSemaphorePermit,
    /// None: too many transports from there; answered 101, closed at once.
    place: Option<AddressPermit>,
    /// The 101, unless it was sent.
    owed: Vec<u8>,
}

impl WebSocketTicket {
    /// Leaves it to the relay to send the response, together with its first words.
    pub fn owing(mut self, response: Vec<u8>) -> Self {
        self.0.owed = response;
        self
    }

    pub(super) fn take_owed(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0.owed)
    }
}

/// What an unauthenticated transport holds.
struct Arrival {
    kind: Kind,
    credentials: Option<Credentials>,
    /// What the client showed in its TLS handshake.
    certificate: Option<CertificateDer<'static>>,
    echoes_probes: bool,
    address: IpAddr,
    unauthenticated: OwnedSemaphorePermit,
    place: AddressPermit,
}

/// See [`Relay::websocket_response`].
pub(super) fn websocket_response(
    relay: &Relay,
    request: &Parts,
    address: IpAddr,
    certificate: Option<&CertificateDer<'static>>,
) -> Result<(Response<()>, WebSocketTicket), handshake::Refusal> {
    let response = handshake::upgrade_response(request)?;
    if relay.is_draining.load(Ordering::Relaxed) {
        return Err(handshake::draining_response());
    }
    let unauthenticated = enter(&relay.unauthenticated).ok_or_else(|| {
        relay.count_end(EndReason::TooMany);
        handshake::busy_response()
    })?;
    let credentials = handshake::credentials_from_headers(&request.headers, certificate);
    let echoes_probes = handshake::echoes_probes(&request.headers);
    let place = relay.addresses.try_acquire(address);
    let certificate = certificate.cloned();
    let ticket = Ticket { credentials, certificate, echoes_probes, address, unauthenticated, place, owed: Vec::new() };
    Ok((response, WebSocketTicket(Box::new(ticket))))
}

/// See [`Relay::serve_websocket`].
pub(super) fn serve_websocket<R, W>(
    relay: &Arc<Relay>,
    reader: WebSocketReader<R>,
    mut writer: WebSocketWriter<W>,
    ticket: WebSocketTicket,
) -> impl Future<Output = EndReason> + Send + use<R, W>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let WebSocketTicket(ticket) = ticket;
    let arriving = async move {
        let Some(place) = ticket.place else {
            let _ = timeout(CLOSE_GRACE, write_owed(&mut writer)).await;
            return Err(EndReason::TooMany);
        };
        let arrival = Arrival {
            kind: Kind::WebSocket,
            credentials: ticket.credentials,
            certificate: ticket.certificate,
            echoes_probes: ticket.echoes_probes,
            address: ticket.address,
            unauthenticated: ticket.unauthenticated,
            place,
        };
        Ok((arrival, reader, writer))
    };
    serve(Arc::clone(relay), arriving)
}

/// See [`Relay::serve_quic`].
pub(super) fn serve_quic(
    relay: &Arc<Relay>,
    incoming: quinn::Incoming,
) -> impl Future<Output = EndReason> + Send + use<> {
    serve(Arc::clone(relay), arrive_quic(Arc::clone(relay), incoming))
}

async fn arrive_quic(
    relay: Arc<Relay>,
    incoming: quinn::Incoming,
) -> Result<(Arrival, QuicReader<quinn::RecvStream>, QuicWriter), EndReason> {
    let address = ip(incoming.remote_address());
    let permits = if relay.is_draining.load(Ordering::Relaxed) {
        None
    } else {
        enter(&relay.unauthenticated).zip(relay.addresses.try_acquire(address))
    };
    let Some((unauthenticated, place)) = permits else {
        incoming.refuse();
        return Err(EndReason::TooMany);
    };
    // Under load a client proves its address before the server spends a handshake on it.
    let is_loaded = relay.unauthenticated.available_permits() < relay.config.relay.max_unauthenticated / 2;
    if is_loaded && incoming.may_retry() {
        // An error only says that a retry is not possible any more; the packet is gone then as well.
        let _ = incoming.retry();
        return Err(EndReason::TooMany);
    }
    let opened = async {
        // The client's hello is answered here and now: the server's half of the handshake.
        let turn = relay.turns.take().await;
        let connecting = incoming.accept()?;
        drop(turn);
        let connection = connecting.await?;
        let (send, receive) = connection.accept_bi().await?;
        Ok::<_, quinn::ConnectionError>((connection, send, receive))
    };
    let (connection, send, receive) = match timeout(relay.config.relay.auth_timeout, opened).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(_)) => return Err(EndReason::PeerClosed),
        Err(_) => return Err(EndReason::AuthTimeout),
    };
    let arrival = Arrival {
        kind: Kind::Quic,
        credentials: None,
        certificate: certificate_of(&connection),
        echoes_probes: false,
        address,
        unauthenticated,
        place,
    };
    let (read_lane, write_lane) = lane(&relay, &connection).unzip();
    let reader = QuicReader::new(receive, read_lane);
    Ok((arrival, reader, QuicWriter::new(send, connection, write_lane)))
}

/// The datagram lane, where both ends take datagrams.
fn lane(relay: &Relay, connection: &quinn::Connection) -> Option<(ReadLane, WriteLane)> {
    let is_possible = relay.config.relay.quic_datagrams && connection.max_datagram_size().is_some();
    is_possible.then(|| {
        let read = ReadLane::new(connection.clone(), Arc::clone(&relay.metrics));
        (read, WriteLane::new(connection.clone(), Arc::clone(&relay.metrics)))
    })
}

/// What the client showed in its handshake.
fn certificate_of(connection: &quinn::Connection) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.into_iter().next()
}

fn enter(unauthenticated: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(unauthenticated).try_acquire_owned().ok()
}

/// Serves a transport from its arrival to its end. What only the arrival needs is boxed and gone once the client is
/// there, so that an idle one does not keep it.
fn serve<R: FrameReader, W: FrameWriter>(
    relay: Arc<Relay>,
    arriving: impl Future<Output = Result<(Arrival, R, W), EndReason>> + Send,
) -> impl Future<Output = EndReason> + Send {
    let entering = Box::pin(enter_with(Arc::clone(&relay), arriving));
    // Combinators keep the one or the other, where an async block would keep room for both.
    let served = entering.and_then(move |Entered { attached, reader, writer, prober }| {
        connection::run(attached, reader, writer, prober).map(Ok)
    });
    served.map(move |ended| relay.count_end(ended.unwrap_or_else(|reason| reason)))
}

/// A transport whose client is known.
struct Entered<R, W> {
    attached: Attached,
    reader: R,
    writer: W,
    prober: Option<Box<Prober>>,
}

async fn enter_with<R: FrameReader, W: FrameWriter>(
    relay: Arc<Relay>,
    arriving: impl Future<Output = Result<(Arrival, R, W), EndReason>>,
) -> Result<Entered<R, W>, EndReason> {
    let (arrival, mut reader, mut writer) = arriving.await?;
    let running = relay.tasks.token();
    let prober = relay.prober(arrival.echoes_probes);
    match join(&relay, arrival, running, &mut reader, &mut writer).await {
        Ok(attached) => {
            // The lists of a client that is new go with what is owed.
            if writer.owes() && !attached.outbox.has_waiting() {
                let written = timeout(relay.config.relay.write_timeout, write_owed(&mut writer)).await;
                written.unwrap_or(Err(EndReason::WriteTimeout))?;
            }
            Ok(Entered { attached, reader, writer, prober })
        }
        Err(reason) => {
            // The peer may be gone or not reading; nothing depends on the goodbye.
            let _ = timeout(CLOSE_GRACE, writer.close(reason)).await;
            tracing::debug!(reason = reason.label(), "connection ended before it was authenticated");
            Err(reason)
        }
    }
}

/// Proves who is there within the time for it, and attaches the transport to its resident.
async fn join<R: FrameReader, W: FrameWriter>(
    relay: &Arc<Relay>,
    mut arrival: Arrival,
    running: TaskTrackerToken,
    reader: &mut R,
    writer: &mut W,
) -> Result<Attached, EndReason> {
    let open = GaugeGuard::new(match arrival.kind {
        Kind::WebSocket => &relay.metrics.websocket_connections,
        Kind::Quic => &relay.metrics.quic_connections,
    });
    let (credentials, certificate) = (arrival.credentials.take(), arrival.certificate.take());
    let proving = prove(relay, arrival.kind, (credentials, certificate), reader, writer);
    let (identity, credentials) = tokio::select! {
        proven = timeout(relay.config.relay.auth_timeout, proving) => {
            proven.unwrap_or(Err(EndReason::AuthTimeout))?
        }
        () = relay.stopping.cancelled() => return Err(EndReason::Drained),
    };
    drop(arrival.unauthenticated);
    let _turn = relay.turns.take().await;
    let outbox = relay.new_outbox();
    let limit = relay.config.relay.transports_per_client;
    let joined = relay.registry.join(identity, credentials.instance_id, &outbox, limit);
    let place = arrival.place;
    let (relay, resident) = (Arc::clone(relay), joined.resident);
    let mut attached = Attached { relay, resident, outbox, present: None, place, open, running };
    let relay = &attached.relay;
    // A client removed, or a drain begun, between the check and the join would have missed this transport.
    if handshake::authenticate(&relay.authenticator, &credentials).await == Err(EndReason::Unauthorized) {
        relay.registry.remove(identity.client_id, EndReason::Removed);
    } else if relay.is_draining.load(Ordering::Relaxed) {
        attached.outbox.close(EndReason::Drained);
    }
    let present = announce::announce(relay, &attached.resident, joined.is_new, arrival.address);
    control_link::serve(relay, &attached.resident);
    attached.present = Some(present);
    Ok(attached)
}

/// Learns and checks who is there. Nothing else that the client sends is read meanwhile.
async fn prove<R: FrameReader, W: FrameWriter>(
    relay: &Relay,
    kind: Kind,
    (credentials, certificate): (Option<Credentials>, Option<CertificateDer<'static>>),
    reader: &mut R,
    writer: &mut W,
) -> Result<(Identity, Credentials), EndReason> {
    let mut echo = VecDeque::new();
    let mut opens_lane = false;
    let credentials = match credentials {
        Some(credentials) => credentials,
        None => {
            write_owed(writer).await?;
            let (credentials, message) = handshake::read_first_message(reader, certificate.as_ref()).await?;
            let acceptance = if writer.has_lane() { handshake::accept_lane(&message) } else { None };
            opens_lane = acceptance.is_some();
            echo.push_back(Frames::alone(acceptance.unwrap_or(message)));
            credentials
        }
    };
    if handshake::echoes_before_check(kind) {
        write_echo(writer, &mut echo).await?;
    }
    let turn = relay.turns.take().await;
    let identity = handshake::authenticate(&relay.authenticator, &credentials).await?;
    drop(turn);
    write_echo(writer, &mut echo).await?;
    if opens_lane {
        reader.open_lane();
        writer.open_lane();
    }
    Ok((identity, credentials))
}

/// Sends what the client waits for before it says anything.
async fn write_owed<W: FrameWriter>(writer: &mut W) -> Result<(), EndReason> {
    if writer.owes() { writer.write(&mut VecDeque::new()).await } else { Ok(()) }
}

async fn write_echo<W: FrameWriter>(writer: &mut W, echo: &mut VecDeque<Frames>) -> Result<(), EndReason> {
    if echo.is_empty() { Ok(()) } else { writer.write(echo).await }
}

impl Relay {
    fn prober(&self, echoes_probes: bool) -> Option<Box<Prober>> {
        let settings = &self.config.discovery;
        let wanted = Wanted { latency: settings.latency_probes, speed: settings.speed_probes };
        let is_any_wanted = echoes_probes && (wanted.latency || wanted.speed);
        is_any_wanted.then(|| Box::new(Prober::new(wanted, Instant::now())))
    }

    fn count_end(&self, reason: EndReason) -> EndReason {
        if let Some(counter) = self.metrics.connections_ended.get(reason.index()) {
            counter.inc();
        }
        reason
    }
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
