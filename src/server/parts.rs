//! The parts behind the listeners, joined: store, operations, accounts, presence, ledger, relay.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::effects::Effects;
use super::identity::Identities;
use super::key_sets::KeySets;
use super::mail::Mailer;
use crate::config::Config;
use crate::control::Control;
use crate::domain::app::server::Servers;
use crate::domain::association;
use crate::domain::auth::Accounts;
use crate::domain::auth::authenticate::Authenticator;
use crate::domain::auth::method;
use crate::domain::auth::tokens::Tokens;
use crate::domain::certificate::ClientCertificates;
use crate::domain::client::idle::Reaper;
use crate::domain::contract::Ledger;
use crate::domain::contract::chores::Chores;
use crate::domain::location::geoip::Geography;
use crate::domain::news;
use crate::domain::password::Pepper;
use crate::domain::payout::drive::Payouts;
use crate::domain::peer::Peers;
use crate::domain::portal as portal_domain;
use crate::domain::presence::{Connection, Presence, PresenceListener};
use crate::domain::provider::index::ProviderIndex;
use crate::domain::purchase::shop::Shop;
use crate::domain::push::PushSink;
use crate::domain::seal::SealKey;
use crate::domain::service::Service;
use crate::domain::stats::Stats;
use crate::domain::subscription::desk::Subscriptions;
use crate::domain::subscription::signed_receipt::ReceiptKey;
use crate::domain::token::TokenKeys;
use crate::domain::wallet::jobs;
use crate::http::log_folder::{self, LogFolder};
use crate::http::portal::Portal;
use crate::http::state::{ApiParts, ApiState, ServerStatus};
use crate::relay::{self, Relay, RelayParts};
use crate::store::Store;
use crate::store::sled::SledStore;
use crate::telemetry::metrics::{Kind, MailMetrics, Metrics};
use crate::time::Clock;
use crate::vendor;

/// Time for the last owners of the store to let go of it.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// Everything that works behind the listeners.
pub struct Parts {
    /// Durable state.
    pub store: Arc<SledStore>,
    /// Carries frames.
    pub relay: Arc<Relay>,
    /// Owns balances and contracts.
    pub ledger: Arc<Ledger>,
    /// Counts what the ledger archives.
    pub stats: Arc<Stats>,
    /// What the routes reach.
    pub api: ApiState,
    mail: Option<JoinHandle<()>>,
}

