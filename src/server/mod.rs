//! Assembly: joins store, domain, relay and HTTP into one running server.
//!
//! [`Server::start`] is the one way to a server, used by the commands, the tests and the benches alike.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::config::http::Http;
use crate::config::tls::TlsMode;
use crate::domain::auth::Accounts;
use crate::domain::auth::authenticate::Authenticator;
use crate::domain::password::Pepper;
use crate::domain::service::Service;
use crate::domain::token::TokenKeys;
use crate::http;
use crate::http::state::{ApiState, Quic, ServerStatus};
use crate::store::sled::SledStore;
use crate::telemetry::metrics::{ListenerMetrics, MailMetrics, Metrics, QuicMetrics};
use crate::time::Clock;

mod effects;
mod front;
mod health;
mod listeners;
mod mail;
mod open_files;
mod quic;
mod tls;

use effects::Effects;
use front::Front;
use health::Health;
use listeners::Listener;
use mail::Mailer;
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
    stop: CancellationToken,
    tasks: TaskTracker,
    drain_timeout: std::time::Duration,
}

impl Server {
    /// Opens the store and the listeners and begins to serve. Errors name the file, address or key to change.
    pub async fn start(config: Arc<Config>, options: ServerOptions) -> anyhow::Result<Server> {
        let metrics = Arc::new(Metrics::new());
        let settings = config.store.clone();
        let store = Arc::new(tokio::task::spawn_blocking(move || SledStore::open(&settings)).await??);
        let certificates = Certificates::open(&config)?;
        let status = Arc::new(ServerStatus::new(host_name()));
        let health = Health { status: Arc::clone(&status), store: Arc::clone(&store), metrics: Arc::clone(&metrics) };
        let health = Arc::new(health);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());

        let (mailer, mail_task) = Mailer::start(&config, metrics.register(MailMetrics::new))?;
        if let Some(task) = mail_task {
            tasks.spawn(async move { drop(task.await) });
        }
        let effects = Arc::new(Effects::new(mailer));
        let service = Arc::new(Service::new(store, options.clock, Arc::clone(&config), effects));
        let folder = &config.store.path;
        let keys = Arc::new(TokenKeys::load_or_create(folder)?);
        let authenticator = Arc::new(Authenticator::new(Arc::clone(&service), Arc::clone(&keys)));
        let accounts = Arc::new(Accounts::new(Arc::clone(&service), keys, Pepper::load_or_create(folder)?));
        let state = ApiState { service, authenticator, accounts, status: Arc::clone(&status) };

        let http_socket = bind("http.listen", config.http.listen)?;
        let telemetry = bind("telemetry.listen", config.telemetry.listen)?;
        let quic = match config.relay.quic {
            true => Some(QuicListener::bind(&config.relay, &certificates, metrics.register(QuicMetrics::new))?),
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
            TlsMode::Files | TlsMode::SelfSigned => Some(TlsAcceptor::from(tls::https(&certificates)?)),
        };
        let limits =
            Http { max_connections: open_files::affordable(config.http.max_connections), ..config.http.clone() };
        let api = Listener {
            socket: http_socket,
            tls,
            front: Arc::new(Front::to_router(http::router(state))),
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
        tasks.spawn(health_listener.run(stop.clone(), tasks.clone()));
        if let Some(quic) = quic {
            let (status, stop) = (Arc::clone(&status), stop.clone());
            tasks.spawn(async move { drop(quic.run(status, quinn::Incoming::refuse, stop).await) });
        }
        let drain_timeout = config.http.drain_timeout;
        let server = Server { addresses, certificates, health, stop, tasks, drain_timeout };
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

    /// Reads the certificate files again.
    pub fn reload(&self, config: &Config) -> anyhow::Result<()> {
        self.certificates.reload(config)
    }

    /// Resolves, with the reason, when the server can no longer work and must be stopped.
    pub async fn failed(&self) -> &'static str {
        self.health.failed().await
    }

    /// Ends the server: no new work, then what is open gets `http.drain_timeout`, then the store closes.
    pub async fn shutdown(self) {
        self.health.status.drain();
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(self.drain_timeout, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "http.drain_timeout has passed; the rest is cut off");
        }
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
