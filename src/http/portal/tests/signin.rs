use axum::http::header;
use serde_json::{Value, json};

use crate::http::portal::testing::{Browser, EMAIL, PASSWORD};
use crate::http::testing::TestApi;

fn credentials(email: &str, password: &str) -> Value {
    json!({"email": email, "password": password})
}

#[tokio::test]
async fn a_member_signs_in_with_json_and_with_a_form() {
    let api = TestApi::new();
    api.sign_up(EMAIL).await;
    let answer = Browser::program(&api).post("/signin", credentials(EMAIL, PASSWORD)).await;
    answer.portal_golden(200, "signed_in");
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("confirmedid=") && cookie.len() > 55, "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=7200; HttpOnly; SameSite=Lax"), "{cookie}");
    let fields = [("email", EMAIL), ("password", PASSWORD)];
    Browser::new(&api).form("/signin", &fields).await.portal_golden(302, "signed_in_page");
    Browser::new(&api).get("/signin").await.portal_golden(200, "page");
}

#[tokio::test]
async fn under_tls_the_cookie_never_travels_in_plain() {
    let mut config = TestApi::config();
    config.portal.base_url = "https://account.hill.example".into();
    let api = TestApi::with_config(config);
    api.sign_up(EMAIL).await;
    let answer = Browser::program(&api).post("/signin", credentials(EMAIL, PASSWORD)).await;
    assert!(answer.headers[header::SET_COOKIE].to_str().unwrap().ends_with("; Secure"));
}

#[tokio::test]
async fn before_the_address_is_proven_there_is_no_session() {
    let api = TestApi::new();
    api.sign_up_unproven(EMAIL).await;
    Browser::program(&api).post("/signin", credentials(EMAIL, PASSWORD)).await.portal_golden(200, "not_confirmed");
    let mut browser = Browser::new(&api);
    let answer = browser.form("/signin", &[("email", EMAIL), ("password", PASSWORD)]).await;
    answer.portal_golden(302, "not_confirmed_page");
    assert_eq!(browser.cookie("confirmedid"), None);
    let wrong = credentials(EMAIL, "Wrong-horse-1");
    assert_eq!(Browser::program(&api).post("/signin", wrong).await.expect(401)["code"], 2);
}

