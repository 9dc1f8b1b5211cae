//! Changing what an account is reached by, its password, its devices, and the letters it gets.

use axum::http::Method;
use serde_json::json;

use crate::domain::auth::authenticate::Audience;
use crate::domain::effect::Effect;
use crate::domain::portal::mail::Letter;
use crate::domain::portal::opt_out::AllowLetters;
use crate::http::portal::testing::{Browser, EMAIL, PASSWORD};
use crate::http::testing::TestApi;

const NEW_EMAIL: &str = "lovelace@hill.example";
const NEW_PASSWORD: &str = "Another-horse-2";

#[tokio::test]
async fn an_account_shows_itself_to_its_user_alone() {
    let api = TestApi::new();
    api.get("/account").await.portal_golden(401, "signed_out");
    Browser::new(&api).get("/account").await.portal_golden(302, "signed_out_page");
    let mut browser = api.member().await;
    let answer = browser.get("/account").await;
    answer.portal_golden(200, "page");
    assert!(answer.text.contains("Free") && answer.text.contains("There are no devices yet"));
}

#[tokio::test]
async fn devices_are_listed_and_removed() {
    let api = TestApi::new();
    let mut browser = api.browser_of(api.user.user_id).await;
    let client_id = api.client.client_id().unwrap();
    let page = browser.get("/account").await.text;
    assert!(page.contains("laptop") && page.contains("linux amd64") && page.contains(&client_id.to_string()));
    let id = client_id.to_string();
    browser.form("/remove-device", &[("clientId", &id)]).await.portal_golden(403, "no_token");
    browser.signed_form("/remove-device", &[("clientId", &id)]).await.portal_golden(302, "removed");
    assert!(api.effects.take().contains(&Effect::ClientRemoved(client_id)), "its transports are closed");
    assert!(api.state.authenticator.authenticate(&api.client_token, Audience::Any).is_err());
    assert!(!browser.get("/account").await.text.contains("laptop"));
    browser.signed_form("/remove-device", &[("clientId", "nonsense")]).await.portal_golden(302, "unknown");
    let other = api.stranger().await;
    let stranger = api.state.authenticator.authenticate(&other, Audience::User).unwrap();
    let mut browser = api.browser_of(stranger.user_id).await;
    browser.as_program();
    browser.post("/remove-device", json!({"clientId": id})).await.portal_golden(400, "of_another");
}

#[tokio::test]
async fn a_new_address_counts_once_it_is_proven() {
    let api = TestApi::new();
    let mut browser = api.member().await;
    let page = browser.get("/change-email").await;
    page.portal_golden(200, "page");
    assert!(page.text.contains(&format!("name=\"_csrf\" value=\"{}\"", browser.csrf())));
    let fields = [("currentPassword", PASSWORD), ("newEmail", NEW_EMAIL)];
    browser.signed_form("/change-email", &fields).await.portal_golden(302, "sent");
    let code = api.code();
    assert!(browser.get("/account").await.text.contains(EMAIL));
    let link = format!("/confirm-change-email?email={NEW_EMAIL}&code={code}");
    Browser::program(&api).get(&link.replace(&code, &"x".repeat(32))).await.portal_golden(400, "wrong");
    Browser::program(&api).get("/confirm-change-email").await.portal_golden(400, "missing");
    browser.get("/confirm-change-email?email=a@b.example&code=x").await.portal_golden(302, "malformed_page");
    // The code of one kind of letter is none of the other.
    let confirm = format!("/confirm-email?email={NEW_EMAIL}&code={code}");
    assert_eq!(Browser::program(&api).get(&confirm).await.expect(400)["code"], 18);
    browser.get(&link).await.portal_golden(302, "done");
    match &api.letters()[..] {
        [(to, Letter::EmailChanged)] => assert_eq!(to, EMAIL),
        other => panic!("not one letter: {other:?}"),
    }
    assert!(browser.get("/account").await.text.contains(NEW_EMAIL), "the session goes on");
    Browser::new(&api).sign_in(NEW_EMAIL, PASSWORD).await;
    let old = json!({"email": EMAIL, "password": PASSWORD});
    Browser::program(&api).post("/signin", old).await.expect(401);
    api.sign_up(EMAIL).await;
}

