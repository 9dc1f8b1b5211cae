use std::time::Duration;

use crate::domain::api_key;
use crate::domain::auth::authenticate::Audience;
use crate::domain::auth::refresh::RefreshOutcome;
use crate::domain::auth::session::{self, List, Revoke};
use crate::domain::auth::testing::*;
use crate::domain::auth::tokens::{KNOWN_TOKENS, Tokens};
use crate::domain::client::RemoveClients;
use crate::domain::effect::Effect;
use crate::domain::network::{NETWORKS, NetworkRecord};
use crate::domain::testing::id;
use crate::domain::token::{Claims, TokenKeys, generate_pem};
use crate::ids::{NetworkId, RecordId, UserId};

#[tokio::test]
async fn each_place_takes_the_tokens_it_is_for() {
    let accounts = TestAccounts::auto();
    let user = accounts.member(EMAIL, "hilltop-lab").await.by_jwt;
    let client = accounts.client_token(&accounts.caller(&user), 7).await;
    let key = api_key::Create { network_id: accounts.caller(&user).network_id, name: "ci".into() };
    let key = accounts.domain.run(&key).await.unwrap().unwrap().api_key;
    let accepted = |token: &str, audience| accounts.authenticator.authenticate(token, audience).is_ok();
    for (token, as_user, as_client) in [(&user, true, false), (&client, false, true), (&key, true, false)] {
        assert_eq!(accepted(token, Audience::User), as_user, "{token}");
        assert_eq!(accepted(token, Audience::Client), as_client, "{token}");
        assert!(accepted(token, Audience::Any), "{token}");
    }
}

#[tokio::test]
async fn foreign_and_damaged_tokens_are_refused() {
    let accounts = TestAccounts::auto();
    let user = accounts.member(EMAIL, "hilltop-lab").await.by_jwt;
    let claims = accounts.claims(&user);
    let foreign = TokenKeys::generate().issue(&claims);
    let other_network = accounts.tokens.issue(&Claims { network_id: NetworkId::new([9; 16]), ..claims.clone() });
    let other_user = UserId::new([9; 16]);
    let other_user = accounts.tokens.issue(&Claims { user_id: other_user, sub: Some(other_user), ..claims.clone() });
    let half_client = accounts.tokens.issue(&Claims { client_id: Some(crate::ids::ClientId::new([9; 16])), ..claims });
    let long = "a".repeat(9000);
    for token in ["", "urn_", "urn_SHORT", "x.y.z", &foreign, &other_network, &other_user, &half_client, &long] {
        assert!(!accounts.is_alive(token), "{token}");
    }
}

#[tokio::test]
async fn a_removed_client_is_refused_at_once_although_its_token_was_seen() {
    let accounts = TestAccounts::auto();
    let user = accounts.member(EMAIL, "hilltop-lab").await.by_jwt;
    let client = accounts.client_token(&accounts.caller(&user), 7).await;
    let caller = accounts.caller(&client);
    let client_ids = vec![caller.client_id().unwrap()];
    accounts.domain.run(&RemoveClients { network_id: caller.network_id, client_ids }).await.unwrap();
    assert!(!accounts.is_alive(&client) && accounts.is_alive(&user));
    assert!(is_unauthorized(accounts.authenticator.confirm(&caller)));
    assert!(is_unauthorized(accounts.refresh(&caller).await));
}

#[tokio::test]
async fn a_client_token_of_another_device_is_refused() {
    let accounts = TestAccounts::auto();
    let user = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    let claims = accounts.claims(&accounts.client_token(&user, 7).await);
    let moved = Claims { device_id: Some(crate::ids::DeviceId::new([9; 16])), ..claims };
    assert!(!accounts.is_alive(&accounts.tokens.issue(&moved)));
}

#[tokio::test]
async fn tokens_expire_when_the_setting_says_so() {
    let accounts = TestAccounts::auto();
    let user = accounts.member(EMAIL, "hilltop-lab").await.by_jwt;
    accounts.advance(Duration::from_secs(365 * 86_400 + 31));
    assert!(!accounts.is_alive(&user));
    let accounts = TestAccounts::with(|config| {
        config.auth.verify = crate::config::auth::Verify::Auto;
        config.auth.enforce_expiry = false;
    });
    let user = accounts.member(EMAIL, "hilltop-lab").await.by_jwt;
    accounts.advance(Duration::from_secs(500 * 86_400));
    assert!(accounts.is_alive(&user));
}

