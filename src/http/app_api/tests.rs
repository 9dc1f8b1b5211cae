//! The client API over a store in memory.

use serde_json::{Value, json};

use crate::config::Config;
use crate::config::auth::Verify;
use crate::config::contracts::Grant;
use crate::config::geoip::Override;
use crate::domain::effect::Effect;
use crate::domain::presence::PresenceGuard;
use crate::http::api::provider::tests::provide;
use crate::http::testing::{Answer, TestApi};
use crate::ids::ClientId;
use crate::wire::messages::{CreateContract, ProvideMode};

const EMAIL: &str = "ada@hill.example";
const PASSWORD: &str = "correct horse";

/// An API whose addresses 203.0.113.0/24 are in Berlin, with Ada's account.
async fn with_ada(change: impl FnOnce(&mut Config)) -> TestApi {
    let mut config = TestApi::config();
    config.auth.verify = Verify::Auto;
    config.geoip.overrides = vec![Override {
        range: "203.0.113.0/24".into(),
        country: "de".into(),
        region: "Land Berlin".into(),
        city: "Berlin".into(),
        ..Override::default()
    }];
    change(&mut config);
    let api = TestApi::with_config(config);
    let new = json!({"user_name": "Ada", "user_auth": EMAIL, "password": PASSWORD, "network_name": "hilltop",
                     "terms": true});
    api.post("/auth/network-create", new).await.expect(200);
    api
}

async fn log_in(api: &TestApi, device: &str) -> Answer {
    let body = json!({"email": EMAIL, "password": PASSWORD, "device_id": device, "device_name": "iPhone 12"});
    api.post("/api/login", body).await
}

async fn token(api: &TestApi) -> String {
    log_in(api, "uuid-1-1-1").await.expect(200)["token"].as_str().unwrap().to_owned()
}

/// A provider in Berlin, found by everybody.
async fn berlin(api: &TestApi) -> (ClientId, PresenceGuard) {
    provide(api, &[ProvideMode::Public, ProvideMode::Network]).await
}

