use std::time::Duration;

use crate::domain::auth::attempts::{Origin, Surface};
use crate::domain::auth::login::{LoginOutcome, LoginRequest, PasswordLoginOutcome};
use crate::domain::auth::password_reset::SetPasswordOutcome;
use crate::domain::auth::testing::*;
use crate::domain::auth::verification::{SendOutcome, VerifyOutcome};
use crate::domain::effect::{Effect, Message, MessageKind};

const FOUR_HOURS: Duration = Duration::from_secs(4 * 3600);

async fn first_step(accounts: &TestAccounts, user_auth: &str) -> LoginOutcome {
    let request = LoginRequest { user_auth: Some(user_auth.into()), ..LoginRequest::default() };
    accounts.login(&here(), &request).await.unwrap()
}

async fn with_password(accounts: &TestAccounts, password: &str) -> PasswordLoginOutcome {
    accounts.login_with_password(&here(), EMAIL, password, false).await.unwrap()
}

fn token(outcome: PasswordLoginOutcome) -> String {
    match outcome {
        PasswordLoginOutcome::LoggedIn { by_jwt } => by_jwt,
        other => panic!("not logged in: {other:?}"),
    }
}

#[tokio::test]
async fn the_first_step_tells_which_methods_an_identity_has() {
    let accounts = TestAccounts::auto();
    accounts.member(EMAIL, "hilltop-lab").await;
    accounts.member("4155550142", "phone-lab").await;
    let allowed =
        |user_auth: &str, kind| LoginOutcome::Methods { user_auth: user_auth.into(), allowed: vec![kind, "password"] };
    assert_eq!(first_step(&accounts, "ADA@hill.example").await, allowed(EMAIL, "email"));
    assert_eq!(first_step(&accounts, "+1 (415) 555 0142").await, allowed("+1 415-555-0142", "phone"));
    assert_eq!(first_step(&accounts, "Bob@x.org").await, LoginOutcome::Unknown { user_auth: "bob@x.org".into() });
    for text in ["", "not-an-id"] {
        assert_eq!(first_step(&accounts, text).await, LoginOutcome::InvalidUserAuth);
    }
    for request in [LoginRequest::default(), LoginRequest { proof: some_proof(), ..LoginRequest::default() }] {
        assert_eq!(accounts.login(&here(), &request).await.unwrap(), LoginOutcome::InvalidCredentials);
    }
}

#[tokio::test]
async fn a_seedphrase_logs_in_however_it_is_typed() {
    let accounts = TestAccounts::new();
    let created = accounts.anonymous().await;
    let typed = format!(" {} ", created.seedphrase.unwrap().to_uppercase().replace(' ', "  "));
    let request = LoginRequest { seedphrase: typed, ..LoginRequest::default() };
    let LoginOutcome::LoggedIn { by_jwt } = accounts.login(&here(), &request).await.unwrap() else { panic!() };
    assert_eq!(accounts.claims(&by_jwt).network_id, created.network_id);
    let wrong = LoginRequest { seedphrase: "abandon abandon".into(), ..LoginRequest::default() };
    for _ in 0..4 {
        assert_eq!(accounts.login(&here(), &wrong).await.unwrap(), LoginOutcome::UnknownSeedphrase);
    }
    assert!(is_too_many(accounts.login(&here(), &request).await));
}

#[tokio::test]
async fn a_right_password_gives_a_token_of_a_session_of_its_own() {
    let accounts = TestAccounts::auto();
    let created = accounts.member(EMAIL, "hilltop-lab").await;
    let token = token(with_password(&accounts, PASSWORD).await);
    assert!(accounts.is_alive(&token));
    assert_ne!(accounts.claims(&token).session_id, accounts.claims(&created.by_jwt).session_id);
}

#[tokio::test]
async fn unknown_users_and_wrong_passwords_look_alike() {
    let accounts = TestAccounts::auto();
    accounts.member(EMAIL, "hilltop-lab").await;
    assert_eq!(with_password(&accounts, "wrong").await, PasswordLoginOutcome::InvalidPassword);
    let unknown = accounts.login_with_password(&here(), "bob@x.org", PASSWORD, false).await.unwrap();
    assert_eq!(unknown, PasswordLoginOutcome::InvalidPassword);
    let invalid = accounts.login_with_password(&here(), "", PASSWORD, false).await.unwrap();
    assert_eq!(invalid, PasswordLoginOutcome::InvalidUserAuth);
}