#[tokio::test]
async fn a_refresh_keeps_who_it_is_for_and_renews_the_rest() {
    let accounts = TestAccounts::auto();
    let user = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    let with_roles =
        crate::domain::caller::Caller { roles: vec!["ops".into()], principal: "svc".into(), ..user.clone() };
    let old = accounts.client_token(&with_roles, 7).await;
    accounts.advance(Duration::from_secs(86_400));
    let network = accounts.domain.get(&NETWORKS, &user.network_id).unwrap();
    let renamed = NetworkRecord { name: "new-name".into(), ..network };
    accounts.domain.put(&NETWORKS, &user.network_id, &renamed).await;
    let RefreshOutcome::Refreshed { by_jwt } = accounts.refresh(&accounts.caller(&old)).await.unwrap() else {
        panic!()
    };
    let (before, after) = (accounts.claims(&old), accounts.claims(&by_jwt));
    assert_eq!(
        (after.client_id, after.device_id, after.session_id),
        (before.client_id, before.device_id, before.session_id)
    );
    assert_eq!((&after.roles, &after.principal), (&before.roles, &before.principal));
    assert_eq!(after.network_name, "new-name");
    assert_eq!(after.create_time, accounts.domain.clock.now());
    assert_eq!(after.exp.unwrap() - before.exp.unwrap(), 86_400);
    assert_ne!(after.jti, before.jti);
    assert!(accounts.is_alive(&old), "clients ask several times at once");
    assert_eq!(accounts.refresh(&user).await.unwrap(), RefreshOutcome::ClientRequired);
}

#[tokio::test]
async fn revoking_a_session_ends_its_descendants_and_its_codes() {
    let accounts = TestAccounts::auto();
    let root = accounts.member(EMAIL, "hilltop-lab").await.by_jwt;
    let root_caller = accounts.caller(&root);
    let bystander = {
        let outcome = accounts.login_with_password(&here(), EMAIL, PASSWORD, false).await.unwrap();
        let crate::domain::auth::login::PasswordLoginOutcome::LoggedIn { by_jwt } = outcome else { panic!() };
        by_jwt
    };
    let code = super::codes::made(&accounts, &root_caller, 60.0, 2).await;
    let child = accounts.login_with_code(&here(), &code).await.unwrap().unwrap();
    let child_code = super::codes::made(&accounts, &accounts.caller(&child), 60.0, 2).await;
    let grandchild = accounts.login_with_code(&here(), &child_code).await.unwrap().unwrap();
    let client = accounts.client_token(&accounts.caller(&grandchild), 7).await;
    let listed = accounts.domain.run(&List { network_id: root_caller.network_id }).await.unwrap();
    assert_eq!(listed.len(), 4);

    let session_id = root_caller.session_id.unwrap();
    let revoke = Revoke { network_id: root_caller.network_id, session_id };
    assert_eq!(accounts.domain.run(&revoke).await.unwrap(), 3);
    assert_eq!(accounts.domain.take_effects(), [Effect::CredentialsChanged(root_caller.network_id)]);
    for token in [&root, &child, &grandchild, &client] {
        assert!(!accounts.is_alive(token));
    }
    for code in [&code, &child_code] {
        assert_eq!(accounts.login_with_code(&here(), code).await.unwrap(), None);
    }
    assert!(accounts.is_alive(&bystander));
    assert_eq!(accounts.domain.run(&revoke).await.unwrap(), 0);
    assert!(accounts.domain.take_effects().is_empty());
}

#[tokio::test]
async fn sessions_stay_bounded_and_the_least_used_go_first() {
    let accounts = TestAccounts::with(|config| {
        config.auth.verify = crate::config::auth::Verify::Auto;
        config.limits.sessions_per_network = 10;
    });
    let user = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    let client = accounts.client_token(&user, 7).await;
    for _ in 0..600 {
        accounts.advance(Duration::from_secs(3600));
        accounts.login_with_password(&here(), EMAIL, PASSWORD, false).await.unwrap();
        accounts.refresh(&accounts.caller(&client)).await.unwrap();
    }
    let listed = accounts.domain.run(&List { network_id: user.network_id }).await.unwrap();
    assert!(listed.len() < 10 + 200, "{}", listed.len());
    assert!(accounts.is_alive(&client), "a session in use is kept");
}

#[tokio::test]
async fn a_long_chain_of_codes_joins_the_session_it_came_from() {
    let accounts = TestAccounts::auto();
    let mut token = accounts.member(EMAIL, "hilltop-lab").await.by_jwt;
    let root = accounts.caller(&token);
    for _ in 0..40 {
        let code = super::codes::made(&accounts, &accounts.caller(&token), 1.0, 1).await;
        token = accounts.login_with_code(&here(), &code).await.unwrap().unwrap();
    }
    let listed = accounts.domain.run(&session::List { network_id: root.network_id }).await.unwrap();
    assert!(listed.len() <= 17 && listed.iter().all(|(_, session)| session.ancestors.len() <= 16));
    let revoke = Revoke { network_id: root.network_id, session_id: root.session_id.unwrap() };
    accounts.domain.run(&revoke).await.unwrap();
    assert!(!accounts.is_alive(&token));
}