#[tokio::test]
async fn a_login_makes_the_device_once_and_retires_its_older_token() {
    let api = with_ada(|_| ()).await;
    let first = log_in(&api, "uuid-1-1-1").await;
    first.golden(200, "ok");
    assert_eq!(first.body["device_id"], "1");
    let second = log_in(&api, "uuid-1-1-1").await.expect(200);
    assert_eq!(second["device_id"], "1");
    let other = log_in(&api, "uuid-2-2-2").await.expect(200);
    assert_eq!(other["device_id"], "2");
    let user = |token: &Value| api.get("/api/user").token(token.as_str().unwrap());
    user(&first.body["token"]).await.golden(401, "retired");
    user(&second["token"]).await.expect(200);
    user(&other["token"]).await.expect(200);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_are_answered_alike() {
    let api = with_ada(|_| ()).await;
    let body = |email: &str| json!({"email": email, "password": "wrong", "device_id": "x"});
    let wrong = api.post("/api/login", body(EMAIL)).await;
    wrong.golden(401, "wrong_password");
    let unknown = api.post("/api/login", body("eve@hill.example")).await;
    assert_eq!((unknown.status, unknown.body), (wrong.status, wrong.body));
    api.post("/api/login", body(EMAIL)).header("accept-language", "en-GB, ru;q=0.5").await.golden(401, "in_english");
}

#[tokio::test]
async fn fields_of_a_login_are_asked_for_by_name() {
    let api = with_ada(|_| ()).await;
    api.post("/api/login", json!({})).await.golden(422, "nothing");
    let odd = json!({"email": "ada", "password": 7, "device_id": ["x"], "device_name": "x".repeat(256)});
    api.post("/api/login", odd.clone()).await.golden(422, "malformed");
    api.post("/api/login", odd).header("accept-language", "en").await.golden(422, "malformed_in_english");
    for body in ["", "{\"email\":", "[]", "\"text\"", "\u{0}"] {
        let answer = api.call(axum::http::Method::POST, "/api/login", Some(body.as_bytes().to_vec())).await;
        assert_eq!(answer.expect(422)["errors"]["email"].as_array().unwrap().len(), 1, "{body}");
    }
    let huge = vec![b' '; 2 << 20];
    api.call(axum::http::Method::POST, "/api/login", Some(huge)).await.golden(413, "too_large");
}

#[tokio::test]
async fn an_address_that_is_not_confirmed_does_not_sign_in() {
    let api = with_ada(|config| config.auth.verify = Verify::Required).await;
    log_in(&api, "uuid-1-1-1").await.golden(403, "unconfirmed");
}

#[tokio::test]
async fn devices_count_among_the_clients_of_the_network() {
    let api = with_ada(|config| config.limits.clients_per_network = 1).await;
    log_in(&api, "uuid-1-1-1").await.expect(200);
    log_in(&api, "uuid-2-2-2").await.golden(403, "too_many_devices");
    log_in(&api, "uuid-1-1-1").await.expect(200);
}

#[tokio::test]
async fn guessing_passwords_is_stopped_even_for_the_right_one() {
    let api = with_ada(|_| ()).await;
    for _ in 0..4 {
        let body = json!({"email": EMAIL, "password": "wrong", "device_id": "x"});
        api.post("/api/login", body).await.expect(401);
    }
    let stopped = log_in(&api, "uuid-1-1-1").await;
    stopped.golden(429, "too_many_attempts");
    assert_eq!(stopped.headers["retry-after"], "300");
    log_in(&api, "uuid-1-1-1").await.expect(429);
    // The windows of the doors are apart: nobody can lock Ada out of the others through this one.
    let body = json!({"user_auth": EMAIL, "password": PASSWORD});
    api.post("/auth/login-with-password", body).await.expect(200);
}

#[tokio::test]
async fn a_logout_ends_the_token_and_the_keys_it_was_given() {
    let api = with_ada(|_| ()).await;
    let (_, _guard) = berlin(&api).await;
    let token = token(&api).await;
    let key = api.post("/api/key", json!({"server_id": 1, "device_id": 1})).token(&token).await.expect(200);
    let jwt = jwt_of(&key);
    api.get("/network/clients").token(&jwt).await.expect(200);
    api.effects.take();
    api.post("/api/logout", Value::Null).token(&token).await.golden(200, "ok");
    assert!(matches!(api.effects.take()[..], [Effect::ProofEnded(_)]), "its transports are cut");
    api.post("/api/logout", Value::Null).token(&token).await.golden(401, "again");
    api.get("/network/clients").token(&jwt).await.expect(401);
    let again = log_in(&api, "uuid-1-1-1").await.expect(200);
    assert_eq!(again["device_id"], "1", "it is the same device");
    let token = again["token"].as_str().unwrap();
    api.post("/api/logout", Value::Null).token(token).header("accept-language", "en").await.golden(200, "in_english");
}

/// The client token in an access key.
fn jwt_of(answer: &Value) -> String {
    let key = answer["key"].as_str().unwrap();
    key.split_once("&token=").unwrap().1.split('&').next().unwrap().to_owned()
}

#[tokio::test]
async fn tokens_of_other_doors_and_no_token_are_refused_alike() {
    let api = with_ada(|_| ()).await;
    for (method, path) in [
        ("GET", "/api/user"),
        ("GET", "/api/subscription"),
        ("GET", "/api/userApp"),
        ("POST", "/api/logout"),
        ("POST", "/api/servers"),
        ("POST", "/api/key"),
    ] {
        let call = || api.call(method.parse().unwrap(), path, None);
        call().await.golden(401, "nobody");
        for token in [api.user_token.as_str(), &api.client_token, "app_", &format!("app_{}", "0".repeat(64)), "x"] {
            let answer = call().token(token).header("accept-language", "en").await;
            assert_eq!(answer.expect(401), json!({"message": "Unauthenticated."}), "{path} with {token}");
        }
    }
    // Neither is a token of this door any good at another.
    let token = token(&api).await;
    api.get("/subscription/balance").token(&token).await.expect(401);
}

#[tokio::test]
async fn the_user_and_the_subscription_are_shown() {
    let api = with_ada(|_| ()).await;
    let token = token(&api).await;
    let user = api.get("/api/user").token(&token).await;
    user.golden(200, "ok");
    let subscription = api.get("/api/subscription").token(&token).await;
    subscription.golden(200, "free");
    assert_eq!((&subscription.body["active"], &subscription.body["devices_used"]), (&json!(true), &json!(1)));
    let all = api.get("/api/userApp").token(&token).await;
    all.golden(200, "ok");
    assert_eq!((&all.body["user"], &all.body["subscription"]), (&user.body, &subscription.body));
    assert_eq!(all.body["device"], json!({"id": "1", "device_id": "uuid-1-1-1", "name": "iPhone 12"}));
}

#[tokio::test]
async fn without_anything_left_the_plan_is_not_active() {
    let api = with_ada(|config| {
        config.plan.free.bytes = Grant::Bytes("0B".parse().unwrap());
        config.limits.clients_per_network = 0;
    })
    .await;
    let (_, _guard) = berlin(&api).await;
    let token = token(&api).await;
    api.get("/api/subscription").token(&token).await.golden(200, "nothing_left");
    api.post("/api/key", json!({"server_id": 1, "device_id": 1})).token(&token).await.golden(402, "no_plan");
    let api = with_ada(|config| config.plan.free.bytes = Grant::Unlimited).await;
    let (_, _guard) = berlin(&api).await;
    let token = self::token(&api).await;
    api.get("/api/subscription").token(&token).await.golden(200, "unlimited");
    api.post("/api/key", json!({"server_id": 1, "device_id": 1})).token(&token).await.expect(200);
}

#[tokio::test]
async fn servers_are_places_with_healthy_providers_and_keep_their_numbers() {
    let api = with_ada(|_| ()).await;
    let token = token(&api).await;
    let servers = || api.post("/api/servers", json!({"device_id": "1"})).token(&token).header("host", "vpn.example");
    servers().await.golden(200, "none");
    let (provider, guard) = berlin(&api).await;
    let listed = servers().await;
    listed.golden(200, "berlin");
    assert_eq!(listed.body[0]["api_url"], "http://vpn.example/status");
    api.get("/status").await.expect(200);

    let wanted = CreateContract { destination_id: Some(provider.into()), ..CreateContract::default() };
    api.state.ledger.create(api.client.client_id().unwrap(), &wanted).await.unwrap();
    api.clock.advance(std::time::Duration::from_secs(2));
    assert_eq!(servers().await.expect(200)[0]["connections"], 1);
    drop(guard);
    api.clock.advance(std::time::Duration::from_secs(2));
    assert_eq!(servers().await.expect(200), json!([]));
    let (_, _guard) = berlin(&api).await;
    assert_eq!(servers().await.expect(200)[0]["id"], listed.body[0]["id"]);
}

#[tokio::test]
async fn providers_that_nobody_can_locate_are_one_server() {
    let api = with_ada(|config| config.geoip.overrides.clear()).await;
    let token = token(&api).await;
    let (_, _first) = berlin(&api).await;
    let (_, _second) = berlin(&api).await;
    api.post("/api/servers", json!({"device_id": 1})).token(&token).await.golden(200, "unlocated");
    let key = api.post("/api/key", json!({"server_id": 1, "device_id": 1})).token(&token).await.expect(200);
    assert!(!key["key"].as_str().unwrap().contains("location"), "any provider will do");
}

#[tokio::test]
async fn servers_are_shown_to_the_device_that_asks_for_itself() {
    let api = with_ada(|_| ()).await;
    let token = token(&api).await;
    let ask = |body: Value| api.post("/api/servers", body).token(&token);
    ask(json!({})).await.golden(422, "no_device");
    ask(json!({"device_id": "x"})).await.golden(422, "bad_device");
    ask(json!({"device_id": 2})).await.golden(403, "foreign_device");
}

#[tokio::test]
async fn a_key_names_the_server_the_place_and_the_device() {
    let api = with_ada(|_| ()).await;
    let (_, _guard) = berlin(&api).await;
    let token = token(&api).await;
    let ask = |body: Value| api.post("/api/key", body).token(&token).header("host", "vpn.example:8443");
    let answer = ask(json!({"server_id": 1, "device_id": "1"})).await;
    answer.golden(200, "ok");
    let key = answer.body["key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("warren://vpn.example:8443/?tls=off&token=ey") && key.contains("&location="), "{key}");
    let clients = api.get("/network/clients").token(&jwt_of(&answer.body)).await.expect(200);
    assert_eq!(clients["clients"].as_array().unwrap().len(), 1, "it is the device's own token");

    ask(json!({"server_id": "x"})).await.golden(422, "malformed");
    for number in [json!(2), json!(-1), json!(1u64 << 40)] {
        let answer = ask(json!({"server_id": number, "device_id": 1})).await;
        answer.golden(404, &format!("unknown_server_{number}"));
    }
    ask(json!({"server_id": 1, "device_id": 2})).await.golden(403, "foreign_device");
    ask(json!({"server_id": 1, "device_id": 1u64 << 40})).await.expect(403);
}

#[tokio::test]
async fn a_device_that_is_removed_at_another_door_is_out_here_too() {
    let api = with_ada(|_| ()).await;
    let (_, _guard) = berlin(&api).await;
    let token = token(&api).await;
    let key = api.post("/api/key", json!({"server_id": 1, "device_id": 1})).token(&token).await.expect(200);
    let jwt = jwt_of(&key);
    let clients = api.get("/network/clients").token(&jwt).await.expect(200);
    let client = clients["clients"][0]["client_id"].clone();
    api.post("/network/remove-client", json!({"client_id": client})).token(&jwt).await.expect(200);
    api.get("/api/user").token(&token).await.expect(401);
    api.get("/network/clients").token(&jwt).await.expect(401);
    let again = log_in(&api, "uuid-1-1-1").await.expect(200);
    assert_eq!(again["device_id"], "2", "the name is free for another device");
}

#[tokio::test]
async fn a_new_password_ends_every_token() {
    let api = with_ada(|_| ()).await;
    let token = token(&api).await;
    api.post("/auth/password-reset", json!({"user_auth": EMAIL})).await.expect(200);
    let code = api.effects.take().into_iter().find_map(|effect| match effect {
        Effect::Send(message) => match message.kind {
            crate::domain::effect::MessageKind::ResetCode(code) => Some(code),
            _ => None,
        },
        _ => None,
    });
    api.clock.advance(std::time::Duration::from_secs(1));
    let body = json!({"reset_code": code.unwrap(), "password": "another horse"});
    api.post("/auth/password-set", body).await.expect(200);
    api.get("/api/user").token(&token).await.expect(401);
    let body = json!({"email": EMAIL, "password": "another horse", "device_id": "uuid-1-1-1"});
    let again = api.post("/api/login", body).await.expect(200);
    api.get("/api/user").token(again["token"].as_str().unwrap()).await.expect(200);
}

#[tokio::test]
async fn every_answer_may_be_read_from_anywhere_and_kept_nowhere() {
    let api = with_ada(|config| config.http.cors_origin = "https://app.example.org".into()).await;
    let answers = [
        api.post("/api/login", json!({})).await,
        api.get("/api/user").await,
        api.get("/api/nothing").await,
        api.get("/api/login").await,
        log_in(&api, "x").await,
    ];
    for answer in answers {
        assert_eq!(answer.headers["cache-control"], "no-cache, private", "{}", answer.text);
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    let preflight = api.call(axum::http::Method::OPTIONS, "/api/login", None).header("origin", "https://any.example");
    let preflight = preflight.await;
    assert_eq!(
        (preflight.status.as_u16(), &preflight.headers["access-control-allow-origin"]),
        (204, &"*".parse().unwrap())
    );
    let allowed = preflight.headers["access-control-allow-headers"].to_str().unwrap();
    assert!(allowed.contains("Authorization") && allowed.contains("Content-Type"), "{allowed}");
    assert_eq!(api.get("/hello").await.headers["access-control-allow-origin"], "https://app.example.org");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_same_shape() {
    let api = with_ada(|_| ()).await;
    api.get("/api/nothing").await.golden(404, "unknown");
    let wrong = api.get("/api/login").header("accept-language", "en").await;
    wrong.golden(405, "wrong_method");
    assert_eq!(wrong.headers["allow"], "POST");
}

#[tokio::test]
async fn it_can_have_a_host_of_its_own_or_be_switched_off() {
    let api = with_ada(|config| config.client_api.host = "App.example.org".into()).await;
    let login = |host: &str| api.post("/api/login", json!({})).header("host", host);
    login("vpn.example.org").await.golden(404, "another_host");
    for host in ["app.example.org", "APP.example.org:8080"] {
        login(host).await.expect(422);
    }
    let api = with_ada(|config| config.client_api.enabled = false).await;
    let answer = log_in(&api, "x").await;
    assert_eq!(answer.expect(404)["error"]["message"], "No such route.");
    let document = api.get("/openapi.json").await.expect(200);
    assert!(document["paths"].get("/api/login").is_none());
}

#[tokio::test]
async fn addresses_are_those_the_operator_names_or_the_request_came_to() {
    let base = |config: fn(&mut Config), headers: &'static [(&'static str, &'static str)], peer: &'static str| async move {
        let api = with_ada(config).await;
        let (_, _guard) = berlin(&api).await;
        let token = token(&api).await;
        let mut call = api.post("/api/servers", json!({"device_id": 1})).token(&token).from(peer);
        for (name, value) in headers {
            call = call.header(name, value);
        }
        let answer = call.await.expect(200);
        answer[0]["api_url"].as_str().unwrap().to_owned()
    };
    let named = |config: &mut Config| config.client_api.public_url = "https://vpn.example/".into();
    assert_eq!(base(named, &[("host", "x")], "203.0.113.9:1").await, "https://vpn.example/status");
    let forwarded = &[("host", "vpn.example"), ("x-forwarded-proto", "https")];
    assert_eq!(base(|_| (), forwarded, "127.0.0.1:9").await, "https://vpn.example/status");
    assert_eq!(base(|_| (), forwarded, "203.0.113.9:1").await, "http://vpn.example/status");
    assert_eq!(base(|_| (), &[], "203.0.113.9:1").await, "http://127.0.0.1:8080/status");
}
