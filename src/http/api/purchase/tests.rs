use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::config::Config;
use crate::domain::purchase::item::Item;
use crate::domain::purchase::order::{Method as PayMethod, ORDERS, PAID_ORDERS, PayOrder, ReadOrder, RejectOrder};
use crate::domain::purchase::solana::{SOLANA_INTENTS, SolanaIntent};
use crate::domain::wallet::operator::CreditWallet;
use crate::http::testing::{Answer, START, TestApi};

mod apple;
mod coinbase;
mod google;
mod stripe;
mod voucher;

const USD: i64 = 1_000_000_000;
const RECEIVER: &str = "DgTYzxzYRpkGQ8e3Un71GoQf494VLDBnyqXNXB38MP73";
const REFERENCE: &str = "74UNdYRpvakSABaYHSZMQNaXBVtA6eY9Nt8chcqocKe7";

fn priced() -> Config {
    let mut config = TestApi::config();
    config.purchase.monthly_usd = "5".parse().unwrap();
    config.purchase.data_1tib_usd = "4.99".parse().unwrap();
    config.solana.receiver = RECEIVER.into();
    config.solana.webhook_secret = "sesame".into();
    config
}

async fn checkout(api: &TestApi, body: Value) -> Answer {
    api.post("/stripe/create-checkout-session", body).token(&api.client_token).await
}

async fn order(api: &TestApi, item: &str) -> String {
    let body = checkout(api, json!({"item_id": item})).await.expect(200);
    body["session_id"].as_str().unwrap().to_owned()
}

async fn pay(api: &TestApi, id: &str, method: &str) -> Answer {
    api.post(&format!("/pay/local/{id}"), json!({"method": method})).token(&api.user_token).await
}

async fn subscription(api: &TestApi) -> Value {
    api.get("/subscription/balance").token(&api.user_token).await.expect(200)
}

/// The balances that came with bought Pro; the months of Pro have no revenue of their own then.
async fn bought_pro(api: &TestApi) -> Vec<Value> {
    let balances = subscription(api).await["active_transfer_balances"].clone();
    let is_bought = |balance: &&Value| balance["pro"] == true && balance["paid"] == true;
    balances.as_array().unwrap().iter().filter(is_bought).cloned().collect()
}

/// Where the subscription that runs now was bought.
async fn store(api: &TestApi) -> Option<String> {
    let balance = subscription(api).await;
    let stores: Vec<_> = balance["subscriptions"].as_array().unwrap().iter().map(|it| it["store"].clone()).collect();
    let current = balance.get("current_subscription").map(|current| current["store"].clone());
    assert_eq!(stores.first(), current.as_ref(), "{balance}");
    current.map(|store| store.as_str().unwrap().to_owned())
}

async fn credit(api: &TestApi, amount: i64) {
    let operation = CreditWallet { network_id: api.user.network_id, amount, memo: "test".into() };
    api.state.service.run(&operation).await.unwrap();
}

#[tokio::test]
async fn a_local_order_is_paid_from_the_wallet_and_granted_once() {
    let api = TestApi::with_config(priced());
    let begun = checkout(&api, json!({"item_id": "pro_monthly"})).await;
    begun.golden(200, "local");
    let id = begun.body["session_id"].as_str().unwrap();
    assert!(begun.body["checkout_url"].as_str().unwrap().ends_with(&format!("/pay/local/{id}")));
    let refused = pay(&api, id, "ledger").await.expect(200);
    assert_eq!(refused["error"]["message"], "Insufficient balance.");
    credit(&api, 12 * USD).await;
    // One user action may arrive as two requests.
    let (first, second) = tokio::join!(pay(&api, id, "ledger"), pay(&api, id, "ledger"));
    assert_eq!((&first.body["status"], &second.body["status"]), (&json!("granted"), &json!("granted")));
    let wallet = api.get("/wallet/balance").token(&api.user_token).await.expect(200);
    assert_eq!(wallet["wallet_info"]["balance_usdc_nano_cents"], 7 * USD);
    api.get("/subscription/balance").token(&api.user_token).await.golden(200, "bought");
    assert_eq!(store(&api).await.as_deref(), Some("manual"));
    let bought = bought_pro(&api).await;
    assert_eq!(bought.len(), 1);
    assert_eq!(bought[0]["start_balance_byte_count"], 600i64 << 30);
    assert_eq!(bought[0]["end_time"], "2026-03-06T04:05:06Z", "30 days and a day");
    let page = api.get(&format!("/pay/local/{id}")).await;
    assert!(page.text.contains("5.00 USD") && page.text.contains("granted"), "{}", page.text);
    // Data is no Pro.
    let id = order(&api, "data_1tib").await;
    assert_eq!(pay(&api, &id, "ledger").await.body["status"], "granted");
    let bought = subscription(&api).await["active_transfer_balances"].clone();
    let data = bought.as_array().unwrap().iter().find(|balance| balance["paid"] == true && balance["pro"] == false);
    assert_eq!(data.unwrap()["start_balance_byte_count"], 1i64 << 40);
}