#[tokio::test]
async fn missing_and_malformed_fields_are_named() {
    let api = TestApi::new();
    for (body, case) in [
        (json!({}), "missing_email"),
        (json!({"email": "nobody", "password": "x"}), "invalid_email"),
        (json!({"email": "+14155550142", "password": "x"}), "phone"),
        (json!({"email": EMAIL}), "missing_password"),
        (json!({"authtype": "windows", "authreceipt": "eA=="}), "receipt_type"),
        (json!({"authtype": "ios"}), "no_receipt"),
    ] {
        Browser::program(&api).post("/signin", body).await.portal_golden(400, case);
    }
    Browser::new(&api).form("/signin", &[]).await.portal_golden(302, "missing_email_page");
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_look_alike_and_cost_alike() {
    let api = TestApi::new();
    api.sign_up(EMAIL).await;
    api.sign_up_unproven("bob@hill.example").await;
    let mut answers = Vec::new();
    for email in [EMAIL, "bob@hill.example", "nobody@hill.example"] {
        let before = api.state.accounts.hashes_computed();
        let answer = Browser::program(&api).post("/signin", credentials(email, "Wrong-horse-1")).await;
        let cost = api.state.accounts.hashes_computed() - before;
        answers.push((answer.status, answer.text.clone(), answer.headers.get(header::SET_COOKIE).cloned(), cost));
        if email == EMAIL {
            answer.portal_golden(401, "wrong");
        }
    }
    assert_eq!(answers[0].3, 1);
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    let fields = [("email", EMAIL), ("password", "Wrong-horse-1")];
    Browser::new(&api).form("/signin", &fields).await.portal_golden(302, "wrong_page");
}

#[tokio::test]
async fn guessing_ends_after_a_few_passwords_whoever_the_user_is() {
    let api = TestApi::new();
    api.sign_up(EMAIL).await;
    for email in [EMAIL, "nobody@hill.example"] {
        for _ in 0..4 {
            let wrong = credentials(email, "Wrong-horse-1");
            Browser::program(&api).post("/signin", wrong).await.expect(401);
        }
        let answer = Browser::program(&api).post("/signin", credentials(email, PASSWORD)).await;
        if email == EMAIL {
            answer.portal_golden(429, "too_many");
        }
        assert_eq!(answer.expect(429)["code"], 999);
    }
}

#[tokio::test]
async fn an_address_counts_however_it_is_written() {
    let api = TestApi::new();
    api.sign_up("a.da+shop@gmail.com").await;
    for email in ["A.Da+Shop@Gmail.com", "ada@gmail.com", "ad.a+x@googlemail.com"] {
        Browser::new(&api).sign_in(email, PASSWORD).await;
    }
}

#[tokio::test]
async fn signing_in_leads_to_pages_that_are_meant_and_nowhere_else() {
    let api = TestApi::new();
    api.sign_up(EMAIL).await;
    for (wish, target) in [
        ("/payment-methods", "/payment-methods"),
        ("/new-subscription?browser=true", "/new-subscription?browser=true"),
        ("https://evil.example", "/account"),
        ("//evil.example", "/account"),
        ("/\\evil.example", "/account"),
        ("/payment-methods@evil.example", "/account"),
        ("javascript:alert(1)", "/account"),
        ("", "/account"),
    ] {
        let mut browser = Browser::new(&api);
        let wished: String = form_urlencoded::byte_serialize(wish.as_bytes()).collect();
        let page = browser.get(&format!("/signin?redirecturi={wished}")).await;
        assert_eq!(page.text.contains("name=\"redirecturi\""), target != "/account", "{wish}");
        let mistyped = [("email", EMAIL), ("password", "Wrong-Horse-7"), ("redirecturi", wish)];
        let form = browser.form("/signin", &mistyped).await.location().to_owned();
        let page = browser.get(&form).await;
        assert_eq!(
            page.text.contains("name=\"redirecturi\""),
            target != "/account",
            "the wish outlives a mistake: {wish}"
        );
        let fields = [("email", EMAIL), ("password", PASSWORD), ("redirecturi", wish)];
        assert_eq!(browser.form("/signin", &fields).await.location(), target, "{wish}");
        let again = browser.get(&format!("/signin?redirecturi={wished}")).await;
        assert_eq!(again.location(), target, "one who is signed in is sent on: {wish}");
    }
}

#[tokio::test]
async fn a_session_that_was_there_before_signing_in_is_worth_nothing_after() {
    let api = TestApi::new();
    let mut browser = api.member().await;
    let before = browser.cookie("confirmedid").unwrap().to_owned();
    browser.sign_in(EMAIL, PASSWORD).await;
    let after = browser.cookie("confirmedid").unwrap().to_owned();
    assert_ne!(before, after);
    browser.get("/account").await.portal_golden(200, "page");
    for planted in [before.as_str(), "planted", &"x".repeat(43)] {
        let answer = api.get("/account").header("cookie", &format!("confirmedid={planted}")).await;
        assert_eq!(answer.expect(401)["code"], 2);
    }
    // A planted cookie is not taken over either.
    let mut victim = Browser::new(&api);
    victim.cookies.push(("confirmedid".into(), "planted".into()));
    victim.sign_in(EMAIL, PASSWORD).await;
    assert_ne!(victim.cookie("confirmedid"), Some("planted"));
}

#[tokio::test]
async fn a_session_ends_with_its_cookie_and_by_itself() {
    let api = TestApi::new();
    let mut browser = api.member().await;
    let cookie = browser.cookie("confirmedid").unwrap().to_owned();
    api.clock.advance(std::time::Duration::from_secs(7000));
    let answer = browser.get("/account").await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=7200"), "renewed by use");
    api.clock.advance(std::time::Duration::from_secs(7000));
    assert_eq!(browser.get("/account").await.status, 200);
    browser.get("/logout").await.portal_golden(302, "signed_in");
    assert_eq!(browser.cookie("confirmedid"), None);
    api.get("/account").header("cookie", &format!("confirmedid={cookie}")).await.expect(401);
    browser.get("/logout").await.portal_golden(302, "signed_out");

    let mut other = Browser::new(&api);
    other.sign_in(EMAIL, PASSWORD).await;
    api.clock.advance(std::time::Duration::from_secs(7201));
    assert_eq!(other.get("/account").await.location(), "/signin");
}

#[tokio::test]
async fn the_doors_open_with_the_same_password() {
    let api = TestApi::new();
    api.sign_up(EMAIL).await;
    let login = json!({"user_auth": EMAIL, "password": PASSWORD});
    let token = api.post("/auth/login-with-password", login).await.expect(200);
    assert!(token["network"]["by_jwt"].is_string(), "{token}");

    let mut config = TestApi::config();
    config.auth.verify = crate::config::auth::Verify::Auto;
    let api = TestApi::with_config(config);
    let create = json!({"user_auth": EMAIL, "password": "old rules do", "network_name": "hilltop-lab", "terms": true});
    api.post("/auth/network-create", create).await.expect(200);
    let mut browser = Browser::new(&api);
    browser.sign_in(EMAIL, "old rules do").await;
    assert!(browser.get("/account").await.text.contains("hilltop-lab"));
}

#[tokio::test]
async fn an_account_that_another_door_made_and_nobody_proved_is_proven_here() {
    let api = TestApi::new();
    let create = json!({"user_auth": EMAIL, "password": PASSWORD, "network_name": "hilltop-lab", "terms": true});
    api.post("/auth/network-create", create).await.expect(200);
    api.effects.take();
    let mut browser = Browser::new(&api);
    let answer = browser.form("/signin", &[("email", EMAIL), ("password", PASSWORD)]).await;
    assert_eq!(answer.location(), "/resend-confirm-code");
    assert_eq!(browser.form("/resend-confirm-code", &[("email", EMAIL)]).await.location(), "/signin");
    let code = api.code();
    browser.get(&format!("/confirm-email?email={EMAIL}&code={code}&browser=true")).await;
    browser.sign_in(EMAIL, PASSWORD).await;
    assert!(browser.get("/account").await.text.contains("hilltop-lab"));
}
