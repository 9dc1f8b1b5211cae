use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::effect::Effect;
use crate::domain::presence::PresenceEntry;
use crate::domain::provide::{ProvideSet, RegisterProvide};
use crate::http::testing::{Answer, TestApi};
use crate::ids::{ConnectionId, InstanceId};
use crate::wire::messages::ProvideMode;

fn text(answer: &Value, key: &str) -> String {
    answer[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer}")).to_owned()
}

async fn post(api: &TestApi, token: &str, route: &str, body: Value) -> Answer {
    api.post(&format!("/device/{route}"), body).token(token).await
}

/// A call of the device itself, which has no token.
async fn device(api: &TestApi, route: &str, body: Value) -> Answer {
    api.post(&format!("/device/{route}"), body).await
}

async fn network_name(api: &TestApi, token: &str) -> String {
    let user = api.get("/network/user").token(token).await.expect(200);
    text(&user["network_user"], "network_name")
}

async fn share_code(api: &TestApi) -> String {
    let asked = json!({"client_id": api.client.client_id(), "device_name": "printer"});
    text(&post(api, &api.client_token, "create-share-code", asked).await.expect(200), "share_code")
}

async fn adopt_code(api: &TestApi) -> (String, String) {
    let asked = json!({"device_name": "camera", "device_spec": "arm"});
    let created = device(api, "create-adopt-code", asked).await.expect(200);
    (text(&created, "adopt_code"), text(&created, "adopt_secret"))
}

#[tokio::test]
async fn a_share_from_both_sides() {
    let api = TestApi::new();
    let guest = &api.stranger().await;
    let guest_name = network_name(&api, guest).await;
    let asked = json!({"client_id": api.client.client_id(), "device_name": "printer"});
    let created = post(&api, &api.client_token, "create-share-code", asked).await;
    created.golden(200, "created");
    let code = text(&created.body, "share_code");
    let status = async |case: &str| {
        post(&api, guest, "share-status", json!({"share_code": code})).await.golden(200, case);
    };
    let listed = async |token: &str, case: &str| {
        api.get("/device/associations").token(token).await.golden(200, case);
    };
    status("open").await;
    listed(&api.client_token, "share_open").await;
    let spelled = code.to_uppercase().replace(' ', "  ");
    post(&api, guest, "add", json!({"code": spelled})).await.golden(200, "share");
    post(&api, guest, "add", json!({"code": code})).await.golden(200, "again");
    status("pending").await;
    let confirm = |name: &str| json!({"share_code": code, "associated_network_name": name});
    post(&api, &api.user_token, "confirm-share", confirm("nobody")).await.golden(200, "wrong_name");
    post(&api, guest, "confirm-share", confirm(&guest_name)).await.golden(200, "by_the_guest");
    post(&api, &api.user_token, "confirm-share", confirm(&guest_name)).await.golden(200, "confirmed");
    post(&api, &api.user_token, "confirm-share", confirm(&guest_name)).await.golden(200, "again");
    status("associated").await;
    let named = json!({"code": code, "device_name": "Ada's printer"});
    post(&api, guest, "set-association-name", named).await.golden(200, "share");
    listed(guest, "share_incoming").await;
    listed(&api.user_token, "share_outgoing").await;
    post(&api, guest, "remove-association", json!({"code": code})).await.golden(200, "share");
    post(&api, guest, "remove-association", json!({"code": code})).await.golden(200, "again");
    listed(&api.user_token, "none").await;
    status("gone").await;
}

