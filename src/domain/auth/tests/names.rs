use std::time::Duration;

use crate::domain::account::name::{CheckName, NETWORK_NAMES};
use crate::domain::account::rename::RenameOutcome;
use crate::domain::account::user::{GetNetworkUser, SignInMethod};
use crate::domain::auth::method::MethodKind;
use crate::domain::auth::testing::*;
use crate::domain::network::NETWORKS;
use crate::domain::network::RenameKind;

fn named(network_name: &str) -> RenameOutcome {
    RenameOutcome::Named { network_name: network_name.into() }
}

#[tokio::test]
async fn a_changed_name_rests_a_day_before_others_may_have_it() {
    let accounts = TestAccounts::auto();
    let ada = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    let bob = accounts.caller(&accounts.member("bob@x.org", "valley-lab").await.by_jwt);
    let rename = |caller, name, kind| accounts.rename_network(&HERE, caller, name, kind);
    assert_eq!(rename(&ada, " New Name ", RenameKind::Change).await.unwrap(), named("new-name"));
    let taken = RenameOutcome::NameTaken;
    assert_eq!(rename(&bob, "hilltop-lab", RenameKind::Claim).await.unwrap(), taken);
    assert_eq!(rename(&bob, "new-name", RenameKind::Update).await.unwrap(), taken);
    assert_eq!(rename(&bob, "ü", RenameKind::Update).await.unwrap(), RenameOutcome::InvalidName { min_bytes: 5 });
    accounts.advance(Duration::from_secs(86_400));
    assert_eq!(rename(&bob, "hilltop-lab", RenameKind::Claim).await.unwrap(), named("hilltop-lab"));
    let is_free = accounts.domain.run(&CheckName { name: "valley-lab".into() }).await.unwrap();
    assert!(is_free, "a claim leaves the old name free at once");
}

#[tokio::test]
async fn names_that_rest_no_more_are_forgotten() {
    let accounts = TestAccounts::auto();
    let ada = accounts.caller(&accounts.member(EMAIL, "name-0").await.by_jwt);
    for day in 1..=5 {
        let name = format!("name-{day}");
        assert_eq!(accounts.rename_network(&HERE, &ada, &name, RenameKind::Change).await.unwrap(), named(&name));
        accounts.advance(Duration::from_secs(86_400));
    }
    let network = accounts.domain.get(&NETWORKS, &ada.network_id).unwrap();
    assert_eq!(network.former_names, ["name-4"]);
    assert_eq!(accounts.domain.get(&NETWORK_NAMES, &"name-3".into()), None);
    let back = accounts.rename_network(&HERE, &ada, "name-4", RenameKind::Change).await.unwrap();
    assert_eq!(back, named("name-4"), "one's own name can be taken back");
    accounts.rename_network(&HERE, &ada, "name-6", RenameKind::Update).await.unwrap();
    let network = accounts.domain.get(&NETWORKS, &ada.network_id).unwrap();
    assert_eq!(network.former_names, ["name-5"]);
}

#[tokio::test]
async fn two_changes_and_two_claims_a_day() {
    let accounts = TestAccounts::auto();
    let ada = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    accounts.member("bob@x.org", "valley-lab").await;
    let rename = |name, kind| accounts.rename_network(&HERE, &ada, name, kind);
    for _ in 0..5 {
        assert_eq!(rename("valley-lab", RenameKind::Change).await.unwrap(), RenameOutcome::NameTaken);
    }
    for kind in [RenameKind::Change, RenameKind::Claim] {
        for name in ["first-name", "second-name"] {
            assert_eq!(rename(name, kind).await.unwrap(), named(name));
        }
        assert_eq!(rename("third-name", kind).await.unwrap(), RenameOutcome::DailyLimit);
        assert_eq!(rename("valley-lab", kind).await.unwrap(), RenameOutcome::NameTaken);
    }
    for name in ["third-name", "fourth-name", "fourth-name", "fifth-name"] {
        assert_eq!(rename(name, RenameKind::Update).await.unwrap(), named(name));
    }
}

#[tokio::test]
async fn words_alone_prove_nobody() {
    let accounts = TestAccounts::new();
    let caller = accounts.caller(&accounts.anonymous().await.by_jwt);
    let outcome = accounts.rename_network(&HERE, &caller, "good-name", RenameKind::Claim).await.unwrap();
    assert_eq!(outcome, RenameOutcome::Unverified);
    let outcome = accounts.rename_network(&HERE, &caller, "good-name", RenameKind::Update).await.unwrap();
    assert_eq!(outcome, named("good-name"));
}

#[tokio::test]
async fn users_see_their_methods_without_the_secrets() {
    let accounts = TestAccounts::auto();
    let caller = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    accounts.generate_seedphrase(&HERE, &caller, false).await.unwrap().unwrap();
    let user = accounts.domain.run(&GetNetworkUser { user_id: caller.user_id }).await.unwrap().unwrap();
    assert_eq!((user.user_name.as_str(), user.network_name.as_str(), user.verified), ("Ada", "hilltop-lab", true));
    assert_eq!(
        user.methods,
        [
            SignInMethod { kind: MethodKind::Email, identity: Some(EMAIL.into()), verified: true },
            SignInMethod { kind: MethodKind::Seedphrase, identity: None, verified: true },
        ]
    );
    let nobody = GetNetworkUser { user_id: crate::ids::UserId::new([9; 16]) };
    assert_eq!(accounts.domain.run(&nobody).await.unwrap(), None);
}
