//! Payments in coins, as Coinbase Commerce reports them, and the codes that go out for them.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::USD;
use crate::domain::effect::{Effect, MessageKind};
use crate::domain::purchase::code_sale::{SOLD_CODES, SoldCode};
use crate::http::testing::{Answer, Call, TestApi};

fn api() -> TestApi {
    let mut config = TestApi::config();
    config.coinbase.webhook_secret = "shared".into();
    config.coinbase.name_data_1tib = "1 TiB".into();
    TestApi::with_config(config)
}

fn charge(kind: &str, name: &str, metadata: Value) -> Value {
    json!({"id": 1, "attempt_number": 1, "event": {"id": "ev-1", "type": kind, "data": {
        "id": "ch-1", "code": "ABCD", "name": name, "metadata": metadata,
        "pricing": {"local": {"amount": "4.99", "currency": "USD"}},
    }}})
}

fn sign(secret: &str, body: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hex::encode(hmac::sign(&key, body.to_string().as_bytes()))
}

fn report(api: &TestApi, body: &Value, signature: &str) -> Call {
    api.post("/pay/coinbase", body.clone()).header("x-cc-webhook-signature", signature)
}

async fn signed(api: &TestApi, body: Value) -> Answer {
    report(api, &body, &sign("shared", &body)).await
}

/// The codes that were sent, each with its receiver.
pub fn sent(api: &TestApi) -> Vec<(String, String)> {
    let read = |effect| match effect {
        Effect::Send(message) => match message.kind {
            MessageKind::BalanceCode { code, .. } => Some((message.to, code)),
            _ => None,
        },
        _ => None,
    };
    api.effects.take().into_iter().filter_map(read).collect()
}

pub async fn redeem(api: &TestApi, code: &str) -> Value {
    api.post("/subscription/redeem-balance-code", json!({"secret": code})).token(&api.user_token).await.expect(200)
}

#[tokio::test]
async fn a_confirmed_charge_sends_one_code_that_can_be_redeemed() {
    let api = api();
    let paid = charge("charge:confirmed", "1 TiB", json!({"email": "Ada@Hill.Example"}));
    signed(&api, charge("charge:pending", "1 TiB", json!({}))).await.golden(200, "another_event");
    assert_eq!(sent(&api), []);
    for _ in 0..3 {
        signed(&api, paid.clone()).await.golden(200, "confirmed");
    }
    let sent = sent(&api);
    let [(to, code)] = &sent[..] else { panic!("one code: {sent:?}") };
    assert_eq!((to.as_str(), code.len()), ("ada@hill.example", 26));
    assert_eq!(SOLD_CODES.get(&*api.store, &"coinbase:ch-1".into()).unwrap(), Some(SoldCode { secret: None }));
    let redeemed = redeem(&api, code).await;
    assert_eq!(redeemed["transfer_balance"]["balance_byte_count"], 1i64 << 40);
    let codes = api.state.ledger.codes(10).await.unwrap();
    assert_eq!((codes.len(), codes[0].net_revenue), (1, 4_990 * USD / 1000));
}

#[tokio::test]
async fn a_crash_between_the_steps_loses_no_code_and_makes_no_second() {
    let api = api();
    let paid = charge("charge:confirmed", "1 TiB", json!({"email": "ada@hill.example"}));
    signed(&api, paid.clone()).await.expect(200);
    let code = sent(&api).remove(0).1;
    // The code was made, and the process died before the mail was noted.
    let secret = Some(crate::domain::contract::codes::Secret::parse(&code).unwrap());
    api.put(&SOLD_CODES, &"coinbase:ch-1".to_owned(), &SoldCode { secret }).await;
    signed(&api, paid).await.expect(200);
    assert_eq!(sent(&api), [("ada@hill.example".to_owned(), code)]);
    assert_eq!(api.state.ledger.codes(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_not_signed_or_sells_nothing_is_refused_or_skipped() {
    let api = api();
    let paid = charge("charge:confirmed", "1 TiB", json!({"email": "ada@hill.example"}));
    for wrong in [sign("other", &paid), sign("shared", &json!({})), "zz".into(), String::new()] {
        report(&api, &paid, &wrong).await.golden(400, "bad_signature");
    }
    api.post("/pay/coinbase", paid).await.expect(400);
    signed(&api, charge("charge:confirmed", "a car", json!({"email": "ada@hill.example"}))).await.expect(200);
    signed(&api, charge("charge:confirmed", "1 TiB", json!({}))).await.golden(400, "nobody_to_send_to");
    for nobody in [json!({"email": "+442079460000"}), json!({"email": 7})] {
        signed(&api, charge("charge:confirmed", "1 TiB", nobody)).await.expect(400);
    }
    assert_eq!(sent(&api), []);
    assert_eq!(api.state.ledger.codes(10).await.unwrap(), []);
}
