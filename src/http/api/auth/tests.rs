use std::time::Duration;

use serde_json::{Value, json};

use crate::config::auth::{Signup, Verify};
use crate::domain::contract::codes::NewCodes;
use crate::domain::effect::{Effect, MessageKind};
use crate::http::testing::{Answer, TestApi};
use crate::time::DAY;

pub(super) const EMAIL: &str = "ada@hill.example";
pub(super) const PASSWORD: &str = "correct horse";
const HOUR: Duration = Duration::from_secs(3600);

fn sign_up() -> Value {
    json!({
        "user_name": "Ada", "user_auth": " Ada <ADA@hill.example> ", "password": PASSWORD, "network_name": "Hilltop Lab",
        "terms": true, "guest_mode": null, "referral_code": null
    })
}

/// The last code that was sent, of either kind.
#[track_caller]
pub(super) fn sent_code(api: &TestApi) -> String {
    let mut codes = api.effects.take().into_iter().rev().filter_map(|effect| match effect {
        Effect::Send(message) => match message.kind {
            MessageKind::VerifyCode(code) | MessageKind::ResetCode(code) => Some(code),
            MessageKind::PasswordChanged | MessageKind::BalanceCode { .. } | MessageKind::Portal(_) => None,
        },
        _ => None,
    });
    codes.next().expect("a code was sent")
}

/// Ada has a network; her address waits for its code.
pub(super) async fn unverified() -> TestApi {
    let api = TestApi::new();
    api.post("/auth/network-create", sign_up()).await.expect(200);
    api
}

/// Ada has a network, her address is proven, and she is logged in.
pub(super) async fn verified() -> (TestApi, String) {
    let api = unverified().await;
    let body = json!({"user_auth": EMAIL, "verify_code": sent_code(&api)});
    let body = api.post("/auth/verify", body).await.expect(200);
    let token = body["network"]["by_jwt"].as_str().unwrap().to_owned();
    (api, token)
}

async fn log_in(api: &TestApi, password: &str) -> Answer {
    api.post("/auth/login-with-password", json!({"user_auth": EMAIL, "password": password})).await
}

#[tokio::test]
async fn network_check_says_which_names_can_be_had() {
    let api = unverified().await;
    let check = |name: &'static str| api.post("/auth/network-check", json!({"network_name": name}));
    check("valley-lab").await.golden(200, "free");
    check(" HILLTOP lab ").await.golden(200, "taken");
    check("lab").await.golden(200, "too_short");
    api.post("/auth/network-check", Value::Null).await.golden(200, "no_name");
}

#[tokio::test]
async fn network_create_asks_for_the_code_or_logs_in_at_once() {
    let api = TestApi::new();
    api.post("/auth/network-create", sign_up()).await.golden(200, "verification_required");
    assert_eq!(sent_code(&api).len(), 8);
    api.post("/auth/network-create", sign_up()).await.golden(200, "sent_twice");
    api.post("/auth/network-create", json!({"terms": true})).from("127.0.0.1:9").await.golden(200, "seedphrase");

    let mut config = TestApi::config();
    config.auth.verify = Verify::Auto;
    TestApi::with_config(config).post("/auth/network-create", sign_up()).await.golden(200, "verified_at_once");
}

#[tokio::test]
async fn network_create_says_what_is_wrong() {
    let (api, _) = verified().await;
    let cases = [
        ("terms_not_accepted", json!({"terms": false})),
        ("invalid_name", json!({"network_name": "no"})),
        ("name_taken", json!({"user_auth": "eve@hill.example"})),
        ("invalid_user_auth", json!({"network_name": "valley-lab", "user_auth": "not-an-id"})),
        ("empty_user_auth", json!({"network_name": "valley-lab", "user_auth": ""})),
        (
            "password_too_short",
            json!({"network_name": "valley-lab", "user_auth": "eve@hill.example", "password": "short"}),
        ),
        ("no_password", json!({"network_name": "valley-lab", "user_auth": "eve@hill.example", "password": null})),
        ("identity_taken", json!({"network_name": "valley-lab"})),
        (
            "outside_proof",
            json!({"user_auth": null, "network_name": "spare-lab", "auth_jwt": "x.y.z", "auth_jwt_type": "google"}),
        ),
        ("wallet", json!({"user_auth": null, "network_name": "spare-lab", "wallet_auth": {"wallet_address": "x"}})),
    ];
    for (case, change) in cases {
        let mut body = sign_up();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        api.post("/auth/network-create", body).await.golden(200, case);
    }

    let mut config = TestApi::config();
    config.auth.signup = Signup::Closed;
    TestApi::with_config(config).post("/auth/network-create", sign_up()).await.golden(200, "closed");
}