#[tokio::test]
async fn what_cannot_be_bought_says_why() {
    let api = TestApi::with_config(priced());
    checkout(&api, json!({"item_id": "pro_yearly"})).await.golden(200, "plan_not_for_sale");
    checkout(&api, json!({"item_id": "data_10tib"})).await.golden(200, "data_not_for_sale");
    checkout(&api, json!({"item_id": "car"})).await.golden(200, "unknown_item");
    checkout(&api, json!({"item_id": "pro_monthly", "ui_mode": "cinema"})).await.golden(200, "unknown_ui_mode");
    checkout(&api, json!({"item_id": "pro_monthly", "ui_mode": "embedded"})).await.golden(200, "embedded");
    let body = json!({"item_id": "pro_monthly", "redirect_on_completion": "never"});
    checkout(&api, body).await.golden(200, "hosted_that_stays");
    for path in ["/stripe/payment-intent", "/stripe/customer-portal"] {
        let call = api.call(Method::POST, path, Some(b"null".to_vec())).token(&api.user_token).await;
        call.golden(200, "not_configured");
    }
}

#[tokio::test]
async fn orders_of_others_late_ones_and_rejected_ones_cannot_be_paid() {
    let api = TestApi::with_config(priced());
    credit(&api, 50 * USD).await;
    let id = order(&api, "pro_monthly").await;
    assert_eq!(pay(&api, &id, "cash").await.body["error"]["message"], "Unknown payment method.");
    assert_eq!(pay(&api, &id, "auto").await.body["error"]["message"], "Unknown payment method.");
    assert_eq!(pay(&api, "cs_local_x", "ledger").await.body["error"]["message"], "Unknown order.");
    let strange = PayOrder { id: id.clone(), network_id: Some(Default::default()), method: PayMethod::Ledger };
    assert!(api.state.shop.pay(strange).await.unwrap().is_err());
    api.state.service.run(&RejectOrder { id: id.clone() }).await.unwrap();
    assert_eq!(pay(&api, &id, "ledger").await.body["error"]["message"], "This order can no longer be paid.");
    let late = order(&api, "pro_monthly").await;
    api.clock.advance(Duration::from_secs(86_400));
    assert_eq!(pay(&api, &late, "ledger").await.body["error"]["message"], "This order can no longer be paid.");
    assert!(api.get(&format!("/pay/local/{late}")).await.text.contains("expired"));
    assert_eq!(api.get("/pay/local/none").await.status, 404);
}

#[tokio::test]
async fn the_operator_approves_and_private_servers_take_no_money() {
    let api = TestApi::with_config(priced());
    let id = order(&api, "pro_monthly").await;
    let approved = PayOrder { id, network_id: None, method: PayMethod::Approved };
    api.state.shop.pay(approved).await.unwrap().unwrap();
    assert_eq!(store(&api).await.as_deref(), Some("manual"));
    let mut config = TestApi::config();
    config.purchase.free_of_charge = true;
    let api = TestApi::with_config(config);
    let id = order(&api, "pro_yearly").await;
    let answer = api.post(&format!("/pay/local/{id}"), json!({"method": "auto"})).token(&api.user_token).await;
    assert_eq!(answer.expect(200), json!({"status": "granted"}));
    assert_eq!(store(&api).await.as_deref(), Some("manual"));
    assert!(bought_pro(&api).await.is_empty(), "no money stands behind it");
}

#[tokio::test]
async fn an_order_paid_before_a_crash_is_granted_after_it() {
    let api = TestApi::with_config(priced());
    credit(&api, 5 * USD).await;
    let id = order(&api, "pro_monthly").await;
    // The payment commits, and the process dies before it is granted.
    let payment = PayOrder { id: id.clone(), network_id: None, method: PayMethod::Ledger };
    api.state.service.run(&payment).await.unwrap().unwrap();
    assert_eq!(store(&api).await, None);
    let paid = api.state.service.read(&ReadOrder { id: id.clone() }).unwrap().unwrap();
    for _ in 0..2 {
        api.state.shop.give_paid_orders().await.unwrap();
        assert_eq!(bought_pro(&api).await.len(), 1);
        // It dies after it is granted, before that is noted.
        api.put(&ORDERS, &id, &paid).await;
        api.put(&PAID_ORDERS, &id, &()).await;
    }
    let whole = subscription(&api).await;
    assert_eq!(whole["subscriptions"].as_array().unwrap().len(), 1);
    assert_eq!(pay(&api, &id, "ledger").await.body["status"], "granted");
}

