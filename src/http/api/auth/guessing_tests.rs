//! Each secret that somebody may guess, and each route that must not tell who has an account.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::tests::{EMAIL, PASSWORD, sent_code, unverified, verified};
use crate::domain::contract::codes::{DEFAULT_DURATION, NewCodes};
use crate::http::testing::{Answer, TestApi};

const STRANGER: &str = "eve@hill.example";

/// A peer in a network of its own.
fn peer(number: u32) -> String {
    format!("{}:1", Ipv4Addr::from(0x0a00_0000 + number * 8))
}

/// How many guesses pass before the guesser is told to wait.
async fn passing(most: u32, mut guess: impl AsyncFnMut(u32) -> Answer) -> u32 {
    for number in 0..most {
        let answer = guess(number).await;
        if answer.status == 429 {
            assert!(answer.headers.contains_key("retry-after"), "it says how long");
            return number;
        }
        assert!([200, 400].contains(&answer.status.as_u16()), "{}", answer.text);
    }
    most
}

#[tokio::test]
async fn guessing_a_password_is_stopped_at_an_address_and_at_an_account() {
    let (api, _) = verified().await;
    let guess = |peer: String, password: String| {
        let body = json!({"user_auth": EMAIL, "password": password});
        api.post("/auth/login-with-password", body).from(&peer)
    };
    assert_eq!(passing(1000, async |number| guess(peer(0), format!("guess {number}")).await).await, 4);
    let from_everywhere = passing(1000, async |number| guess(peer(number + 1), format!("guess {number}")).await).await;
    assert_eq!(from_everywhere, 299 - 4);
    assert_eq!(guess(peer(5000), PASSWORD.into()).await.status, 429, "not even the right one");
}

#[tokio::test]
async fn guessing_a_verify_code_is_stopped_at_an_address_and_at_an_account() {
    let api = unverified().await;
    let code = sent_code(&api);
    let guess = |peer: String, code: String| {
        let body = json!({"user_auth": EMAIL, "verify_code": code});
        api.post("/auth/verify", body).from(&peer)
    };
    assert_eq!(passing(1000, async |number| guess(peer(0), format!("{number:06}")).await).await, 4);
    assert_eq!(passing(1000, async |number| guess(peer(number + 1), format!("{number:06}")).await).await, 299 - 4);
    assert_eq!(guess(peer(5000), code).await.status, 429, "not even the right one");
}

#[tokio::test]
async fn guessing_a_reset_code_is_stopped_at_an_address() {
    let (api, _) = verified().await;
    api.post("/auth/password-reset", json!({"user_auth": EMAIL})).await.expect(200);
    let guess = async |number: u32| {
        let body = json!({"reset_code": format!("{number:064x}"), "password": "another horse"});
        api.post("/auth/password-set", body).await
    };
    assert_eq!(passing(1000, guess).await, 4);
}

#[tokio::test]
async fn guessing_an_auth_code_is_stopped_at_an_address() {
    let (api, token) = verified().await;
    let made = api.post("/auth/code-create", json!({})).token(&token).await.expect(200);
    let guess = |code: Value| api.post("/auth/code-login", json!({"auth_code": code}));
    assert_eq!(passing(1000, async |number| guess(json!(format!("{number:040}"))).await).await, 30);
    assert_eq!(guess(made["auth_code"].clone()).await.status, 429, "not even the right one");
    let elsewhere = guess(made["auth_code"].clone()).from("198.51.100.7:1").await.expect(200);
    assert!(elsewhere["by_jwt"].is_string());
}

#[tokio::test]
async fn guessing_an_adopt_code_is_stopped_at_an_address_and_at_an_account() {
    let api = TestApi::new();
    let made = api.post("/device/create-adopt-code", json!({})).from("198.51.100.7:1").await.expect(200);
    let ask = async |number: u32| {
        let body = json!({"adopt_code": format!("one two three four five {number}")});
        api.post("/device/adopt-status", body).await
    };
    assert_eq!(passing(1000, ask).await, 30);
    let confirm = async |number: u32| {
        let body = json!({"adopt_code": made["adopt_code"], "adopt_secret": format!("{number:0256x}"),
                          "associated_network_name": "hilltop-lab"});
        api.post("/device/confirm-adopt", body).from("192.0.2.1:1").await
    };
    assert_eq!(passing(1000, confirm).await, 30);
    // An account: wherever it calls from, it is told that the code is wrong, whether or not it is.
    for number in 0..9 {
        let body = json!({"code": format!("one two three four five {number}")});
        api.post("/device/add", body).token(&api.user_token).from(&peer(number)).await.expect(200);
    }
    let add = api.post("/device/add", json!({"code": made["adopt_code"]})).token(&api.user_token);
    assert_eq!(add.from(&peer(50)).await.expect(200), json!({"error": {"message": "Invalid code."}}));
}

