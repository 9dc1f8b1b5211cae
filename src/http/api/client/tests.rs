use std::net::IpAddr;

use serde_json::{Value, json};

use crate::config::Config;
use crate::domain::effect::Effect;
use crate::domain::presence::PresenceEntry;
use crate::http::testing::TestApi;
use crate::ids::{ClientId, ConnectionId, InstanceId};

fn limited() -> TestApi {
    let mut config = Config::default();
    config.limits.clients_per_network = 1;
    TestApi::with_config(config)
}

async fn make(api: &TestApi, body: Value) -> (String, String) {
    let answer = api.post("/network/auth-client", body).token(&api.user_token).await.expect(200);
    let text = |key: &str| answer[key].as_str().unwrap().to_owned();
    (text("client_id"), text("by_client_jwt"))
}

fn present(api: &TestApi, client_id: &str) -> crate::domain::presence::PresenceGuard {
    api.state.presence.attach(PresenceEntry {
        connection_id: ConnectionId::new([5; 16]),
        client_id: client_id.parse().unwrap(),
        network_id: api.user.network_id,
        instance_id: InstanceId::new([6; 16]),
        address: IpAddr::from([203, 0, 113, 9]),
    })
}

#[tokio::test]
async fn a_new_client_gets_a_token_that_works() {
    let api = TestApi::new();
    let body = json!({"description": "garage provider", "device_spec": "linux"});
    let answer = api.post("/network/auth-client", body).token(&api.user_token).await;
    answer.golden(200, "new");
    let token = answer.body["by_client_jwt"].as_str().unwrap();
    api.get("/network/clients").token(token).await.expect(200);
}

#[tokio::test]
async fn a_client_token_makes_a_derived_client_whatever_the_name_of_the_field() {
    let api = TestApi::new();
    let own = api.client.client_id().unwrap();
    for body in [json!({}), json!({"source_client_id": own}), json!({"derived_client_id": own})] {
        let answer = api.post("/network/auth-client", body).token(&api.client_token).await.expect(200);
        let id = answer["client_id"].as_str().unwrap();
        let listed = api.get("/network/clients").token(&api.user_token).await.expect(200);
        let entry = listed["clients"].as_array().unwrap().iter().find(|entry| entry["client_id"] == id).unwrap();
        assert_eq!(entry["source_client_id"], own.to_string());
    }
}

#[tokio::test]
async fn refusals_of_auth_client_are_results() {
    let api = limited();
    let cases = [
        (json!({}), "limit_exceeded"),
        (json!({"client_id": "01020304-0506-0708-090a-0b0c0d0e0f10"}), "unknown_client"),
        (json!({"source_client_id": "01020304-0506-0708-090a-0b0c0d0e0f10"}), "unknown_source"),
        (json!({"proxy_config": {"lock": true}}), "proxy"),
        (json!({"client_id": api.client.client_id(), "roles": ["x"]}), "roles_of_existing"),
    ];
    for (body, case) in cases {
        let answer = api.post("/network/auth-client", body).token(&api.user_token).await;
        answer.golden(200, case);
        assert!(answer.body.get("by_client_jwt").is_none());
        let text = answer.body["error"]["message"].as_str().unwrap().to_lowercase();
        assert!(!["auth", "forbidden", "401", "403", "429"].iter().any(|word| text.contains(word)), "{text}");
    }
    let answer = api.post("/network/auth-client", json!({"roles": ["x"]})).token(&api.client_token).await;
    answer.golden(200, "roles_by_client");
}

#[tokio::test]
async fn odd_fields_of_auth_client_are_tolerated_or_refused_clearly() {
    let api = TestApi::new();
    let nulls = json!({"client_id": null, "source_client_id": null, "description": null, "roles": null,
                       "proxy_config": null, "unknown": 1});
    make(&api, nulls).await;
    make(&api, json!({"description": "d".repeat(10_000), "device_spec": "ü".repeat(10_000)})).await;
    for wrong in [json!({"client_id": "x"}), json!({"client_id": 7}), json!({"roles": "x"}), json!({"description": 1})]
    {
        api.post("/network/auth-client", wrong).token(&api.user_token).await.expect(400);
    }
}

#[tokio::test]
async fn a_removed_client_is_dead_at_once_and_frees_its_place() {
    let api = TestApi::new();
    let (client_id, token) = make(&api, json!({})).await;
    api.effects.take();
    let answer = api.post("/network/remove-client", json!({"client_id": client_id})).token(&token).await;
    answer.golden(200, "own_token");
    assert_eq!(api.effects.take(), [Effect::ClientRemoved(client_id.parse().unwrap())]);
    api.get("/network/clients").token(&token).await.expect(401);
    let again = api.post("/network/remove-client", json!({"client_id": client_id})).token(&api.user_token).await;
    assert_eq!(again.expect(200), json!({}));
    let renew = api.post("/network/auth-client", json!({"client_id": client_id})).token(&api.user_token).await;
    assert_eq!(renew.expect(200)["error"]["message"], "Client does not exist.");
}

#[tokio::test]
async fn an_unknown_client_is_not_removed() {
    let api = TestApi::new();
    let unknown = json!({"client_id": "01020304-0506-0708-090a-0b0c0d0e0f10"});
    api.post("/network/remove-client", unknown).token(&api.user_token).await.golden(200, "unknown");
    for wrong in [json!({}), json!({"client_id": null}), json!({"client_id": "x"})] {
        api.post("/network/remove-client", wrong).token(&api.user_token).await.expect(400);
    }
}

#[tokio::test]
async fn many_clients_are_removed_at_once_and_strangers_are_ignored() {
    let api = TestApi::new();
    let mut client_ids = Vec::new();
    for _ in 0..40 {
        client_ids.push(make(&api, json!({})).await.0);
    }
    api.effects.take();
    client_ids.push(client_ids[0].clone());
    client_ids.push(ClientId::new([9; 16]).to_string());
    let answer = api.post("/network/remove-clients", json!({"client_ids": client_ids})).token(&api.user_token).await;
    assert_eq!(answer.expect(200), json!({}));
    assert_eq!(api.effects.take().len(), 40);
    let none = api.post("/network/remove-clients", json!({"client_ids": null})).token(&api.user_token).await;
    assert_eq!(none.expect(200), json!({}));
}

#[tokio::test]
async fn a_list_of_a_million_bytes_is_taken() {
    let api = TestApi::new();
    let client_ids = vec![ClientId::new([9; 16]).to_string(); 100_000];
    let answer = api.post("/network/remove-clients", json!({"client_ids": client_ids})).token(&api.user_token).await;
    answer.expect(200);
}

#[tokio::test]
async fn clients_are_listed_with_their_connections() {
    let api = TestApi::new();
    let (client_id, _) = make(&api, json!({"description": "phone", "device_spec": "demo"})).await;
    let _guard = present(&api, &client_id);
    let answer = api.get("/network/clients").token(&api.user_token).await;
    answer.golden(200, "one_connected");
    assert_eq!(answer.body["clients"][0]["client_id"], client_id, "connected ones first");
}
