use serde_json::json;

use crate::config::portal::Link;
use crate::domain::portal::mail::Letter;
use crate::http::portal::testing::Browser;
use crate::http::testing::TestApi;

#[tokio::test]
async fn pages_about_the_place_have_titles() {
    let api = TestApi::new();
    for (path, name) in [
        ("/privacy", "page"),
        ("/terms", "page"),
        ("/support", "page"),
        ("/contact", "page"),
        ("/notification", "page"),
        ("/clients", "page"),
    ] {
        Browser::new(&api).get(path).await.portal_golden(200, name);
    }
}

#[tokio::test]
async fn programs_learn_where_they_are_and_that_all_is_well() {
    let mut config = TestApi::config();
    config.portal.domain = "hill.example".into();
    config.portal.speed_test_bucket = "hill-speedtest".into();
    let api = TestApi::with_config(config);
    api.get("/ip").await.portal_golden(200, "peer");
    let answer = api.get("/ip").from("127.0.0.1:9").header("x-forwarded-for", "198.51.100.7, 203.0.113.1").await;
    answer.portal_golden(200, "behind_a_proxy");
    let answer = api.get("/ip").header("x-forwarded-for", "198.51.100.7").await;
    assert_eq!(answer.body, json!({"ip": "203.0.113.9"}), "a stranger's header is ignored");
    api.get("/health").await.portal_golden(200, "well");
    api.get("/download-speed-test").await.portal_golden(200, "bucket");
}

#[tokio::test]
async fn downloads_lead_to_their_links() {
    let mut config = TestApi::config();
    let link = |url: &str, percent| Link { url: url.into(), percent };
    config.portal.downloads.mac_app = vec![link("https://hill.example/mac.dmg", 100), link("https://no.example", 0)];
    let api = TestApi::with_config(config);
    for _ in 0..20 {
        let answer = api.get("/download-mac-app").await;
        assert_eq!(answer.location(), "https://hill.example/mac.dmg");
        answer.portal_golden(302, "link");
    }
    for path in ["/download-mac-update", "/download-windows-app", "/download-windows-update"] {
        api.get(path).await.portal_golden(404, "none");
    }
}

#[tokio::test]
async fn failures_are_told_to_the_operator_and_to_nobody_else() {
    let mut config = TestApi::config();
    config.portal.admin_mail = "ops@hill.example".into();
    let api = TestApi::with_config(config);
    api.get("/error-test").await.portal_golden(500, "program");
    Browser::new(&api).get("/error-test").await.portal_golden(500, "page");
    match &api.letters()[..] {
        [(to, Letter::Failure { path, cause })] => {
            assert_eq!((to.as_str(), path.as_str()), ("ops@hill.example", "/error-test"));
            assert!(cause.contains("asked for it"));
        }
        other => panic!("not one letter in a minute: {other:?}"),
    }
    api.clock.advance(crate::time::MINUTE);
    api.get("/error-test").await.expect(500);
    assert_eq!(api.letters().len(), 1);
}

#[tokio::test]
async fn too_many_failures_wait_and_successes_do_not_count() {
    let mut config = TestApi::config();
    config.portal.rate_limits.download_app = 2;
    let api = TestApi::with_config(config);
    for _ in 0..2 {
        api.get("/download-mac-app").await.expect(404);
    }
    let answer = api.get("/download-mac-app").await;
    answer.portal_golden(429, "too_many");
    assert_eq!(answer.headers["retry-after"], "60");
    Browser::new(&api).get("/download-mac-app").await.portal_golden(429, "too_many_page");
    assert_eq!(api.get("/download-mac-app").from("198.51.100.1:9").await.status, 404, "others are not held");
    api.clock.advance(crate::time::MINUTE);
    api.get("/download-mac-app").await.expect(404);
}
