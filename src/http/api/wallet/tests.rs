use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::config::Config;
use crate::domain::wallet::operator::{CreditWallet, MarkSent, RejectTransfer};
use crate::http::testing::{Answer, Call, TestApi};

mod circle;
mod seeker;

const SOLANA: &str = "DgTYzxzYRpkGQ8e3Un71GoQf494VLDBnyqXNXB38MP73";
const ETHEREUM: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
const USD: i64 = 1_000_000_000;

fn init(api: &TestApi) -> Call {
    // The app sends no body at all.
    api.call(Method::POST, "/wallet/circle-init", Some(Vec::new())).token(&api.client_token)
}

async fn credit(api: &TestApi, amount: i64) {
    let operation = CreditWallet { network_id: api.user.network_id, amount, memo: "test".into() };
    api.state.service.run(&operation).await.unwrap();
}

async fn balance(api: &TestApi) -> i64 {
    let body = api.get("/wallet/balance").token(&api.user_token).await.expect(200);
    body["wallet_info"]["balance_usdc_nano_cents"].as_i64().unwrap()
}

async fn transfer(api: &TestApi, to_address: &str, amount: i64) -> Answer {
    let body = json!({"to_address": to_address, "amount_usdc_nano_cents": amount, "terms": true});
    api.post("/wallet/circle-transfer-out", body).token(&api.user_token).await
}

/// The answer to a challenge that another answer holds.
fn answer_to(challenge: &Value) -> Value {
    json!({"challenge_id": challenge["challenge_id"], "user_token": challenge["user_token"]["user_token"]})
}

async fn confirm(api: &TestApi, challenge: &Value) -> Answer {
    api.post("/wallet/local/confirm", answer_to(challenge)).token(&api.user_token).await
}

async fn cancel(api: &TestApi, challenge: &Value) -> Answer {
    let body = json!({"challenge_id": challenge["challenge_id"]});
    api.post("/wallet/local/cancel", body).token(&api.user_token).await
}

async fn look(api: &TestApi, challenge: &Value) -> Value {
    let path = format!("/wallet/local/challenge/{}", challenge["challenge_id"].as_str().unwrap());
    api.get(&path).token(&api.user_token).await.expect(200)
}

#[tokio::test]
async fn a_wallet_is_there_after_it_was_made_and_the_account_lists_it() {
    let api = TestApi::new();
    api.get("/wallet/balance").token(&api.user_token).await.golden(200, "none");
    let first = init(&api).await;
    first.golden(200, "made");
    api.get("/wallet/balance").token(&api.user_token).await.golden(200, "empty");
    let again = init(&api).await.expect(200);
    assert_ne!(again["challenge_id"], first.body["challenge_id"]);
    assert_ne!(again["user_token"], first.body["user_token"]);
    assert_eq!(look(&api, &again).await["status"], "COMPLETE");
    credit(&api, 5 * USD).await;
    api.get("/wallet/balance").token(&api.user_token).await.golden(200, "five");
    let listed = api.get("/account/wallets").token(&api.user_token).await;
    listed.golden(200, "ledger");
    let payout = api.get("/account/payout-wallet").token(&api.user_token).await.expect(200);
    assert_eq!(payout["wallet_id"], listed.body["wallets"][0]["wallet_id"]);
    // A removed one comes back.
    let body = json!({"wallet_id": payout["wallet_id"]});
    api.post("/account/wallets/remove", body).token(&api.user_token).await.expect(200);
    init(&api).await.expect(200);
    assert_eq!(api.get("/account/wallets").token(&api.user_token).await.body, listed.body);
}

#[tokio::test]
async fn the_first_thing_that_is_wrong_with_a_transfer_is_named() {
    let api = TestApi::new();
    let body = json!({"to_address": "x", "amount_usdc_nano_cents": 0, "terms": false});
    api.post("/wallet/circle-transfer-out", body).token(&api.user_token).await.golden(200, "terms");
    transfer(&api, "x", 0).await.golden(200, "no_wallet");
    init(&api).await.expect(200);
    credit(&api, 5 * USD).await;
    for amount in [0, -1000, 1001, i64::MAX] {
        transfer(&api, "x", amount).await.golden(200, &format!("amount_{amount}"));
    }
    let own = api.get("/wallet/balance").token(&api.user_token).await.body["wallet_info"]["address"].clone();
    let unknown = "urledger:01020304-0506-0708-090a-0b0c0d0e0f10";
    for wrong in ["x", "", ETHEREUM, own.as_str().unwrap(), unknown] {
        let answer = transfer(&api, wrong, USD).await;
        assert_eq!(answer.body["error"]["message"], "Invalid address.", "{wrong}");
    }
    transfer(&api, unknown, USD).await.golden(200, "address");
    transfer(&api, SOLANA, 6 * USD).await.golden(200, "insufficient");
    assert_eq!(balance(&api).await, 5 * USD);
}

