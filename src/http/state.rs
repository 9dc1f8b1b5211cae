//! What handlers can reach.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::log_folder::LogFolder;
use super::portal::Portal;
use crate::config::Config;
use crate::control::Control;
use crate::domain::app::server::Servers;
use crate::domain::auth::Accounts;
use crate::domain::auth::authenticate::Authenticator;
use crate::domain::certificate::ClientCertificates;
use crate::domain::contract::Ledger;
use crate::domain::peer::Peers;
use crate::domain::presence::Presence;
use crate::domain::provider::index::ProviderIndex;
use crate::domain::purchase::shop::Shop;
use crate::domain::service::Service;
use crate::domain::stats::Stats;
use crate::domain::wallet::custody::Custody;
use crate::domain::wallet::seeker::SeekerOracle;
use crate::time::Timestamp;

/// What handlers can reach: a handle, since every layer and handler of a request clones it.
#[derive(Clone)]
pub struct ApiState(Arc<ApiParts>);

/// The parts behind an [`ApiState`].
pub struct ApiParts {
    /// Runs operations.
    pub service: Arc<Service>,
    /// Proves who sent a token.
    pub authenticator: Arc<Authenticator>,
    /// What clients may show instead of a token.
    pub certificates: Arc<ClientCertificates>,
    /// Sign-up, sign-in and tokens.
    pub accounts: Arc<Accounts>,
    /// Who is connected.
    pub presence: Arc<Presence>,
    /// The lists of peers.
    pub peers: Arc<Peers>,
    /// The providers to offer.
    pub providers: Arc<ProviderIndex>,
    /// The places of providers, as the client API lists them.
    pub servers: Arc<Servers>,
    /// Handles control messages.
    pub control: Arc<Control>,
    /// Contracts and balances.
    pub ledger: Arc<Ledger>,
    /// Counters over the days.
    pub stats: Arc<Stats>,
    /// Where logs of apps go.
    pub logs: Arc<LogFolder>,
    /// Sells.
    pub shop: Arc<Shop>,
    /// The account website.
    pub portal: Arc<Portal>,
    /// The wallets of users.
    pub custody: Arc<dyn Custody>,
    /// Knows whose wallets are marked.
    pub seeker: Arc<dyn SeekerOracle>,
    /// Whether the server is ready, and under which name.
    pub status: Arc<ServerStatus>,
}

impl Deref for ApiState {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.0
    }
}

impl From<ApiParts> for ApiState {
    fn from(parts: ApiParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl ApiParts {
    /// The settings.
    pub fn config(&self) -> &Config {
        self.service.config()
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.service.clock().now()
    }
}

/// What `/status` tells operators and load balancers; written by `server`.
#[derive(Debug)]
pub struct ServerStatus {
    host: String,
    draining: AtomicBool,
    failure: Mutex<Option<String>>,
    quic: Mutex<Option<Quic>>,
}

/// The state of an enabled QUIC listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quic {
    /// Accepts on this address.
    Listening(SocketAddr),
    /// Does not accept, for this reason.
    Down(String),
}

impl ServerStatus {
    /// A server that is ready and has no QUIC listener. `host` is its name in answers.
    pub fn new(host: impl Into<String>) -> Self {
        Self { host: host.into(), draining: AtomicBool::new(false), failure: Mutex::default(), quic: Mutex::default() }
    }

    /// The name of this server.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Says from now on that the server is shutting down.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the server is shutting down.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Says why the server cannot work, e.g. because of its store; `None` once it can again.
    pub fn set_failure(&self, reason: Option<String>) {
        *self.failure.lock() = reason;
    }

    /// Says how the QUIC listener is; `None` when there shall be none.
    pub fn set_quic(&self, quic: Option<Quic>) {
        *self.quic.lock() = quic;
    }

    /// How the QUIC listener is.
    pub fn quic(&self) -> Option<Quic> {
        self.quic.lock().clone()
    }

    /// The word for all of it: `ok`, `draining`, or a text that starts with `error not ready: `.
    pub fn word(&self) -> String {
        match &*self.failure.lock() {
            Some(reason) => format!("error not ready: {reason}"),
            None if self.is_draining() => "draining".into(),
            None => "ok".into(),
        }
    }
}
