//! The whole API over a store in memory and a clock that stands still, for tests of routes.
//!
//! ```ignore
//! let api = TestApi::new();
//! let answer = api.post("/auth/code-create", json!({"uses": 2})).token(&api.user_token).await;
//! answer.golden(200, "two_uses");
//! assert_eq!(answer.body["uses"], 2);
//! ```

use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::address::PeerAddr;
use super::log_folder::LogFolder;
use super::portal::Portal;
use super::state::{ApiParts, ApiState, ServerStatus};
use crate::config::Config;
use crate::config::units::ByteSize;
use crate::control::Control;
use crate::domain::account::create::{CreateNetwork, CreateNetworkOutcome};
use crate::domain::app::server::Servers;
use crate::domain::auth::Accounts;
use crate::domain::auth::attempts::{Origin, Surface};
use crate::domain::auth::authenticate::{Audience, Authenticator};
use crate::domain::auth::role::WantedIdentity;
use crate::domain::auth::testing::TestService;
use crate::domain::auth::tokens::Tokens;
use crate::domain::caller::{Caller, CallerClient};
use crate::domain::certificate::ClientCertificates;
use crate::domain::certificate::authority::Authority;
use crate::domain::client::{AuthClient, AuthClientOutcome};
use crate::domain::contract::Ledger;
use crate::domain::effect::{Effect, EffectSink};
use crate::domain::location::geoip::Geography;
use crate::domain::password::Pepper;
use crate::domain::peer::Peers;
use crate::domain::presence::Presence;
use crate::domain::provider::index::ProviderIndex;
use crate::domain::purchase::shop::Shop;
use crate::domain::seal::SealKey;
use crate::domain::service::Service;
use crate::domain::stats::Stats;
use crate::domain::subscription::desk::Subscriptions;
use crate::domain::subscription::signed_receipt::ReceiptKey;
use crate::domain::token::TokenKeys;
use crate::store::memory::MemoryStore;
use crate::store::table::{Table, TableKey, TableValue};
use crate::store::{Commit, Store};
use crate::time::{Clock, Timestamp};
use crate::vendor;

pub(super) mod golden;

/// Where requests come from unless the test says otherwise: not loopback, so that limits count.
pub const PEER: &str = "203.0.113.9:51514";

/// The time at which a test starts: 2026-02-03T04:05:06Z.
pub const START: Timestamp = Timestamp::from_secs(1_770_091_506);

/// How paths begin whose answers hold `null` on purpose.
const NULLABLE: &[&str] = &["/connect/control", "/key/", "/account/payout-wallet", "/api/", "/openapi.json"];

/// The API over a store in memory, with a user and a client who may call it.
pub struct TestApi {
    /// What handlers reach.
    pub state: ApiState,
    /// Where all of it is.
    pub store: Arc<MemoryStore>,
    /// Moved by the test only.
    pub clock: Clock,
    /// What operations asked for after their commits.
    pub effects: Arc<Effects>,
    /// Valid token of a user.
    pub user_token: String,
    /// The identity behind it.
    pub user: Caller,
    /// Valid token of a client of the same network.
    pub client_token: String,
    /// The identity behind it.
    pub client: Caller,
    router: Router,
}

/// Keeps effects for the test to look at.
#[derive(Default)]
pub struct Effects(Mutex<Vec<Effect>>);

impl Effects {
    /// Takes everything that came since the last call.
    pub fn take(&self) -> Vec<Effect> {
        std::mem::take(&mut self.0.lock())
    }
}

impl EffectSink for Effects {
    fn apply(&self, effect: Effect) {
        self.0.lock().push(effect);
    }
}

impl Default for TestApi {
    fn default() -> Self {
        Self::new()
    }
}

impl TestApi {
    /// The API with [`TestApi::config`].
    pub fn new() -> Self {
        Self::with_config(Self::config())
    }

    /// The default settings, but for cheap password hashes.
    pub fn config() -> Config {
        let mut config = Config::default();
        config.auth.argon2_memory = ByteSize::kib(64);
        config.auth.argon2_passes = 1;
        config
    }

