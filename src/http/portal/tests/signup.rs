use serde_json::json;

use crate::domain::portal::mail::Letter;
use crate::http::portal::testing::{Browser, EMAIL, PASSWORD};
use crate::http::testing::TestApi;

#[tokio::test]
async fn somebody_signs_up_in_a_browser() {
    let api = TestApi::new();
    let mut browser = Browser::new(&api);
    browser.get("/signup").await.portal_golden(200, "page");
    let fields = [("email", "Ada@Hill.example"), ("password", PASSWORD), ("browser", "true")];
    browser.form("/signup", &fields).await.portal_golden(302, "browser");
    browser.get("/signup-success").await.portal_golden(200, "page");
    let (to, code) = match &api.letters()[..] {
        [(to, Letter::ConfirmEmail { code, is_browser: true })] => (to.clone(), code.clone()),
        other => panic!("not one letter: {other:?}"),
    };
    assert_eq!((to.as_str(), code.len()), (EMAIL, 32));
    let path = format!("/confirm-email?email={EMAIL}&code={code}&browser=true");
    browser.get(&path).await.portal_golden(302, "browser");
    browser.get(&path).await.portal_golden(302, "again");
    browser.sign_in(EMAIL, PASSWORD).await;
    let account = browser.get("/account").await;
    assert!(account.text.contains("ada") && account.text.contains(EMAIL));
    assert_eq!(browser.get("/signup").await.location(), "/account", "who is signed in needs no account");
}

#[tokio::test]
async fn somebody_signs_up_in_an_app() {
    let api = TestApi::new();
    let mut app = Browser::program(&api);
    app.post("/signup", json!({"email": EMAIL, "password": PASSWORD, "browser": false}))
        .await
        .portal_golden(200, "sent");
    let code = api.code();
    let answer = Browser::new(&api).get(&format!("/confirm-email?email={EMAIL}&code={code}")).await;
    answer.portal_golden(200, "app");
    assert!(answer.text.contains("content=\"0;url=tunnels://emailconfirmed\""));
    app.post("/signin", json!({"email": EMAIL, "password": PASSWORD})).await.expect(200);
}

#[tokio::test]
async fn refused_sign_ups_say_why() {
    let mut config = TestApi::config();
    config.portal.disposable_domains = vec!["throwaway.example".into()];
    let api = TestApi::with_config(config);
    api.sign_up(EMAIL).await;
    let new = "bob@hill.example";
    for (body, case) in [
        (json!({"password": PASSWORD}), "missing_email"),
        (json!({"email": "bob@", "password": PASSWORD}), "invalid_email"),
        (json!({"email": new}), "missing_password"),
        (json!({"email": new, "password": "short"}), "weak_password"),
        (json!({"email": new, "password": PASSWORD, "refer": "<b>"}), "referral_form"),
        (json!({"email": new, "password": PASSWORD, "refer": "ZZZZZZ"}), "no_referral"),
        (json!({"email": EMAIL, "password": PASSWORD}), "taken"),
        (json!({"email": "x@mail.throwaway.example", "password": PASSWORD}), "disposable"),
    ] {
        Browser::program(&api).post("/signup", body).await.portal_golden(400, case);
    }
    let fields = [("email", new), ("password", "short"), ("browser", "true")];
    Browser::new(&api).form("/signup", &fields).await.portal_golden(302, "weak_password_page");
    assert!(api.letters().is_empty());
    Browser::program(&api).get("/signup?refer=ZZZZZZ").await.portal_golden(400, "no_referral_link");
    Browser::new(&api).get("/signup?refer=ZZZZZZ").await.portal_golden(302, "no_referral_page");

    let mut config = TestApi::config();
    config.auth.signup = crate::config::auth::Signup::Closed;
    let api = TestApi::with_config(config);
    let body = json!({"email": new, "password": PASSWORD});
    Browser::program(&api).post("/signup", body).await.portal_golden(403, "closed");
}

#[tokio::test]
async fn a_referral_is_shown_and_counts() {
    let api = TestApi::new();
    let mut first = api.member().await;
    let page = first.get("/account").await.text;
    let code = page.split_once("<code>").unwrap().1.split_once("</code>").unwrap().0.to_owned();
    let mut second = Browser::new(&api);
    let shown = second.get(&format!("/signup?refer={code}")).await;
    assert!(shown.text.contains(&format!("The referral code {code} is active.")));
    assert!(shown.text.contains(&format!("name=\"refer\" value=\"{code}\"")));
    let email = "bob@hill.example";
    let fields = [("email", email), ("password", PASSWORD), ("browser", "true"), ("refer", code.as_str())];
    second.form("/signup", &fields).await;
    let proof = api.code();
    second.get(&format!("/confirm-email?email={email}&code={proof}&browser=true")).await;
    second.sign_in(email, PASSWORD).await;
    assert!(second.get("/account").await.text.contains("<dd>10 %</dd>"), "one who was brought has a discount");
    assert!(first.get("/account").await.text.contains("<dd>1</dd>"));
}

#[tokio::test]
async fn a_second_sign_up_takes_the_place_of_one_that_was_not_proven() {
    let api = TestApi::new();
    let first = api.sign_up_unproven(EMAIL).await;
    let body = json!({"email": EMAIL, "password": "Another-horse-2"});
    Browser::program(&api).post("/signup", body).await.expect(200);
    let second = api.code();
    let link = |code: &str| format!("/confirm-email?email={EMAIL}&code={code}");
    assert_eq!(Browser::program(&api).get(&link(&first)).await.expect(400)["code"], 18);
    assert_eq!(Browser::new(&api).get(&link(&second)).await.status, 200);
    Browser::new(&api).sign_in(EMAIL, "Another-horse-2").await;
}