#[tokio::test]
async fn api_keys_act_as_the_user_until_removed() {
    let accounts = TestAccounts::auto();
    let user = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    let create = api_key::Create { network_id: user.network_id, name: "n".repeat(300) };
    let key = accounts.domain.run(&create).await.unwrap().unwrap();
    assert!(key.api_key.len() == 56 && key.api_key.starts_with("urn_") && key.name.len() == 256);
    let caller = accounts.caller(&key.api_key);
    assert_eq!((caller.user_id, caller.network_id, caller.client), (user.user_id, user.network_id, None));
    let client = accounts.client_token(&caller, 7).await;
    assert!(accounts.is_alive(&client), "a client made with it is a client");
    let listed = accounts.domain.run(&api_key::List { network_id: user.network_id }).await.unwrap();
    assert_eq!(listed.len(), 1);
    for id in [RecordId::new([1; 16]), key.id] {
        accounts.domain.run(&api_key::Remove { network_id: user.network_id, id }).await.unwrap();
    }
    assert!(!accounts.is_alive(&key.api_key));
    for _ in 0..api_key::MAX_KEYS {
        accounts.domain.run(&create).await.unwrap().unwrap();
    }
    assert_eq!(accounts.domain.run(&create).await.unwrap(), None);
}

/// The tokens of a server that has just started over the same store, with the keys of the PEM text.
fn restarted(accounts: &TestAccounts, pem: &str) -> Tokens {
    Tokens::new(accounts.domain.service.clone(), accounts.domain.store.clone(), TokenKeys::from_pem(pem).unwrap())
}

fn checked(tokens: &Tokens) -> usize {
    tokens.checked.load(std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test]
async fn a_token_made_here_is_known_without_a_check_of_its_signature() {
    let accounts = TestAccounts::auto();
    let user = accounts.member(EMAIL, "hilltop-lab").await.by_jwt;
    let client = accounts.client_token(&accounts.caller(&user), 7).await;
    assert!(accounts.is_alive(&user) && accounts.is_alive(&client));
    assert_eq!(checked(&accounts.tokens), 0);
    // The last letter of a signature of 64 bytes carries four bits that count, and two that do not.
    let damaged = format!("{}{}", &client[..client.len() - 1], if client.ends_with('A') { 'Q' } else { 'A' });
    assert!(!accounts.is_alive(&damaged));
    assert_eq!(checked(&accounts.tokens), 1);
}

#[tokio::test]
async fn a_restart_knows_the_last_token_of_each_client() {
    let (first_key, second_key) = (&generate_pem(), &generate_pem());
    let accounts = TestAccounts::auto();
    let user = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    let claims = accounts.claims(&accounts.client_token(&user, 7).await);
    let tokens = restarted(&accounts, first_key);
    let (older, last) = (tokens.issue(&claims), tokens.issue(&claims));

    let unsaved = restarted(&accounts, first_key);
    assert_eq!((unsaved.verify_signature(&last), checked(&unsaved)), (Ok(claims.clone()), 1));

    tokens.save().await.unwrap();
    let after = restarted(&accounts, first_key);
    assert_eq!((after.verify_signature(&last), checked(&after)), (Ok(claims.clone()), 0));
    assert_eq!((after.verify_signature(&older), checked(&after)), (Ok(claims.clone()), 1));
    assert_eq!(
        (after.verify_signature(&older), checked(&after)),
        (Ok(claims.clone()), 1),
        "both are known from now on"
    );
    assert_eq!((after.verify_signature(&last), checked(&after)), (Ok(claims.clone()), 1));
    assert!(after.verify_signature(&last[..last.len() - 2]).is_err());

    let with_another_key = restarted(&accounts, &format!("{second_key}{first_key}"));
    assert_eq!((with_another_key.verify_signature(&last), checked(&with_another_key)), (Ok(claims), 1));
    let without_its_key = restarted(&accounts, second_key);
    assert!(without_its_key.verify_signature(&last).is_err(), "who takes a key away wants its tokens refused");
}

#[tokio::test]
async fn nothing_is_kept_of_a_removed_client() {
    let accounts = TestAccounts::auto();
    let user = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    let removed = async || {
        let client_ids = vec![id(7)];
        accounts.domain.run(&RemoveClients { network_id: user.network_id, client_ids }).await.unwrap();
    };
    let rows = || accounts.domain.get(&KNOWN_TOKENS, &id(7)).iter().count();
    accounts.client_token(&user, 7).await;
    accounts.tokens.save().await.unwrap();
    assert_eq!(rows(), 1);
    removed().await;
    assert_eq!(rows(), 0);

    accounts.client_token(&user, 7).await;
    removed().await;
    accounts.tokens.save().await.unwrap();
    assert_eq!(rows(), 0, "removed before it was saved");
}
