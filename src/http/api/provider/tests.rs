use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::Config;
use crate::config::geoip::Override;
use crate::domain::presence::{PresenceEntry, PresenceGuard};
use crate::domain::provide::{ProvideSet, RegisterProvide};
use crate::http::testing::TestApi;
use crate::ids::{ClientId, ConnectionId, InstanceId};
use crate::wire::messages::ProvideMode;

const PATH: &str = "/network/find-providers2";

/// An API whose addresses 203.0.113.0/24 are in Berlin.
pub fn located() -> TestApi {
    let mut config = Config::default();
    config.geoip.overrides = vec![Override {
        range: "203.0.113.0/24".into(),
        country: "de".into(),
        region: "Land Berlin".into(),
        city: "Berlin".into(),
        latitude: 52.52,
        longitude: 13.405,
        ..Override::default()
    }];
    TestApi::with_config(config)
}

/// Makes a client that provides and is connected for long enough.
pub async fn provide(api: &TestApi, modes: &[ProvideMode]) -> (ClientId, PresenceGuard) {
    let answer = api.post("/network/auth-client", json!({})).token(&api.user_token).await.expect(200);
    let client_id: ClientId = answer["client_id"].as_str().unwrap().parse().unwrap();
    let mut set = ProvideSet::default();
    modes.iter().for_each(|mode| set.insert(*mode, vec![7; 32]));
    let network_id = api.user.network_id;
    api.state.service.run(&RegisterProvide { network_id, client_id, set }).await.unwrap();
    let guard = api.state.presence.attach(PresenceEntry {
        connection_id: ConnectionId::new(*client_id.as_bytes()),
        client_id,
        network_id,
        instance_id: InstanceId::new([1; 16]),
        address: IpAddr::from([203, 0, 113, 9]),
    });
    api.clock.advance(Duration::from_secs(5));
    (client_id, guard)
}