    /// The API with these settings.
    pub fn with_config(config: Config) -> Self {
        let clock = Clock::manual(START);
        let effects = Arc::new(Effects::default());
        let store = Arc::new(MemoryStore::new());
        let config = Arc::new(config);
        let service =
            Arc::new(Service::new(store.clone(), clock.clone(), config.clone(), SealKey::ephemeral(), effects.clone()));
        let presence = Presence::new(clock.clone());
        let peers = Peers::new(service.clone());
        let geography = Geography::open(&config.geoip).unwrap();
        let providers = ProviderIndex::new(service.clone(), presence.clone(), geography);
        presence.follow(peers.clone());
        presence.follow(providers.clone());
        let logs = Arc::new(LogFolder::open(&config.log_upload).unwrap());
        let stats = Stats::new(store.clone(), service.clone(), presence.clone(), providers.clone());
        presence.follow(stats.clone());
        let ledger = Ledger::open(service.clone(), store.clone(), clock.clone(), config).unwrap();
        let control = Arc::new(Control::new(service.clone(), ledger.clone()));
        let tokens = Arc::new(Tokens::new(service.clone(), store.clone(), TokenKeys::generate()));
        let companies = vendor::companies(service.config()).unwrap();
        let key_sets = Arc::new(TestService::default());
        let accounts = Arc::new(Accounts::new(service.clone(), tokens.clone(), Pepper::none(), key_sets));
        let outside = vendor::outside(service.config()).unwrap();
        let receipt_key = ReceiptKey::generate();
        let state = ApiState::from(ApiParts {
            portal: Arc::new(Portal::open(service.config()).unwrap()),
            servers: Arc::new(Servers::new(service.clone(), providers.clone(), ledger.gate().clone())),
            subscriptions: Arc::new(Subscriptions::new(service.clone(), ledger.clone(), outside, receipt_key)),
            shop: Arc::new(Shop::new(service.clone(), ledger.clone(), companies)),
            authenticator: Arc::new(Authenticator::new(service.clone(), tokens)),
            certificates: Arc::new(ClientCertificates::new(service.clone(), Authority::generate())),
            accounts,
            custody: vendor::custody(&service).unwrap(),
            seeker: vendor::seeker(service.config()).unwrap(),
            service,
            presence,
            peers,
            providers,
            control,
            ledger,
            stats,
            logs,
            status: Arc::new(ServerStatus::new("test")),
        });
        let (user, user_token) = soon(make_user(&state));
        let (client, client_token) = soon(make_client(&state, &user));
        effects.take();
        let router = super::router(state.clone());
        Self { state, store, clock, effects, user_token, user, client_token, client, router }
    }

    /// The same state behind another router.
    pub fn with_router(mut self, router: impl FnOnce(ApiState) -> Router) -> Self {
        self.router = router(self.state.clone());
        self
    }

    /// Writes a row directly.
    pub async fn put<K: TableKey, V: TableValue>(&self, table: &Table<K, V>, key: &K, value: &V) {
        let writes = vec![(table.key(key), Some(value.encode().into()))];
        self.store.commit(Commit { reads: Vec::new(), writes }).await.unwrap();
    }

    /// The user token of another new network.
    pub async fn stranger(&self) -> String {
        let answer = self.post("/auth/network-create", json!({"terms": true})).from("127.0.0.1:9").await.expect(200);
        answer["network"]["by_jwt"].as_str().unwrap().to_owned()
    }

    /// A `POST` with a JSON body.
    pub fn post(&self, path: &str, body: Value) -> Call {
        self.call(Method::POST, path, Some(body.to_string().into_bytes()))
    }

    /// A `GET`.
    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path, None)
    }

    /// Any method, with a body of any bytes.
    pub fn call(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Call {
        let mut headers = HeaderMap::new();
        if body.is_some() {
            // What the stock Go client sends.
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/json"));
        }
        let peer = PEER.parse().unwrap();
        let asked = body.as_ref().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or(Value::Null);
        let body = body.map(Body::from).unwrap_or_default();
        Call { router: self.router.clone(), method, path: path.into(), asked, body, headers, peer, who: "nobody" }
    }

    /// A `POST` with a body that comes bit by bit.
    pub fn stream(&self, path: &str, body: Body) -> Call {
        Call { body, ..self.call(Method::POST, path, None) }
    }
}

