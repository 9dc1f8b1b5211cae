//! Balance codes of the operator, as receipts.

use std::time::Duration;

use serde_json::{Value, json};

use super::subscription;
use crate::domain::contract::codes::{MadeCode, NewCodes};
use crate::http::testing::{Answer, TestApi};

const PATHS: [(&str, &str); 2] = [
    ("/subscription/verify-play-purchase", "purchase_token"),
    ("/subscription/verify-apple-transaction", "signed_transaction"),
];

async fn make_code(api: &TestApi) -> MadeCode {
    let new = NewCodes {
        count: 1,
        bytes: 1 << 40,
        net_revenue: 5_000_000_000,
        duration: Duration::from_secs(30 * 86_400),
        purchase_event_id: None,
        purchase_record: String::new(),
        purchase_email: String::new(),
    };
    api.state.ledger.create_codes(new).await.unwrap().unwrap().remove(0)
}

async fn report(api: &TestApi, (path, member): (&str, &str), token: &str, code: &str) -> Answer {
    api.post(path, json!({ member: code })).token(token).await
}

#[tokio::test]
async fn a_voucher_is_credited_once_and_to_one_network() {
    for store in PATHS {
        let api = TestApi::new();
        let other = api.stranger().await;
        let code = make_code(&api).await;
        let secret = code.secret.as_str();
        report(&api, store, &api.client_token, secret).await.golden(200, "voucher_credited");
        report(&api, store, &api.user_token, secret).await.golden(200, "voucher_already_credited");
        report(&api, store, &other, secret).await.golden(200, "voucher_of_another_network");
        let balances = subscription(&api).await["active_transfer_balances"].clone();
        let paid: Vec<&Value> = balances.as_array().unwrap().iter().filter(|it| it["paid"] == true).collect();
        assert_eq!(paid.len(), 1);
        assert_eq!((&paid[0]["start_balance_byte_count"], &paid[0]["pro"]), (&json!(1i64 << 40), &json!(false)));
        // The phone may come back long after.
        api.clock.advance(Duration::from_secs(60 * 86_400));
        assert_eq!(report(&api, store, &api.user_token, secret).await.expect(200)["status"], "already_credited");
    }
}

#[tokio::test]
async fn of_two_phones_with_one_voucher_one_is_credited() {
    let api = TestApi::new();
    let code = make_code(&api).await;
    let send = || report(&api, PATHS[0], &api.user_token, code.secret.as_str());
    let (first, second) = tokio::join!(send(), send());
    let mut statuses = [first.body["status"].clone(), second.body["status"].clone()];
    statuses.sort_by_key(Value::to_string);
    assert_eq!(statuses, [json!("already_credited"), json!("credited")]);
}

#[tokio::test]
async fn a_cancelled_voucher_is_invalid() {
    let api = TestApi::new();
    let code = make_code(&api).await;
    api.state.ledger.cancel_code(code.code_id).await.unwrap();
    let answer = report(&api, PATHS[0], &api.user_token, code.secret.as_str()).await.expect(200);
    assert_eq!(answer, json!({"status": "invalid"}));
}

#[tokio::test]
async fn unknown_vouchers_are_invalid_and_guessing_is_bounded() {
    let api = TestApi::new();
    let guess = || report(&api, PATHS[0], &api.user_token, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    guess().await.golden(200, "unknown_voucher");
    for _ in 1..30 {
        guess().await.expect(200);
    }
    guess().await.golden(429, "too_many");
    api.clock.advance(Duration::from_secs(3600));
    guess().await.expect(200);
}
