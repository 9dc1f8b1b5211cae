use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::account::create::{CreateNetwork, CreateNetworkOutcome, CreateRefusal};
use crate::domain::account::user::GetNetworkUser;
use crate::domain::auth::login::{LoginOutcome, LoginRequest, PasswordLoginOutcome};
use crate::domain::auth::method_change::{AddMethodRequest, ChangeRefusal};
use crate::domain::auth::outside::OutsideProof;
use crate::domain::auth::testing::*;
use crate::domain::error::DomainError;

fn accounts() -> TestAccounts {
    TestAccounts::with(TestService::switch_on)
}

fn claims(accounts: &TestAccounts, email: &str) -> Value {
    TestService::claims(email, accounts.domain.clock.now())
}

fn token(accounts: &TestAccounts, email: &str) -> String {
    TestService::token("first", &claims(accounts, email))
}

async fn login_with(accounts: &TestAccounts, token: String) -> Result<LoginOutcome, DomainError> {
    let request = LoginRequest { proof: TestService::google(token), ..LoginRequest::default() };
    accounts.login(&here(), &request).await
}

async fn login(accounts: &TestAccounts, email: &str) -> LoginOutcome {
    login_with(accounts, token(accounts, email)).await.unwrap()
}

async fn create(accounts: &TestAccounts, email: &str, name: &str) -> CreateNetworkOutcome {
    let proof = TestService::google(token(accounts, email));
    let request = CreateNetwork { proof, network_name: name.into(), terms: true, ..CreateNetwork::default() };
    accounts.create_network(&here(), &request).await.unwrap()
}

fn user_of(accounts: &TestAccounts, outcome: LoginOutcome) -> crate::ids::UserId {
    match outcome {
        LoginOutcome::LoggedIn { by_jwt } => accounts.caller(&by_jwt).user_id,
        other => panic!("not logged in: {other:?}"),
    }
}

#[tokio::test]
async fn a_token_signs_up_and_then_in() {
    let accounts = accounts();
    assert_eq!(login(&accounts, "Ada@Hill.Example").await, LoginOutcome::UnknownToken { user_name: "Ada".into() });
    let CreateNetworkOutcome::Created(created) = create(&accounts, "Ada@Hill.Example", "google-lab").await else {
        panic!()
    };
    assert_eq!((created.user_auth.as_deref(), created.seedphrase), (Some(EMAIL), None));
    let user = accounts.domain.service.read(&GetNetworkUser { user_id: created.user_id }).unwrap().unwrap();
    assert_eq!((user.user_name.as_str(), user.verified), ("Ada", true));
    assert_eq!(user_of(&accounts, login(&accounts, EMAIL).await), created.user_id);
    let again = create(&accounts, EMAIL, "other-lab").await;
    assert_eq!(again, CreateNetworkOutcome::Refused(CreateRefusal::IdentityTaken));

    let first_step = LoginRequest { user_auth: Some(EMAIL.into()), ..LoginRequest::default() };
    let methods = LoginOutcome::Methods { user_auth: EMAIL.into(), allowed: vec!["google"] };
    assert_eq!(accounts.login(&here(), &first_step).await.unwrap(), methods);
}

#[tokio::test]
async fn apple_tells_no_name() {
    let accounts = accounts();
    let mut claims = claims(&accounts, EMAIL);
    claims["iss"] = json!("https://appleid.apple.com");
    claims["email_verified"] = json!("true");
    let token = TestService::token("first", &claims);
    let proof = Some(OutsideProof::Token { service: "apple".into(), token: token.clone() });
    let outcome = accounts.login(&here(), &LoginRequest { proof, ..LoginRequest::default() }).await.unwrap();
    assert_eq!(outcome, LoginOutcome::UnknownToken { user_name: String::new() });
    let swapped = login_with(&accounts, token).await.unwrap();
    assert_eq!(swapped, LoginOutcome::InvalidCredentials, "a token of Apple is none of Google");
}