#[tokio::test]
async fn an_unproven_address_gets_a_code_instead_of_a_token() {
    let accounts = TestAccounts::new();
    accounts.sign_up(EMAIL, "hilltop-lab").await;
    accounts.code();
    let outcome = accounts.login_with_password(&here(), EMAIL, PASSWORD, true).await.unwrap();
    let required =
        PasswordLoginOutcome::VerificationRequired { user_auth: EMAIL.into(), network_name: "hilltop-lab".into() };
    assert_eq!(outcome, required);
    let mut code = accounts.code();
    assert_eq!(code.len(), 6);
    for _ in 0..10 {
        assert_eq!(with_password(&accounts, PASSWORD).await, required);
        code = accounts.messages().pop().map_or(code, |message| match message.kind {
            MessageKind::VerifyCode(code) => code,
            other => panic!("{other:?}"),
        });
    }
    let verified = accounts.verify(&here(), EMAIL, &code).await.unwrap();
    assert!(matches!(verified, VerifyOutcome::LoggedIn { .. }), "the last code sent still serves");
}

#[tokio::test]
async fn the_fifth_wrong_password_waits_and_a_right_one_clears() {
    let accounts = TestAccounts::auto();
    accounts.member(EMAIL, "hilltop-lab").await;
    for _ in 0..3 {
        with_password(&accounts, "wrong").await;
    }
    token(with_password(&accounts, PASSWORD).await);
    for _ in 0..4 {
        with_password(&accounts, "wrong").await;
    }
    assert!(is_too_many(accounts.login_with_password(&here(), EMAIL, PASSWORD, false).await));
    assert!(is_too_many(accounts.login_with_password(&from("203.0.113.14"), EMAIL, PASSWORD, false).await));
    let elsewhere = accounts.login_with_password(&from("198.51.100.7"), EMAIL, PASSWORD, false).await.unwrap();
    token(elsewhere);
    let portal = Origin { surface: Surface::Portal, ..here() };
    token(accounts.login_with_password(&portal, EMAIL, PASSWORD, false).await.unwrap());
    accounts.advance(Duration::from_secs(301));
    token(with_password(&accounts, PASSWORD).await);
}

#[tokio::test]
async fn a_sign_up_with_one_typo_is_not_locked_out() {
    let accounts = TestAccounts::new();
    first_step(&accounts, EMAIL).await;
    accounts.sign_up(EMAIL, "hilltop-lab").await;
    accounts.code();
    accounts.verify(&here(), EMAIL, "00000000").await.unwrap();
    accounts.send_verification(&here(), EMAIL, false).await.unwrap();
    let code = accounts.code();
    with_password(&accounts, "typo").await;
    let outcome = accounts.verify(&here(), EMAIL, &code).await.unwrap();
    assert!(matches!(outcome, VerifyOutcome::LoggedIn { .. }));
}

#[tokio::test]
async fn codes_are_used_once_and_die_with_age_and_with_their_successor() {
    let accounts = TestAccounts::new();
    accounts.sign_up(EMAIL, "hilltop-lab").await;
    let superseded = accounts.code();
    accounts.send_verification(&here(), EMAIL, false).await.unwrap();
    let expired = accounts.code();
    accounts.advance(FOUR_HOURS + Duration::from_secs(1));
    for code in [&superseded, &expired] {
        assert_eq!(accounts.verify(&here(), EMAIL, code).await.unwrap(), VerifyOutcome::InvalidCode);
    }
    accounts.send_verification(&here(), EMAIL, false).await.unwrap();
    let code = accounts.code();
    accounts.advance(FOUR_HOURS);
    assert!(matches!(accounts.verify(&here(), EMAIL, &code).await.unwrap(), VerifyOutcome::LoggedIn { .. }));
    assert_eq!(accounts.verify(&here(), EMAIL, &code).await.unwrap(), VerifyOutcome::InvalidCode);
    assert_eq!(accounts.verify(&here(), "bob@x.org", &code).await.unwrap(), VerifyOutcome::InvalidCode);
    assert_eq!(accounts.verify(&here(), "", &code).await.unwrap(), VerifyOutcome::InvalidUserAuth);
}

#[tokio::test]
async fn wrong_codes_are_limited() {
    let accounts = TestAccounts::new();
    accounts.sign_up(EMAIL, "hilltop-lab").await;
    let code = accounts.code();
    for _ in 0..4 {
        accounts.verify(&here(), EMAIL, "wrong").await.unwrap();
    }
    assert!(is_too_many(accounts.verify(&here(), EMAIL, &code).await));
}