#[tokio::test]
async fn a_transfer_to_a_chain_is_held_confirmed_queued_and_sent() {
    let api = TestApi::new();
    credit(&api, 5 * USD).await;
    let begun = transfer(&api, SOLANA, 4 * USD).await;
    begun.golden(200, "begun");
    let challenge = begun.body;
    assert_eq!(balance(&api).await, USD);
    let path = format!("/wallet/local/challenge/{}", challenge["challenge_id"].as_str().unwrap());
    assert_eq!(look(&api, &challenge).await["status"], "PENDING");
    let wrong = json!({"challenge_id": challenge["challenge_id"], "user_token": "wrong"});
    api.post("/wallet/local/confirm", wrong).token(&api.user_token).await.golden(200, "wrong_token");
    confirm(&api, &challenge).await.golden(200, "queued");
    confirm(&api, &challenge).await.golden(200, "queued");
    cancel(&api, &challenge).await.golden(200, "too_late");
    assert_eq!(balance(&api).await, USD);
    let id = challenge["challenge_id"].as_str().unwrap().parse().unwrap();
    api.state.service.run(&MarkSent { id, tx_hash: "5Kd3".into() }).await.unwrap();
    let sent = look(&api, &challenge).await;
    assert_eq!((&sent["status"], &sent["tx_hash"]), (&json!("COMPLETE"), &json!("5Kd3")));
    assert_eq!(balance(&api).await, USD);
    confirm(&api, &challenge).await.golden(200, "complete");
    // Those of other networks, unknown ones and what is no id do not exist.
    let stranger = TestApi::new();
    stranger.get(&path).token(&stranger.user_token).await.expect(404);
    api.get("/wallet/local/challenge/abc").token(&api.user_token).await.golden(404, "unknown");
}

#[tokio::test]
async fn a_rejected_transfer_gives_its_amount_back() {
    let api = TestApi::new();
    credit(&api, 5 * USD).await;
    let challenge = transfer(&api, SOLANA, 4 * USD).await.expect(200);
    let id = challenge["challenge_id"].as_str().unwrap().parse().unwrap();
    assert!(api.state.service.run(&RejectTransfer { id, is_forced: false }).await.is_err(), "it is not confirmed yet");
    confirm(&api, &challenge).await.expect(200);
    api.state.service.run(&RejectTransfer { id, is_forced: false }).await.unwrap();
    assert_eq!(balance(&api).await, 5 * USD);
    assert_eq!(look(&api, &challenge).await["status"], "FAILED");
}

#[tokio::test]
async fn what_is_not_confirmed_in_time_expires_and_what_is_cancelled_is_over() {
    let api = TestApi::new();
    credit(&api, 5 * USD).await;
    let challenge = transfer(&api, SOLANA, 4 * USD).await.expect(200);
    cancel(&api, &challenge).await.golden(200, "cancelled");
    cancel(&api, &challenge).await.golden(200, "cancelled");
    assert_eq!(balance(&api).await, 5 * USD);
    confirm(&api, &challenge).await.golden(200, "cancelled");
    let late = transfer(&api, SOLANA, 4 * USD).await.expect(200);
    api.clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(balance(&api).await, 5 * USD, "free at once, whoever looks");
    assert_eq!(look(&api, &late).await["status"], "EXPIRED");
    confirm(&api, &late).await.golden(200, "expired");
    cancel(&api, &late).await.expect(200);
    transfer(&api, SOLANA, 5 * USD).await.golden(200, "begun_after_another_expired");
    for odd in ["", "abc", "01020304-0506-0708-090a-0b0c0d0e0f10"] {
        let body = json!({"challenge_id": odd, "user_token": ""});
        for path in ["/wallet/local/confirm", "/wallet/local/cancel"] {
            let answer = api.post(path, body.clone()).token(&api.user_token).await.expect(200);
            assert_eq!(answer["error"]["message"], "Invalid challenge.");
        }
    }
}

