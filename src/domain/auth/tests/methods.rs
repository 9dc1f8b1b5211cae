use std::time::Duration;

use crate::domain::auth::login::{LoginOutcome, LoginRequest, PasswordLoginOutcome};
use crate::domain::auth::method_change::{AddMethodRequest, ChangeRefusal};
use crate::domain::auth::testing::*;
use crate::domain::auth::verification::VerifyOutcome;

fn adding(user_auth: &str) -> AddMethodRequest {
    AddMethodRequest { user_auth: Some(user_auth.into()), password: PASSWORD.into(), proof: None }
}

#[tokio::test]
async fn an_account_of_words_gains_an_address_and_may_then_lose_the_words() {
    let accounts = TestAccounts::new();
    let created = accounts.anonymous().await;
    let caller = accounts.caller(&created.by_jwt);
    let last = accounts.remove_method(&here(), &caller, "seedphrase").await.unwrap();
    assert_eq!(last, Err(ChangeRefusal::LastMethod));

    assert_eq!(accounts.add_method(&here(), &caller, &adding(EMAIL)).await.unwrap(), Ok(()));
    let code = accounts.code();
    let unproven = accounts.login_with_password(&here(), EMAIL, PASSWORD, false).await.unwrap();
    assert!(matches!(unproven, PasswordLoginOutcome::VerificationRequired { .. }));
    let newer = accounts.code();
    assert_eq!(accounts.verify(&here(), EMAIL, &code).await.unwrap(), VerifyOutcome::InvalidCode);
    assert!(matches!(accounts.verify(&here(), EMAIL, &newer).await.unwrap(), VerifyOutcome::LoggedIn { .. }));

    assert_eq!(accounts.remove_method(&here(), &caller, "seedphrase").await.unwrap(), Ok(()));
    let words = LoginRequest { seedphrase: created.seedphrase.unwrap(), ..LoginRequest::default() };
    assert_eq!(accounts.login(&here(), &words).await.unwrap(), LoginOutcome::UnknownSeedphrase);
}

#[tokio::test]
async fn what_cannot_be_added_is_refused() {
    let accounts = TestAccounts::auto();
    let caller = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    accounts.member("+1 415-555-0142", "phone-lab").await;
    for (request, refusal) in [
        (AddMethodRequest::default(), ChangeRefusal::NothingGiven),
        (AddMethodRequest { proof: some_proof(), ..Default::default() }, ChangeRefusal::InvalidCredentials),
        (adding(""), ChangeRefusal::InvalidUserAuth),
        (AddMethodRequest { password: "12345".into(), ..adding("b@x.org") }, ChangeRefusal::PasswordTooShort),
        (adding("b@x.org"), ChangeRefusal::KindPresent),
        (adding("4155550142"), ChangeRefusal::IdentityTaken),
    ] {
        assert_eq!(accounts.add_method(&here(), &caller, &request).await.unwrap(), Err(refusal));
    }
    for (kind, refusal) in [
        ("telepathy", ChangeRefusal::UnknownKind),
        ("phone", ChangeRefusal::KindAbsent),
        ("email", ChangeRefusal::LastMethod),
    ] {
        assert_eq!(accounts.remove_method(&here(), &caller, kind).await.unwrap(), Err(refusal), "{kind}");
    }
}

#[tokio::test]
async fn a_removed_address_is_free_for_others_and_its_password_dead() {
    let accounts = TestAccounts::auto();
    let caller = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    assert_eq!(accounts.add_method(&here(), &caller, &adding("4155550142")).await.unwrap(), Ok(()));
    assert_eq!(accounts.remove_method(&here(), &caller, "email").await.unwrap(), Ok(()));
    let gone = accounts.login_with_password(&here(), EMAIL, PASSWORD, false).await.unwrap();
    assert_eq!(gone, PasswordLoginOutcome::InvalidPassword);
    accounts.member(EMAIL, "other-lab").await;
}

#[tokio::test]
async fn seedphrases_are_made_once_and_remade_on_request() {
    let accounts = TestAccounts::auto();
    let caller = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    let generate = |replace| accounts.generate_seedphrase(&HERE, &caller, replace);
    assert_eq!(generate(true).await.unwrap(), Err(ChangeRefusal::SeedphraseAbsent));
    let first = generate(false).await.unwrap().unwrap();
    assert_eq!(generate(false).await.unwrap(), Err(ChangeRefusal::SeedphrasePresent));
    let second = generate(true).await.unwrap().unwrap();
    let outcome = async |words: &str| {
        let request = LoginRequest { seedphrase: words.into(), ..LoginRequest::default() };
        accounts.login(&here(), &request).await.unwrap()
    };
    assert_eq!(outcome(&first).await, LoginOutcome::UnknownSeedphrase);
    assert!(matches!(outcome(&second).await, LoginOutcome::LoggedIn { .. }));
}

#[tokio::test]
async fn five_successful_changes_of_a_kind_a_day() {
    let accounts = TestAccounts::new();
    let caller = accounts.caller(&accounts.anonymous().await.by_jwt);
    for _ in 0..5 {
        accounts.generate_seedphrase(&HERE, &caller, true).await.unwrap().unwrap();
        let refused = accounts.generate_seedphrase(&HERE, &caller, false).await.unwrap();
        assert_eq!(refused, Err(ChangeRefusal::SeedphrasePresent), "refusals do not count");
    }
    let refused = accounts.generate_seedphrase(&HERE, &caller, true).await.unwrap();
    assert_eq!(refused, Err(ChangeRefusal::DailyLimit));
    accounts.advance(Duration::from_secs(86_400));
    accounts.generate_seedphrase(&HERE, &caller, true).await.unwrap().unwrap();
}
