//! The reference client against a real server: both transports, both directions, failures in the middle, and money.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use warren::client::api::{Api, ApiError, AuthClient, Balance, ClientToken, NetworkCreate};
use warren::client::dial::Route;
use warren::client::session::{Client, ClientError, ClientOptions, Inbox, Received};
use warren::client::tls::Trust;
use warren::config::Config;
use warren::config::auth::Verify;
use warren::config::tls::TlsMode;
use warren::ids::ClientId;
use warren::server::{Addresses, Server, ServerOptions};
use warren::wire::messages::{Frame, MessageType, ProvideMode};

use crate::support::{self, PATIENCE, Process, eventually, install_crypto};

/// A server that can be stopped and started again on the same ports, over the same folder.
pub struct Platform {
    server: Option<Server>,
    config: Config,
    pub addresses: Addresses,
    api: Api,
    _folder: TempDir,
}

impl Platform {
    pub async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let mut config = support::config(folder.path());
        config.auth.verify = Verify::Auto;
        change(&mut config);
        let server = Server::start(Arc::new(config.clone()), ServerOptions::default()).await.unwrap();
        let addresses = server.addresses();
        config.http.listen = addresses.http;
        config.relay.quic_listen = addresses.quic.unwrap();
        config.telemetry.listen = addresses.telemetry;
        let scheme = if config.tls.mode == TlsMode::Off { "http" } else { "https" };
        let trust = Trust::Roots(server.certificate().into_iter().collect());
        let api = Api::new(&format!("{scheme}://{}", addresses.http), &trust).unwrap();
        Self { server: Some(server), config, addresses, api, _folder: folder }
    }

    pub async fn stop(&mut self) {
        self.server.take().unwrap().shutdown().await;
    }

    pub async fn start_again(&mut self) {
        let server = Server::start(Arc::new(self.config.clone()), ServerOptions::default()).await.unwrap();
        self.server = Some(server);
    }

    pub fn websocket(&self) -> Route {
        Route::WebSocket(format!("ws://{}", self.addresses.http))
    }

    fn first_message(&self) -> Route {
        Route::WebSocketFirstMessage(format!("ws://{}/", self.addresses.http))
    }

    pub fn quic(&self) -> Route {
        let address: SocketAddr = self.addresses.quic.unwrap();
        Route::Quic(address.to_string())
    }

    fn quic_datagrams(&self) -> Route {
        Route::QuicDatagrams(self.addresses.quic.unwrap().to_string())
    }

    /// A new network with one client.
    pub async fn party(&self, name: &str) -> Party {
        party(&self.api, name).await
    }
}

async fn party(api: &Api, name: &str) -> Party {
    let new = NetworkCreate {
        user_name: name.into(),
        user_auth: Some(format!("{name}@lab.example")),
        password: Some("correct horse".into()),
        network_name: Some(name.into()),
        terms: true,
    };
    let created = api.network_create(&new).await.unwrap();
    let api = api.with_token(&created.network.by_jwt.unwrap());
    let client = api.auth_client(&AuthClient { description: name.into(), ..AuthClient::default() }).await.unwrap();
    Party { api, client }
}

pub struct Party {
    api: Api,
    pub client: ClientToken,
}

impl Party {
    pub fn id(&self) -> ClientId {
        self.client.client_id
    }

    /// Starts the client; contracts are asked for when they are needed, so that nothing stays reserved.
    pub fn start(&self, routes: Vec<Route>) -> (Client, Inbox) {
        self.start_with(routes, |_| {})
    }

    /// The API as the client, not its network.
    pub(super) fn client_api(&self) -> Api {
        self.api.with_token(&self.client.by_client_jwt)
    }

    fn start_with(&self, routes: Vec<Route>, change: impl FnOnce(&mut ClientOptions)) -> (Client, Inbox) {
        let mut options = ClientOptions::new(self.client_api(), self.id());
        options.routes = routes;
        options.trust = Trust::Any;
        options.asks_ahead = false;
        change(&mut options);
        Client::start(options).unwrap()
    }

