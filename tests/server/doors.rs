//! One account, whichever door its owner comes through: the bootstrap API, the client API, the account website, a
//! certificate; and the way out that an access key opens.

use std::process::Output;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;
use warren::client::api::{Api, AuthClient, NetworkCreate};
use warren::client::datagram::Datagram;
use warren::client::dial::{Credentials, Dialer, Route};
use warren::client::key::AccessKey;
use warren::client::session::{Client, ClientOptions, Inbox};
use warren::client::tls::Trust;
use warren::client::transport::Reader;
use warren::client::tunnel::{Tunnel, TunnelError};
use warren::ids::{Id, InstanceId};
use warren::wire::messages::{Frame, MessageType, ProvideMode};

use crate::support::{PATIENCE, Process, command, eventually, install_crypto};

const EMAIL: &str = "ada@hill.example";
const PASSWORD: &str = "correct horse";

/// Longest that a live transport may last once its device is removed.
const CUT: Duration = Duration::from_secs(1);

/// A server that says of every address that it is in Germany, and Ada's account.
struct Scene {
    process: Process,
    user: Api,
    http: reqwest::Client,
    folder: TempDir,
}

impl Scene {
    async fn start() -> Self {
        install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start(folder.path(), |command| {
            command
                .env("WARREN__AUTH__VERIFY", "auto")
                .env("WARREN__AUTH__ARGON2_MEMORY", "8KiB")
                .env("WARREN__AUTH__ARGON2_PASSES", "1")
                .env("WARREN__GEOIP__DEFAULT__COUNTRY", "de")
                .env("WARREN__RELAY__ANNOUNCE_DELAY", "0s");
        });
        let api = Api::new(&url(&process, ""), &Trust::Any).unwrap();
        let user = sign_up(&api, EMAIL, "hilltop-lab").await;
        Self { process, user, http: reqwest::Client::new(), folder }
    }

