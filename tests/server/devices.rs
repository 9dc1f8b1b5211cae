//! A device without an account is adopted over HTTP and opens the relay with what it got.

use serde_json::{Value, json};
use warren::client::dial::{Credentials, Dialer, Route};
use warren::client::tls::Trust;
use warren::config::auth::Verify;
use warren::ids::{Id, InstanceId};

use crate::support::{PATIENCE, TestServer, install_crypto};

async fn post(test: &TestServer, token: &str, path: &str, body: Value) -> Value {
    let request = reqwest::Client::new().post(test.url(path)).bearer_auth(token).body(body.to_string());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.unwrap()
}

#[tokio::test]
async fn an_adopted_device_opens_the_relay_until_it_is_removed() {
    install_crypto();
    let test = TestServer::start_with(|config| config.auth.verify = Verify::Auto).await;
    let created = post(&test, "", "/auth/network-create", json!({"terms": true})).await;
    let user = created["network"]["by_jwt"].as_str().unwrap();
    let adopt = post(&test, "", "/device/create-adopt-code", json!({"device_name": "camera"})).await;
    let added = post(&test, user, "/device/add", json!({"code": adopt["adopt_code"]})).await;
    assert_eq!(added["code_type"], "adopt");
    let status = post(&test, "", "/device/adopt-status", json!({"adopt_code": adopt["adopt_code"]})).await;
    let confirm = json!({"adopt_code": adopt["adopt_code"], "adopt_secret": adopt["adopt_secret"],
                         "associated_network_name": status["associated_network_name"]});
    let confirmed = post(&test, "", "/device/confirm-adopt", confirm).await;
    let token = confirmed["by_client_jwt"].as_str().unwrap();

    let route = Route::WebSocket(format!("ws://{}/", test.server.addresses().http));
    let dialer = || {
        let credentials = Credentials::of_token(token, InstanceId::from_bytes(rand::random()));
        Dialer::new(route.clone(), credentials, &Trust::Any).unwrap()
    };
    let (mut reader, _writer) = dialer().dial().await.unwrap();
    let clients = reqwest::Client::new().get(test.url("/network/clients")).bearer_auth(user).send().await.unwrap();
    let clients: Value = clients.json().await.unwrap();
    let id = &clients["clients"][0]["client_id"];
    assert_eq!(post(&test, user, "/network/remove-client", json!({"client_id": id})).await, json!({}));
    let ended = async { while reader.next().await.is_ok() {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("the transport of a removed device is closed");
    if let Ok((mut reader, _writer)) = dialer().dial().await {
        assert!(reader.next().await.is_err(), "a removed device is refused");
    }
    let status = post(&test, "", "/device/adopt-status", json!({"adopt_code": adopt["adopt_code"]})).await;
    assert_eq!(status["error"]["message"], "Invalid adopt code.");
}
