//! Through the routes: what apps ask of Stripe, and what Stripe reports.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::coinbase::{redeem, sent};
use super::{bought_pro, store, subscription};
use crate::config::Config;
use crate::domain::purchase::checkout::{PURCHASE_REFERENCES, PurchaseKeys};
use crate::http::testing::{START, TestApi};
use crate::vendor::testing::Mock;

fn config(mock: &Mock) -> Config {
    let mut config = TestApi::config();
    let stripe = &mut config.stripe;
    stripe.secret_key = "sk_test_1".into();
    stripe.publishable_key = "pk_test_1".into();
    stripe.signing_secret = "whsec_1".into();
    stripe.price_monthly = "price_month".into();
    stripe.price_data_1tib = "price_data".into();
    stripe.success_url = "https://app.example/thanks".into();
    stripe.cancel_url = "https://app.example/back".into();
    stripe.base_url = mock.base_url.clone();
    config
}

/// A `Stripe-Signature` of a report.
fn sign(secret: &str, seconds: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    format!("t={seconds},v1={},v0=00", hex::encode(tag))
}

async fn report(api: &TestApi, body: &Value) -> u16 {
    let signature = sign("whsec_1", api.clock.now().as_secs(), &body.to_string());
    api.post("/pay/stripe", body.clone()).header("stripe-signature", &signature).await.status.as_u16()
}

#[tokio::test]
async fn sessions_are_made_with_the_addresses_of_the_settings_only() {
    let mock = Mock::start("stripe/sessions", &[]).await;
    let api = TestApi::with_config(config(&mock));
    let ask = |body: Value| api.post("/stripe/create-checkout-session", body).token(&api.user_token);
    ask(json!({"item_id": "pro_monthly", "success_url": "https://evil.example"})).await.golden(200, "stripe_hosted");
    ask(json!({"item_id": "data_1tib", "ui_mode": "embedded"})).await.golden(200, "stripe_embedded");
    let body = json!({"item_id": "data_1tib", "ui_mode": "embedded", "redirect_on_completion": "never"});
    ask(body).await.golden(200, "stripe_embedded_that_stays");
    ask(json!({"item_id": "pro_yearly"})).await.golden(200, "stripe_without_price");
    ask(json!({"item_id": "pro_monthly"})).await.golden(200, "stripe_refuses");
    mock.finish();
}

#[tokio::test]
async fn a_request_that_got_lost_is_sent_again_under_the_same_key() {
    let mock = Mock::start("stripe/retries", &[]).await;
    let api = TestApi::with_config(config(&mock));
    let body = json!({"item_id": "pro_monthly"});
    let answer = api.post("/stripe/create-checkout-session", body).token(&api.user_token).await.expect(200);
    assert_eq!(answer["session_id"], "cs_test_4");
    let keys = mock.finish();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0] && key.len() == 32), "{keys:?}");
}

#[tokio::test]
async fn apps_that_take_cards_get_intents_and_then_a_portal() {
    let mock = Mock::start("stripe/intents", &[]).await;
    let api = TestApi::with_config(config(&mock));
    let portal = || api.post("/stripe/customer-portal", json!({})).token(&api.user_token);
    assert_eq!(portal().await.expect(200)["error"]["message"], "No stripe customer found");
    let intents = || api.post("/stripe/payment-intent", json!({})).token(&api.client_token);
    intents().await.golden(200, "stripe");
    // The customer is known now.
    intents().await.golden(200, "stripe");
    portal().await.golden(200, "stripe");
    let keys = mock.finish();
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len(), "each request has a key of its own");
}

#[tokio::test]
async fn unsigned_old_and_foreign_reports_are_refused() {
    let mock = Mock::start("stripe/nothing", &[]).await;
    let api = TestApi::with_config(config(&mock));
    let body = json!({"id": "evt_1", "type": "customer.updated", "data": {"object": {}}});
    let (text, now) = (body.to_string(), START.as_secs());
    let right = sign("whsec_1", now, &text);
    let send = |signature: String| api.post("/pay/stripe", body.clone()).header("stripe-signature", &signature);
    send(right.clone()).await.golden(200, "unknown_type");
    send(sign("whsec_1", now - 300, &text)).await.expect(200);
    send(sign("whsec_2", now, &text)).await.golden(400, "bad_signature");
    for wrong in [
        sign("whsec_1", now - 301, &text),
        sign("whsec_1", now + 301, &text),
        sign("whsec_1", now, "{}"),
        right.replace("t=", "t=9"),
        right.replace("v1=", "v0="),
        String::new(),
        "t=,v1=".into(),
    ] {
        send(wrong.clone()).await.expect(400);
    }
    api.post("/pay/stripe", body.clone()).await.expect(400);
    let odd = json!([1]);
    let signature = sign("whsec_1", now, &odd.to_string());
    api.post("/pay/stripe", odd).header("stripe-signature", &signature).await.golden(400, "malformed");
    mock.finish();
}