#[tokio::test]
async fn an_adoption_from_both_sides() {
    let api = TestApi::new();
    let owner_name = network_name(&api, &api.client_token).await;
    let created = device(&api, "create-adopt-code", json!({"device_name": "camera", "device_spec": "arm"})).await;
    created.golden(200, "created");
    assert_eq!(created.body["share_code"], created.body["adopt_secret"]);
    let (code, secret) = (text(&created.body, "adopt_code"), text(&created.body, "adopt_secret"));
    let status = async |case: &str| {
        device(&api, "adopt-status", json!({"adopt_code": code})).await.golden(200, case);
    };
    let confirm =
        |name: &str, secret: &str| json!({"adopt_code": code, "adopt_secret": secret, "associated_network_name": name});
    status("open").await;
    device(&api, "confirm-adopt", confirm(&owner_name, &secret)).await.golden(200, "not_added");
    api.clock.advance(Duration::from_secs(90));
    post(&api, &api.client_token, "add", json!({"code": code})).await.golden(200, "adopt");
    status("pending").await;
    let named = json!({"code": code, "device_name": "porch"});
    post(&api, &api.client_token, "set-association-name", named).await.golden(200, "adopt");
    api.get("/device/associations").token(&api.user_token).await.golden(200, "adopt_pending");
    device(&api, "confirm-adopt", confirm("nobody", &secret)).await.golden(200, "wrong_name");
    device(&api, "confirm-adopt", confirm(&owner_name, &"0".repeat(256))).await.golden(200, "wrong_secret");
    let confirmed = device(&api, "confirm-adopt", confirm(&owner_name, &secret)).await;
    confirmed.golden(200, "confirmed");
    device(&api, "confirm-adopt", confirm(&owner_name, &secret)).await.golden(200, "again");
    status("associated").await;
    api.get("/device/associations").token(&api.user_token).await.golden(200, "none");

    let token = text(&confirmed.body, "by_client_jwt");
    let clients = api.get("/network/clients").token(&token).await.expect(200);
    assert_eq!(clients["clients"].as_array().unwrap().len(), 2, "the device is a client like any other");
    device(&api, "remove-adopt-code", json!({"adopt_code": code, "adopt_secret": secret})).await.golden(200, "late");
}

#[tokio::test]
async fn an_adoption_that_comes_too_late_or_is_taken_back() {
    let api = TestApi::new();
    let (code, secret) = adopt_code(&api).await;
    post(&api, &api.user_token, "add", json!({"code": code})).await.expect(200);
    device(&api, "remove-adopt-code", json!({"adopt_code": code, "adopt_secret": "0"})).await.golden(200, "wrong");
    device(&api, "remove-adopt-code", json!({"adopt_code": code, "adopt_secret": secret})).await.golden(200, "done");
    device(&api, "adopt-status", json!({"adopt_code": code})).await.golden(200, "unknown");
    let (code, secret) = adopt_code(&api).await;
    let owner_name = network_name(&api, &api.user_token).await;
    post(&api, &api.user_token, "add", json!({"code": code})).await.expect(200);
    api.clock.advance(Duration::from_secs(900));
    let confirm = json!({"adopt_code": code, "adopt_secret": secret, "associated_network_name": owner_name});
    device(&api, "confirm-adopt", confirm).await.golden(200, "too_late");
    post(&api, &api.user_token, "add", json!({"code": code})).await.golden(200, "expired");
}

#[tokio::test]
async fn a_full_network_adopts_nothing() {
    let mut config = TestApi::config();
    config.limits.clients_per_network = 1;
    let api = TestApi::with_config(config);
    let (code, secret) = adopt_code(&api).await;
    post(&api, &api.user_token, "add", json!({"code": code})).await.expect(200);
    let owner_name = network_name(&api, &api.user_token).await;
    let confirm = json!({"adopt_code": code, "adopt_secret": secret, "associated_network_name": owner_name});
    device(&api, "confirm-adopt", confirm).await.golden(200, "limit_exceeded");
}

#[tokio::test]
async fn a_stranger_makes_a_bounded_number_of_adopt_codes() {
    let api = TestApi::new();
    for _ in 0..20 {
        adopt_code(&api).await;
    }
    let more = device(&api, "create-adopt-code", json!({})).await;
    assert_eq!(more.headers["retry-after"], "600");
    more.golden(429, "too_many");
}

#[tokio::test]
async fn guesses_are_stopped_with_a_status() {
    let api = TestApi::new();
    for _ in 0..30 {
        device(&api, "adopt-status", json!({"adopt_code": "guess"})).await.expect(200);
    }
    device(&api, "adopt-status", json!({"adopt_code": "guess"})).await.golden(429, "too_many");
    let (code, secret) = adopt_code(&api).await;
    let own = json!({"adopt_code": code, "adopt_secret": secret});
    device(&api, "remove-adopt-code", own.clone()).await.expect(429);
    api.post("/device/remove-adopt-code", own).from("198.51.100.1:9").await.expect(200);
}