#[tokio::test]
async fn a_balance_code_given_at_sign_up_stands_in_for_the_free_grant_and_a_bad_one_is_ignored() {
    let api = TestApi::new();
    let new = NewCodes {
        count: 1,
        bytes: 1 << 40,
        net_revenue: 5,
        duration: DAY,
        purchase_event_id: None,
        purchase_record: String::new(),
        purchase_email: String::new(),
    };
    let code = api.state.ledger.create_codes(new).await.unwrap().unwrap().pop().unwrap();
    let with_code = json!({"terms": true, "balance_code": code.secret.as_str()});
    let good = api.post("/auth/network-create", with_code.clone()).from("127.0.0.1:9").await.expect(200);
    // The second one comes too late.
    let late = api.post("/auth/network-create", with_code).from("127.0.0.1:9").await.expect(200);
    let bad = json!({"terms": true, "balance_code": "no such code"});
    let bad = api.post("/auth/network-create", bad).from("127.0.0.1:9").await.expect(200);
    for (created, is_paid) in [(good, true), (late, false), (bad, false)] {
        let token = created["network"]["by_jwt"].as_str().unwrap();
        let view = api.get("/subscription/balance").token(token).await.expect(200);
        let balances = view["active_transfer_balances"].as_array().unwrap();
        assert_eq!(balances.len(), 1);
        assert_eq!(balances[0]["paid"], is_paid);
        let codes = api.get("/account/balance-codes").token(token).await.expect(200);
        assert_eq!(codes["balance_codes"].as_array().unwrap().len(), usize::from(is_paid));
    }
}

#[tokio::test]
async fn accounts_without_a_method_are_limited_by_address() {
    let api = TestApi::new();
    for _ in 0..5 {
        api.post("/auth/network-create", json!({"terms": true})).await.expect(200);
    }
    let answer = api.post("/auth/network-create", json!({"terms": true})).await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.golden(429, "too_many_from_one_address");
}

#[tokio::test]
async fn login_tells_how_an_identity_signs_in() {
    let api = TestApi::new();
    let created = api.post("/auth/network-create", json!({"terms": true})).from("127.0.0.1:9").await.expect(200);
    api.post("/auth/network-create", sign_up()).await.expect(200);
    let login = |body: Value| api.post("/auth/login", body);
    login(json!({"user_auth": EMAIL})).await.golden(200, "known");
    login(json!({"user_auth": "eve@hill.example"})).await.golden(200, "unknown");
    login(json!({"user_auth": "not-an-id"})).await.golden(200, "invalid_user_auth");
    login(json!({"user_auth": "", "seedphrase": "x"})).await.golden(200, "empty_user_auth");
    login(json!({"auth_jwt": "x.y.z", "auth_jwt_type": "apple"})).await.golden(200, "outside_proof");
    login(Value::Null).await.golden(200, "nothing_given");
    login(json!({"seedphrase": created["seedphrase"]})).await.golden(200, "seedphrase");
    login(json!({"seedphrase": "zoo zoo zoo"})).await.golden(200, "unknown_seedphrase");
}

#[tokio::test]
async fn login_with_password_wants_a_proven_address() {
    let api = unverified().await;
    log_in(&api, PASSWORD).await.golden(200, "verification_required");
    let (api, _) = verified().await;
    log_in(&api, PASSWORD).await.golden(200, "logged_in");
    log_in(&api, "wrong horse").await.golden(200, "wrong_password");
    let login = |body: Value| api.post("/auth/login-with-password", body);
    login(json!({"user_auth": "eve@hill.example", "password": PASSWORD})).await.golden(200, "unknown_user");
    login(json!({"user_auth": "not-an-id", "password": PASSWORD})).await.golden(200, "invalid_user_auth");
    login(Value::Null).await.golden(200, "nothing_given");
}

