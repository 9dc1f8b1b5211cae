use super::*;
use crate::http::testing::TestApi;

#[test]
fn paths_are_cleaned_before_they_are_matched() {
    for (path, prefix, cleaned) in [
        ("/hello", "", "/hello"),
        ("//auth//login", "", "/auth/login"),
        ("/auth/login/", "", "/auth/login"),
        ("/", "", "/"),
        ("//", "", "/"),
        ("/secret/auth/login", "secret", "/auth/login"),
        ("/secret", "/secret/", "/"),
        ("/secretive", "secret", "/secretive"),
        ("/hello", "secret", "/hello"),
    ] {
        assert_eq!(clean_path(path, prefix), cleaned, "{path} behind '{prefix}'");
    }
}

#[tokio::test]
async fn cleaned_paths_keep_their_query() {
    let mut config = TestApi::config();
    config.http.path_prefix = "env-secret".into();
    let api = TestApi::with_config(config);
    api.get("//env-secret//hello/?x=1").await.expect(200);
    api.get("/hello").await.expect(200);
}

#[tokio::test]
async fn preflights_are_answered_on_any_path() {
    let api = TestApi::new();
    for path in ["/hello", "/auth/login", "/no/such/path"] {
        let answer = api.call(Method::OPTIONS, path, None).header("origin", "https://app.example").await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert_eq!(answer.headers["access-control-allow-methods"], "GET, POST, OPTIONS");
        let allowed = "Authorization, Content-Type, Accept, X-Client-Version, X-PAYMENT";
        assert_eq!(answer.headers["access-control-allow-headers"], allowed);
        assert_eq!(answer.headers["access-control-max-age"], "86400");
        assert!(answer.text.is_empty());
    }
}

#[tokio::test]
async fn unknown_paths_answer_404_with_the_cors_header() {
    let answer = TestApi::new().get("/no/such/path").await;
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert!(answer.headers.contains_key("x-request-id"));
    answer.golden(404, "unknown_path");
}

#[tokio::test]
async fn other_methods_answer_405_and_say_which_is_allowed() {
    let answer = TestApi::new().call(Method::POST, "/hello", None).await;
    assert!(answer.headers["allow"].to_str().unwrap().contains("GET"));
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    answer.golden(405, "wrong_method");
}

#[tokio::test]
async fn get_on_the_root_without_upgrade_names_the_websocket_version() {
    let api = TestApi::new();
    let answer = api.get("/").await;
    assert_eq!(answer.headers["sec-websocket-version"], "13");
    answer.expect(400);
    let answer = api.call(Method::POST, "/", None).await;
    assert!(answer.headers["allow"].to_str().unwrap().contains("GET"));
    answer.expect(405);
}

#[tokio::test]
async fn a_panic_is_an_answer_like_any_other() {
    async fn fall() {
        panic!("a bug");
    }
    let api = TestApi::new();
    let api = api.with_router(|state| wrap(Router::new().route("/fall", axum::routing::get(fall)), state));
    let answer = api.get("/fall").await;
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert_eq!(answer.expect(500)["error"]["message"], "Internal error.");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_503() {
    async fn wait() {
        std::future::pending().await
    }
    let api = TestApi::new();
    let api = api.with_router(|state| wrap(Router::new().route("/wait", axum::routing::get(wait)), state));
    api.get("/wait").await.expect(503);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_keeps_its_own_time_is_waited_for() {
    async fn wait(own_time: OwnTime) {
        own_time.take();
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    }
    let api = TestApi::new();
    let api = api.with_router(|state| wrap(Router::new().route("/wait", axum::routing::get(wait)), state));
    assert_eq!(api.get("/wait").await.status, 200);
}