impl Parts {
    /// Opens the store and joins everything over it; keys that do not exist are made. Tasks that run with the parts
    /// join `tasks` and end with `stop`.
    pub async fn open(
        config: &Arc<Config>,
        clock: Clock,
        status: &Arc<ServerStatus>,
        metrics: &Metrics,
        (stop, tasks): (&CancellationToken, &TaskTracker),
    ) -> anyhow::Result<Self> {
        let settings = config.store.clone();
        let store = Arc::new(tokio::task::spawn_blocking(move || SledStore::open(&settings)).await??);
        let shared: Arc<dyn Store> = Arc::<SledStore>::clone(&store);
        let keys = TokenKeys::load_or_create(&config.store.path)?;
        let pepper = Pepper::load_or_create(&config.store.path)?;
        let seal = SealKey::load_or_create(&config.store.path)?;
        let geography = Geography::open(&config.geoip)?;

        let logs = LogFolder::open(&config.log_upload).context("the logs in log_upload.dir cannot be read")?;
        let logs = Arc::new(logs);

        let portal = Arc::new(Portal::open(config)?);
        let texts = Arc::clone(&portal.texts);
        let (mailer, mail) = Mailer::start(config, texts, metrics.register(MailMetrics::new))?;
        let effects = Arc::new(Effects::new(mailer));
        let sink = Arc::clone(&effects);
        let service = Arc::new(Service::new(Arc::clone(&shared), clock.clone(), Arc::clone(config), seal, sink));
        method::seal_all(&service).await.context("the sign-in methods in the store cannot be sealed")?;
        let key_sets = Arc::new(KeySets::new(config)?);
        let tokens = Arc::new(Tokens::new(Arc::clone(&service), Arc::clone(&shared), keys));
        let accounts = Arc::new(Accounts::new(Arc::clone(&service), Arc::clone(&tokens), pepper, key_sets));
        let authenticator = Arc::new(Authenticator::new(Arc::clone(&service), Arc::clone(&tokens)));
        let certificates = Arc::new(ClientCertificates::open(Arc::clone(&service), &config.store.path)?);
        certificates.note_source().await?;
        let ledger = Ledger::open(Arc::clone(&service), Arc::clone(&shared), clock.clone(), Arc::clone(config))
            .context("the balances and contracts in the store cannot be read")?;
        let control = Arc::new(Control::new(Arc::clone(&service), Arc::clone(&ledger)));

        let presence = Presence::new(clock.clone());
        let peers = Peers::new(Arc::clone(&service));
        let providers = ProviderIndex::new(Arc::clone(&service), Arc::clone(&presence), geography);
        let stats = Stats::new(shared, Arc::clone(&service), Arc::clone(&presence), Arc::clone(&providers));
        stats.recover().await?;
        let relay = Relay::new(RelayParts {
            config: Arc::clone(config),
            clock,
            authenticator: Arc::new(Identities {
                tokens: Arc::clone(&authenticator),
                certificates: Arc::clone(&certificates),
            }),
            control: Arc::<Control>::clone(&control),
            gate: Arc::clone(ledger.gate()) as Arc<_>,
            presence: Arc::clone(&presence),
            peers: Arc::<Peers>::clone(&peers),
            streams: Arc::clone(ledger.streams()) as Arc<_>,
            metrics: metrics.register(relay::metrics),
        });
        let sink: Weak<dyn PushSink> = Arc::<Relay>::downgrade(&relay);
        peers.deliver_to(Weak::clone(&sink));
        ledger.streams().deliver_to(sink);
        effects.join(&relay, &peers, &providers);
        presence.follow(Arc::new(Follower(Arc::downgrade(&peers))));
        presence.follow(Arc::new(Follower(Arc::downgrade(&providers))));
        presence.follow(Arc::new(Follower(Arc::downgrade(&stats))));
        presence.follow(Arc::new(LedgerFollower {
            ledger: Arc::downgrade(&ledger),
            presence: Arc::downgrade(&presence),
            order: Mutex::new(()),
        }));
        observe(metrics, &control, &presence, &ledger);
        let (custody, seeker) = (vendor::custody(&service)?, vendor::seeker(config)?);
        let shop = Arc::new(Shop::new(Arc::clone(&service), Arc::clone(&ledger), vendor::companies(config)?));
        let seller = Arc::clone(&shop);
        let subscriptions = Arc::new(Subscriptions::new(
            Arc::clone(&service),
            Arc::clone(&ledger),
            vendor::outside(config)?,
            ReceiptKey::load_or_create(&config.store.path)?,
        ));
        let biller = Arc::clone(&subscriptions);
        let wallets = jobs::drive(Arc::clone(&service));
        let portal_sweeps = portal_domain::drive(Arc::clone(&service));
        let payouts = Payouts::new(Arc::clone(&service), Arc::clone(&ledger), vendor::payout_sender(config)?);
        let news = news::drive(Arc::clone(&service), vendor::news_list(config)?);
        providers.restore().context("the reliability of providers in the store cannot be read")?;
        let (driven, stopped) = (Arc::clone(&stats), stop.clone());
        tasks.spawn(async move { driven.drive(stopped).await });
        let (driven, watching, stop) = (Arc::clone(&peers), Arc::clone(&providers), stop.clone());
        let reaper = Reaper::new(Arc::clone(&service), Arc::clone(&presence));
        let chores = Chores::new(Arc::clone(&service), Arc::clone(&ledger));
        let expiring = association::expiry::drive(Arc::clone(&service));
        let sweeping = log_folder::drive(Arc::clone(&logs), Arc::clone(&service));
        tasks.spawn(async move {
            tokio::select! {
                () = driven.drive() => {}
                () = reaper.drive() => {}
                () = tokens.drive() => {}
                () = chores.drive() => {}
                () = watching.drive() => {}
                () = expiring => {}
                () = sweeping => {}
                () = wallets => {}
                () = portal_sweeps => {}
                () = payouts.drive() => {}
                () = news => {}
                () = seller.drive() => {}
                () = biller.drive() => {}
                () = stop.cancelled() => {}
            }
        });
        let status = Arc::clone(status);
        let gate = Arc::clone(ledger.gate());
        let servers = Arc::new(Servers::new(Arc::clone(&service), Arc::clone(&providers), gate));
        let api = ApiState::from(ApiParts {
            service,
            authenticator,
            certificates,
            accounts,
            presence,
            peers,
            providers,
            servers,
            control,
            ledger: Arc::clone(&ledger),
            stats: Arc::clone(&stats),
            logs,
            portal,
            custody,
            seeker,
            shop,
            subscriptions,
            status,
        });
        Ok(Self { store, relay, ledger, stats, api, mail })
    }

