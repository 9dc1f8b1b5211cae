use axum::http::{Method, header};
use serde_json::json;

use super::testing::{Browser, set_cookies};
use crate::http::testing::TestApi;

mod pages;
mod place;
mod settings;
mod signin;
mod signup;

/// Every page that nobody need be signed in for.
const OPEN_PAGES: &[&str] = &["/", "/privacy", "/terms", "/support", "/contact", "/notification", "/clients"];

#[tokio::test]
async fn every_page_is_guarded_and_whole_in_each_language() {
    let api = TestApi::new();
    for path in OPEN_PAGES {
        for (language, word) in [("en", "Sign in"), ("ru", "Войти")] {
            let answer = Browser::new(&api).get(&format!("{path}?lang={language}")).await;
            assert_eq!(answer.status, 200, "{path}");
            assert!(answer.text.contains(&format!("<html lang=\"{language}\">")), "{path}");
            assert!(answer.text.contains(word) && answer.text.contains("</html>"), "{path}");
            assert_eq!(answer.text.matches("<h1>").count(), 1, "{path}");
            for scripted in ["<script", "javascript:", " onclick", " style=", "//cdn"] {
                assert!(!answer.text.contains(scripted), "{path} holds {scripted}");
            }
        }
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_guard_it() {
    for is_secure in [false, true] {
        let mut config = TestApi::config();
        if is_secure {
            config.portal.base_url = "https://account.hill.example".into();
        }
        let api = TestApi::with_config(config);
        for path in OPEN_PAGES.iter().chain(&["/portal.css", "/ip", "/health", "/error-test", "/download-mac-app"]) {
            let answer = api.get(path).header("accept", "text/html").await;
            let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}");
            assert!(policy.contains("frame-ancestors 'none'"), "{path}");
            assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
            assert_eq!(answer.headers["x-frame-options"], "DENY", "{path}");
            assert_eq!(answer.headers["referrer-policy"], "no-referrer", "{path}");
            assert_eq!(answer.headers.contains_key("strict-transport-security"), is_secure, "{path}");
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_choice_of_language_is_kept_and_the_query_stays() {
    let api = TestApi::new();
    let mut browser = Browser::new(&api);
    let answer = browser.get("/?lang=ru&x=%26").await;
    assert!(answer.text.contains("href=\"?x=%26&amp;lang=en\""), "{}", answer.text);
    assert_eq!(browser.cookie("lang"), Some("ru"));
    assert!(browser.get("/").await.text.contains("lang=\"ru\">"));
    let answer = api.get("/").header("accept", "text/html").header("accept-language", "ru,en;q=0.5").await;
    assert!(answer.text.contains("<html lang=\"ru\">"));
    assert!(set_cookies(&Browser::new(&api).get("/?lang=xx").await).is_empty());
}

#[tokio::test]
async fn paths_that_nobody_knows_answer_as_their_reader_wants() {
    let api = TestApi::new();
    Browser::new(&api).get("/nowhere").await.portal_golden(404, "page");
    let answer = api.get("/nowhere").await.expect(404);
    assert_eq!(answer, json!({"error": {"message": "No such route."}}), "beside the API its body counts");
    let answer = api.call(Method::POST, "/health", None).await;
    answer.portal_golden(405, "wrong_method");
    assert!(answer.headers.contains_key("allow"));
}

#[tokio::test]
async fn the_first_page_is_for_browsers_and_the_relay_for_others() {
    let api = TestApi::new();
    Browser::new(&api).get("/").await.portal_golden(200, "page");
    let answer = api.get("/").await;
    assert_eq!(answer.headers["sec-websocket-version"], "13");
    answer.expect(400);
    api.call(Method::POST, "/", None).await.expect(405);
}

#[tokio::test]
async fn under_its_own_name_there_is_nothing_but_the_website() {
    let mut config = TestApi::config();
    config.portal.host = "account.hill.example".into();
    let api = TestApi::with_config(config);
    for host in ["account.hill.example", "Account.Hill.Example:8080"] {
        api.get("/health").header("host", host).await.expect(200);
        assert_eq!(api.get("/").header("host", host).await.status, 200);
        api.get("/nowhere").header("host", host).await.portal_golden(404, "program");
        api.get("/hello").header("host", host).await.expect(404);
    }
    for host in ["api.hill.example", "account.hill.example.evil.example"] {
        api.get("/hello").header("host", host).await.expect(200);
        api.get("/health").header("host", host).header("accept", "text/html").await.expect(404);
        api.get("/").header("host", host).header("accept", "text/html").await.expect(400);
    }
}

#[tokio::test]
async fn switched_off_it_is_not_there() {
    let mut config = TestApi::config();
    config.portal.enabled = false;
    let api = TestApi::with_config(config);
    for path in ["/health", "/nowhere"] {
        api.get(path).header("accept", "text/html").await.expect(404);
    }
    api.get("/").header("accept", "text/html").await.expect(400);
}

#[tokio::test]
async fn no_path_is_both_of_the_api_and_of_the_website() {
    let api = TestApi::new();
    let document = crate::http::api::routes().into_openapi();
    for (path, _) in super::routes(&api.state) {
        assert!(!document.paths.paths.contains_key(path), "{path}");
    }
}

#[tokio::test]
async fn other_sites_cannot_post() {
    let api = TestApi::new();
    let answer = api.form("/nowhere", &[]).header("accept", "text/html").header("sec-fetch-site", "cross-site").await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn an_operator_replaces_templates_and_a_broken_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let page = "{% extends \"base.html\" %}{% block title %}x{% endblock %}{% block main %}<h1>Mine</h1>{% endblock %}";
    std::fs::write(folder.path().join("home.html"), page).unwrap();
    std::fs::write(folder.path().join("portal.css"), "body{}").unwrap();
    std::fs::write(folder.path().join("clients.html"), "{{ no_such_name }}").unwrap();
    let mut config = TestApi::config();
    config.portal.templates = folder.path().to_owned();
    let api = TestApi::with_config(config.clone());
    assert!(Browser::new(&api).get("/").await.text.contains("<h1>Mine</h1>"));
    assert_eq!(api.get("/portal.css").await.text, "body{}");
    let answer = Browser::new(&api).get("/clients").await;
    assert_eq!(answer.status, 500, "a name that is not there is no page");
    std::fs::write(folder.path().join("home.html"), "{% if %}").unwrap();
    let error = super::Portal::open(&config).unwrap_err().to_string();
    assert!(error.contains("home.html"), "{error}");
}
