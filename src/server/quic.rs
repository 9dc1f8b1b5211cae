//! The QUIC listener: plain QUIC without a protocol name, one stream and datagrams, as the clients speak it.
//!
//! When the socket breaks down it is opened again, ever more slowly; the TCP listener goes on meanwhile.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use aws_lc_rs::hmac;
use quinn::{ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, ServerConfig, TransportConfig, VarInt};
use rustls::server::danger::ClientCertVerifier;
use tokio::task::yield_now;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::quic_intake;
use super::tls::{self, Certificates};
use crate::config::Config;
use crate::config::relay::Relay as Settings;
use crate::domain::secret_file;
use crate::http::state::{Quic, ServerStatus};
use crate::relay::Relay;
use crate::telemetry::metrics::QuicMetrics;

/// Silence after which a connection is dead; clients announce 20 s, and the smaller value counts.
const IDLE: Duration = Duration::from_secs(60);

/// Streams a client may open; it opens one. Each has its place in the tables of a connection, opened or not.
const CLIENT_STREAMS: u32 = 2;

/// Receive windows: what one client may have on its way to a slow reader.
const STREAM_WINDOW_BYTES: u32 = 1280 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 2 * STREAM_WINDOW_BYTES;

/// What is kept for one client that acknowledges slowly.
const SEND_WINDOW_BYTES: u64 = 2 * 1024 * 1024;

/// Datagrams of one client that wait until the relay looks at them; above it the oldest go.
const DATAGRAMS_IN_BYTES: usize = 512 * 1024;

/// Datagrams to one client that wait for their turn on the path; above it frames take the stream. Small, because
/// datagrams go before what the stream has.
const DATAGRAMS_OUT_BYTES: usize = 64 * 1024;

/// Asked of the system for the socket, which serves every client; the system may grant less.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Pause before a broken socket is opened again; doubled up to the longest (upstream's values).
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Length of a connection id: enough that nobody hits one by chance.
const CONNECTION_ID_BYTES: usize = 8;

/// Shortest pause between two resets; each is smaller than the packet it answers.
const RESET_PAUSE: Duration = Duration::from_millis(1);

/// File in the data folder with the secret behind reset tokens.
const RESET_SECRET: &str = "quic-reset-key";
const RESET_SECRET_BYTES: usize = 32;

/// The QUIC listener before it runs.
pub struct QuicListener {
    endpoint: Endpoint,
    settings: EndpointSettings,
    metrics: QuicMetrics,
}

/// What it takes to open the endpoint, and to open it again.
struct EndpointSettings {
    endpoint: EndpointConfig,
    server: ServerConfig,
    /// Bytes taken off the socket that may wait in their connections: as many as may wait to be sent.
    intake_bytes: usize,
}

impl QuicListener {
    /// Opens the UDP socket.
    pub fn bind(
        config: &Config,
        certificates: &Arc<Certificates>,
        clients: &Arc<dyn ClientCertVerifier>,
        metrics: QuicMetrics,
    ) -> anyhow::Result<QuicListener> {
        let listen = config.relay.quic_listen;
        let settings = EndpointSettings {
            endpoint: endpoint_config(&config.store.path)?,
            server: server_config(&config.relay, certificates, clients)?,
            intake_bytes: usize::try_from(config.relay.outbox_total_bytes.0)?,
        };
        let endpoint = settings.open(listen).with_context(|| {
            format!("relay.quic_listen {listen} cannot be opened; free it or choose another address")
        })?;
        Ok(Self { endpoint, settings, metrics })
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
                tasks.spawn(relay.serve_quic(incoming));
                // Whoever is ready goes before the next newcomer, whose handshake begins at once.
                yield_now().await;
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
            match self.settings.open(address) {
                Ok(endpoint) => return Some(endpoint),
                Err(error) => tracing::warn!(%error, %address, "the QUIC listener could not be opened yet"),
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

impl EndpointSettings {
    fn open(&self, address: SocketAddr) -> io::Result<Endpoint> {
        let socket = UdpSocket::bind(address)?;
        ask_for_buffers(&socket);
        Endpoint::new(self.endpoint.clone(), Some(self.server.clone()), socket, quic_intake::runtime(self.intake_bytes))
    }
}

/// Asks for large buffers and says when the system grants smaller ones.
fn ask_for_buffers(socket: &UdpSocket) {
    let options = socket2::SockRef::from(socket);
    for asked in [options.set_recv_buffer_size(SOCKET_BUFFER_BYTES), options.set_send_buffer_size(SOCKET_BUFFER_BYTES)]
    {
        if let Err(error) = asked {
            tracing::debug!(%error, "the QUIC socket keeps its small buffers");
        }
    }
    // Linux reports twice what it grants.
    if options.recv_buffer_size().is_ok_and(|granted| granted < SOCKET_BUFFER_BYTES) {
        tracing::info!(
            "the system granted the QUIC socket a small receive buffer, which loses packets when many clients send at \
             once; with net.core.rmem_max at {SOCKET_BUFFER_BYTES} it is as large as it should be"
        );
    }
}

/// Reset tokens that outlive this process: after a crash the next one can tell clients at once that their connections
/// are gone, where they would otherwise wait for 20 s of silence (RFC 9000, section 10.3).
fn endpoint_config(folder: &Path) -> anyhow::Result<EndpointConfig> {
    let secret = secret_file::load_or_create(&folder.join(RESET_SECRET), || {
        let mut secret = vec![0; RESET_SECRET_BYTES];
        aws_lc_rs::rand::fill(&mut secret).expect("the system random generator works");
        secret
    })?;
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &secret)));
    // Ids of the process before must not look foreign, as they would to the library's own generator.
    config.cid_generator(|| Box::new(RandomIds)).min_reset_interval(RESET_PAUSE);
    Ok(config)
}