#[tokio::test]
async fn messages_go_to_known_addresses_only_and_not_too_often() {
    let accounts = TestAccounts::auto();
    accounts.member(EMAIL, "hilltop-lab").await;
    let sent = |user_auth: &str| SendOutcome::Sent { user_auth: user_auth.into() };
    let origin = here();
    assert_eq!(accounts.send_verification(&origin, "Bob@x.org", false).await.unwrap(), sent("bob@x.org"));
    assert_eq!(accounts.request_password_reset(&origin, "Bob@x.org").await.unwrap(), sent("bob@x.org"));
    assert!(accounts.messages().is_empty());
    assert_eq!(accounts.send_verification(&origin, "?", false).await.unwrap(), SendOutcome::InvalidUserAuth);
    assert_eq!(accounts.request_password_reset(&origin, "?").await.unwrap(), SendOutcome::InvalidUserAuth);
    accounts.advance(Duration::from_secs(900));
    for _ in 0..5 {
        assert_eq!(accounts.request_password_reset(&origin, "ADA@hill.example").await.unwrap(), sent(EMAIL));
    }
    assert!(is_too_many(accounts.request_password_reset(&from("198.51.100.7"), EMAIL).await));
    assert!(is_too_many(accounts.send_verification(&origin, EMAIL, false).await));
    assert_eq!(accounts.messages().len(), 5);
}

#[tokio::test]
async fn a_new_password_ends_all_that_the_old_one_gave() {
    let accounts = TestAccounts::auto();
    let created = accounts.member(EMAIL, "hilltop-lab").await;
    let caller = accounts.caller(&created.by_jwt);
    let client = accounts.client_token(&caller, 7).await;
    let auth_code = super::codes::made(&accounts, &caller, 60.0, 5).await;
    accounts.request_password_reset(&here(), EMAIL).await.unwrap();
    let reset_code = accounts.code();

    let outcome = accounts.set_password(&here(), &reset_code, "new password").await.unwrap();
    assert_eq!(outcome, SetPasswordOutcome::Done);
    let effects = accounts.domain.take_effects();
    let notice = Message { to: EMAIL.into(), kind: MessageKind::PasswordChanged };
    assert_eq!(effects, [Effect::CredentialsChanged(created.network_id), Effect::Send(notice)]);
    assert!(!accounts.is_alive(&created.by_jwt) && !accounts.is_alive(&client));
    assert_eq!(accounts.login_with_code(&here(), &auth_code).await.unwrap(), None);
    assert_eq!(with_password(&accounts, PASSWORD).await, PasswordLoginOutcome::InvalidPassword);
    let token = token(with_password(&accounts, "new password").await);
    assert!(accounts.is_alive(&token), "a token made in the same millisecond lives");
    let again = accounts.set_password(&here(), &reset_code, "third password").await.unwrap();
    assert_eq!(again, SetPasswordOutcome::InvalidCode);
}

#[tokio::test]
async fn reset_codes_die_with_age_and_with_their_successor() {
    let accounts = TestAccounts::auto();
    accounts.member(EMAIL, "hilltop-lab").await;
    accounts.request_password_reset(&here(), EMAIL).await.unwrap();
    let superseded = accounts.code();
    accounts.request_password_reset(&here(), EMAIL).await.unwrap();
    let expired = accounts.code();
    assert!(expired.len() >= 43 && expired.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    assert_eq!(
        accounts.set_password(&here(), &superseded, "new password").await.unwrap(),
        SetPasswordOutcome::InvalidCode
    );
    accounts.advance(FOUR_HOURS + Duration::from_secs(1));
    assert_eq!(
        accounts.set_password(&here(), &expired, "new password").await.unwrap(),
        SetPasswordOutcome::InvalidCode
    );
}

#[tokio::test]
async fn a_short_new_password_leaves_the_code_usable_and_counts_as_no_attempt() {
    let accounts = TestAccounts::auto();
    accounts.member(EMAIL, "hilltop-lab").await;
    accounts.request_password_reset(&here(), EMAIL).await.unwrap();
    let code = accounts.code();
    for _ in 0..9 {
        assert_eq!(accounts.set_password(&here(), &code, "12345").await.unwrap(), SetPasswordOutcome::PasswordTooShort);
    }
    assert_eq!(
        accounts.set_password(&here(), &format!(" {code}\n"), "123456").await.unwrap(),
        SetPasswordOutcome::Done
    );
    for _ in 0..4 {
        assert_eq!(accounts.set_password(&here(), "?", "123456").await.unwrap(), SetPasswordOutcome::InvalidCode);
    }
    assert!(is_too_many(accounts.set_password(&here(), &code, "123456").await));
}
