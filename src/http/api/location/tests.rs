use serde_json::{Value, json};

use crate::http::api::provider::tests::{located, provide};
use crate::http::testing::TestApi;
use crate::wire::messages::ProvideMode;

#[tokio::test]
async fn an_empty_market_has_empty_lists() {
    TestApi::new().get("/network/provider-locations").await.golden(200, "nothing");
}

#[tokio::test]
async fn countries_with_providers_are_listed() {
    let api = located();
    let (_, _first) = provide(&api, &[ProvideMode::Public]).await;
    let (_, _second) = provide(&api, &[ProvideMode::Public, ProvideMode::Network]).await;
    let (_, _private) = provide(&api, &[ProvideMode::Network]).await;
    let answer = api.get("/network/provider-locations").token("stale").await;
    answer.golden(200, "one_country");
    assert_eq!(answer.body["locations"][0]["provider_count"], 2);
    let answer = api.get("/network/provider-locations").token(&api.user_token).await.expect(200);
    assert_eq!(answer["locations"][0]["provider_count"], 3, "members see what only they may use");
}

const FIND: &str = "/network/find-provider-locations";

fn names(answer: &Value) -> Vec<(String, u64)> {
    let locations = answer["locations"].as_array().unwrap();
    locations
        .iter()
        .map(|place| (place["name"].as_str().unwrap().to_owned(), place["match_distance"].as_u64().unwrap_or(0)))
        .collect()
}

#[tokio::test]
async fn places_with_providers_are_found_by_name() {
    let api = located();
    api.post(FIND, json!({"query": "germany"})).await.golden(200, "nothing");
    let (_, _guard) = provide(&api, &[ProvideMode::Public]).await;
    let answer = api.post(FIND, json!({"query": "berln"})).await;
    answer.golden(200, "typo");
    // "Land Berlin" has a word that matches as well; the country comes along.
    let mut found = names(&answer.body);
    found.sort();
    let expected = [("Berlin", 1), ("Germany", 3), ("Land Berlin", 1)].map(|(name, at)| (name.to_owned(), at));
    assert_eq!(found, expected);
    let by_code = names(&api.post(FIND, json!({"query": "DE"})).await.expect(200));
    assert_eq!(by_code[0], ("Germany".to_owned(), 0));
    assert_eq!(by_code.len(), 3, "its region and its city come along");
    let exact = json!({"query": "berln", "enable_max_distance_fraction": true, "max_distance_fraction": 0.1});
    assert!(names(&api.post(FIND, exact).await.expect(200)).is_empty());
    let fifth = json!({"query": "berln", "enable_max_distance_fraction": true});
    assert_eq!(names(&api.post(FIND, fifth).await.expect(200)).len(), 3, "a fifth of five letters");
    assert!(names(&api.post(FIND, json!({"query": "sweden"})).await.expect(200)).is_empty(), "nobody is there");
}

#[tokio::test]
async fn an_empty_query_lists_the_countries_and_an_id_finds_itself() {
    let api = located();
    let (_, _guard) = provide(&api, &[ProvideMode::Public]).await;
    api.post(FIND, json!({"query": "  "})).await.golden(200, "empty");
    let forms =
        [("01020304-0506-0708-090a-0b0c0d0e0f10", "id"), ("0102030405060708090A0B0C0D0E0F10", "id_without_hyphens")];
    for (query, case) in forms {
        let answer = api.post(FIND, json!({"query": query})).await;
        assert_eq!(answer.body["devices"][0]["client_id"], "01020304-0506-0708-090a-0b0c0d0e0f10");
        assert_eq!(answer.body["devices"][0]["device_name"], "01020304-0506-0708-090a-0b0c0d0e0f10");
        answer.golden(200, case);
    }
}

#[tokio::test]
async fn members_find_places_that_only_they_may_use() {
    let api = located();
    let (_, _guard) = provide(&api, &[ProvideMode::Network]).await;
    let query = json!({"query": "berlin"});
    assert!(names(&api.post(FIND, query.clone()).await.expect(200)).is_empty());
    let answer = api.post(FIND, query).token(&api.user_token).await.expect(200);
    assert_eq!(names(&answer).len(), 3);
    assert!(answer["locations"].as_array().unwrap().iter().all(|place| place["provider_count"] == 1));
}

#[tokio::test]
async fn odd_queries_have_answers() {
    let api = located();
    let (_, _guard) = provide(&api, &[ProvideMode::Public]).await;
    let long = "x".repeat(10_000);
    for path in [FIND, "/network/find-locations"] {
        for query in ["ベルリン", "😀😀😀", "\u{0}", "a", long.as_str(), "((((", "-----"] {
            let answer = api.post(path, json!({"query": query})).await.expect(200);
            assert!(answer["locations"].is_array() && answer["groups"].is_array() && answer["devices"].is_array());
        }
        for fraction in [-1.0, 0.0, 1e300] {
            let body =
                json!({"query": "germany", "enable_max_distance_fraction": true, "max_distance_fraction": fraction});
            api.post(path, body).await.expect(200);
        }
        api.post(path, json!({"query": ["x"]})).await.golden(400, "wrong_type");
    }
}

#[tokio::test]
async fn all_places_groups_and_devices_are_found_by_name() {
    let api = TestApi::new();
    let path = "/network/find-locations";
    api.post(path, json!({"query": "swedn"})).await.golden(200, "country_without_providers");
    api.post(path, json!({"query": "nordic"})).await.golden(200, "group");
    api.post(path, json!({"query": "laptop"})).token(&api.client_token).await.golden(200, "device");
    let stranger = api.post(path, json!({"query": "laptop"})).await.expect(200);
    assert_eq!(stranger["devices"], json!([]));
    api.post(path, json!({})).await.golden(200, "empty");
}

#[tokio::test]
async fn the_map_has_the_regions_with_providers() {
    let api = located();
    let path = "/stats/providers-map";
    api.get(path).await.golden(200, "empty");
    let (_, _first) = provide(&api, &[ProvideMode::Public]).await;
    let (_, _private) = provide(&api, &[ProvideMode::Network]).await;
    api.get(path).await.golden(200, "one_region");
}
