//! What the tests of accounts share: a domain with cheap password hashes, and people who sign up in one line.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Accounts;
use super::attempts::{Origin, Surface};
use super::authenticate::{Audience, Authenticator};
use super::key_set::KeySetSource;
use super::outside::OutsideProof;
use super::tokens::Tokens;
use super::wallet::{Challenge, WalletProof};
use crate::config::Config;
use crate::config::auth::Verify;
use crate::config::units::ByteSize;
use crate::domain::account::create::{CreateNetwork, CreateNetworkOutcome, CreatedNetwork};
use crate::domain::caller::{Caller, CallerClient};
use crate::domain::client::{CLIENTS, ClientRecord, NETWORK_CLIENTS};
use crate::domain::effect::{Effect, Message, MessageKind};
use crate::domain::error::DomainError;
use crate::domain::password::Pepper;
use crate::domain::testing::{TestDomain, client_record};
use crate::domain::token::{Claims, TokenKeys};
use crate::ids::ClientId;
use crate::time::Timestamp;

pub const EMAIL: &str = "ada@hill.example";
/// Where calls come from unless a test says otherwise.
pub const HERE: Origin = Origin { surface: Surface::Api, address: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)) };
pub const PASSWORD: &str = "correct horse";

pub struct TestAccounts {
    pub domain: TestDomain,
    pub accounts: Accounts,
    pub authenticator: Authenticator,
    pub tokens: Arc<Tokens>,
    pub sign_in: Arc<TestService>,
}

impl Deref for TestAccounts {
    type Target = Accounts;
    fn deref(&self) -> &Accounts {
        &self.accounts
    }
}

impl TestAccounts {
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.auth.argon2_memory = ByteSize::kib(8);
        config.auth.argon2_passes = 1;
        change(&mut config);
        let domain = TestDomain::with_config(config);
        let tokens = Arc::new(Tokens::new(domain.service.clone(), domain.store.clone(), TokenKeys::generate()));
        let sign_in = Arc::new(TestService::default());
        Self {
            accounts: Accounts::new(domain.service.clone(), tokens.clone(), Pepper::none(), sign_in.clone()),
            authenticator: Authenticator::new(domain.service.clone(), tokens.clone()),
            domain,
            tokens,
            sign_in,
        }
    }

    /// Accounts are verified at once.
    pub fn auto() -> Self {
        Self::with(|config| config.auth.verify = Verify::Auto)
    }

    pub fn advance(&self, by: Duration) {
        self.domain.clock.advance(by);
    }

    pub async fn sign_up(&self, email: &str, name: &str) -> CreateNetworkOutcome {
        self.create_network(&here(), &request(email, name)).await.unwrap()
    }

    /// A network with a user who is logged in; needs [`TestAccounts::auto`].
    pub async fn member(&self, email: &str, name: &str) -> CreatedNetwork {
        match self.sign_up(email, name).await {
            CreateNetworkOutcome::Created(created) => created,
            other => panic!("not created: {other:?}"),
        }
    }

    pub async fn anonymous(&self) -> CreatedNetwork {
        let request = CreateNetwork { terms: true, ..CreateNetwork::default() };
        match self.create_network(&here(), &request).await.unwrap() {
            CreateNetworkOutcome::Created(created) => created,
            other => panic!("not created: {other:?}"),
        }
    }

    pub fn caller(&self, token: &str) -> Caller {
        self.authenticator.authenticate(token, Audience::Any).unwrap()
    }

    pub fn is_alive(&self, token: &str) -> bool {
        match self.authenticator.authenticate(token, Audience::Any) {
            Ok(_) => true,
            Err(DomainError::Unauthorized) => false,
            Err(other) => panic!("another error: {other}"),
        }
    }

    pub fn claims(&self, token: &str) -> Claims {
        self.tokens.verify_signature(token).unwrap()
    }

    /// A token of a new client, made as `/network/auth-client` makes it.
    pub async fn client_token(&self, caller: &Caller, byte: u8) -> String {
        let client_id = ClientId::new([byte; 16]);
        let record = ClientRecord { network_id: caller.network_id, ..client_record(byte) };
        self.domain.put(&CLIENTS, &client_id, &record).await;
        self.domain.put(&NETWORK_CLIENTS, &(caller.network_id, client_id), &()).await;
        let client = Some(CallerClient { client_id, device_id: record.device_id });
        self.token(&Caller { client, ..caller.clone() }).await.unwrap()
    }

    /// The messages sent since the last call.
    pub fn messages(&self) -> Vec<Message> {
        let effects = self.domain.take_effects().into_iter();
        effects.filter_map(|effect| if let Effect::Send(message) = effect { Some(message) } else { None }).collect()
    }

    /// The one code sent since the last call.
    pub fn code(&self) -> String {
        match &self.messages()[..] {
            [Message { kind: MessageKind::VerifyCode(code) | MessageKind::ResetCode(code), .. }] => code.clone(),
            other => panic!("not one code: {other:?}"),
        }
    }
}

