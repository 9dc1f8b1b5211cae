//! Sign-in with wallets and services, and accounts of guests.

use serde_json::{Value, json};

use crate::domain::auth::testing::{TestService, TestWallet};
use crate::http::testing::{Answer, START, TestApi};

fn with_wallets() -> TestApi {
    let mut config = TestApi::config();
    config.auth.wallet_sign_in = true;
    TestApi::with_config(config)
}

fn with_services() -> TestApi {
    let mut config = TestApi::config();
    TestService::switch_on(&mut config);
    TestApi::with_config(config)
}

/// A new challenge, signed.
async fn wallet_auth(api: &TestApi, wallet: &TestWallet) -> Value {
    let challenge = api.post("/auth/wallet-challenge", json!({})).await.expect(200);
    signed(wallet, challenge["message_template"].as_str().unwrap())
}

fn signed(wallet: &TestWallet, text: &str) -> Value {
    let proof = wallet.sign_text(text);
    json!({"wallet_address": proof.address, "wallet_signature": proof.signature, "wallet_message": proof.message,
           "blockchain": "SOL", "wallet_nonce": "ignored"})
}

async fn login(api: &TestApi, wallet_auth: &Value) -> Answer {
    api.post("/auth/login", json!({"wallet_auth": wallet_auth})).await
}

fn sign_up(proof: Value) -> Value {
    let mut body = json!({"network_name": "Hilltop Lab", "terms": true, "guest_mode": false});
    body.as_object_mut().unwrap().extend(proof.as_object().unwrap().clone());
    body
}

fn google(email: &str) -> Value {
    json!({"auth_jwt": TestService::token("first", &TestService::claims(email, START)), "auth_jwt_type": "google"})
}

#[tokio::test]
async fn a_wallet_asks_for_a_challenge() {
    let api = with_wallets();
    let wallet = TestWallet::new(1);
    let answer = api.post("/auth/wallet-challenge", Value::Null).await;
    answer.golden(200, "challenge");
    let (challenge, time) = (answer.body["challenge"].as_str().unwrap(), &answer.body["timestamp"]);
    let message = format!("Sign in to URnetwork\nChallenge: {challenge}\nTimestamp: {time}");
    assert_eq!(answer.body["message_template"], message);
    let ask = |body: Value| api.post("/auth/wallet-challenge", body);
    ask(json!({"wallet_address": wallet.address, "blockchain": "Solana"})).await.golden(200, "for_an_address");
    ask(json!({"wallet_address": "0x12"})).await.golden(400, "no_address");
    for _ in 0..4 {
        ask(json!({"blockchain": "tao"})).await.golden(400, "other_chain");
    }
    ask(json!({})).await.golden(429, "too_many");
    api.post("/auth/wallet-nonce", json!({})).await.golden(200, "nonce");
}

#[tokio::test]
async fn a_wallet_signs_up_in_and_to_an_account() {
    let mut config = TestApi::config();
    config.auth.wallet_sign_in = true;
    config.auth.attempt_limits = false;
    let api = TestApi::with_config(config);
    let wallet = TestWallet::new(1);
    let first = wallet_auth(&api, &wallet).await;
    login(&api, &first).await.golden(200, "wallet_unknown");
    login(&api, &first).await.golden(403, "wallet_challenge_used");
    login(&api, &signed(&wallet, "Hello")).await.golden(400, "wallet_message");
    let mut forged = wallet_auth(&api, &wallet).await;
    forged["wallet_address"] = TestWallet::new(2).address.into();
    login(&api, &forged).await.golden(401, "wallet_signature");

    let create = async |wallet_auth: Value| {
        let body = sign_up(json!({"wallet_auth": wallet_auth}));
        api.post("/auth/network-create", body).await
    };
    create(first).await.golden(200, "wallet_challenge_used");
    create(wallet_auth(&api, &wallet).await).await.golden(200, "wallet_created");
    let answer = login(&api, &wallet_auth(&api, &wallet).await).await;
    answer.golden(200, "wallet_logged_in");
    let token = answer.body["network"]["by_jwt"].as_str().unwrap();
    api.get("/network/user").token(token).await.golden(200, "wallet");

    let add = async |wallet_auth: Value| {
        api.post("/auth/add-auth", json!({"wallet_auth": wallet_auth})).token(&api.user_token).await
    };
    add(wallet_auth(&api, &wallet).await).await.golden(200, "wallet_of_another");
    add(signed(&wallet, "Hello")).await.golden(200, "wallet_message");
    add(wallet_auth(&api, &TestWallet::new(2)).await).await.golden(200, "wallet_added");
}

