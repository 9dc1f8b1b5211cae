//! What the tests of accounts share: a domain with cheap password hashes, and people who sign up in one line.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::Accounts;
use super::attempts::{Origin, Surface};
use super::authenticate::{Audience, Authenticator};
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

pub const EMAIL: &str = "ada@hill.example";
/// Where calls come from unless a test says otherwise.
pub const HERE: Origin = Origin { surface: Surface::Api, address: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)) };
pub const PASSWORD: &str = "correct horse";

pub struct TestAccounts {
    pub domain: TestDomain,
    pub accounts: Accounts,
    pub authenticator: Authenticator,
    pub keys: Arc<TokenKeys>,
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
        let keys = Arc::new(TokenKeys::generate());
        Self {
            accounts: Accounts::new(domain.service.clone(), keys.clone(), Pepper::none()),
            authenticator: Authenticator::new(domain.service.clone(), keys.clone()),
            domain,
            keys,
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
        self.keys.verify_signature(token).unwrap()
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