/// Connection ids without a mark of the process that made them.
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&rand::random::<[u8; CONNECTION_ID_BYTES]>())
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn server_config(
    settings: &Settings,
    certificates: &Arc<Certificates>,
    clients: &Arc<dyn ClientCertVerifier>,
) -> anyhow::Result<ServerConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IDLE.try_into()?))
        .keep_alive_interval(Some(settings.keepalive))
        .max_concurrent_bidi_streams(VarInt::from_u32(CLIENT_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        // A client has one stream.
        .send_fairness(false)
        .datagram_receive_buffer_size(settings.quic_datagrams.then_some(DATAGRAMS_IN_BYTES))
        .datagram_send_buffer_size(DATAGRAMS_OUT_BYTES);
    let mut config = ServerConfig::with_crypto(Arc::new(tls::quic(certificates, clients)?));
    config.transport_config(Arc::new(transport)).max_incoming(settings.max_unauthenticated);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use quinn::crypto::rustls::QuicClientConfig;
    use rustls::server::WebPkiClientVerifier;
    use rustls::{ClientConfig, RootCertStore};

    use super::*;
    use crate::relay::testing::TestRelay;

    /// Dials over QUIC and trusts nobody, which it finds out only once it is answered.
    fn client() -> Endpoint {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
        let config = config.unwrap().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let crypto = Arc::new(QuicClientConfig::try_from(config).unwrap());
        endpoint.set_default_client_config(quinn::ClientConfig::new(crypto));
        endpoint
    }

    /// On one thread whoever is ready runs in the order of becoming so.
    #[tokio::test]
    async fn somebody_ready_waits_behind_one_newcomer_at_a_time() {
        const NEWCOMERS: usize = 64;
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.path = folder.path().to_owned();
        config.relay.quic_listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let certificates = Certificates::open(&config).unwrap();
        let (metrics, stop) = (QuicMetrics::default(), CancellationToken::new());
        let incoming = metrics.incoming.clone();
        let listener =
            QuicListener::bind(&config, &certificates, &WebPkiClientVerifier::no_client_auth(), metrics).unwrap();
        let (client, address) = (client(), listener.address().unwrap());
        let _connecting: Vec<_> = (0..NEWCOMERS).map(|_| client.connect(address, "relay.example").unwrap()).collect();
        // Their first packets arrive before anybody asks for them.
        for _ in 0..NEWCOMERS {
            yield_now().await;
        }
        let (status, relay) = (Arc::new(ServerStatus::new("test")), TestRelay::new(|_| ()).relay);
        let running = tokio::spawn(listener.run(status, relay, stop, TaskTracker::new()));
        let mut most = 0;
        while incoming.get() < NEWCOMERS as u64 {
            let before = incoming.get();
            yield_now().await;
            most = most.max(incoming.get() - before);
        }
        running.abort();
        assert_eq!(most, 1);
    }
}
