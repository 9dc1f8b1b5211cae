//! Assembly: joins store, domain, relay and HTTP into one running server.
//!
//! [`Server::start`] is the one way to a server, used by the commands, the tests and the benches alike.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::config::advice::advice;
use crate::config::http::Http;
use crate::config::tls::TlsMode;
use crate::http;
use crate::http::state::{Quic, ServerStatus};
use crate::telemetry::metrics::{ListenerMetrics, Metrics, QuicMetrics};
use crate::time::Clock;

mod drain;
mod effects;
mod front;
mod health;
mod identity;
mod key_sets;
mod listeners;
pub mod local;
mod mail;
pub mod offline;
mod open_files;
mod parts;
mod portal_mail;
mod quic;
mod quic_intake;
mod tls;
mod upgrade;

use front::Front;
use health::Health;
use listeners::Listener;
use local::LocalListener;
use parts::Parts;
use quic::QuicListener;
use tls::Certificates;

/// What a server is started with besides its settings.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// Where the time comes from.
    pub clock: Clock,
}

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// API and WebSocket relay.
    pub http: SocketAddr,
    /// QUIC relay; none when it is off.
    pub quic: Option<SocketAddr>,
    /// Metrics and health.
    pub telemetry: SocketAddr,
}

/// A running server.
pub struct Server {
    addresses: Addresses,
    certificates: Arc<Certificates>,
    health: Arc<Health>,
    parts: Parts,
    /// Ends the listeners and everything that runs with them.
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Ends the health listener, which outlives the others.
    stop_health: CancellationToken,
    health_tasks: TaskTracker,
    drain_timeout: Duration,
}

impl Server {
    /// Opens the listeners and the store and begins to serve. Errors name the file, address or key to change.
    pub async fn start(config: Arc<Config>, options: ServerOptions) -> anyhow::Result<Server> {
        for advice in advice(&config) {
            tracing::warn!("{advice}");
        }
        let metrics = Arc::new(Metrics::new());
        let status = Arc::new(ServerStatus::new(host_name()));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (stop_health, health_tasks) = (CancellationToken::new(), TaskTracker::new());
        let parts = Parts::open(&config, options.clock, &status, &metrics, (&stop, &tasks)).await?;
        let certificates = Certificates::open(&config)?;
        let clients = tls::client_verifier(parts.api.certificates.authority(), config.relay.client_certificates)?;
        let health = Arc::new(Health {
            status: Arc::clone(&status),
            store: Arc::clone(&parts.store),
            ledger: Arc::clone(&parts.ledger),
            metrics: Arc::clone(&metrics),
        });

        let http_socket = bind("http.listen", config.http.listen)?;
        let telemetry = bind("telemetry.listen", config.telemetry.listen)?;
        let quic = match config.relay.quic {
            true => {
                let metrics = metrics.register(QuicMetrics::new);
                Some(QuicListener::bind(&config, &certificates, &clients, metrics)?)
            }
            false => None,
        };
        let addresses = Addresses {
            http: http_socket.local_addr()?,
            quic: quic.as_ref().map(QuicListener::address).transpose()?,
            telemetry: telemetry.local_addr()?,
        };
        status.set_quic(addresses.quic.map(Quic::Listening));
        let tls = match config.tls.mode {
            TlsMode::Off => None,
            TlsMode::Files | TlsMode::SelfSigned => Some(tls::https(&certificates, &clients)?),
        };
        let limits =
            Http { max_connections: open_files::affordable(config.http.max_connections), ..config.http.clone() };
        let router = http::router(parts.api.clone());
        let relay = Arc::clone(&parts.relay);
        let api = Listener {
            socket: http_socket,
            tls,
            front: Arc::new(Front::to_router_and_relay(router, relay, Arc::clone(&config), tasks.clone())),
            limits: limits.clone(),
            metrics: metrics.register(ListenerMetrics::new),
        };
        let health_listener = Listener {
            socket: telemetry,
            tls: None,
            front: Arc::new(Front::to_router(health::router(Arc::clone(&health)))),
            limits,
            metrics: ListenerMetrics::default(),
        };
        tasks.spawn(api.run(stop.clone(), tasks.clone()));
        health_tasks.spawn(health_listener.run(stop_health.clone(), health_tasks.clone()));
        match LocalListener::bind(&config.store.path) {
            Ok(local) => {
                tasks.spawn(local.run(http::admin::router(parts.api.clone()), stop.clone(), tasks.clone()));
            }
            // Clients are served all the same: some file systems hold no sockets.
            Err(error) => tracing::error!(error = format!("{error:#}"), "warren admin will not reach this server"),
        }
        if let Some(quic) = quic {
            tasks.spawn(quic.run(status, Arc::clone(&parts.relay), stop.clone(), tasks.clone()));
        }
        let drain_timeout = config.http.drain_timeout;
        let server =
            Server { addresses, certificates, health, parts, stop, tasks, stop_health, health_tasks, drain_timeout };
        server.announce(config.tls.mode != TlsMode::Off);
        Ok(server)
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The certificate that handshakes present, for clients that pin a self-signed one.
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.certificates.leaf()
    }

    /// Takes over what can change while it runs: the certificate files, the address tables and the source of client
    /// certificates.
    pub fn reload(&self, config: &Config) -> anyhow::Result<()> {
        // One that cannot be taken over does not hold up the others.
        let certificates = self.certificates.reload(config);
        self.parts.reload(config).and(certificates)
    }

    /// Resolves, with the reason, when the server can no longer work and must be stopped.
    pub async fn failed(&self) -> &'static str {
        self.health.failed().await
    }

    fn announce(&self, is_tls: bool) {
        let Addresses { http, quic, telemetry } = self.addresses;
        tracing::info!(listener = "http", address = %http, tls = is_tls, "listening");
        if let Some(quic) = quic {
            tracing::info!(listener = "quic", address = %quic, "listening");
        }
        tracing::info!(listener = "telemetry", address = %telemetry, "listening");
    }
}

/// The name of this machine, for `/status`.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".into() } else { name.trim().into() }
}

fn bind(key: &str, address: SocketAddr) -> anyhow::Result<tokio::net::TcpListener> {
    listeners::bind(address)
        .with_context(|| format!("{key} {address} cannot be opened; free it or choose another address"))
}