#[tokio::test]
async fn the_fifth_wrong_password_waits_and_other_addresses_do_not() {
    let (api, _) = verified().await;
    for _ in 0..4 {
        log_in(&api, "wrong horse").await.expect(200);
    }
    let answer = log_in(&api, PASSWORD).await;
    assert_eq!(answer.headers["retry-after"], "300");
    answer.golden(429, "too_many_wrong_passwords");
    let body = json!({"user_auth": EMAIL, "password": PASSWORD});
    api.post("/auth/login-with-password", body).from("198.51.100.7:1").await.expect(200);
    api.clock.advance(Duration::from_secs(301));
    log_in(&api, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn verify_takes_the_last_code_once() {
    let api = unverified().await;
    let superseded = sent_code(&api);
    api.post("/auth/verify-send", json!({"user_auth": EMAIL, "use_numeric": true})).await.golden(200, "numeric");
    let code = sent_code(&api);
    assert!(code.len() == 6 && code.bytes().all(|digit| digit.is_ascii_digit()), "{code}");
    let verify = |code: &str| api.post("/auth/verify", json!({"user_auth": EMAIL, "verify_code": code}));
    assert_eq!(verify(&superseded).await.expect(200)["error"]["message"], "Invalid code.");
    verify("wrong").await.golden(200, "wrong_code");
    api.post("/auth/verify-send", json!({"user_auth": EMAIL})).await.expect(200);
    let code = sent_code(&api).to_uppercase();
    verify(&format!(" {code}\n")).await.expect(200)["network"]["by_jwt"].as_str().unwrap();
    assert_eq!(verify(&code).await.expect(200)["error"]["message"], "Invalid code.");
}

#[tokio::test]
async fn verify_logs_in_and_says_what_is_wrong() {
    let api = unverified().await;
    let body = json!({"user_auth": EMAIL, "verify_code": sent_code(&api)});
    api.post("/auth/verify", body).await.golden(200, "logged_in");
    let verify = |user_auth: &str| api.post("/auth/verify", json!({"user_auth": user_auth, "verify_code": "x"}));
    verify("not-an-id").await.golden(200, "invalid_user_auth");
    verify("eve@hill.example").await.golden(200, "unknown_user");
    for _ in 0..4 {
        verify(EMAIL).await.expect(200);
    }
    verify(EMAIL).await.golden(429, "too_many_wrong_codes");
}

#[tokio::test]
async fn codes_die_after_four_hours() {
    let api = unverified().await;
    let body = json!({"user_auth": EMAIL, "verify_code": sent_code(&api)});
    api.clock.advance(4 * HOUR + Duration::from_secs(1));
    assert_eq!(api.post("/auth/verify", body).await.expect(200)["error"]["message"], "Invalid code.");
    api.post("/auth/password-reset", json!({"user_auth": EMAIL})).await.expect(200);
    let body = json!({"reset_code": sent_code(&api), "password": "another horse"});
    api.clock.advance(4 * HOUR + Duration::from_secs(1));
    api.post("/auth/password-set", body).await.expect(400);
}

#[tokio::test]
async fn messages_go_out_for_known_identities_only_and_the_answer_is_the_same() {
    let api = unverified().await;
    api.effects.take();
    for (path, limit) in [("/auth/verify-send", 3), ("/auth/password-reset", 5)] {
        let send = |user_auth: &str| api.post(path, json!({"user_auth": user_auth}));
        send("eve@hill.example").await.golden(200, "unknown_user");
        assert!(api.effects.take().is_empty(), "{path}");
        send("not-an-id").await.golden(400, "invalid_user_auth");
        api.post(path, Value::Null).await.golden(400, "nothing_given");
        send(" ADA@hill.example").await.golden(200, "sent");
        sent_code(&api);
        api.clock.advance(HOUR);
        for _ in 0..limit {
            send(EMAIL).await.expect(200);
        }
        for _ in limit..5 {
            send(EMAIL).await.expect(200);
        }
        let answer = send(EMAIL).await;
        assert!(answer.headers.contains_key("retry-after"));
        answer.golden(429, "too_many_messages");
        api.clock.advance(HOUR);
        api.effects.take();
    }
}

#[tokio::test]
async fn password_set_ends_everything_made_before() {
    let (api, user_token) = verified().await;
    let code = api.post("/auth/code-create", json!({"uses": 100})).token(&user_token).await.expect(200);
    api.clock.advance(Duration::from_secs(1));
    api.post("/auth/password-reset", json!({"user_auth": EMAIL})).await.expect(200);
    let reset_code = sent_code(&api);
    let set =
        |code: &str, password: &str| api.post("/auth/password-set", json!({"reset_code": code, "password": password}));
    set("wrong", "another horse").await.golden(400, "wrong_code");
    set(&reset_code, "short").await.golden(400, "password_too_short");
    set(&reset_code, "another horse").await.golden(200, "set");
    assert!(api.effects.take().iter().any(|effect| matches!(effect, Effect::CredentialsChanged(_))));
    set(&reset_code, "a third horse").await.expect(400);
    api.post("/auth/code-create", json!({})).token(&user_token).await.expect(401);
    let body = json!({"auth_code": code["auth_code"]});
    assert_eq!(api.post("/auth/code-login", body).await.expect(200)["error"]["message"], "Invalid auth code.");
    assert_eq!(log_in(&api, PASSWORD).await.expect(200)["error"]["message"], "Invalid user or password.");
    let body = log_in(&api, "another horse").await.expect(200);
    let token = body["network"]["by_jwt"].as_str().unwrap();
    api.post("/auth/code-create", json!({})).token(token).await.expect(200);
    for _ in 0..4 {
        set("wrong", "another horse").await;
    }
    set("wrong", "another horse").await.golden(429, "too_many_wrong_codes");
}

#[tokio::test]
async fn network_delete_ends_the_network_and_frees_its_name() {
    let (api, token) = verified().await;
    api.post("/auth/network-delete", Value::Null).await.golden(401, "stranger");
    api.call(axum::http::Method::POST, "/auth/network-delete", None).token(&token).await.golden(200, "deleted");
    api.post("/auth/network-delete", json!({})).token(&token).await.expect(401);
    let body = json!({"network_name": "hilltop-lab"});
    assert_eq!(api.post("/auth/network-check", body).await.expect(200)["available"], true);
    api.post("/auth/network-delete", json!({})).token(&api.client_token).await.expect(200);
    api.get("/auth/refresh").token(&api.client_token).await.expect(401);
}

#[tokio::test]
async fn code_create_moves_wishes_into_their_range() {
    let (api, token) = verified().await;
    let create = |body: Value| api.post("/auth/code-create", body).token(&token);
    create(Value::Null).await.golden(200, "defaults");
    create(json!({"duration_minutes": 99999, "uses": 101})).await.golden(200, "too_much");
    create(json!({"duration_minutes": -5.5, "uses": 0})).await.golden(200, "too_little");
    create(json!({"roles": ["ops"], "principal": "svc-a"})).await.golden(200, "with_roles");
    create(json!({"roles": [""]})).await.golden(200, "empty_role");
    create(json!({"uses": 1.5})).await.golden(400, "fraction");
    api.post("/auth/code-create", json!({})).await.golden(401, "stranger");
    api.post("/auth/code-create", json!({})).token(&api.client_token).await.golden(200, "client_token");
    api.post("/auth/code-create", json!({"roles": ["ops"]}))
        .token(&api.user_token)
        .await
        .golden(200, "roles_of_a_seedphrase_account");
}

#[tokio::test]
async fn a_network_has_at_most_500_live_codes() {
    let api = TestApi::new();
    let create = |body: Value| api.post("/auth/code-create", body).token(&api.user_token);
    for _ in 0..500 {
        create(json!({})).await.expect(200)["auth_code"].as_str().unwrap();
    }
    create(json!({})).await.golden(200, "too_many_codes");
    api.clock.advance(Duration::from_secs(61));
    create(json!({})).await.expect(200)["auth_code"].as_str().unwrap();
}

#[tokio::test]
async fn code_login_gives_as_many_tokens_as_the_code_has_uses() {
    let api = TestApi::new();
    let body = api.post("/auth/code-create", json!({"uses": 2})).token(&api.user_token).await.expect(200);
    let code = body["auth_code"].as_str().unwrap().to_owned();
    let login = |code: &str| api.post("/auth/code-login", json!({"auth_code": code}));
    login(&format!(" {code}\n")).await.golden(200, "logged_in");
    let body = login(&code).await.expect(200);
    api.post("/auth/code-create", json!({})).token(body["by_jwt"].as_str().unwrap()).await.expect(200);
    assert_eq!(login(&code).await.expect(200)["error"]["message"], "Invalid auth code.");
    login("wrong").await.golden(200, "wrong_code");
    api.post("/auth/code-login", Value::Null).await.golden(200, "nothing_given");

    let body = api.post("/auth/code-create", json!({})).token(&api.user_token).await.expect(200);
    api.clock.advance(Duration::from_secs(61));
    assert!(login(body["auth_code"].as_str().unwrap()).await.expect(200)["error"].is_object());
    api.clock.advance(HOUR);
    for _ in 0..30 {
        login("wrong").await.expect(200);
    }
    login("wrong").await.golden(429, "too_many_wrong_codes");
}

#[tokio::test]
async fn refresh_keeps_client_and_device() {
    let api = TestApi::new();
    let answer = api.get("/auth/refresh").token(&api.client_token).await;
    answer.golden(200, "client");
    let token = answer.body["by_jwt"].as_str().unwrap();
    let audience = crate::domain::auth::authenticate::Audience::Client;
    let caller = api.state.authenticator.authenticate(token, audience).unwrap();
    assert_eq!((caller.client, caller.session_id), (api.client.client, api.client.session_id));
    api.get("/auth/refresh").token(&api.client_token).await.expect(200);
    api.get("/auth/refresh").token(&api.user_token).await.golden(200, "user");
    api.get("/auth/refresh").await.golden(401, "stranger");
    api.get("/auth/refresh").token("x.y.z").await.golden(401, "bad_token");
}

#[tokio::test]
async fn sign_in_methods_are_added_and_removed_but_the_last() {
    let api = TestApi::new();
    let add = |body: Value| api.post("/auth/add-auth", body).token(&api.client_token);
    let remove = |kind: &'static str| api.post("/auth/remove-auth", json!({"auth_type": kind})).token(&api.user_token);
    add(json!({"user_auth": EMAIL, "password": PASSWORD})).await.golden(200, "added");
    sent_code(&api);
    add(json!({"user_auth": "bob@hill.example", "password": PASSWORD})).await.golden(200, "has_one");
    add(json!({"user_auth": "bob@hill.example", "password": "short"})).await.golden(200, "password_too_short");
    add(json!({"user_auth": "not-an-id", "password": PASSWORD})).await.golden(200, "invalid_user_auth");
    add(json!({"auth_jwt": "x.y.z", "auth_jwt_type": "google"})).await.golden(200, "outside_proof");
    add(Value::Null).await.golden(200, "nothing_given");
    api.post("/auth/add-auth", json!({})).await.golden(401, "stranger");
    remove("pigeon").await.golden(200, "unknown_kind");
    remove("phone").await.golden(200, "has_none");
    remove("seedphrase").await.golden(200, "removed");
    remove("email").await.golden(200, "last");
    api.post("/auth/remove-auth", json!({})).await.golden(401, "stranger");
}

#[tokio::test]
async fn seedphrases_are_made_once_and_replaced_on_wish() {
    let api = TestApi::new();
    let call = |path: &'static str| api.post(path, json!({})).token(&api.user_token);
    call("/auth/generate-seedphrase").await.golden(200, "has_one");
    let answer = call("/auth/regenerate-seedphrase").await;
    answer.golden(200, "replaced");
    let body = json!({"seedphrase": answer.body["seedphrase"]});
    assert!(api.post("/auth/login", body).await.expect(200)["network"]["by_jwt"].is_string());
    let (api, token) = verified().await;
    api.post("/auth/regenerate-seedphrase", json!({})).token(&token).await.golden(200, "has_none");
    api.post("/auth/generate-seedphrase", json!({})).token(&token).await.golden(200, "made");
}

#[tokio::test]
async fn bodies_are_read_whatever_their_content_type_says() {
    let api = TestApi::new();
    for content_type in ["text/json", "text/plain;charset=UTF-8", "application/json; charset=utf-8", "", "a/b; c=\"d\""]
    {
        let call = api.post("/auth/network-check", json!({"network_name": "valley-lab"}));
        let body = call.header("content-type", content_type).await.expect(200);
        assert_eq!(body["available"], true, "{content_type}");
    }
    let call = api.post("/auth/network-check", json!({"network_name": "valley-lab"}));
    call.header("content-type", "application/x-www-form-urlencoded").await.expect(200);
}