fn refund(is_full: bool) -> Value {
    json!({"id": "evt_3", "type": "charge.refunded",
           "data": {"object": {"id": "ch_1", "refunded": is_full, "payment_intent": "pi_1"}}})
}

fn invoice(network: &str) -> Value {
    let now = START.as_secs();
    json!({"id": "evt_2", "type": "invoice.paid", "data": {"object": {
        "id": "in_1", "subscription": "sub_1", "amount_paid": 499, "payment_intent": "pi_1", "charge": "ch_1",
        "subscription_details": {"metadata": {"network_id": network}},
        "lines": {"data": [{"price": {"id": "price_month"}, "period": {"start": now, "end": now + 30 * 86_400}}]},
    }}})
}

#[tokio::test]
async fn an_invoice_gives_pro_once_and_its_refund_ends_it() {
    let mock = Mock::start("stripe/nothing", &[]).await;
    let api = TestApi::with_config(config(&mock));
    let network = api.user.network_id.to_string();
    for _ in 0..3 {
        assert_eq!(report(&api, &invoice(&network)).await, 200);
    }
    assert_eq!(store(&api).await.as_deref(), Some("stripe"));
    assert_eq!(bought_pro(&api).await.len(), 1);
    assert_eq!(report(&api, &refund(false)).await, 200);
    assert_eq!(bought_pro(&api).await.len(), 1, "a part of the price takes nothing back");
    for _ in 0..2 {
        assert_eq!(report(&api, &refund(true)).await, 200);
    }
    assert_eq!(bought_pro(&api).await.len(), 0);
    assert_eq!(report(&api, &invoice(&network)).await, 200);
    assert_eq!(bought_pro(&api).await.len(), 0, "a replay does not bring it back");
    mock.finish();
}

/// What is Pro in a balance, months of Pro included.
async fn is_pro(api: &TestApi) -> bool {
    let balance = subscription(api).await;
    let balances = balance["active_transfer_balances"].as_array().unwrap();
    balance.get("current_subscription").is_some() || balances.iter().any(|balance| balance["pro"] == true)
}

#[tokio::test]
async fn the_refund_of_one_of_two_subscriptions_leaves_the_other() {
    let mock = Mock::start("stripe/nothing", &[]).await;
    let api = TestApi::with_config(config(&mock));
    let network = api.user.network_id.to_string();
    assert_eq!(report(&api, &invoice(&network)).await, 200);
    let mut other = invoice(&network);
    for (name, value) in [("id", "in_2"), ("payment_intent", "pi_2"), ("charge", "ch_2")] {
        other["data"]["object"][name] = json!(value);
    }
    assert_eq!(report(&api, &other).await, 200);
    assert_eq!(bought_pro(&api).await.len(), 2);
    assert_eq!(report(&api, &refund(true)).await, 200);
    assert_eq!((bought_pro(&api).await.len(), store(&api).await.as_deref()), (1, Some("stripe")));
    let mut last = refund(true);
    last["data"]["object"]["id"] = json!("ch_2");
    last["data"]["object"]["payment_intent"] = json!("pi_2");
    assert_eq!(report(&api, &last).await, 200);
    assert!(!is_pro(&api).await, "the month of Pro ends with the last");
    mock.finish();
}

#[tokio::test]
async fn a_refund_that_comes_before_what_was_paid_is_given_is_not_forgotten() {
    let mock = Mock::start("stripe/nothing", &[]).await;
    let api = TestApi::with_config(config(&mock));
    // The process died when the payment was known and nothing was given.
    for reference in ["stripe:charge:ch_1", "stripe:payment_intent:pi_1"] {
        let key = PurchaseKeys { keys: vec!["stripe:invoice:in_1".into()] };
        api.put(&PURCHASE_REFERENCES, &reference.to_owned(), &key).await;
    }
    assert_eq!(report(&api, &refund(true)).await, 200);
    // Stripe sends again what was not answered.
    assert_eq!(report(&api, &invoice(&api.user.network_id.to_string())).await, 200);
    assert!(!is_pro(&api).await);
    mock.finish();
}