#[tokio::test]
async fn five_transfers_may_wait_and_ten_an_hour_may_begin() {
    let api = TestApi::new();
    credit(&api, 500 * USD).await;
    let mut begun = Vec::new();
    for _ in 0..5 {
        begun.push(transfer(&api, SOLANA, USD).await.expect(200));
    }
    transfer(&api, SOLANA, USD).await.golden(200, "too_many");
    for challenge in &begun {
        cancel(&api, challenge).await.expect(200);
    }
    for _ in 0..5 {
        let challenge = transfer(&api, SOLANA, USD).await.expect(200);
        assert!(challenge["challenge_id"].is_string());
        cancel(&api, &challenge).await.expect(200);
    }
    assert_eq!(transfer(&api, SOLANA, USD).await.body["error"]["message"], "Too many pending transfers.");
    api.clock.advance(Duration::from_secs(3600));
    assert!(transfer(&api, SOLANA, USD).await.body["challenge_id"].is_string());
}

#[tokio::test]
async fn addresses_are_checked_by_the_rules_of_their_chain() {
    let api = TestApi::new();
    let check = |address: &str, chain: &str| {
        api.post("/wallet/validate-address", json!({"address": address, "chain": chain})).token(&api.client_token)
    };
    check(SOLANA, "SOL").await.golden(200, "solana");
    check(ETHEREUM, "sol").await.golden(200, "not_solana");
    for (address, chain) in [(SOLANA, ""), (SOLANA, " solana "), (ETHEREUM, "matic"), (ETHEREUM, "AVAX")] {
        assert_eq!(check(address, chain).await.expect(200)["valid"], true, "{address} {chain}");
    }
    for (address, chain) in [(ETHEREUM, ""), (SOLANA, "MATIC"), (SOLANA, "BTC"), ("", ""), ("ä", "SOL")] {
        assert_eq!(check(address, chain).await.text, "{}", "{address} {chain}");
    }
    let body = json!({"address": SOLANA});
    api.post("/wallet/validate-address", body).token(&api.user_token).await.golden(200, "without_chain");
    init(&api).await.expect(200);
    let own = api.get("/wallet/balance").token(&api.user_token).await.body["wallet_info"]["address"].clone();
    let own = own.as_str().unwrap();
    for chain in ["", "LEDGER"] {
        assert_eq!(check(own, chain).await.expect(200)["valid"], true);
        assert_eq!(check("urledger:01020304-0506-0708-090a-0b0c0d0e0f10", chain).await.text, "{}");
    }
    assert_eq!(check(own, "SOL").await.text, "{}");
}

#[tokio::test]
async fn the_chain_of_wallets_is_the_operators_choice() {
    let mut config = Config::default();
    config.wallet.chain = "MATIC".into();
    let api = TestApi::with_config(config);
    init(&api).await.expect(200);
    api.get("/wallet/balance").token(&api.user_token).await.golden(200, "polygon");
    credit(&api, USD).await;
    assert_eq!(transfer(&api, SOLANA, USD).await.body["error"]["message"], "Invalid address.");
    assert!(transfer(&api, ETHEREUM, USD).await.body["challenge_id"].is_string());
}

fn send_form(api: &TestApi, challenge_id: &str, token: &str) -> Call {
    let form = format!("challenge_id={challenge_id}&user_token={token}");
    let call = api.call(Method::POST, "/wallet/confirm", Some(form.into_bytes()));
    call.header("content-type", "application/x-www-form-urlencoded")
}

#[tokio::test]
async fn the_page_confirms_a_transfer_without_any_script() {
    let api = TestApi::new();
    credit(&api, 5 * USD).await;
    let challenge = transfer(&api, SOLANA, 4 * USD).await.expect(200);
    let (id, token) = (challenge["challenge_id"].as_str().unwrap(), &challenge["user_token"]["user_token"]);
    let page = api.get(&format!("/wallet/confirm?challenge_id={id}")).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains(id) && page.text.contains("method=\"post\"") && !page.text.contains("<script"));
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let hostile = api.get("/wallet/confirm?challenge_id=%22%3E%3Cscript%3E").await;
    assert!(!hostile.text.contains("<script"), "{}", hostile.text);
    assert_eq!(api.get("/wallet/confirm").await.status, 200);
    for (id, token) in [(id, "wrong"), ("abc", "x"), ("", "")] {
        let answer = send_form(&api, id, token).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text.contains("<form"), "another try");
    }
    assert_eq!(look(&api, &challenge).await["status"], "PENDING");
    let answer = send_form(&api, id, token.as_str().unwrap()).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains("will be sent"), "{}", answer.text);
    assert_eq!(look(&api, &challenge).await["status"], "QUEUED");
    for odd in [&b"{}"[..], b"\xff", b"", b"challenge_id=%zz&user_token=%00"] {
        assert_eq!(api.call(Method::POST, "/wallet/confirm", Some(odd.to_vec())).await.status, 400);
    }
}