#[tokio::test]
async fn codes_that_prove_nothing_are_refused() {
    let api = TestApi::new();
    let code = api.sign_up_unproven(EMAIL).await;
    let other = "x".repeat(32);
    let mut app = Browser::program(&api);
    app.get(&format!("/confirm-email?email={EMAIL}&code={other}")).await.portal_golden(400, "wrong");
    app.get(&format!("/confirm-email?email=bob@hill.example&code={code}")).await.portal_golden(400, "of_another");
    app.get(&format!("/confirm-email?email={EMAIL}")).await.portal_golden(400, "missing_code");
    app.get(&format!("/confirm-email?code={code}")).await.portal_golden(400, "missing_email");
    app.get(&format!("/confirm-email?email={EMAIL}&code=short")).await.portal_golden(400, "malformed");
    let answer = Browser::new(&api).get(&format!("/confirm-email?email={EMAIL}&code={other}")).await;
    answer.portal_golden(302, "wrong_page");
    api.clock.advance(crate::time::DAY);
    assert_eq!(app.get(&format!("/confirm-email?email={EMAIL}&code={code}")).await.expect(400)["code"], 18);
}

#[tokio::test]
async fn the_letter_is_sent_again_to_those_who_wait_for_it() {
    let api = TestApi::new();
    let first = api.sign_up_unproven(EMAIL).await;
    let mut browser = Browser::new(&api);
    browser.get("/resend-confirm-code").await.portal_golden(200, "page");
    browser.form("/resend-confirm-code", &[("email", EMAIL)]).await.portal_golden(302, "sent");
    let second = api.code();
    assert_ne!(first, second);
    let mut app = Browser::program(&api);
    app.post("/resend-confirm-code", json!({"email": "nobody@hill.example"})).await.portal_golden(400, "nobody");
    app.post("/resend-confirm-code", json!({})).await.portal_golden(400, "missing_email");
    browser.get(&format!("/confirm-email?email={EMAIL}&code={second}&browser=true")).await;
    app.post("/resend-confirm-code", json!({"email": EMAIL})).await.portal_golden(400, "proven");
    browser.form("/resend-confirm-code", &[("email", EMAIL)]).await.portal_golden(302, "proven_page");
    browser.sign_in(EMAIL, PASSWORD).await;
}

#[tokio::test]
async fn one_address_gets_few_letters_and_one_person_has_few_sent() {
    let api = TestApi::new();
    for _ in 0..5 {
        api.sign_up_unproven(EMAIL).await;
    }
    let body = json!({"email": EMAIL, "password": PASSWORD});
    Browser::program(&api).post("/signup", body).await.portal_golden(429, "too_many");
    for number in 0..55 {
        api.sign_up_unproven(&format!("ada{number}@hill.example")).await;
    }
    let body = json!({"email": "last@hill.example", "password": PASSWORD});
    assert_eq!(Browser::program(&api).post("/signup", body).await.expect(429)["code"], 999);
}

#[tokio::test]
async fn where_nobody_is_asked_for_a_proof_the_account_is_there_at_once() {
    let mut config = TestApi::config();
    config.auth.verify = crate::config::auth::Verify::Auto;
    let api = TestApi::with_config(config);
    let mut browser = Browser::new(&api);
    let fields = [("email", EMAIL), ("password", PASSWORD), ("browser", "true")];
    browser.form("/signup", &fields).await.portal_golden(302, "ready");
    assert!(api.letters().is_empty());
    browser.sign_in(EMAIL, PASSWORD).await;
}

#[tokio::test]
async fn a_user_without_an_address_gets_one() {
    let mut config = TestApi::config();
    config.portal.disposable_domains = vec!["throwaway.example".into()];
    let api = TestApi::with_config(config);
    api.sign_up("bob@hill.example").await;
    let mut app = api.browser_of(api.user.user_id).await;
    app.as_program();
    let convert = |email: &str, password: &str| json!({"newemail": email, "newpassword": password});
    for (body, case) in [
        (json!({"newpassword": PASSWORD}), "missing_email"),
        (convert(EMAIL, "short"), "weak_password"),
        (convert("bob@hill.example", PASSWORD), "taken"),
        (convert("x@throwaway.example", PASSWORD), "disposable"),
    ] {
        app.post("/convert-shadow-user", body).await.portal_golden(400, case);
    }
    app.post("/convert-shadow-user", convert(EMAIL, PASSWORD)).await.portal_golden(200, "sent");
    let code = api.code();
    assert!(app.get("/account").await.text.contains("none yet"), "not before it is proven");
    app.get(&format!("/confirm-email?email={EMAIL}&code={code}")).await;
    assert!(app.get("/account").await.text.contains(EMAIL));
    app.post("/convert-shadow-user", convert("ada2@hill.example", PASSWORD)).await.portal_golden(400, "confirmed");
    Browser::new(&api).sign_in(EMAIL, PASSWORD).await;
    let stranger = Browser::program(&api).post("/convert-shadow-user", convert(EMAIL, PASSWORD)).await;
    stranger.portal_golden(401, "signed_out");
}
