use std::time::Duration;

use crate::config::auth::{Signup, Verify};
use crate::config::mail::MailMode;
use crate::domain::account::create::{CreateNetwork, CreateNetworkOutcome, CreateRefusal};
use crate::domain::account::delete::DeleteOwnNetwork;
use crate::domain::account::name::CheckName;
use crate::domain::auth::attempts::{Origin, Surface};
use crate::domain::auth::testing::*;
use crate::domain::auth::verification::VerifyOutcome;
use crate::domain::contract::record::{BALANCES, Balance, BalanceKey};
use crate::domain::effect::{Effect, MessageKind};
use crate::domain::network::NETWORKS;
use crate::ids::BalanceId;

async fn refusal(accounts: &TestAccounts, request: CreateNetwork) -> CreateRefusal {
    match accounts.create_network(&here(), &request).await.unwrap() {
        CreateNetworkOutcome::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn an_address_must_be_proven_before_the_first_token() {
    let accounts = TestAccounts::new();
    let outcome = accounts.sign_up(" Ada <ADA@Hill.Example> ", " Hilltop Lab ").await;
    let CreateNetworkOutcome::VerificationRequired { network_id, network_name, user_auth } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((network_name.as_str(), user_auth.as_str()), ("hilltop-lab", EMAIL));
    let code = accounts.code();
    assert!(code.len() == 8 && code.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()));
    let VerifyOutcome::LoggedIn { by_jwt } =
        accounts.verify(&here(), EMAIL, &format!(" {} ", code.to_uppercase())).await.unwrap()
    else {
        panic!()
    };
    let claims = accounts.claims(&by_jwt);
    assert_eq!((claims.network_id, claims.network_name.as_str()), (network_id, "hilltop-lab"));
    assert_eq!((claims.client_id, claims.guest_mode, claims.pro), (None, false, false));
    assert!(accounts.is_alive(&by_jwt));
}

#[tokio::test]
async fn verified_at_once_by_setting_or_without_mail() {
    for accounts in [TestAccounts::auto(), TestAccounts::with(|config| config.mail.mode = MailMode::Off)] {
        let created = accounts.member(EMAIL, "hilltop-lab").await;
        assert!(accounts.is_alive(&created.by_jwt) && created.seedphrase.is_none() && !created.is_pro);
        assert!(accounts.messages().is_empty());
    }
}

#[tokio::test]
async fn every_field_is_checked_in_order() {
    let accounts = TestAccounts::new();
    accounts.sign_up("bob@hill.example", "taken-name").await;
    let nothing = CreateNetwork { user_auth: Some(String::new()), ..CreateNetwork::default() };
    assert_eq!(refusal(&accounts, nothing.clone()).await, CreateRefusal::TermsNotAccepted);
    let terms = CreateNetwork { terms: true, ..nothing };
    let invalid = CreateRefusal::InvalidName { min_bytes: 5 };
    assert_eq!(refusal(&accounts, terms.clone()).await, invalid);
    assert!(invalid.is_about_name());
    assert_eq!(invalid.to_string(), "Network name must be 5 to 50 letters, digits or dashes.");
    let named = CreateNetwork { network_name: "Taken Name".into(), ..terms };
    assert_eq!(refusal(&accounts, named.clone()).await, CreateRefusal::NameTaken);
    let free = CreateNetwork { network_name: "free-name".into(), ..named };
    assert_eq!(refusal(&accounts, free.clone()).await, CreateRefusal::InvalidUserAuth, "empty is given, not absent");
    let known = CreateNetwork { user_auth: Some("BOB@hill.example".into()), ..free };
    assert_eq!(refusal(&accounts, known.clone()).await, CreateRefusal::PasswordTooShort);
    let strong = CreateNetwork { password: "123456".into(), ..known };
    assert_eq!(refusal(&accounts, strong).await, CreateRefusal::IdentityTaken);
    let outside = CreateNetwork {
        proof: some_proof(),
        network_name: "hilltop-lab".into(),
        terms: true,
        ..CreateNetwork::default()
    };
    assert_eq!(refusal(&accounts, outside).await, CreateRefusal::InvalidCredentials);
}

#[tokio::test]
async fn the_same_sign_up_twice_is_answered_as_the_first_with_a_new_code() {
    let accounts = TestAccounts::new();
    let first = accounts.sign_up(EMAIL, "hilltop-lab").await;
    let old = accounts.code();
    accounts.advance(Duration::from_secs(599));
    assert_eq!(accounts.sign_up(EMAIL, "Hilltop Lab").await, first);
    let new = accounts.code();
    assert_eq!(accounts.verify(&here(), EMAIL, &old).await.unwrap(), VerifyOutcome::InvalidCode);
    let other_password = CreateNetwork { password: "another one".into(), ..request(EMAIL, "hilltop-lab") };
    assert_eq!(refusal(&accounts, other_password).await, CreateRefusal::IdentityTaken);
    assert_eq!(refusal(&accounts, request(EMAIL, "other-name")).await, CreateRefusal::IdentityTaken);
    assert!(matches!(accounts.verify(&here(), EMAIL, &new).await.unwrap(), VerifyOutcome::LoggedIn { .. }));
    assert_eq!(refusal(&accounts, request(EMAIL, "hilltop-lab")).await, CreateRefusal::NameTaken);
}

#[tokio::test]
async fn a_late_repetition_is_a_second_sign_up() {
    let accounts = TestAccounts::new();
    accounts.sign_up(EMAIL, "hilltop-lab").await;
    accounts.advance(Duration::from_secs(601));
    assert_eq!(refusal(&accounts, request(EMAIL, "hilltop-lab")).await, CreateRefusal::NameTaken);
}

#[tokio::test]
async fn of_two_sign_ups_for_one_name_at_once_one_wins() {
    let accounts = TestAccounts::auto();
    let (one, two) = (request("a@x.org", "same-name"), request("b@x.org", "same-name"));
    let origin = here();
    let (one, two) = tokio::join!(accounts.create_network(&origin, &one), accounts.create_network(&origin, &two));
    let won = [one.unwrap(), two.unwrap()].iter().filter(|o| matches!(o, CreateNetworkOutcome::Created(_))).count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn an_account_without_a_method_gets_words_and_a_name() {
    let accounts = TestAccounts::new();
    let created = accounts.anonymous().await;
    assert_eq!(created.seedphrase.as_deref().unwrap().split(' ').count(), 24);
    let parts: Vec<&str> = created.network_name.split('-').collect();
    assert!(parts.len() == 3 && parts[2].len() == 2, "{}", created.network_name);
    assert!(accounts.is_alive(&created.by_jwt));
    assert!(!accounts.claims(&created.by_jwt).guest_mode, "the words are a sign-in method");
    let network = accounts.domain.get(&NETWORKS, &created.network_id).unwrap();
    assert_eq!(network.referral_code.len(), 6);
}

#[tokio::test]
async fn accounts_without_a_method_are_limited_by_address_but_not_on_loopback() {
    let accounts = TestAccounts::new();
    for _ in 0..5 {
        accounts.anonymous().await;
    }
    let request = CreateNetwork { terms: true, ..CreateNetwork::default() };
    assert!(is_too_many(accounts.create_network(&from("203.0.113.10"), &request).await));
    for origin in [from("127.0.0.1"), from("::1"), from("::ffff:127.0.0.1")] {
        for _ in 0..6 {
            accounts.create_network(&origin, &request).await.unwrap();
        }
    }
    accounts.advance(Duration::from_secs(86_401));
    accounts.anonymous().await;
}

#[tokio::test]
async fn closed_means_closed_to_all_but_the_operator() {
    let accounts = TestAccounts::with(|config| {
        config.auth.signup = Signup::Closed;
        config.auth.verify = Verify::Auto;
    });
    assert_eq!(refusal(&accounts, request(EMAIL, "hilltop-lab")).await, CreateRefusal::SignupClosed);
    let operator = Origin { surface: Surface::Operator, ..here() };
    let made = accounts.create_network(&operator, &request(EMAIL, "hilltop-lab")).await.unwrap();
    assert!(matches!(made, CreateNetworkOutcome::Created(_)));
}

#[tokio::test]
async fn phones_need_a_log_to_read() {
    let accounts = TestAccounts::new();
    let outcome = accounts.sign_up("(415) 555-0142", "phone-lab").await;
    assert!(
        matches!(outcome, CreateNetworkOutcome::VerificationRequired { ref user_auth, .. } if user_auth == "+1 415-555-0142")
    );
    let accounts = TestAccounts::with(|config| config.mail.mode = MailMode::Smtp);
    assert_eq!(refusal(&accounts, request("4155550142", "phone-lab")).await, CreateRefusal::InvalidUserAuth);
}

#[tokio::test]
async fn a_referral_code_is_remembered_and_a_wrong_one_ignored() {
    let accounts = TestAccounts::auto();
    let parent = accounts.member("a@x.org", "parent").await;
    let code = accounts.domain.get(&NETWORKS, &parent.network_id).unwrap().referral_code;
    for (email, code, expected) in
        [("b@x.org", code.to_lowercase(), Some(parent.network_id)), ("c@x.org", "?".into(), None)]
    {
        let request = CreateNetwork { referral_code: code, ..request(email, &format!("child-{}", &email[..1])) };
        let outcome = accounts.create_network(&here(), &request).await.unwrap();
        let CreateNetworkOutcome::Created(child) = outcome else { panic!() };
        assert_eq!(accounts.domain.get(&NETWORKS, &child.network_id).unwrap().referred_by, expected);
    }
}

#[tokio::test]
async fn pro_is_said_while_a_pro_balance_is_usable() {
    let accounts = TestAccounts::auto();
    let created = accounts.member(EMAIL, "hilltop-lab").await;
    let now = accounts.domain.clock.now();
    let key = BalanceKey {
        network_id: created.network_id,
        start_time: now,
        end_time: now + Duration::from_secs(60),
        balance_id: BalanceId::new([1; 16]),
    };
    accounts.domain.put(&BALANCES, &key, &Balance { is_pro: true, ..Balance::default() }).await;
    let caller = accounts.caller(&created.by_jwt);
    assert!(accounts.claims(&accounts.token(&caller).await.unwrap()).pro);
    accounts.advance(Duration::from_secs(60));
    assert!(!accounts.claims(&accounts.token(&caller).await.unwrap()).pro);
}

#[tokio::test]
async fn name_checks_never_fail() {
    let accounts = TestAccounts::auto();
    accounts.member(EMAIL, "hilltop-lab").await;
    for (name, available) in
        [("Hilltop Lab", false), ("hilltop-lab2", true), ("abcd", false), ("", false), ("ü", false)]
    {
        let name = name.to_owned();
        assert_eq!(accounts.domain.run(&CheckName { name: name.clone() }).await.unwrap(), available, "{name}");
    }
}

#[tokio::test]
async fn deleting_a_network_ends_everything_and_frees_name_and_address() {
    let accounts = TestAccounts::auto();
    let created = accounts.member(EMAIL, "hilltop-lab").await;
    let caller = accounts.caller(&created.by_jwt);
    let client = accounts.client_token(&caller, 7).await;
    let caller = accounts.caller(&client);
    accounts.domain.run(&DeleteOwnNetwork { caller: caller.clone() }).await.unwrap();
    assert!(!accounts.is_alive(&created.by_jwt) && !accounts.is_alive(&client));
    let effects = accounts.domain.take_effects();
    assert!(effects.contains(&Effect::CredentialsChanged(created.network_id)));
    assert!(effects.contains(&Effect::ClientRemoved(caller.client_id().unwrap())));
    assert!(is_unauthorized(accounts.domain.run(&DeleteOwnNetwork { caller }).await), "a second one finds nobody");
    accounts.member(EMAIL, "hilltop-lab").await;
}

#[tokio::test]
async fn numeric_codes_keep_their_leading_zeros() {
    let accounts = TestAccounts::new();
    for number in 0..40 {
        let email = format!("user{number}@x.org");
        let request = CreateNetwork { verify_use_numeric: true, ..request(&email, &format!("network-{number}")) };
        accounts.create_network(&here(), &request).await.unwrap();
        let messages = accounts.messages();
        let MessageKind::VerifyCode(code) = &messages[0].kind else { panic!() };
        assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
        if code.starts_with('0') {
            let shortened = code.trim_start_matches('0');
            assert_eq!(accounts.verify(&here(), &email, shortened).await.unwrap(), VerifyOutcome::InvalidCode);
            let whole = accounts.verify(&here(), &email, code).await.unwrap();
            assert!(matches!(whole, VerifyOutcome::LoggedIn { .. }));
        }
    }
}