#[tokio::test]
async fn tokens_that_do_not_hold_are_refused() {
    let accounts = TestAccounts::with(|config| {
        TestService::switch_on(config);
        config.auth.attempt_limits = false;
    });
    let now = accounts.domain.clock.now().as_secs();
    let good = claims(&accounts, EMAIL);
    let with = |field: &str, value: Value| {
        let mut claims = good.clone();
        claims[field] = value;
        TestService::token("first", &claims)
    };
    let without = |field: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(field);
        TestService::token("first", &claims)
    };
    let valid = TestService::token("first", &good);
    let unsigned = {
        use base64::Engine;
        let header = json!({"alg": "none", "kid": "first"}).to_string();
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
        format!("{header}.{}.", valid.split('.').nth(1).unwrap())
    };
    let header = jsonwebtoken::Header { kid: Some("first".into()), ..jsonwebtoken::Header::default() };
    let symmetric = jsonwebtoken::encode(&header, &good, &jsonwebtoken::EncodingKey::from_secret(b"first")).unwrap();
    let cases = [
        ("audience", with("aud", json!("org.example.other"))),
        ("no audience", without("aud")),
        ("issuer", with("iss", json!("https://accounts.example"))),
        ("no issuer", without("iss")),
        ("expired", with("exp", json!(now - 30))),
        ("no expiry", without("exp")),
        ("not yet", with("nbf", json!(now + 31))),
        ("from the future", with("iat", json!(now + 31))),
        ("no mail address", without("email")),
        ("a phone number", with("email", json!("+1 415-555-0142"))),
        ("unproven", with("email_verified", json!(false))),
        ("unproven in words", with("email_verified", json!("false"))),
        ("proof unknown", without("email_verified")),
        ("no name", without("name")),
        ("cut", valid[..valid.len() - 4].to_owned()),
        ("another key", TestService::token("second", &good)),
        ("unsigned", unsigned),
        ("symmetric", symmetric),
        ("no token", "nonsense".into()),
        ("long", format!("{valid}{}", "A".repeat(20_000))),
    ];
    for (case, token) in cases {
        assert_eq!(login_with(&accounts, token).await.unwrap(), LoginOutcome::InvalidCredentials, "{case}");
    }
    for token in [valid, with("exp", json!(now - 29)), with("aud", json!(["x", APP])), with("nbf", json!(now + 30))] {
        assert!(matches!(login_with(&accounts, token).await.unwrap(), LoginOutcome::UnknownToken { .. }));
    }
}

#[tokio::test]
async fn a_service_without_an_app_of_ours_is_switched_off() {
    let accounts = TestAccounts::new();
    assert_eq!(login(&accounts, EMAIL).await, LoginOutcome::InvalidCredentials);
    let refused = create(&accounts, EMAIL, "google-lab").await;
    assert_eq!(refused, CreateNetworkOutcome::Refused(CreateRefusal::InvalidCredentials));
    assert_eq!(accounts.sign_in.times_asked(), 0);
}

#[tokio::test]
async fn bad_tokens_are_limited() {
    let accounts = accounts();
    for _ in 0..4 {
        assert_eq!(login_with(&accounts, "nonsense".into()).await.unwrap(), LoginOutcome::InvalidCredentials);
    }
    assert!(is_too_many(login_with(&accounts, "nonsense".into()).await));
}

#[tokio::test]
async fn a_token_joins_the_account_with_a_proven_password_and_leaves_it() {
    let accounts = TestAccounts::with(|config| {
        TestService::switch_on(config);
        config.auth.verify = crate::config::auth::Verify::Auto;
    });
    let member = accounts.member(EMAIL, "hilltop-lab").await;
    assert_eq!(user_of(&accounts, login(&accounts, EMAIL).await), member.user_id);
    let first_step = LoginRequest { user_auth: Some(EMAIL.into()), ..LoginRequest::default() };
    let methods = LoginOutcome::Methods { user_auth: EMAIL.into(), allowed: vec!["email", "password", "google"] };
    assert_eq!(accounts.login(&here(), &first_step).await.unwrap(), methods);
    let with_password = accounts.login_with_password(&here(), EMAIL, PASSWORD, false).await.unwrap();
    assert!(matches!(with_password, PasswordLoginOutcome::LoggedIn { .. }), "the password still counts");

    let caller = accounts.caller(&member.by_jwt);
    assert_eq!(accounts.remove_method(&here(), &caller, "email").await.unwrap(), Ok(()));
    assert_eq!(user_of(&accounts, login(&accounts, EMAIL).await), member.user_id, "the address stays with Google");
}

#[tokio::test]
async fn an_address_that_was_never_proven_belongs_to_whoever_proves_it() {
    let accounts = accounts();
    let squatted = accounts.sign_up(EMAIL, "hilltop-lab").await;
    let code = accounts.code();
    let user = user_of(&accounts, login(&accounts, EMAIL).await);
    let name = accounts.domain.service.read(&GetNetworkUser { user_id: user }).unwrap().unwrap().network_name;
    assert_eq!(name, "hilltop-lab");
    assert!(squatted.network_id().is_some());
    // What the first one knew opens nothing any more.
    let with_password = accounts.login_with_password(&here(), EMAIL, PASSWORD, false).await.unwrap();
    assert_eq!(with_password, PasswordLoginOutcome::InvalidPassword);
    let verified = accounts.verify(&here(), EMAIL, &code).await.unwrap();
    assert_eq!(verified, crate::domain::auth::verification::VerifyOutcome::InvalidCode);
}