/// A code that can be redeemed.
async fn balance_code(api: &TestApi) -> String {
    let new = NewCodes {
        count: 1,
        bytes: 1 << 30,
        net_revenue: 0,
        duration: DEFAULT_DURATION,
        purchase_event_id: None,
        purchase_record: String::new(),
        purchase_email: String::new(),
    };
    let made = api.state.ledger.create_codes(new).await.unwrap().unwrap();
    made[0].secret.as_str().to_owned()
}

#[tokio::test]
async fn guessing_a_balance_code_is_stopped_at_an_address_and_at_an_account() {
    for path in ["/subscription/check-balance-code", "/subscription/redeem-balance-code"] {
        let api = TestApi::new();
        let (code, stranger) = (balance_code(&api).await, api.stranger().await);
        let guess = |peer: String, token: String, code: String| {
            api.post(path, json!({"secret": code})).token(&token).from(&peer)
        };
        let wrong = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let by_account = async |number| guess(peer(number), stranger.clone(), wrong.into()).await;
        assert_eq!(passing(1000, by_account).await, 100, "{path}");
        guess(peer(500), stranger.clone(), code.clone()).await.golden(429, "too_many_guesses");
        // The same number from one address, whoever it says it is.
        let here = api.stranger().await;
        for number in 0..100 {
            let token = if number % 2 == 0 { &here } else { &api.user_token };
            guess(peer(600), token.clone(), wrong.into()).await.expect(200);
        }
        assert_eq!(guess(peer(600), api.client_token.clone(), code.clone()).await.status, 429, "{path}");
        // Right codes are no guesses.
        assert!(guess(peer(700), api.client_token.clone(), code).await.expect(200).get("error").is_none());
        api.clock.advance(std::time::Duration::from_secs(301));
        assert_eq!(guess(peer(500), stranger, wrong.into()).await.status, 200);
    }
}

/// What a route says about somebody who has an account, and about a stranger.
async fn both(api: &TestApi, path: &str, ask: impl Fn(&str) -> Value) -> (Value, Value) {
    let (known, unknown) = (api.post(path, ask(EMAIL)).await, api.post(path, ask(STRANGER)).await);
    assert_eq!(known.status, unknown.status, "{path}");
    let neutral = |answer: Answer| serde_json::from_str(&answer.text.replace(EMAIL, "<address>")).unwrap();
    (neutral(known), serde_json::from_str(&unknown.text.replace(STRANGER, "<address>")).unwrap())
}

#[tokio::test]
async fn a_wrong_password_does_not_tell_whether_there_is_an_account() {
    let (api, _) = verified().await;
    let ask = |user_auth: &str| json!({"user_auth": user_auth, "password": "wrong horse"});
    let (known, unknown) = both(&api, "/auth/login-with-password", ask).await;
    assert_eq!(known, unknown);
    for _ in 0..3 {
        both(&api, "/auth/login-with-password", ask).await;
    }
    // Whoever guesses waits in both cases.
    let (known, unknown) = both(&api, "/auth/login-with-password", ask).await;
    assert_eq!(known, unknown);
}

#[tokio::test]
async fn a_wrong_verify_code_does_not_tell_whether_there_is_an_account() {
    let (proven, _) = verified().await;
    for api in [unverified().await, proven] {
        let ask = |user_auth: &str| json!({"user_auth": user_auth, "verify_code": "123456"});
        let (known, unknown) = both(&api, "/auth/verify", ask).await;
        assert_eq!(known, unknown);
    }
}

#[tokio::test]
async fn sending_a_verify_code_does_not_tell_whether_there_is_an_account() {
    let api = unverified().await;
    let ask = |user_auth: &str| json!({"user_auth": user_auth});
    let (known, unknown) = both(&api, "/auth/verify-send", ask).await;
    assert_eq!((&known, &known), (&unknown, &json!({"user_auth": "<address>"})));
}

#[tokio::test]
async fn sending_a_reset_code_does_not_tell_whether_there_is_an_account() {
    let (api, _) = verified().await;
    let ask = |user_auth: &str| json!({"user_auth": user_auth});
    let (known, unknown) = both(&api, "/auth/password-reset", ask).await;
    assert_eq!((&known, &known), (&unknown, &json!({"user_auth": "<address>"})));
}

#[tokio::test]
async fn setting_a_password_does_not_tell_whose_it_was() {
    let (api, _) = verified().await;
    api.effects.take();
    api.post("/auth/password-reset", json!({"user_auth": EMAIL})).await.expect(200);
    let body = json!({"reset_code": sent_code(&api), "password": "another horse"});
    let answer = api.post("/auth/password-set", body).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "{}"));
}