#[tokio::test]
async fn refused_addresses_say_why() {
    let mut config = TestApi::config();
    config.portal.disposable_domains = vec!["throwaway.example".into()];
    let api = TestApi::with_config(config);
    api.sign_up("bob@hill.example").await;
    let mut browser = api.member().await;
    browser.as_program();
    let token = browser.csrf();
    let body = |email: &str, password: &str| json!({"_csrf": token, "currentPassword": password, "newEmail": email});
    for (body, case) in [
        (body(NEW_EMAIL, ""), "missing_password"),
        (body("", PASSWORD), "missing_email"),
        (body(NEW_EMAIL, "Wrong-horse-1"), "wrong_password"),
        (body("bob@hill.example", PASSWORD), "taken"),
        (body("x@throwaway.example", PASSWORD), "disposable"),
    ] {
        browser.post("/change-email", body).await.portal_golden(400, case);
    }
    let mut shadow = api.browser_of(api.user.user_id).await;
    shadow.as_program();
    let body = json!({"_csrf": shadow.csrf(), "currentPassword": "x", "newEmail": NEW_EMAIL});
    shadow.post("/change-email", body).await.portal_golden(400, "unconfirmed");
    assert!(api.letters().is_empty());
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions() {
    let api = TestApi::new();
    let mut browser = api.member().await;
    let mut elsewhere = Browser::new(&api);
    elsewhere.sign_in(EMAIL, PASSWORD).await;
    let login = json!({"user_auth": EMAIL, "password": PASSWORD});
    let token = api.post("/auth/login-with-password", login).await.expect(200);
    let token = token["network"]["by_jwt"].as_str().unwrap().to_owned();
    browser.get("/change-password").await.portal_golden(200, "page");
    api.clock.advance(std::time::Duration::from_secs(1));
    let fields = [("currentPassword", PASSWORD), ("newPassword", NEW_PASSWORD)];
    browser.signed_form("/change-password", &fields).await.portal_golden(302, "done");
    assert!(matches!(&api.letters()[..], [(_, Letter::PasswordChanged)]));
    assert_eq!(browser.get("/account").await.status, 200);
    assert_eq!(elsewhere.get("/account").await.location(), "/signin");
    assert!(api.state.authenticator.authenticate(&token, Audience::Any).is_err());
    Browser::new(&api).sign_in(EMAIL, NEW_PASSWORD).await;
}

#[tokio::test]
async fn a_password_set_at_another_door_ends_sessions_here() {
    let api = TestApi::new();
    let mut browser = api.member().await;
    api.clock.advance(std::time::Duration::from_secs(1));
    api.post("/auth/password-reset", json!({"user_auth": EMAIL})).await.expect(200);
    let sent = api.effects.take().into_iter().find_map(|effect| match effect {
        Effect::Send(message) => match message.kind {
            crate::domain::effect::MessageKind::ResetCode(code) => Some(code),
            _ => None,
        },
        _ => None,
    });
    let body = json!({"reset_code": sent.unwrap(), "password": "old rules do"});
    api.post("/auth/password-set", body).await.expect(200);
    assert_eq!(browser.get("/account").await.location(), "/signin");
}

#[tokio::test]
async fn refused_passwords_say_why() {
    let api = TestApi::new();
    let mut browser = api.member().await;
    let token = browser.csrf();
    let fields = [("currentPassword", PASSWORD), ("newPassword", "aaaaaaaa")];
    browser.signed_form("/change-password", &fields).await.portal_golden(302, "weak_page");
    browser.as_program();
    let body = |current: &str, new: &str| json!({"_csrf": token, "currentPassword": current, "newPassword": new});
    for (body, case) in [
        (body("", NEW_PASSWORD), "missing_current"),
        (body(PASSWORD, ""), "missing_new"),
        (body(PASSWORD, "aaaaaaaa"), "weak"),
        (body("Wrong-horse-1", NEW_PASSWORD), "wrong_current"),
    ] {
        browser.post("/change-password", body).await.portal_golden(400, case);
    }
    browser.get("/account").await;
    assert!(api.letters().is_empty());
}

#[tokio::test]
async fn forms_without_the_token_of_the_session_are_forged() {
    let api = TestApi::new();
    let mut browser = api.member().await;
    let stranger = crate::http::portal::csrf::token("another session");
    for path in ["/change-email", "/change-password"] {
        let new = if path == "/change-email" { ("newEmail", NEW_EMAIL) } else { ("newPassword", NEW_PASSWORD) };
        let fields = [("currentPassword", PASSWORD), new];
        browser.form(path, &fields).await.portal_golden(403, "no_token");
        let forged = [("_csrf", stranger.as_str()), fields[0], fields[1]];
        browser.form(path, &forged).await.portal_golden(403, "forged_token");
        let mut app = browser.clone();
        app.as_program().form(path, &fields).await.portal_golden(403, "no_token_program");
        app.post(path, json!({"_csrf": "", "currentPassword": PASSWORD})).await.expect(403);
    }
    assert!(api.letters().is_empty());
    Browser::new(&api).sign_in(EMAIL, PASSWORD).await;
}

#[tokio::test]
async fn a_forgotten_password_is_set_with_a_letter() {
    let api = TestApi::new();
    let mut signed_in = api.member().await;
    let mut browser = Browser::new(&api);
    browser.get("/forgot-password").await.portal_golden(200, "page");
    browser.form("/forgot-password", &[("email", "ADA@hill.example")]).await.portal_golden(302, "sent");
    let code = api.code();
    let page = browser.get(&format!("/reset-password?code={code}")).await;
    page.portal_golden(200, "page");
    assert!(page.text.contains(&format!("name=\"code\" value=\"{code}\"")));
    let weak = [("code", code.as_str()), ("newPassword", "short")];
    browser.form("/reset-password", &weak).await.portal_golden(302, "weak_page");
    Browser::program(&api).post("/reset-password", json!({"code": code})).await.portal_golden(400, "missing_password");
    api.clock.advance(std::time::Duration::from_secs(1));
    let fields = [("code", code.as_str()), ("newPassword", NEW_PASSWORD)];
    browser.form("/reset-password", &fields).await.portal_golden(302, "done");
    assert_eq!(signed_in.get("/account").await.location(), "/signin", "all sessions are over");
    browser.sign_in(EMAIL, NEW_PASSWORD).await;
    let mut app = Browser::program(&api);
    let body = json!({"code": code, "newPassword": PASSWORD});
    app.post("/reset-password", body).await.portal_golden(400, "used");
    app.post("/reset-password", json!({"code": "short", "newPassword": PASSWORD}))
        .await
        .portal_golden(400, "malformed");
    app.get(&format!("/reset-password?code={code}")).await.portal_golden(400, "unknown");
    browser.get("/reset-password").await.portal_golden(302, "malformed_page");
}

#[tokio::test]
async fn a_reset_code_lives_for_an_hour() {
    let api = TestApi::new();
    api.member().await;
    Browser::new(&api).form("/forgot-password", &[("email", EMAIL)]).await;
    let code = api.code();
    api.clock.advance(std::time::Duration::from_secs(3600));
    let answer = Browser::program(&api).get(&format!("/reset-password?code={code}")).await;
    assert_eq!(answer.expect(400)["code"], 77);
}

#[tokio::test]
async fn who_has_an_account_cannot_be_learned_from_a_forgotten_password() {
    let api = TestApi::new();
    api.sign_up(EMAIL).await;
    api.sign_up_unproven("bob@hill.example").await;
    let mut seen = Vec::new();
    for email in [EMAIL, "bob@hill.example", "nobody@hill.example"] {
        let hashes = api.state.accounts.hashes_computed();
        let commits = api.store.commits();
        let answer = Browser::new(&api).form("/forgot-password", &[("email", email)]).await;
        let work = (api.state.accounts.hashes_computed() - hashes, api.store.commits() - commits);
        seen.push((answer.status, answer.location().to_owned(), answer.flash(), work));
    }
    assert_eq!(api.letters().len(), 1, "only one of them has an account");
    assert_eq!(seen[0].3, (0, 1));
    assert!(seen.iter().all(|answer| *answer == seen[0]), "{seen:?}");
    Browser::program(&api).post("/forgot-password", json!({"email": "x"})).await.portal_golden(400, "invalid_email");
}

#[tokio::test]
async fn whoever_wants_no_letters_gets_none() {
    let api = TestApi::new();
    api.sign_up_unproven(EMAIL).await;
    let code = {
        Browser::program(&api).post("/resend-confirm-code", json!({"email": EMAIL})).await;
        let effects = api.effects.take();
        let mail = effects.into_iter().find_map(|effect| match effect {
            Effect::Send(message) => match message.kind {
                crate::domain::effect::MessageKind::Portal(mail) => Some(mail),
                _ => None,
            },
            _ => None,
        });
        mail.unwrap().opt_out_code
    };
    for (path, done) in [("/newsletter-unsubscribe", "done"), ("/do-not-email", "done")] {
        let mut browser = Browser::new(&api);
        let wrong = "0".repeat(32);
        browser.get(&format!("{path}?email={EMAIL}&code={code}")).await.portal_golden(200, "page");
        Browser::program(&api)
            .get(&format!("{path}?email={EMAIL}&code={wrong}"))
            .await
            .portal_golden(400, "wrong_link");
        Browser::program(&api).get(path).await.portal_golden(400, "missing");
        let wrong_pair = json!({"email": "bob@hill.example", "code": code});
        Browser::program(&api).post(path, wrong_pair).await.portal_golden(400, "wrong");
        browser.form(path, &[("email", EMAIL), ("code", &code)]).await.portal_golden(302, done);
    }
    Browser::new(&api).get("/newsletter-unsubscribe-success").await.portal_golden(200, "page");
    Browser::program(&api).post("/resend-confirm-code", json!({"email": EMAIL})).await;
    assert!(api.letters().is_empty());

    // A mail program asks without showing a page.
    let path = format!("/newsletter-unsubscribe?email={EMAIL}&code={code}");
    let answer = api.form(&path, &[("List-Unsubscribe", "One-Click")]).await;
    assert_eq!(answer.location(), "/newsletter-unsubscribe-success");

    // Only the operator can undo it.
    assert!(api.state.service.run(&AllowLetters { address: EMAIL }).await.unwrap());
    Browser::program(&api).post("/resend-confirm-code", json!({"email": EMAIL})).await;
    assert_eq!(api.letters().len(), 1);
}

#[tokio::test]
async fn what_people_call_themselves_stays_text() {
    let api = TestApi::new();
    let name = "<script>alert(1)</script>\"'><img src=x>";
    let body = json!({"description": name, "device_spec": name});
    api.post("/network/auth-client", body).token(&api.user_token).await.expect(200);
    let mut browser = api.browser_of(api.user.user_id).await;
    let page = browser.get("/account").await.text;
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<img"));
    for path in ["/signup?refer=%3Cscript%3E", "/signin?redirecturi=%22%3E%3Cscript%3E", "/?x=%22%3E%3Cscript%3E"] {
        assert!(!Browser::new(&api).get(path).await.text.contains("<script"), "{path}");
    }
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let api = TestApi::new();
    for path in ["/signin", "/signup", "/forgot-password", "/do-not-email"] {
        let body = vec![b'x'; (1 << 20) + 1];
        api.call(Method::POST, path, Some(body)).await.portal_golden(413, "too_large");
    }
    api.call(Method::POST, "/signin", Some(b"[1]".to_vec())).await.portal_golden(400, "unreadable");
}