fn report(api: &TestApi, body: &Value, secret: &str) -> crate::http::testing::Call {
    api.post("/pay/solana", body.clone()).header("authorization", secret)
}

fn transfer(amount: f64, reference: &str) -> Value {
    json!({
        "type": "TRANSFER", "signature": "5Kd3", "slot": 1,
        "tokenTransfers": [
            {"mint": "So11111111111111111111111111111111111111112", "toUserAccount": RECEIVER, "tokenAmount": 900.0},
            {"mint": "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", "toUserAccount": RECEIVER, "tokenAmount": amount},
        ],
        "accountData": [{"account": RECEIVER}, {"account": reference}],
    })
}

#[tokio::test]
async fn a_payment_on_solana_is_matched_by_its_reference_once() {
    let api = TestApi::with_config(priced());
    let announce = |reference: &str, plan: &str| {
        let body = json!({"reference": reference, "plan": plan});
        api.post("/solana/payment-intent", body).token(&api.client_token)
    };
    announce(REFERENCE, "weekly").await.golden(200, "unknown_plan");
    announce("short", "monthly").await.golden(200, "bad_reference");
    announce(REFERENCE, "monthly").await.golden(200, "announced");
    announce(REFERENCE, "monthly").await.golden(200, "announced_before");
    let small = json!([transfer(4.98, REFERENCE)]);
    report(&api, &small, "wrong").await.golden(400, "wrong_secret");
    report(&api, &json!({}), "sesame").await.golden(400, "no_list");
    assert_eq!(report(&api, &small, "sesame").await.expect(200)["message"], "0 payments taken");
    let other = "4Nd1mYbLsKVbtBs5KCZHkDkzfLXtBTG4gMTtcYdWwQTr";
    let batch = json!([7, {"type": "SWAP"}, transfer(5.0, other), transfer(4.991, REFERENCE)]);
    report(&api, &batch, "sesame").await.golden(200, "one_taken");
    assert_eq!(store(&api).await.as_deref(), Some("solana"));
    report(&api, &batch, "sesame").await.golden(200, "replayed");
    assert_eq!(bought_pro(&api).await.len(), 1);
    // The process died after it was given, before the announcement was used up.
    let reference = crate::domain::wallet::address::solana(REFERENCE).unwrap();
    let (network_id, item) = (api.user.network_id, Item::ProMonthly);
    let intent = SolanaIntent { network_id, item, price: 5 * USD, create_time: START, paid: false };
    api.put(&SOLANA_INTENTS, &reference, &intent).await;
    report(&api, &batch, "sesame").await.expect(200);
    assert_eq!(bought_pro(&api).await.len(), 1);
}

#[tokio::test]
async fn what_is_not_configured_is_not_there_and_phones_keep_their_proof() {
    let api = TestApi::new();
    for path in ["/pay/stripe", "/pay/solana", "/pay/coinbase", "/pay/play", "/apple/notification"] {
        api.post(path, json!({})).await.golden(404, "not_configured");
    }
    api.get("/x402/skus").await.golden(404, "not_enabled");
    api.post("/x402/purchase", json!({})).token(&api.user_token).await.golden(404, "not_enabled");
    api.post("/x402/purchase", json!({})).await.expect(401);
    let body = json!({"reference": REFERENCE, "plan": "monthly"});
    api.post("/solana/payment-intent", body).token(&api.user_token).await.golden(200, "not_configured");
    let play = |token: String| {
        api.post("/subscription/verify-play-purchase", json!({"purchase_token": token})).token(&api.user_token)
    };
    play("abc".into()).await.golden(503, "not_configured");
    assert_eq!(play(String::new()).await.expect(200)["status"], "invalid");
    assert_eq!(play("x".repeat(4097)).await.expect(200)["status"], "invalid");
    let apple = |signed: String| {
        let body = json!({"signed_transaction": signed});
        api.post("/subscription/verify-apple-transaction", body).token(&api.user_token)
    };
    apple("a.b.c".into()).await.golden(503, "not_configured");
    assert_eq!(apple("x".repeat((64 << 10) + 1)).await.expect(200)["status"], "invalid");
}
