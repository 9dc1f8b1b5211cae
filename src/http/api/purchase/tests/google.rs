//! Through the route that phones call.

use serde_json::json;

use super::company::Mock;
use super::{bought_pro, store};
use crate::config::Config;
use crate::http::testing::{Answer, TestApi};

fn config(mock: &Mock) -> Config {
    let mut config = TestApi::config();
    config.google.package = "com.example.app".into();
    config.google.client_id = "client-1".into();
    config.google.client_secret = "secret-1".into();
    config.google.refresh_token = "refresh/1".into();
    config.google.product_monthly = "monthly".into();
    config.google.product_yearly = "yearly".into();
    config.google.token_url = format!("{}/o/oauth2/token", mock.base_url);
    config.google.base_url = mock.base_url.clone();
    config.purchase.monthly_usd = "5".parse().unwrap();
    config
}

async fn report(api: &TestApi, token: &str) -> Answer {
    let body = json!({"package_name": "com.example.app", "product_id": "monthly", "purchase_token": token});
    api.post("/subscription/verify-play-purchase", body).token(&api.user_token).await
}

#[tokio::test]
async fn a_purchase_is_looked_up_given_once_and_acknowledged() {
    let mock = Mock::start("google/credited", &[]).await;
    let api = TestApi::with_config(config(&mock));
    report(&api, "token/1").await.golden(200, "google_credited");
    report(&api, "token/1").await.golden(200, "google_already_credited");
    let balances = bought_pro(&api).await;
    assert_eq!((balances.len(), store(&api).await.as_deref()), (1, Some("google")));
    assert_eq!(balances[0]["end_time"], "2026-02-20T00:00:00Z", "a day beyond what was paid");
    // The renewal of the same token is another period.
    api.clock.advance(std::time::Duration::from_secs(14 * 86_400));
    report(&api, "token/1").await.golden(200, "google_credited");
    assert_eq!(bought_pro(&api).await.len(), 2);
    mock.finish();
}

#[tokio::test]
async fn each_state_of_the_store_has_its_answer() {
    let mock = Mock::start("google/states", &[]).await;
    let api = TestApi::with_config(config(&mock));
    for state in ["pending", "paused", "on_hold", "in_grace"] {
        let answer = report(&api, state).await.expect(200);
        assert_eq!(answer, json!({"status": "pending"}), "{state}");
    }
    for state in ["expired", "past", "other_product", "unknown_400", "unknown_404", "unknown_410"] {
        let answer = report(&api, state).await.expect(200);
        assert_eq!(answer, json!({"status": "invalid"}), "{state}");
    }
    report(&api, "forbidden").await.golden(503, "google_forbids");
    report(&api, "cancelled").await.golden(200, "google_cancelled_but_paid");
    let body = json!({"package_name": "com.other", "purchase_token": "x"});
    let answer = api.post("/subscription/verify-play-purchase", body).token(&api.user_token).await;
    assert_eq!(answer.expect(200)["status"], "invalid", "nobody is asked");
    mock.finish();
}

#[tokio::test]
async fn a_purchase_belongs_to_whom_the_app_named_else_to_the_first_to_report_it() {
    let mock = Mock::start("google/other", &[]).await;
    let api = TestApi::with_config(config(&mock));
    // The account is of nobody here.
    assert_eq!(report(&api, "token-1").await.expect(200)["status"], "credited");
    let request = serde_json::json!({"terms": true, "network_name": "another-one", "seedphrase": true});
    let made = api.post("/auth/network-create", request).await.expect(200);
    let other = made["network"]["by_jwt"].as_str().unwrap();
    let body = json!({"purchase_token": "token-1"});
    let answer = api.post("/subscription/verify-play-purchase", body).token(other).await;
    answer.golden(200, "google_wrong_network");
    mock.finish();
}

#[tokio::test]
async fn phones_keep_their_proof_while_the_store_is_down_or_the_keys_are_wrong() {
    let mock = Mock::start("google/down", &[]).await;
    let api = TestApi::with_config(config(&mock));
    report(&api, "token-1").await.golden(503, "google_keys_refused");
    mock.finish();
}
