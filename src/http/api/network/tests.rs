use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;

use crate::domain::presence::{PresenceEntry, PresenceGuard};
use crate::domain::provide::{ProvideSet, RegisterProvide};
use crate::http::testing::TestApi;
use crate::ids::{ClientId, ConnectionId, InstanceId};
use crate::wire::messages::ProvideMode;

fn present(api: &TestApi, client_id: ClientId) -> PresenceGuard {
    api.state.presence.attach(PresenceEntry {
        connection_id: ConnectionId::new(*client_id.as_bytes()),
        client_id,
        network_id: api.user.network_id,
        instance_id: InstanceId::new(*client_id.as_bytes()),
        address: IpAddr::from([203, 0, 113, 9]),
    })
}

fn wait(api: &TestApi, time: Duration) {
    api.clock.advance(time);
    api.state.peers.handle_timeout();
}

async fn make(api: &TestApi, token: &str) -> (ClientId, String) {
    let body = json!({"description": "attic box", "device_spec": "linux"});
    let answer = api.post("/network/auth-client", body).token(token).await.expect(200);
    (answer["client_id"].as_str().unwrap().parse().unwrap(), answer["by_client_jwt"].as_str().unwrap().into())
}

#[tokio::test]
async fn peers_are_the_other_connected_clients_and_those_that_just_left() {
    let api = TestApi::new();
    api.get("/network/peers").token(&api.user_token).await.golden(200, "nobody");
    let (other_id, _) = make(&api, &api.user_token).await;
    let _own = present(&api, api.client.client_id().unwrap());
    let other = present(&api, other_id);
    wait(&api, Duration::from_secs(5));
    let answer = api.get("/network/peers").token(&api.client_token).await;
    answer.golden(200, "one");
    assert_eq!(answer.body["peers"][0]["client_id"], other_id.to_string());
    let all = api.get("/network/peers").token(&api.user_token).await.expect(200);
    assert_eq!(all["peers"].as_array().unwrap().len(), 2);
    drop(other);
    wait(&api, Duration::from_secs(60));
    api.get("/network/peers").token(&api.client_token).await.golden(200, "one_left");
    wait(&api, Duration::from_secs(300));
    let answer = api.get("/network/peers").token(&api.client_token).await.expect(200);
    assert_eq!(answer, json!({"peers": [], "disconnected_count": 0}));
}

#[tokio::test]
async fn a_derived_client_has_no_peers_and_is_none() {
    let api = TestApi::new();
    let (derived_id, derived_token) = make(&api, &api.client_token).await;
    let _guards = [present(&api, derived_id), present(&api, api.client.client_id().unwrap())];
    wait(&api, Duration::from_secs(5));
    api.get("/network/peers").token(&derived_token).await.golden(200, "derived");
    let answer = api.get("/network/peers").token(&api.user_token).await.expect(200);
    assert_eq!(answer["peers"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_peer_shows_what_it_provides_and_who_it_is() {
    let api = TestApi::new();
    let named = json!({"description": "attic box", "roles": ["ops", "admin"], "principal": "svc-a"});
    let answer = api.post("/network/auth-client", named).token(&api.user_token).await.expect(200);
    let client_id: ClientId = answer["client_id"].as_str().unwrap().parse().unwrap();
    let _guard = present(&api, client_id);
    wait(&api, Duration::from_secs(5));
    let mut set = ProvideSet::default();
    for mode in [ProvideMode::Public, ProvideMode::Network] {
        set.insert(mode, vec![1; 32]);
    }
    let provide = RegisterProvide { network_id: api.user.network_id, client_id, set };
    api.state.service.run(&provide).await.unwrap();
    // What the server's effects do.
    api.state.peers.client_changed(client_id);
    api.get("/network/peers").token(&api.client_token).await.golden(200, "all_that_shows");
}

#[tokio::test]
async fn strangers_see_no_peers() {
    let api = TestApi::new();
    api.get("/network/peers").await.golden(401, "no_token");
    api.get("/network/peers").token("nonsense").await.golden(401, "bad_token");
}

#[tokio::test]
async fn countries_are_blocked_and_served_again() {
    let api = TestApi::new();
    let germany = crate::domain::location::place::Place::new("de", "", "", "").unwrap().country_id();
    let token = &api.client_token;
    api.get("/network/blocked-locations").token(token).await.golden(200, "none");
    let body = json!({"location_id": germany});
    assert_eq!(api.post("/network/block-location", body.clone()).token(token).await.expect(200), json!({}));
    api.get("/network/blocked-locations").token(token).await.golden(200, "one");
    assert_eq!(api.post("/network/unblock-location", body).token(token).await.expect(200), json!({}));
    let listed = api.get("/network/blocked-locations").token(token).await.expect(200);
    assert_eq!(listed, json!({"blocked_locations": []}));
    let unknown = json!({"location_id": "01020304-0506-0708-090a-0b0c0d0e0f10"});
    api.post("/network/block-location", unknown).token(token).await.golden(200, "unknown");
    for wrong in [json!({}), json!({"location_id": "x"})] {
        api.post("/network/block-location", wrong).token(token).await.expect(400);
    }
}