#[tokio::test]
async fn switched_off_the_routes_of_wallets_are_not_there() {
    let api = TestApi::new();
    for path in ["/auth/wallet-challenge", "/auth/wallet-nonce"] {
        let answer = api.post(path, json!({})).await;
        answer.golden(404, "switched_off");
        assert_eq!(answer.body, api.post("/auth/no-such-route", json!({})).await.body, "as any path without a route");
    }
    let signed = wallet_auth(&with_wallets(), &TestWallet::new(1)).await;
    login(&api, &signed).await.golden(200, "wallet_switched_off");
}

#[tokio::test]
async fn the_token_of_a_service_signs_up_in_and_to_an_account() {
    let api = with_services();
    let login = |proof: Value| api.post("/auth/login", proof);
    login(google("ada@hill.example")).await.golden(200, "token_unknown");
    let mut apple = TestService::claims("ada@hill.example", START);
    apple["iss"] = json!("https://appleid.apple.com");
    let apple = json!({"auth_jwt": TestService::token("first", &apple), "auth_jwt_type": "apple"});
    login(apple.clone()).await.golden(200, "token_unknown_apple");
    login(json!({"auth_jwt": apple["auth_jwt"], "auth_jwt_type": "google"})).await.golden(200, "token_of_another");

    let body = sign_up(google("ada@hill.example"));
    api.post("/auth/network-create", body.clone()).await.golden(200, "token_created");
    let mut body = body;
    body["network_name"] = json!("other-lab");
    api.post("/auth/network-create", body).await.golden(200, "token_taken");
    let answer = login(google("ada@hill.example")).await;
    answer.golden(200, "token_logged_in");
    let token = answer.body["network"]["by_jwt"].as_str().unwrap();
    api.get("/network/user").token(token).await.golden(200, "service");
    api.post("/auth/login", json!({"user_auth": "ada@hill.example"})).await.golden(200, "service_only");

    let add = async |proof: Value| api.post("/auth/add-auth", proof).token(&api.user_token).await;
    add(google("ada@hill.example")).await.golden(200, "token_of_another");
    add(google("bob@hill.example")).await.golden(200, "token_added");
    add(google("cyd@hill.example")).await.golden(200, "token_kind_present");
}

#[tokio::test]
async fn a_guest_is_an_account_of_words_that_gains_an_address() {
    let api = TestApi::new();
    // What apps of the older generation send for a guest; the flag itself changes nothing.
    let guest = json!({"guest_mode": true, "terms": true, "network_name": "ignored-name"});
    let answer = api.post("/auth/network-create", guest).await;
    answer.golden(200, "guest");
    let token = answer.body["network"]["by_jwt"].as_str().unwrap();
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims;
    assert!(claims.get("guest_mode").is_none(), "a full account: {claims}");

    for path in ["/auth/upgrade-guest", "/auth/upgrade-guest-existing"] {
        api.post(path, json!({})).token(token).await.expect(404);
    }
    let address = json!({"user_auth": "ada@hill.example", "password": "correct horse"});
    let added = api.post("/auth/add-auth", address.clone()).token(token).await.expect(200);
    assert_eq!(added, json!({}));
    let login = api.post("/auth/login-with-password", address).await.expect(200);
    assert_eq!(login["network"]["name"], answer.body["network"]["network_name"]);

    // With an address the flag makes no guest either.
    let named = json!({"guest_mode": true, "terms": true, "network_name": "bobs-lab", "user_auth": "bob@hill.example",
                       "password": "correct horse"});
    let answer = api.post("/auth/network-create", named).await.expect(200);
    assert_eq!(answer["verification_required"]["user_auth"], "bob@hill.example");
}