pub fn request(email: &str, name: &str) -> CreateNetwork {
    CreateNetwork {
        user_name: "Ada".into(),
        user_auth: Some(email.into()),
        password: PASSWORD.into(),
        network_name: name.into(),
        terms: true,
        ..CreateNetwork::default()
    }
}

pub fn from(address: &str) -> Origin {
    Origin { surface: Surface::Api, address: address.parse().unwrap() }
}

pub fn here() -> Origin {
    HERE
}

pub fn is_too_many<T>(outcome: Result<T, DomainError>) -> bool {
    matches!(outcome, Err(DomainError::TooMany { .. }))
}

pub fn is_unauthorized<T>(outcome: Result<T, DomainError>) -> bool {
    matches!(outcome, Err(DomainError::Unauthorized))
}

/// A proof of a kind that is switched off unless a test says otherwise.
pub fn some_proof() -> Option<OutsideProof> {
    Some(OutsideProof::Wallet(TestWallet::new(1).sign_text("Hello")))
}

/// The app whose tokens [`TestService`] makes.
pub const APP: &str = "org.example.app";

/// A sign-in service that makes tokens and publishes its keys, and counts how often they are asked for.
pub struct TestService {
    published: Mutex<Result<Value, String>>,
    asked: Mutex<usize>,
}

static SERVICE_KEY: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

impl Default for TestService {
    fn default() -> Self {
        Self { published: Mutex::new(Ok(Self::key_set("first"))), asked: Mutex::default() }
    }
}

impl TestService {
    /// Settings under which the tokens count, those of Apple and those of Google.
    pub fn switch_on(config: &mut Config) {
        config.auth.apple.client_ids = vec![APP.into()];
        config.auth.google.client_ids = vec!["another".into(), APP.into()];
    }

    /// The key under an id.
    pub fn key_set(id: &str) -> Value {
        let public = SERVICE_KEY.public_key();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let n = number(public.modulus().big_endian_without_leading_zero());
        let e = number(public.exponent().big_endian_without_leading_zero());
        json!({"keys": [{"kty": "EC", "kid": "other", "crv": "P-256"}, {"kty": "RSA", "kid": id, "n": n, "e": e}]})
    }

    pub fn publish(&self, keys: Result<Value, String>) {
        *self.published.lock() = keys;
    }

    pub fn times_asked(&self) -> usize {
        *self.asked.lock()
    }

    /// Claims of Google that hold at a time.
    pub fn claims(email: &str, now: Timestamp) -> Value {
        let now = now.as_secs();
        json!({"iss": "https://accounts.google.com", "aud": APP, "sub": "1", "email": email, "email_verified": true,
               "name": "Ada", "iat": now, "exp": now + 3600})
    }

    /// The token of some claims, under the key of an id.
    pub fn token(id: &str, claims: &Value) -> String {
        let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&*SERVICE_KEY).unwrap();
        let body = STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        let header = Header { kid: Some(id.into()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()).unwrap()
    }

    pub fn google(token: String) -> Option<OutsideProof> {
        Some(OutsideProof::Token { service: "google".into(), token })
    }
}

impl KeySetSource for TestService {
    fn fetch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<u8>, String>> {
        *self.asked.lock() += 1;
        let published = self.published.lock().clone().map(|keys| keys.to_string().into_bytes());
        async move { published }.boxed()
    }
}

/// A Solana wallet.
pub struct TestWallet {
    key: Ed25519KeyPair,
    pub address: String,
}

impl TestWallet {
    pub fn new(byte: u8) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[byte; 32]).unwrap();
        let address = bs58::encode(key.public_key().as_ref()).into_string();
        Self { key, address }
    }

    pub fn sign(&self, challenge: &Challenge) -> WalletProof {
        self.sign_text(&challenge.message)
    }

    pub fn sign_text(&self, text: &str) -> WalletProof {
        WalletProof {
            address: self.address.clone(),
            signature: STANDARD.encode(self.key.sign(text.as_bytes())),
            message: text.into(),
            blockchain: "solana".into(),
        }
    }
}
