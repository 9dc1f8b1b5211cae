//! The commands over a store in memory.

use serde_json::json;

use super::router;
use crate::http::testing::TestApi;

fn api() -> TestApi {
    TestApi::new().with_router(router)
}

#[tokio::test]
async fn networks_are_listed_shown_by_id_and_name_and_deleted() {
    let api = api();
    let listed = api.post("/network/list", json!({"limit": 10})).await.expect(200);
    let network = &listed["networks"][0];
    assert_eq!(network["network_id"], api.user.network_id.to_string());
    assert_eq!(listed.get("next"), None);
    for named in [&network["network_id"], &network["name"]] {
        let shown = api.post("/network/show", json!({"network": named})).await.expect(200);
        assert_eq!(shown["network_id"], network["network_id"]);
        assert_eq!(shown["sign_in"][0]["kind"], "seedphrase");
        assert_eq!(shown["available_bytes"], 1i64 << 40);
    }
    let deleted = api.post("/network/delete", json!({"network": network["name"]})).await.expect(200);
    assert_eq!(deleted["network_id"], network["network_id"]);
    let listed = api.post("/network/list", json!({"limit": 10})).await.expect(200);
    assert_eq!(listed["networks"], json!([]));
}

#[tokio::test]
async fn refusals_are_sentences_that_say_what_to_do() {
    let api = api();
    for route in ["/network/show", "/network/delete"] {
        let refused = api.post(route, json!({"network": "nobody"})).await.expect(404);
        let text = refused["error"]["message"].as_str().unwrap();
        assert!(text.contains("\"nobody\"") && text.contains("warren admin network list"), "{text}");
    }
    let refused = api.post("/no/command", json!({})).await.expect(404);
    assert!(refused["error"]["message"].as_str().unwrap().contains("/no/command"));
    let too_large = json!({"network": "x".repeat(super::BODY_BYTES)});
    api.post("/network/show", too_large).await.expect(413);
}

#[tokio::test]
async fn the_status_names_release_and_folder() {
    let api = api();
    let status = api.post("/status/show", json!({})).await.expect(200);
    assert_eq!(status["state"], "ok");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["store"], "data");
}