    /// Reads the address tables again; on an error the old ones stay in use. Providers move to where they are by the
    /// new ones, and certificates to their current source, while others are served.
    pub fn reload(&self, config: &Config) -> anyhow::Result<()> {
        let certificates = Arc::clone(&self.api.certificates);
        let source_id = config.portal.current_source_id.clone();
        tokio::spawn(async move {
            if let Err(error) = certificates.move_to(&source_id).await {
                tracing::error!(%error, "not every transport with a certificate of the former source was cut");
            }
        });
        let geography = Geography::open(&config.geoip)?;
        let providers = Arc::clone(&self.api.providers);
        tokio::task::spawn_blocking(move || providers.set_geography(geography));
        Ok(())
    }

    /// Lets go of everything, once nothing uses the parts any more: the last messages leave, then the store closes.
    pub async fn close(self, mail_timeout: Duration) {
        let Self { store, relay, ledger, stats, api, mail } = self;
        drop((relay, ledger, stats, api));
        if let Some(mut task) = mail
            && timeout(mail_timeout, &mut task).await.is_err()
        {
            tracing::warn!("http.drain_timeout has passed; messages that were not sent yet are lost");
            task.abort();
        }
        let alone = async {
            while Arc::strong_count(&store) > 1 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        // Whatever still reads it, every commit that was answered is on disk.
        if timeout(STORE_PATIENCE, alone).await.is_err() {
            tracing::warn!("the store is still in use; it closes with the process");
        }
        // Closing waits for the committing thread.
        let _ = tokio::task::spawn_blocking(move || drop(store)).await;
    }
}

/// Shows the counts that the parts keep for themselves. Weak, because the registry outlives the parts.
fn observe(metrics: &Metrics, control: &Arc<Control>, presence: &Arc<Presence>, ledger: &Arc<Ledger>) {
    fn read<T: Send + Sync + 'static>(part: &Arc<T>, count: fn(&T) -> u64) -> impl Fn() -> u64 + Send + Sync + 'static {
        let part = Arc::downgrade(part);
        move || part.upgrade().map_or(0, |part| count(&part))
    }
    let handled = read(control, |control| control.counters().handled.load(Relaxed));
    metrics.observe(Kind::Counter, "control_frames_handled", "Control messages that took effect", handled);
    let failed = read(control, |control| control.counters().failed.load(Relaxed));
    metrics.observe(Kind::Counter, "control_frames_failed", "Control messages refused or failed", failed);
    let unknown = read(control, |control| control.counters().unknown.load(Relaxed));
    metrics.observe(Kind::Counter, "control_frames_unknown", "Frames to the control id that are no message", unknown);
    let clients = read(presence, |presence| presence.client_count() as u64);
    metrics.observe(Kind::Gauge, "clients_connected", "Clients with a transport", clients);
    let pairs = read(ledger, |ledger| ledger.gate().pair_count() as u64);
    metrics.observe(Kind::Gauge, "contract_pairs", "Pairs with an open or recent contract", pairs);
    let streams = read(ledger, |ledger| ledger.streams().stream_count());
    metrics.observe(Kind::Gauge, "streams_open", "Streams with an open contract", streams);
    let pushed = read(ledger, |ledger| ledger.streams().pushed_count());
    metrics.observe(Kind::Counter, "stream_pushes", "Messages about streams for connected clients", pushed);
}

/// Hands presence on without keeping the follower alive: followers hold the presence themselves.
struct Follower<T>(Weak<T>);

impl<T: PresenceListener> PresenceListener for Follower<T> {
    fn attached(&self, connection: &Connection) {
        if let Some(follower) = self.0.upgrade() {
            follower.attached(connection);
        }
    }

    fn detached(&self, connection: &Connection) {
        if let Some(follower) = self.0.upgrade() {
            follower.detached(connection);
        }
    }
}

/// Tells the ledger which clients are there. Transports of one client may come and go at the same moment, so each
/// change asks the presence how things stand, one at a time: the last one told is then the truth.
struct LedgerFollower {
    ledger: Weak<Ledger>,
    presence: Weak<Presence>,
    order: Mutex<()>,
}

impl LedgerFollower {
    fn tell(&self, connection: &Connection) {
        let (Some(ledger), Some(presence)) = (self.ledger.upgrade(), self.presence.upgrade()) else { return };
        let client = connection.entry.client_id;
        let _order = self.order.lock();
        if presence.is_connected(client) {
            ledger.connected(client);
        } else {
            ledger.disconnected(client);
        }
    }
}

impl PresenceListener for LedgerFollower {
    fn attached(&self, connection: &Connection) {
        self.tell(connection);
    }

    fn detached(&self, connection: &Connection) {
        self.tell(connection);
    }
}