/// What a future gives that need not wait: everything in memory but password hashes.
fn soon<T>(future: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(future).expect("nothing to wait for")
}

/// A network whose only sign-in method is a seed phrase, made by the operator, whom no limit holds.
async fn make_user(state: &ApiState) -> (Caller, String) {
    let origin = Origin { surface: Surface::Operator, address: std::net::Ipv4Addr::LOCALHOST.into() };
    let request = CreateNetwork { terms: true, ..CreateNetwork::default() };
    match state.accounts.create_network(&origin, &request).await.unwrap() {
        CreateNetworkOutcome::Created(created) => {
            let caller = state.authenticator.authenticate(&created.by_jwt, Audience::User).unwrap();
            (caller, created.by_jwt)
        }
        other => panic!("no network: {other:?}"),
    }
}

/// A top-level client of the user.
async fn make_client(state: &ApiState, user: &Caller) -> (Caller, String) {
    let request = AuthClient {
        caller: user.clone(),
        client_id: None,
        source_client_id: None,
        description: "laptop".into(),
        device_spec: "linux amd64".into(),
        identity: WantedIdentity::default(),
    };
    match state.service.run(&request).await.unwrap() {
        AuthClientOutcome::Authorized(client_id, record) => {
            let client = Some(CallerClient { client_id, device_id: record.device_id });
            let caller = Caller { client, ..user.clone() };
            let token = state.accounts.token(&caller).await.unwrap();
            (caller, token)
        }
        other => panic!("no client: {other:?}"),
    }
}

/// A request to be sent by awaiting it.
pub struct Call {
    router: Router,
    method: Method,
    path: String,
    /// The body as JSON, for the record.
    asked: Value,
    body: Body,
    headers: HeaderMap,
    peer: SocketAddr,
    who: &'static str,
}

impl Call {
    /// With this token.
    pub fn token(mut self, token: &str) -> Self {
        self.who = golden::token_kind(token).unwrap_or("bad token");
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Recorded as this body.
    pub fn asked(mut self, asked: Value) -> Self {
        self.asked = asked;
        self
    }

    /// To another router than the public one.
    pub fn to(self, router: Router) -> Self {
        Self { router, ..self }
    }

    /// With this header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// From this peer, `ip:port`.
    pub fn from(mut self, peer: &str) -> Self {
        self.peer = peer.parse().unwrap();
        self
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut request = Request::builder().method(self.method.clone()).uri(&self.path);
            *request.headers_mut().unwrap() = self.headers;
            let mut request = request.body(self.body).unwrap();
            request.extensions_mut().insert(PeerAddr(self.peer));
            let response = self.router.oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            if parts.status == StatusCode::OK && !NULLABLE.iter().any(|start| self.path.starts_with(start)) {
                // The Go client and the older web client both stumble over a null.
                assert!(!holds_null(&body) || !bytes.starts_with(b"{"), "{} answers null: {body}", self.path);
            }
            Answer {
                status: parts.status,
                headers: parts.headers,
                body,
                text: String::from_utf8_lossy(&bytes).into_owned(),
                bytes,
                asked: json!({"method": self.method.as_str(), "path": self.path, "caller": self.who,
                              "body": self.asked}),
            }
        })
    }
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().any(holds_null),
        Value::Array(items) => items.iter().any(holds_null),
        _ => false,
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, `Value::Null` when that is not JSON.
    pub body: Value,
    /// Its body.
    pub bytes: axum::body::Bytes,
    /// Its body as text.
    pub text: String,
    asked: Value,
}

impl Answer {
    /// The request, as it is recorded.
    pub fn asked(&self) -> &Value {
        &self.asked
    }

    fn is_of_client_api(&self) -> bool {
        self.asked["path"].as_str().is_some_and(super::app_api::is_path)
    }

    /// Checks the status and returns the body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.body
    }

    /// Checks the status, and the exchange against `tests/golden/<surface>/<route>/<case>.json`, where ids, times and tokens
    /// stand as placeholders. `WARREN_UPDATE_GOLDEN=1` writes the file instead.
    #[track_caller]
    pub fn golden(&self, status: u16, case: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let surface = if self.is_of_client_api() { "app_api" } else { "api" };
        golden::check(surface, case, &self.asked, status, &self.body);
    }
}