#[tokio::test]
async fn a_subscription_without_metadata_is_looked_up() {
    let network = TestApi::new().user.network_id.to_string();
    let mock = Mock::start("stripe/look_up", &[]).await;
    let api = TestApi::with_config(config(&mock));
    let mut paid = invoice(&network);
    paid["data"]["object"]["subscription_details"] = Value::Null;
    // It belongs to no network that can be found: Stripe shall ask again.
    assert_eq!(report(&api, &paid).await, 503);
    assert_eq!(bought_pro(&api).await.len(), 0);
    mock.finish();
}

#[tokio::test]
async fn a_paid_session_gives_each_of_its_lines_once() {
    let mock = Mock::start("stripe/lines", &[]).await;
    let api = TestApi::with_config(config(&mock));
    let session = json!({"id": "evt_4", "type": "checkout.session.completed", "data": {"object": {
        "id": "cs_test_9", "client_reference_id": api.user.network_id, "customer": "cus_9", "mode": "payment",
        "payment_status": "paid", "payment_intent": "pi_9",
    }}});
    for _ in 0..2 {
        assert_eq!(report(&api, &session).await, 200);
    }
    let body = api.get("/subscription/balance").token(&api.user_token).await.expect(200);
    let paid: Vec<i64> = body["active_transfer_balances"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|balance| balance["paid"] == true)
        .map(|balance| balance["start_balance_byte_count"].as_i64().unwrap())
        .collect();
    assert_eq!(paid, [2 << 40, 1 << 40], "a quantity of two, and a price nobody knows is skipped");
    // Buyers of sessions are known to the portal.
    let url = api.post("/stripe/customer-portal", json!({})).token(&api.user_token).await.expect(200);
    assert_eq!(url["url"], "https://billing.stripe.example/9");
    let nobody = json!({"id": "evt_5", "type": "checkout.session.completed", "data": {"object": {
        "id": "cs_test_8", "mode": "payment", "payment_status": "paid",
    }}});
    assert_eq!(report(&api, &nobody).await, 503);
    let dispute = json!({"id": "evt_6", "type": "charge.dispute.created",
                         "data": {"object": {"id": "dp_1", "charge": "ch_9", "payment_intent": "pi_9"}}});
    assert_eq!(report(&api, &dispute).await, 200);
    let body = api.get("/subscription/balance").token(&api.user_token).await.expect(200);
    assert!(body["active_transfer_balances"].as_array().unwrap().iter().all(|balance| balance["paid"] == false));
    mock.finish();
}

#[tokio::test]
async fn data_that_nobody_known_here_has_bought_goes_out_as_codes_and_its_refund_ends_them() {
    let mock = Mock::start("stripe/by_mail", &[]).await;
    let api = TestApi::with_config(config(&mock));
    let session = json!({"id": "evt_7", "type": "checkout.session.completed", "data": {"object": {
        "id": "cs_test_7", "mode": "payment", "payment_status": "paid", "payment_intent": "pi_7",
        "customer_details": {"email": "ada@hill.example"},
    }}});
    for _ in 0..2 {
        assert_eq!(report(&api, &session).await, 200);
    }
    let codes = sent(&api);
    assert_eq!(codes.len(), 2, "one for each line, once");
    assert!(codes.iter().all(|(to, _)| to == "ada@hill.example"));
    let redeemed = redeem(&api, &codes[0].1).await;
    assert_eq!(redeemed["transfer_balance"]["balance_byte_count"], 2i64 << 40, "a quantity of two");
    let refund = json!({"id": "evt_8", "type": "charge.refunded",
                        "data": {"object": {"id": "ch_7", "refunded": true, "payment_intent": "pi_7"}}});
    assert_eq!(report(&api, &refund).await, 200);
    assert_eq!(redeem(&api, &codes[1].1).await["error"]["message"], "Unknown balance code.");
    let balances = subscription(&api).await["active_transfer_balances"].clone();
    assert!(balances.as_array().unwrap().iter().all(|balance| balance["paid"] == false), "what was redeemed ended too");
    assert_eq!(report(&api, &session).await, 200);
    assert_eq!(sent(&api), [], "a replay does not bring it back");
    mock.finish();
}