    /// The balance once no contract is open any more.
    pub async fn settled(&self) -> Balance {
        let mut balance = None;
        eventually("contracts are settled", async || {
            balance = Some(self.api.balance().await.unwrap());
            balance.is_some_and(|balance| balance.open_transfer_byte_count == 0)
        })
        .await;
        balance.unwrap()
    }

    pub async fn credit(&self) -> u64 {
        self.api.transfer_stats().await.unwrap().unpaid_bytes_provided
    }
}

pub fn message(number: u32, bytes: usize) -> Vec<Frame> {
    let mut content = number.to_be_bytes().to_vec();
    content.resize(bytes, number as u8);
    vec![Frame { message_type: MessageType::TestSimpleMessage.into(), message_bytes: content.into(), raw: true }]
}

fn number(received: &Received) -> u32 {
    u32::from_be_bytes(*received.frames[0].message_bytes.first_chunk().unwrap())
}

async fn send(client: &Client, to: ClientId, count: u32, bytes: usize) {
    for number in 0..count {
        client.send(to, message(number, bytes)).await.unwrap();
    }
    client.flush(to).await.unwrap();
}

/// Every message once and in order.
pub async fn expect(inbox: &mut Inbox, from: ClientId, numbers: std::ops::Range<u32>) {
    for expected in numbers {
        let received = tokio::time::timeout(2 * PATIENCE, inbox.recv()).await.expect("in time").unwrap();
        assert_eq!((received.from, number(&received)), (from, expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_directions_flow_over_every_transport_and_the_balances_add_up() {
    let platform = Platform::start().await;
    for (name, route) in [
        ("websocket", platform.websocket()),
        ("first", platform.first_message()),
        ("quic", platform.quic()),
        ("datagrams", platform.quic_datagrams()),
    ] {
        let left = platform.party(&format!("left-{name}")).await;
        let right = platform.party(&format!("right-{name}")).await;
        let before = [left.settled().await, right.settled().await];
        let (left_client, mut left_inbox) = left.start(vec![route.clone()]);
        let (right_client, mut right_inbox) = right.start(vec![route]);
        left_client.provide(&[ProvideMode::Public]).await.unwrap();
        right_client.provide(&[ProvideMode::Public]).await.unwrap();
        tokio::join!(
            send(&left_client, right.id(), 500, 1000),
            send(&right_client, left.id(), 300, 2000),
            expect(&mut right_inbox, left.id(), 0..500),
            expect(&mut left_inbox, right.id(), 0..300),
        );
        let totals = [left_client.close().await.unwrap(), right_client.close().await.unwrap()];
        let after = [left.settled().await, right.settled().await];
        let credits = [left.credit().await, right.credit().await];
        // Each side reports what it sent and what it received; each opened one contract of its own.
        for at in [0, 1] {
            assert_eq!(totals[at].bytes, 500_001 + 600_001, "{name}");
            assert_eq!(totals[at].contracts, 2, "{name}");
        }
        assert_eq!(before[0].balance_byte_count - after[0].balance_byte_count, 500_001, "{name}");
        assert_eq!(before[1].balance_byte_count - after[1].balance_byte_count, 600_001, "{name}");
        assert_eq!(credits, [600_001, 500_001], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_paid_by_the_network_that_asked() {
    let platform = Platform::start().await;
    let (asker, provider) = (platform.party("asker").await, platform.party("provider").await);
    let before = asker.settled().await;
    let (client, mut answers) = asker.start(vec![platform.websocket()]);
    let (other, mut questions) = provider.start(vec![platform.quic()]);
    client.provide(&[ProvideMode::Stream]).await.unwrap();
    other.provide(&[ProvideMode::Public, ProvideMode::Stream]).await.unwrap();
    for number in 0..20 {
        client.send(provider.id(), message(number, 100)).await.unwrap();
        let question = questions.recv().await.unwrap();
        other.reply(&question, message(number, 1000)).await.unwrap();
    }
    expect(&mut answers, provider.id(), 0..20).await;
    client.flush(provider.id()).await.unwrap();
    other.flush(asker.id()).await.unwrap();
    client.close().await.unwrap();
    other.close().await.unwrap();
    let after = asker.settled().await;
    let (asked, answered) = (20 * 100 + 1, 20 * 1000 + 1);
    assert_eq!(before.balance_byte_count - after.balance_byte_count, asked + answered);
    assert_eq!(provider.credit().await, asked + answered);
    assert_eq!(provider.settled().await.used(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_contracts_follow_each_other_without_a_gap_and_all_are_settled() {
    let platform = Platform::start().await;
    let (payer, receiver) = (platform.party("payer").await, platform.party("receiver").await);
    let before = payer.settled().await;
    let small = |options: &mut ClientOptions| options.contract_bytes = Some(1024 * 1024);
    let (sender, _) = payer.start_with(vec![platform.websocket()], small);
    let (catcher, mut inbox) = receiver.start(vec![platform.websocket()]);
    catcher.provide(&[ProvideMode::Public]).await.unwrap();
    tokio::join!(send(&sender, receiver.id(), 4000, 2500), expect(&mut inbox, payer.id(), 0..4000));
    let sent = sender.close().await.unwrap();
    let received = catcher.close().await.unwrap();
    // 80 % of 1 MiB holds 335 messages of 2500 bytes.
    assert_eq!((sent.contracts, sent.bytes), (12, 10_000_012));
    assert_eq!((received.contracts, received.bytes), (12, 10_000_012));
    let after = payer.settled().await;
    assert_eq!(before.balance_byte_count - after.balance_byte_count, 10_000_012);
    assert_eq!(receiver.credit().await, 10_000_012);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_transports_lose_no_message() {
    let platform = Platform::start().await;
    for (name, route) in [("websocket", platform.websocket()), ("quic", platform.quic())] {
        let (payer, receiver) =
            (platform.party(&format!("payer-{name}")).await, platform.party(&format!("catcher-{name}")).await);
        let (sender, _) = payer.start(vec![route.clone()]);
        let (catcher, mut inbox) = receiver.start(vec![route]);
        catcher.provide(&[ProvideMode::Public]).await.unwrap();
        let cutting = async {
            let mut seen = 0;
            for client in [&sender, &catcher, &sender, &catcher] {
                expect(&mut inbox, payer.id(), seen..seen + 500).await;
                seen += 500;
                client.cut().await.unwrap();
            }
            expect(&mut inbox, payer.id(), seen..3000).await;
        };
        tokio::join!(send(&sender, receiver.id(), 3000, 1000), cutting);
        let (sent, received) = (sender.close().await.unwrap(), catcher.close().await.unwrap());
        assert_eq!((sent.bytes, received.bytes), (3_000_000 + sent.contracts, sent.bytes), "{name}");
        payer.settled().await;
        assert_eq!(receiver.credit().await, sent.bytes, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_transport_takes_over_from_a_lost_one() {
    let platform = Platform::start().await;
    let (payer, receiver) = (platform.party("payer").await, platform.party("receiver").await);
    let both = || vec![platform.websocket(), platform.quic()];
    let (sender, _) = payer.start(both());
    let (catcher, mut inbox) = receiver.start(both());
    catcher.provide(&[ProvideMode::Public]).await.unwrap();
    for client in [&sender, &catcher] {
        client.links_up().wait_for(|up| *up == 2).await.unwrap();
    }
    let cutting = async {
        let mut seen = 0;
        for client in [&sender, &catcher, &sender] {
            expect(&mut inbox, payer.id(), seen..seen + 100).await;
            seen += 100;
            client.cut_route(0).await.unwrap();
        }
        expect(&mut inbox, payer.id(), seen..500).await;
    };
    tokio::join!(send(&sender, receiver.id(), 500, 1000), cutting);
    sender.close().await.unwrap();
    catcher.close().await.unwrap();
    payer.settled().await;
    assert_eq!(receiver.credit().await, 500_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_in_the_middle_loses_no_message_and_no_byte() {
    let mut platform = Platform::start().await;
    let (payer, receiver) = (platform.party("payer").await, platform.party("receiver").await);
    let before = payer.settled().await;
    let (sender, _) = payer.start(vec![platform.websocket()]);
    let (catcher, mut inbox) = receiver.start(vec![platform.quic()]);
    catcher.provide(&[ProvideMode::Public]).await.unwrap();
    let to = receiver.id();
    let sending = async {
        for number in 0..1000 {
            sender.send(to, message(number, 1000)).await.unwrap();
            // Slower than the server, so that some are sent before, some while, and some after it is away.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sender.flush(to).await.unwrap();
    };
    let restarting = async {
        expect(&mut inbox, payer.id(), 0..200).await;
        platform.stop().await;
        platform.start_again().await;
        expect(&mut inbox, payer.id(), 200..1000).await;
    };
    tokio::join!(sending, restarting);
    let (sent, received) = (sender.close().await.unwrap(), catcher.close().await.unwrap());
    assert_eq!((sent.bytes, received.bytes), (1_000_000 + sent.contracts, sent.bytes));
    let after = payer.settled().await;
    assert_eq!(before.balance_byte_count - after.balance_byte_count, sent.bytes);
    assert_eq!(receiver.credit().await, sent.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_client_is_cut_off_and_stays_out() {
    let platform = Platform::start().await;
    let party = platform.party("party").await;
    let (client, _inbox) = party.start(vec![platform.websocket(), platform.quic()]);
    client.links_up().wait_for(|up| *up == 2).await.unwrap();
    party.api.remove_client(party.id()).await.unwrap();
    client.links_up().wait_for(|up| *up == 0).await.unwrap();
    assert!(matches!(client.provide(&[ProvideMode::Public]).await, Err(ClientError::Api(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_cuts_every_transport_of_the_network_and_no_old_token_comes_back() {
    install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path(), |command| {
        command.env("WARREN__AUTH__VERIFY", "auto").env("WARREN__AUTH__ARGON2_MEMORY", "8KiB");
    });
    let addresses = server.addresses();
    let (http, quic) = (addresses["http"].as_str().unwrap(), addresses["quic"].as_str().unwrap());
    let api = Api::new(&format!("http://{http}"), &Trust::Any).unwrap();
    let (changing, staying) = (party(&api, "changing").await, party(&api, "staying").await);
    let routes = vec![Route::WebSocket(format!("ws://{http}")), Route::Quic(quic.into())];
    let ((cut, _), (kept, _)) = (changing.start(routes.clone()), staying.start(routes));
    cut.links_up().wait_for(|up| *up == 2).await.unwrap();
    kept.links_up().wait_for(|up| *up == 2).await.unwrap();
    let asked = serde_json::json!({ "user_auth": "changing@lab.example" });
    let _: serde_json::Value = api.post("/auth/password-reset", &asked).await.unwrap();
    let mut code = None;
    eventually("the reset code is in the log", async || {
        let log = server.log();
        code = log.split_once("resetCode=").and_then(|(_, rest)| rest.split_whitespace().next().map(str::to_owned));
        code.is_some()
    })
    .await;
    let set = serde_json::json!({ "reset_code": code, "password": "another horse" });
    let _: serde_json::Value = api.post("/auth/password-set", &set).await.unwrap();
    cut.links_up().wait_for(|up| *up == 0).await.unwrap();
    assert!(matches!(changing.api.balance().await, Err(ApiError::Status { status, .. }) if status.as_u16() == 401));
    assert_eq!(*kept.links_up().borrow(), 2, "another network is left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sends_to_a_client_that_does_not_provide() {
    let platform = Platform::start().await;
    let (payer, receiver) = (platform.party("payer").await, platform.party("receiver").await);
    let before = payer.settled().await;
    let (sender, _) = payer.start(vec![platform.websocket()]);
    let (catcher, mut inbox) = receiver.start(vec![platform.websocket()]);
    catcher.connected().await.unwrap();
    sender.send(receiver.id(), message(0, 100)).await.unwrap();
    let silence = tokio::time::timeout(Duration::from_secs(3), inbox.recv()).await;
    assert!(silence.is_err());
    // As soon as it does, what waited arrives.
    catcher.provide(&[ProvideMode::Public]).await.unwrap();
    expect(&mut inbox, payer.id(), 0..1).await;
    sender.flush(receiver.id()).await.unwrap();
    sender.close().await.unwrap();
    catcher.close().await.unwrap();
    assert_eq!(before.balance_byte_count - payer.settled().await.balance_byte_count, 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_trusted_carries_everything_and_another_nothing() {
    let platform = Platform::start_with(|config| config.tls.mode = TlsMode::SelfSigned).await;
    let trust = Trust::Roots(vec![platform.server.as_ref().unwrap().certificate().unwrap()]);
    let (payer, receiver) = (platform.party("payer").await, platform.party("receiver").await);
    let websocket = Route::WebSocket(format!("wss://{}", platform.addresses.http));
    let (sender, _) = payer.start_with(vec![websocket.clone()], |options| options.trust = trust.clone());
    let (catcher, mut inbox) = receiver.start_with(vec![platform.quic()], |options| options.trust = trust);
    catcher.provide(&[ProvideMode::Public]).await.unwrap();
    tokio::join!(send(&sender, receiver.id(), 50, 1000), expect(&mut inbox, payer.id(), 0..50));

    let (stranger, _) = payer.start_with(vec![websocket], |options| options.trust = Trust::System);
    assert!(tokio::time::timeout(Duration::from_secs(1), stranger.connected()).await.is_err());
    let api = Api::new(&format!("https://{}", platform.addresses.http), &Trust::System).unwrap();
    assert!(matches!(api.with_token("any").balance().await, Err(ApiError::Unreachable { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_and_no_message_and_no_byte_is_lost() {
    install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let lenient = |command: &mut std::process::Command| {
        command.env("WARREN__AUTH__VERIFY", "auto").env("WARREN__AUTH__ARGON2_MEMORY", "8KiB");
    };
    let mut server = Process::start(folder.path(), lenient);
    let addresses = server.addresses();
    let (http, quic) = (addresses["http"].as_str().unwrap(), addresses["quic"].as_str().unwrap());
    let api = Api::new(&format!("http://{http}"), &Trust::Any).unwrap();
    let (payer, receiver) = (party(&api, "payer").await, party(&api, "receiver").await);
    let before = payer.settled().await;
    let (sender, _) = payer.start(vec![Route::WebSocket(format!("ws://{http}"))]);
    let (catcher, mut inbox) = receiver.start(vec![Route::Quic(quic.into())]);
    catcher.provide(&[ProvideMode::Public]).await.unwrap();
    let (to, same_ports) = (receiver.id(), |command: &mut std::process::Command| {
        lenient(command);
        command.env("WARREN__HTTP__LISTEN", http).env("WARREN__RELAY__QUIC_LISTEN", quic);
    });
    let sending = async {
        for number in 0..1000 {
            sender.send(to, message(number, 1000)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sender.flush(to).await.unwrap();
    };
    let killing = async {
        expect(&mut inbox, payer.id(), 0..200).await;
        server.signal("KILL");
        server.wait();
        std::fs::remove_file(folder.path().join("ready.json")).unwrap();
        server = tokio::task::block_in_place(|| Process::start(folder.path(), same_ports));
        expect(&mut inbox, payer.id(), 200..1000).await;
    };
    tokio::join!(sending, killing);
    let (sent, received) = (sender.close().await.unwrap(), catcher.close().await.unwrap());
    assert_eq!((sent.bytes, received.bytes), (1_000_000 + sent.contracts, sent.bytes));
    assert_eq!(before.balance_byte_count - payer.settled().await.balance_byte_count, sent.bytes);
    assert_eq!(receiver.credit().await, sent.bytes);
}