#[tokio::test]
async fn share_codes_of_strange_clients_and_too_many_are_refused() {
    let api = TestApi::new();
    let unknown = json!({"client_id": "01020304-0506-0708-090a-0b0c0d0e0f10"});
    post(&api, &api.user_token, "create-share-code", unknown).await.golden(200, "unknown_client");
    let asked = json!({"client_id": api.client.client_id()});
    for _ in 0..64 {
        assert!(post(&api, &api.user_token, "create-share-code", asked.clone()).await.expect(200)["error"].is_null());
    }
    post(&api, &api.user_token, "create-share-code", asked).await.golden(200, "too_many");
}

#[tokio::test]
async fn fields_that_are_missing_malformed_or_too_long_are_400() {
    let api = TestApi::new();
    let (long, code) = ("x".repeat(257), share_code(&api).await);
    let id = api.client.client_id();
    for (route, body) in [
        ("create-share-code", json!({})),
        ("create-share-code", json!({"client_id": null})),
        ("create-share-code", json!({"client_id": "x"})),
        ("create-share-code", json!({"client_id": id, "device_name": long})),
        ("create-adopt-code", json!({"device_name": long})),
        ("create-adopt-code", json!({"device_spec": long})),
        ("add", json!({"code": "x".repeat(1025)})),
        ("adopt-status", json!({"adopt_code": "x".repeat(1025)})),
        ("set-association-name", json!({"code": code, "device_name": long})),
        ("set-name", json!({"device_name": "x"})),
        ("set-provide", json!({"provide_mode": 1})),
        ("set-provide", json!({"client_id": id, "provide_mode": 1.5})),
    ] {
        post(&api, &api.user_token, route, body).await.expect(400);
    }
    let fitting = json!({"device_name": "ü".repeat(256)});
    device(&api, "create-adopt-code", fitting).await.expect(200);
}

#[tokio::test]
async fn a_device_of_the_network_is_named_and_its_peers_hear_of_it() {
    let api = TestApi::new();
    let client = api.client.client.unwrap();
    let asked = json!({"device_id": client.device_id, "device_name": "attic"});
    post(&api, &api.client_token, "set-name", asked.clone()).await.golden(200, "named");
    assert_eq!(api.effects.take(), [Effect::ClientChanged(api.user.network_id, client.client_id)]);
    let clients = api.get("/network/clients").token(&api.user_token).await.expect(200);
    assert_eq!(clients["clients"][0]["device_name"], "attic");
    post(&api, &api.stranger().await, "set-name", asked).await.golden(200, "foreign");
}

#[tokio::test]
async fn a_capped_provider_vanishes_from_the_offers_and_comes_back_by_itself() {
    let api = TestApi::new();
    let (network_id, client_id) = (api.user.network_id, api.client.client_id().unwrap());
    let mut set = ProvideSet::default();
    set.insert(ProvideMode::Public, vec![1; 32]);
    api.state.service.run(&RegisterProvide { network_id, client_id, set }).await.unwrap();
    let _connected = api.state.presence.attach(PresenceEntry {
        connection_id: ConnectionId::new([5; 16]),
        client_id,
        network_id,
        instance_id: InstanceId::new([6; 16]),
        address: [203, 0, 113, 9].into(),
    });
    api.clock.advance(Duration::from_secs(5));
    let cap = async |mode: i32| {
        api.effects.take();
        let asked = json!({"client_id": client_id, "provide_mode": mode});
        let answer = post(&api, &api.user_token, "set-provide", asked).await;
        for effect in api.effects.take() {
            // What the server does with it.
            assert_eq!(effect, Effect::ClientChanged(network_id, client_id));
            api.state.providers.refresh(client_id);
        }
        api.clock.advance(Duration::from_secs(5));
        answer
    };
    let is_offered = async || {
        let asked = json!({"specs": [{"best_available": true}], "count": 1});
        let found = api.post("/network/find-providers2", asked).await.expect(200);
        !found["providers"].as_array().unwrap().is_empty()
    };
    assert!(is_offered().await);
    cap(0).await.golden(200, "none");
    assert!(!is_offered().await);
    cap(-1).await.golden(200, "default");
    assert!(is_offered().await, "without a word from the device");
    cap(7).await.golden(200, "invalid_mode");
    let stranger = api.stranger().await;
    let asked = json!({"client_id": client_id, "provide_mode": 0});
    post(&api, &stranger, "set-provide", asked).await.golden(200, "foreign_client");
}
