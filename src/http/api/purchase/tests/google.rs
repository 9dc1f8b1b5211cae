//! Through the route that phones call.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD as STANDARD, BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{bought_pro, store};
use crate::config::Config;
use crate::domain::payment_id::{PAYMENT_IDS, PaymentId};
use crate::http::testing::{Answer, Call, TestApi};
use crate::vendor::testing::Mock;

fn config(mock: &Mock) -> Config {
    let mut config = TestApi::config();
    config.google.package = "com.example.app".into();
    config.google.client_id = "client-1".into();
    config.google.client_secret = "secret-1".into();
    config.google.refresh_token = "refresh/1".into();
    config.google.product_monthly = "monthly".into();
    config.google.product_yearly = "yearly".into();
    config.google.token_url = format!("{}/o/oauth2/token", mock.base_url);
    config.google.tokeninfo_url = format!("{}/tokeninfo", mock.base_url);
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

const PUBLISHER: &str = "push@example.iam.gserviceaccount.com";

/// The token of a push, as far as it can be read without asking.
fn push_token(email: &str) -> String {
    let claims = URL_SAFE_NO_PAD.encode(json!({"email": email, "aud": "x"}).to_string());
    format!("e30.{claims}.c2ln")
}

fn push(api: &TestApi, token: &str, data: &Value) -> Call {
    let data = STANDARD.encode(data.to_string());
    let body = json!({"message": {"data": data, "messageId": "1"}, "subscription": "projects/x/subscriptions/y"});
    api.post("/pay/play", body).header("authorization", &format!("Bearer {token}"))
}

fn subscription(token: &str, kind: u64) -> Value {
    json!({"version": "1.0", "packageName": "com.example.app", "eventTimeMillis": "1",
           "subscriptionNotification": {"version": "1.0", "notificationType": kind, "purchaseToken": token}})
}

#[tokio::test]
async fn a_push_is_looked_up_given_once_acknowledged_and_taken_back() {
    let account: crate::ids::RecordId = "0a0b0c0d-0102-4304-8506-0708090a0b0c".parse().unwrap();
    let token = push_token(PUBLISHER);
    let replace = [("$token", token.as_str()), ("$account", "0a0b0c0d-0102-4304-8506-0708090a0b0c")];
    let mock = Mock::start("google/push", &replace).await;
    let mut config = config(&mock);
    config.google.publisher_email = PUBLISHER.into();
    let api = TestApi::with_config(config);
    let (network_id, user_id, create_time) = (api.user.network_id, api.user.user_id, api.clock.now());
    api.put(&PAYMENT_IDS, &account, &PaymentId { network_id, user_id, create_time }).await;
    for _ in 0..2 {
        push(&api, &token, &subscription("t-1", 4)).await.golden(200, "bought");
    }
    assert_eq!((bought_pro(&api).await.len(), store(&api).await.as_deref()), (1, Some("google")));
    push(&api, &token, &subscription("t-1", 12)).await.golden(200, "revoked_but_active");
    assert_eq!(bought_pro(&api).await.len(), 1, "the store itself says otherwise");
    push(&api, &token, &subscription("t-1", 12)).await.golden(200, "revoked");
    assert_eq!(bought_pro(&api).await.len(), 0);
    push(&api, &token, &subscription("t-2", 5)).await.golden(200, "on_hold");
    push(&api, &token, &subscription("t-3", 4)).await.golden(200, "unknown");
    push(&api, &token, &subscription("t-4", 4)).await.golden(503, "store_refuses");
    assert_eq!(bought_pro(&api).await.len(), 0);
    mock.finish();
}

#[tokio::test]
async fn pushes_of_others_and_about_nothing_are_refused_or_skipped() {
    let token = push_token(PUBLISHER);
    let mock = Mock::start("google/push_refused", &[("$token", &token)]).await;
    let mut config = config(&mock);
    config.google.publisher_email = PUBLISHER.into();
    let api = TestApi::with_config(config);
    let bought = subscription("t-1", 4);
    for strange in [String::new(), "x".into(), push_token("other@example.com"), "a.".repeat(3000)] {
        push(&api, &strange, &bought).await.golden(400, "nobody_is_asked");
    }
    for case in ["google_does_not_vouch", "another_account", "unverified_account"] {
        push(&api, &token, &bought).await.golden(400, case);
    }
    let mut other_app = subscription("t-1", 4);
    other_app["packageName"] = json!("com.other");
    push(&api, &token, &other_app).await.golden(200, "another_app");
    push(&api, &token, &json!({"packageName": "com.example.app", "testNotification": {}})).await.golden(200, "test");
    let malformed = api.post("/pay/play", json!({"message": {"data": "?"}}));
    malformed.header("authorization", &format!("Bearer {token}")).await.golden(400, "malformed");
    mock.finish();
}
