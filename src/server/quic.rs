//! The QUIC listener: plain QUIC without a protocol name, one stream and datagrams, as the clients speak it.
//!
//! When the socket breaks down it is opened again, ever more slowly; the TCP listener goes on meanwhile.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tls::{self, Certificates};
use crate::config::relay::Relay as Settings;
use crate::http::state::{Quic, ServerStatus};
use crate::relay::Relay;
use crate::telemetry::metrics::QuicMetrics;

/// Silence after which a connection is dead; clients announce 20 s, and the smaller value counts.
const IDLE: Duration = Duration::from_secs(60);

/// Streams a client may open; it opens one.
const CLIENT_STREAMS: u32 = 8;

/// Receive windows: what one client may have on its way to a slow reader.
const STREAM_WINDOW_BYTES: u32 = 512 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// What is kept for one client that acknowledges slowly.
const SEND_WINDOW_BYTES: u64 = 2 * 1024 * 1024;

/// Datagrams waiting in either direction.
const DATAGRAM_BUFFER_BYTES: usize = 1024 * 1024;

/// Asked of the system for the socket, which serves every client; the system may grant less.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Pause before a broken socket is opened again; doubled up to the longest (upstream's values).
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The QUIC listener before it runs.
pub struct QuicListener {
    endpoint: Endpoint,
    config: ServerConfig,
    metrics: QuicMetrics,
}

impl QuicListener {
    /// Opens the UDP socket.
    pub fn bind(
        settings: &Settings,
        certificates: &Arc<Certificates>,
        metrics: QuicMetrics,
    ) -> anyhow::Result<QuicListener> {
        let config = server_config(settings, certificates)?;
        let endpoint = open(settings.quic_listen, &config).with_context(|| {
            format!("relay.quic_listen {} cannot be opened; free it or choose another address", settings.quic_listen)
        })?;
        Ok(Self { endpoint, config, metrics })
    }

    /// The address that is open.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Hands every connection attempt to the relay until `stop`; then refuses new ones, and ends when the last
    /// connection has.
    pub async fn run(
        mut self,
        status: Arc<ServerStatus>,
        relay: Arc<Relay>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) {
        let address = self.endpoint.local_addr();
        loop {
            let incoming = tokio::select! {
                incoming = self.endpoint.accept() => incoming,
                () = stop.cancelled() => break,
            };
            if let Some(incoming) = incoming {
                self.metrics.incoming.inc();
                let relay = Arc::clone(&relay);
                tasks.spawn(async move { relay.serve_quic(incoming).await });
                continue;
            }
            let Ok(address) = address else { break };
            status.set_quic(Some(Quic::Down("the QUIC listener broke down".into())));
            tracing::error!(listener = "quic", %address, "the listener broke down and is opened again");
            let Some(endpoint) = self.reopen(address, &stop).await else { break };
            self.endpoint = endpoint;
            self.metrics.rebound.inc();
            status.set_quic(Some(Quic::Listening(address)));
            tracing::info!(listener = "quic", %address, "listening");
        }
        self.endpoint.set_server_config(None);
        self.endpoint.wait_idle().await;
    }

    async fn reopen(&self, address: SocketAddr, stop: &CancellationToken) -> Option<Endpoint> {
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => return None,
            }
            match open(address, &self.config) {
                Ok(endpoint) => return Some(endpoint),
                Err(error) => tracing::warn!(%error, %address, "the QUIC listener could not be opened yet"),
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

fn open(address: SocketAddr, config: &ServerConfig) -> io::Result<Endpoint> {
    let socket = UdpSocket::bind(address)?;
    let options = socket2::SockRef::from(&socket);
    for granted in
        [options.set_recv_buffer_size(SOCKET_BUFFER_BYTES), options.set_send_buffer_size(SOCKET_BUFFER_BYTES)]
    {
        if let Err(error) = granted {
            tracing::debug!(%error, "the QUIC socket keeps its small buffers");
        }
    }
    Endpoint::new(EndpointConfig::default(), Some(config.clone()), socket, Arc::new(TokioRuntime))
}

fn server_config(settings: &Settings, certificates: &Arc<Certificates>) -> anyhow::Result<ServerConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IDLE.try_into()?))
        .keep_alive_interval(Some(settings.keepalive))
        .max_concurrent_bidi_streams(VarInt::from_u32(CLIENT_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES);
    let mut config = ServerConfig::with_crypto(Arc::new(tls::quic(certificates)?));
    config.transport_config(Arc::new(transport)).max_incoming(settings.max_unauthenticated);
    Ok(config)
}