#[tokio::test]
async fn nobody_is_led_into_the_account_of_one_who_only_named_their_address() {
    let accounts = accounts();
    let caller = accounts.caller(&accounts.anonymous().await.by_jwt);
    let naming = AddMethodRequest { user_auth: Some(EMAIL.into()), password: PASSWORD.into(), proof: None };
    assert_eq!(accounts.add_method(&here(), &caller, &naming).await.unwrap(), Ok(()));
    assert_eq!(login(&accounts, EMAIL).await, LoginOutcome::InvalidCredentials);
}

#[tokio::test]
async fn an_account_gains_one_of_a_service() {
    let accounts = accounts();
    let taken = create(&accounts, "b@x.org", "other-lab").await;
    assert!(matches!(taken, CreateNetworkOutcome::Created(_)));
    let created = accounts.anonymous().await;
    let caller = accounts.caller(&created.by_jwt);
    let add = async |token: String| {
        let request = AddMethodRequest { proof: TestService::google(token), ..AddMethodRequest::default() };
        accounts.add_method(&here(), &caller, &request).await.unwrap()
    };
    assert_eq!(add("nonsense".into()).await, Err(ChangeRefusal::InvalidCredentials));
    assert_eq!(add(token(&accounts, "b@x.org")).await, Err(ChangeRefusal::IdentityTaken));
    assert_eq!(add(token(&accounts, EMAIL)).await, Ok(()));
    assert_eq!(add(token(&accounts, "c@x.org")).await, Err(ChangeRefusal::KindPresent));
    assert_eq!(user_of(&accounts, login(&accounts, EMAIL).await), created.user_id);
}

#[tokio::test]
async fn keys_are_kept_and_asked_for_again_when_they_are_old_or_one_is_unknown() {
    let accounts = accounts();
    let login_under = async |id: &str| {
        let token = TestService::token(id, &claims(&accounts, EMAIL));
        login_with(&accounts, token).await.unwrap() != LoginOutcome::InvalidCredentials
    };
    assert!(login_under("first").await);
    assert!(login_under("first").await);
    assert_eq!(accounts.sign_in.times_asked(), 1);

    accounts.sign_in.publish(Ok(TestService::key_set("second")));
    assert!(!login_under("second").await, "too soon to ask again");
    assert_eq!(accounts.sign_in.times_asked(), 1);
    accounts.advance(Duration::from_secs(30));
    assert!(login_under("second").await);
    assert!(!login_under("first").await, "it is no longer published");
    assert_eq!(accounts.sign_in.times_asked(), 2);

    accounts.advance(Duration::from_secs(3600));
    accounts.sign_in.publish(Ok(TestService::key_set("third")));
    assert!(!login_under("second").await, "old keys are compared with what is published");
    assert_eq!(accounts.sign_in.times_asked(), 3);
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_no_fault_of_the_token() {
    let accounts = accounts();
    let outcome = async || login_with(&accounts, token(&accounts, EMAIL)).await;
    for nothing in [Err("no route".to_owned()), Ok(json!({"keys": []})), Ok(json!("nonsense"))] {
        accounts.sign_in.publish(nothing);
        for _ in 0..6 {
            assert!(matches!(outcome().await, Err(DomainError::Unavailable)), "not counted as an attempt either");
        }
        accounts.advance(Duration::from_secs(30));
    }
    assert_eq!(accounts.sign_in.times_asked(), 3);

    accounts.sign_in.publish(Ok(TestService::key_set("first")));
    outcome().await.unwrap();
    accounts.sign_in.publish(Err("no route".into()));
    accounts.advance(Duration::from_secs(23 * 3600));
    outcome().await.expect("old keys are better than none");
    accounts.advance(Duration::from_secs(3600));
    assert!(matches!(outcome().await, Err(DomainError::Unavailable)), "for a day");
}

#[tokio::test]
async fn a_sign_up_that_arrives_twice_is_answered_as_the_first() {
    let accounts = accounts();
    let CreateNetworkOutcome::Created(first) = create(&accounts, "ada@hill.example", "hilltop-lab").await else {
        panic!()
    };
    let CreateNetworkOutcome::Created(again) = create(&accounts, "ada@hill.example", "hilltop-lab").await else {
        panic!()
    };
    assert_eq!((again.network_id, again.user_auth), (first.network_id, first.user_auth));
    assert_eq!(accounts.caller(&again.by_jwt).user_id, first.user_id);
    let taken = CreateNetworkOutcome::Refused(CreateRefusal::NameTaken);
    assert_eq!(create(&accounts, "bob@hill.example", "hilltop-lab").await, taken);
    accounts.advance(Duration::from_secs(601));
    assert_eq!(create(&accounts, "ada@hill.example", "hilltop-lab").await, taken, "much later");
}