fn ids(answer: &Value) -> Vec<String> {
    let providers = answer["providers"].as_array().unwrap();
    providers.iter().map(|provider| provider["client_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn providers_are_offered_to_anyone() {
    let api = located();
    let (client_id, _guard) = provide(&api, &[ProvideMode::Public]).await;
    let body = json!({"specs": [{"best_available": true}], "count": 4, "rank_mode": "quality"});
    let answer = api.post(PATH, body.clone()).await;
    answer.golden(200, "best_available");
    assert_eq!(ids(&answer.body), [client_id.to_string()]);
    assert_eq!(ids(&api.post(PATH, body).token("stale").await.expect(200)).len(), 1, "a bad token is ignored");
    let country = &answer.body["providers"][0]["location"]["country_location_id"];
    let by_country = json!({"specs": [{"location_id": country}], "count": 1, "rank_mode": "speed"});
    assert_eq!(ids(&api.post(PATH, by_country).await.expect(200)).len(), 1);
}

#[tokio::test]
async fn a_provider_that_nobody_can_locate_has_no_location() {
    let api = TestApi::new();
    let (_, _guard) = provide(&api, &[ProvideMode::Public]).await;
    api.post(PATH, json!({"specs": [{"best_available": true}]})).await.golden(200, "unlocated");
}

#[tokio::test]
async fn no_spec_and_nothing_found_are_empty_answers() {
    let api = TestApi::new();
    api.post(PATH, json!({})).await.golden(200, "no_spec");
    api.post(PATH, json!({"specs": [{"best_available": true}]})).await.golden(200, "none");
    let nulls = json!({"specs": [{"location_id": null, "client_id": null}], "exclude_client_ids": null,
                       "exclude_destinations": null, "rank_mode": null, "count": null});
    assert!(ids(&api.post(PATH, nulls).await.expect(200)).is_empty());
}

#[tokio::test]
async fn excluded_clients_and_the_last_of_each_destination_are_left_out() {
    let api = located();
    let (first, _first) = provide(&api, &[ProvideMode::Public]).await;
    let (second, _second) = provide(&api, &[ProvideMode::Public]).await;
    let find = |extra: Value| {
        let mut body = json!({"specs": [{"best_available": true}]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        api.post(PATH, body)
    };
    let left = ids(&find(json!({"exclude_client_ids": [first]})).await.expect(200));
    assert_eq!(left, [second.to_string()]);
    let left = ids(&find(json!({"exclude_destinations": [[first, second], []]})).await.expect(200));
    assert_eq!(left, [first.to_string()], "only the last one is excluded, an empty way is skipped");
    let left = ids(&find(json!({"exclude_destinations": [[first], [second]]})).await.expect(200));
    assert!(left.is_empty());
}

#[tokio::test]
async fn a_client_asked_for_by_id_is_offered_unseen() {
    let api = TestApi::new();
    let body = json!({"specs": [{"client_id": "01020304-0506-0708-090a-0b0c0d0e0f10"}]});
    api.post(PATH, body).await.golden(200, "by_client_id");
}

#[tokio::test]
async fn a_network_only_provider_is_offered_to_members() {
    let api = located();
    let (client_id, _guard) = provide(&api, &[ProvideMode::Network]).await;
    let body = json!({"specs": [{"best_available": true}]});
    assert!(ids(&api.post(PATH, body.clone()).await.expect(200)).is_empty());
    for token in [&api.user_token, &api.client_token] {
        assert_eq!(ids(&api.post(PATH, body.clone()).token(token).await.expect(200)), [client_id.to_string()]);
    }
}

#[tokio::test]
async fn wrong_types_and_malformed_ids_are_refused() {
    let api = TestApi::new();
    let wrong = [
        json!({"count": 1.5}),
        json!({"count": "4"}),
        json!({"specs": {}}),
        json!({"specs": [{"location_id": "x"}]}),
        json!({"exclude_client_ids": ["01020304"]}),
        json!({"exclude_destinations": ["01020304-0506-0708-090a-0b0c0d0e0f10"]}),
        json!({"force_count": 1}),
    ];
    for body in wrong {
        api.post(PATH, body).await.expect(400);
    }
    for count in [0, 1, 1000, i64::MAX, i64::MIN] {
        api.post(PATH, json!({"count": count, "specs": [{"best_available": true}]})).await.expect(200);
    }
}

#[tokio::test]
async fn old_apps_get_ids_alone() {
    let api = located();
    let path = "/network/find-providers";
    api.post(path, json!({"count": 3})).await.golden(200, "none");
    let (first, _first) = provide(&api, &[ProvideMode::Public]).await;
    let answer = api.post(path, json!({})).await;
    answer.golden(200, "anywhere");
    let (second, _second) = provide(&api, &[ProvideMode::Public]).await;
    let body = json!({"specs": [{"best_available": true}]});
    let country = api.post(PATH, body).await.expect(200)["providers"][0]["location"]["country_location_id"].clone();
    let ids = |answer: Value| answer["client_ids"].as_array().unwrap().len();
    assert_eq!(ids(api.post(path, json!({"location_id": country, "count": 5})).await.expect(200)), 2);
    assert_eq!(ids(api.post(path, json!({"location_id": country, "count": 1})).await.expect(200)), 1);
    assert_eq!(ids(api.post(path, json!({"location_id": first})).await.expect(200)), 0, "no such place");
    assert_eq!(ids(api.post(path, json!({"location_group_id": first})).await.expect(200)), 0, "no such group");
    let without = |key: &str| json!({"count": 5, key: [first]});
    for key in ["exclude_location_ids", "exclude_client_ids"] {
        let answer = api.post(path, without(key)).await.expect(200);
        assert_eq!(answer["client_ids"], json!([second]), "{key}");
    }
    api.post(path, json!({"count": "many"})).await.golden(400, "wrong_type");
}

#[tokio::test]
async fn plain_words_become_specs() {
    let api = TestApi::new();
    let path = "/network/create-provider-spec";
    api.post(path, json!({"query": "germny or sweden"})).await.golden(200, "two_countries");
    api.post(path, json!({"query": "Nordic"})).await.golden(200, "group");
    api.post(path, json!({"query": "01020304-0506-0708-090a-0b0c0d0e0f10"})).await.golden(200, "client");
    api.post(path, json!({"query": "nowhere at all"})).await.golden(200, "anything");
    api.post(path, json!({"query": ""})).await.golden(200, "empty");
    api.post(path, json!({"query": 7})).await.golden(400, "wrong_type");
}