    /// Status and body of a call of the client API.
    async fn call(&self, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
        let url = url(&self.process, path);
        let request = match body {
            Some(body) => self.http.post(url).json(&body),
            None => self.http.get(url),
        };
        let answer = request.bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Signs a device in; its token and its number.
    async fn log_in(&self, device: &str) -> (String, Value) {
        let body = json!({"email": EMAIL, "password": PASSWORD, "device_id": device});
        let (status, body) = self.call("/api/login", "", Some(body)).await;
        assert_eq!(status, 200, "{body}");
        (body["token"].as_str().unwrap().to_owned(), body["device_id"].clone())
    }

    /// What the account website answers an app that holds this cookie: status, cookie, text.
    async fn visit(&self, path: &str, cookie: &str, body: Option<Value>) -> (u16, String, String) {
        let url = url(&self.process, path);
        let request = match body {
            Some(body) => self.http.post(url).json(&body),
            None => self.http.get(url).header("accept", "text/html"),
        };
        let answer = request.header("cookie", cookie).send().await.unwrap();
        let set = answer.headers().get("set-cookie").map(|cookie| cookie.to_str().unwrap().to_owned());
        let cookie = set.and_then(|set| Some(set.split_once(';')?.0.to_owned())).unwrap_or_default();
        (answer.status().as_u16(), cookie, answer.text().await.unwrap())
    }

    /// The key to the first server, as soon as there is one.
    async fn key(&self, token: &str, device: &Value) -> String {
        let mut servers = Value::Null;
        eventually("a server is listed", async || {
            servers = self.call("/api/servers", token, Some(json!({"device_id": device}))).await.1;
            servers.as_array().is_some_and(|servers| !servers.is_empty())
        })
        .await;
        assert_eq!((&servers[0]["country"], &servers[0]["country_code"]), (&json!("Germany"), &json!("de")));
        let status = self.http.get(servers[0]["api_url"].as_str().unwrap()).send().await.unwrap().status();
        assert_eq!(status, 200, "it can be used for a ping");
        let body = json!({"server_id": servers[0]["id"], "device_id": device});
        let (status, body) = self.call("/api/key", token, Some(body)).await;
        assert_eq!(status, 200, "{body}");
        body["key"].as_str().unwrap().to_owned()
    }

    /// A provider of another network that answers every datagram with itself, shouted.
    async fn provider(&self, name: &str) -> Client {
        let api = Api::new(&url(&self.process, ""), &Trust::Any).unwrap();
        let user = sign_up(&api, &format!("{name}@valley.example"), name).await;
        let token = user.auth_client(&AuthClient::default()).await.unwrap();
        let mut options = ClientOptions::new(user.with_token(&token.by_client_jwt), token.client_id);
        options.routes = vec![Route::Quic(self.process.addresses()["quic"].as_str().unwrap().to_owned())];
        options.trust = Trust::Any;
        let (client, inbox) = Client::start(options).unwrap();
        client.provide(&[ProvideMode::Public, ProvideMode::Stream]).await.unwrap();
        client.connected().await.unwrap();
        tokio::spawn(shout(client.clone(), inbox));
        client
    }

    /// `warren client` with these arguments.
    async fn client(&self, arguments: &[&str]) -> Output {
        let mut command = command(self.folder.path());
        command.arg("client").args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// A live transport of a client.
    async fn transport(&self, token: &str) -> Reader {
        let route = Route::WebSocket(format!("ws://{}/", self.process.addresses()["http"].as_str().unwrap()));
        let credentials = Credentials::of_token(token, InstanceId::from_bytes(rand::random()));
        let (reader, writer) = Dialer::new(route, credentials, &Trust::Any).unwrap().dial().await.unwrap();
        // The half that writes stays open as long as the other is asked.
        std::mem::forget(writer);
        reader
    }
}

fn url(process: &Process, path: &str) -> String {
    format!("http://{}{path}", process.addresses()["http"].as_str().unwrap())
}

async fn sign_up(api: &Api, email: &str, name: &str) -> Api {
    let new = NetworkCreate {
        user_name: "Ada".into(),
        user_auth: Some(email.into()),
        password: Some(PASSWORD.into()),
        network_name: Some(name.into()),
        terms: true,
    };
    api.with_token(&api.network_create(&new).await.unwrap().network.by_jwt.unwrap())
}

/// What stands in for an exit: the packet goes back where it came from.
async fn shout(client: Client, mut inbox: Inbox) {
    while let Some(received) = inbox.recv().await {
        for frame in &received.frames {
            let packet = Datagram::decode(&frame.message_bytes)
                .filter(|_| frame.raw && frame.message_type == i32::from(MessageType::IpIpPacketToProvider));
            let Some(Datagram { from, to, payload }) = packet else { continue };
            let payload = Bytes::from(payload.to_ascii_uppercase());
            let answer = Datagram { from: to, to: from, payload }.encode().unwrap();
            let frame =
                Frame { message_type: MessageType::IpIpPacketFromProvider.into(), message_bytes: answer, raw: true };
            client.reply(&received, vec![frame]).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_key_opens_the_way_out_through_a_provider_at_its_place() {
    let scene = Scene::start().await;
    let (token, device) = scene.log_in("phone").await;
    assert_eq!(scene.call("/api/servers", &token, Some(json!({"device_id": device}))).await, (200, json!([])));
    let provider = scene.provider("valley-lab").await;
    let key = scene.key(&token, &device).await;

    let arguments = ["--key", &key, "--udp", "198.51.100.7:9", "--message", "hello out there", "--json"];
    let output = scene.client(&arguments).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["provider_id"], &report["place"]), (&json!(provider.id()), &json!("Germany")));
    assert_eq!((&report["udp"]["to"], &report["udp"]["answer"]), (&json!("198.51.100.7:9"), &json!("HELLO OUT THERE")));
    assert_eq!(report["contracts"], 2, "one each way: {report}");
    // Again at once: the provider still talks to the client of before.
    let output = scene.client(&["--key", &key, "--udp", "198.51.100.7:9", "--message", "and again"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains(&provider.id().to_string()), "{text}");
    assert!(text.contains("AND AGAIN"), "{text}");
    let (_, clients) = scene.call("/network/clients", scene.user.token().unwrap(), None).await;
    assert_eq!(clients["clients"].as_array().unwrap().len(), 1, "nothing stays behind: {clients}");
    let (status, servers) = scene.call("/api/servers", &token, Some(json!({"device_id": device}))).await;
    assert_eq!((status, servers[0]["id"].is_u64()), (200, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_opens_nothing_says_why() {
    let scene = Scene::start().await;
    let provider = scene.provider("valley-lab").await;
    let (token, device) = scene.log_in("phone").await;
    let key = scene.key(&token, &device).await;
    for wrong in [&["--key", "warren://127.0.0.1/"][..], &["--key", &key, "--message", "alone"], &[]] {
        assert_eq!(scene.client(wrong).await.status.code(), Some(2), "{wrong:?}");
    }
    let parsed: AccessKey = key.parse().unwrap();
    let elsewhere = AccessKey { wanted: warren::client::key::WayOut::Location(Id::from_bytes([9; 16])), ..parsed };
    assert!(matches!(Tunnel::open(&elsewhere, &Trust::Any).await, Err(TunnelError::NoProvider)));
    provider.close().await.unwrap();
    scene.call("/api/logout", &token, Some(Value::Null)).await;
    let output = scene.client(&["--key", &key]).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("401"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_doors_show_the_same_balance_and_devices() {
    let scene = Scene::start().await;
    let laptop = AuthClient { description: "laptop".into(), ..AuthClient::default() };
    scene.user.auth_client(&laptop).await.unwrap();
    let (token, _) = scene.log_in("phone").await;
    let (_, subscription) = scene.call("/api/subscription", &token, None).await;
    let balance = scene.user.balance().await.unwrap();
    assert_eq!(subscription["remaining_bytes"], balance.balance_byte_count);
    let (_, clients) = scene.call("/network/clients", scene.user.token().unwrap(), None).await;
    let mut names: Vec<&str> =
        clients["clients"].as_array().unwrap().iter().map(|client| client["device_name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!((names, &subscription["devices_used"]), (vec!["laptop", "phone"], &json!(2)));
    let (_, user) = scene.call("/api/user", &token, None).await;
    assert_eq!((&user["email"], &user["network_name"]), (&json!(EMAIL), &json!("hilltop-lab")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_removed_at_one_door_is_out_at_all() {
    let scene = Scene::start().await;
    let _provider = scene.provider("valley-lab").await;
    let (token, device) = scene.log_in("phone").await;
    let (other, _) = scene.log_in("tablet").await;
    let key: AccessKey = scene.key(&token, &device).await.parse().unwrap();
    let reader = scene.transport(&key.token).await;
    scene.user.remove_client(key.client_id).await.unwrap();
    assert!(ends(reader).await, "its relay session closes");
    assert_eq!(scene.call("/api/user", &token, None).await.0, 401, "its token dies");
    assert!(ends(scene.transport(&key.token).await).await, "its key is refused");
    assert_eq!(scene.call("/api/user", &other, None).await.0, 200, "the others are as they were");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_website_opens_to_the_same_account_and_cuts_its_devices_everywhere() {
    let scene = Scene::start().await;
    let _provider = scene.provider("valley-lab").await;
    let (token, device) = scene.log_in("phone").await;
    let key: AccessKey = scene.key(&token, &device).await.parse().unwrap();
    let reader = scene.transport(&key.token).await;

    let body = json!({"email": EMAIL, "password": PASSWORD});
    let (status, cookie, text) = scene.visit("/signin", "", Some(body)).await;
    assert_eq!((status, text.as_str()), (200, r#"{"code":0,"message":"Signed In"}"#));
    let (status, _, page) = scene.visit("/account", &cookie, None).await;
    assert!(status == 200 && page.contains(EMAIL) && page.contains("hilltop-lab"), "{page}");
    assert!(page.contains("phone") && page.contains(&key.client_id.to_string()), "{page}");

    let removal = json!({"clientId": key.client_id.to_string()});
    assert_eq!(scene.visit("/remove-device", "", Some(removal.clone())).await.0, 401);
    let (status, _, text) = scene.visit("/remove-device", &cookie, Some(removal)).await;
    assert!(status < 400, "{status}: {text}");
    assert!(ends(reader).await, "its relay session closes");
    assert_eq!(scene.call("/api/user", &token, None).await.0, 401, "its token dies");
    assert!(ends(scene.transport(&key.token).await).await, "its key is refused");
    let (_, clients) = scene.call("/network/clients", scene.user.token().unwrap(), None).await;
    assert_eq!(clients["clients"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_made_at_the_website_opens_the_other_doors() {
    const EMAIL: &str = "bob@hill.example";
    const PASSWORD: &str = "Correct-Horse-7";
    let scene = Scene::start().await;
    let account = json!({"email": EMAIL, "password": PASSWORD});
    let (status, _, text) = scene.visit("/signup", "", Some(account.clone())).await;
    assert_eq!(status, 200, "{text}");
    let (status, cookie, _) = scene.visit("/signin", "", Some(account)).await;
    assert_eq!(status, 200);

    let body = json!({"email": EMAIL, "password": PASSWORD, "device_id": "phone"});
    let (status, app) = scene.call("/api/login", "", Some(body)).await;
    assert_eq!(status, 200, "{app}");
    let body = json!({"user_auth": EMAIL, "password": PASSWORD});
    let (status, login) = scene.call("/auth/login-with-password", "", Some(body)).await;
    let user_token = login["network"]["by_jwt"].as_str().unwrap_or_default();
    assert!(status == 200 && !user_token.is_empty(), "{login}");
    let (_, clients) = scene.call("/network/clients", user_token, None).await;
    assert_eq!(clients["clients"][0]["device_name"], "phone", "{clients}");
    let (_, _, page) = scene.visit("/account", &cookie, None).await;
    assert!(page.contains("phone"), "{page}");
    let (_, user) = scene.call("/api/user", app["token"].as_str().unwrap(), None).await;
    assert!(page.contains(user["network_name"].as_str().unwrap()), "{user}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_cuts_the_live_transports_of_its_device() {
    let scene = Scene::start().await;
    let _provider = scene.provider("valley-lab").await;
    let (token, device) = scene.log_in("phone").await;
    let key: AccessKey = scene.key(&token, &device).await.parse().unwrap();
    let reader = scene.transport(&key.token).await;
    assert_eq!(scene.call("/api/logout", &token, Some(Value::Null)).await.0, 200);
    assert!(ends(reader).await);
    assert!(ends(scene.transport(&key.token).await).await, "its key is refused");
}

/// Whether a transport ends within [`CUT`].
async fn ends(mut reader: Reader) -> bool {
    timeout(CUT, async { while reader.next().await.is_ok() {} }).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_servers_and_tokens_outlive_a_restart() {
    let mut scene = Scene::start().await;
    let (token, device) = scene.log_in("phone").await;
    let before = {
        let _provider = scene.provider("valley-lab").await;
        scene.key(&token, &device).await;
        scene.call("/api/servers", &token, Some(json!({"device_id": device}))).await.1[0]["id"].clone()
    };
    scene.process.signal("TERM");
    assert!(timeout(PATIENCE, async { scene.process.wait() }).await.unwrap().success());
    scene.process = Process::start(scene.folder.path(), |command| {
        command
            .env("WARREN__AUTH__VERIFY", "auto")
            .env("WARREN__GEOIP__DEFAULT__COUNTRY", "de")
            .env("WARREN__RELAY__ANNOUNCE_DELAY", "0s");
    });
    let _provider = scene.provider("ridge-lab").await;
    scene.key(&token, &device).await;
    let (_, servers) = scene.call("/api/servers", &token, Some(json!({"device_id": device}))).await;
    assert_eq!(servers[0]["id"], before);
}
