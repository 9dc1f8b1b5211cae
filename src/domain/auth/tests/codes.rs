use std::time::Duration;

use crate::domain::auth::auth_code::{AUTH_CODES, AuthCodeOutcome, AuthCodeRequest, NETWORK_AUTH_CODES};
use crate::domain::auth::role::WantedIdentity;
use crate::domain::auth::testing::*;
use crate::domain::caller::Caller;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::NetworkId;

pub(super) async fn made(accounts: &TestAccounts, caller: &Caller, duration_minutes: f64, uses: i64) -> String {
    let request = AuthCodeRequest { duration_minutes, uses, ..AuthCodeRequest::default() };
    match accounts.create_auth_code(caller, &request).await.unwrap() {
        AuthCodeOutcome::Created { auth_code, .. } => auth_code,
        other => panic!("not created: {other:?}"),
    }
}

/// How many codes a network has stored, counted in both tables.
struct Stored(NetworkId);

impl Operation for Stored {
    type Output = usize;
    fn apply(&self, tx: &mut Tx<'_>) -> Result<usize, DomainError> {
        let listed = tx.scan(&NETWORK_AUTH_CODES, &self.0)?;
        for ((_, code), _) in &listed {
            assert!(tx.get(&AUTH_CODES, code)?.is_some());
        }
        Ok(listed.len())
    }
}

#[tokio::test]
async fn values_out_of_range_are_moved_into_it_and_echoed() {
    let accounts = TestAccounts::auto();
    let caller = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    for (duration, uses, effective_duration, effective_uses) in [
        (0.0, 0, 1.0, 1),
        (-5.0, -1, 1.0, 1),
        (99_999.0, 101, 1440.0, 100),
        (2.5, 100, 2.5, 100),
        (f64::NAN, i64::MAX, 1.0, 100),
    ] {
        let request = AuthCodeRequest { duration_minutes: duration, uses, ..AuthCodeRequest::default() };
        let outcome = accounts.create_auth_code(&caller, &request).await.unwrap();
        let AuthCodeOutcome::Created { auth_code, duration_minutes, uses } = outcome else { panic!("{outcome:?}") };
        assert_eq!((duration_minutes, uses), (effective_duration, effective_uses));
        assert!(auth_code.len() == 43 && !auth_code.contains('='));
    }
}

#[tokio::test]
async fn a_code_gives_its_uses_and_no_more_with_the_lineage_of_its_maker() {
    let accounts = TestAccounts::auto();
    let maker = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    accounts.advance(Duration::from_secs(3600));
    let code = made(&accounts, &maker, 10.0, 2).await;
    accounts.advance(Duration::from_secs(60));
    let first = accounts.login_with_code(&here(), &format!(" {code}\n")).await.unwrap().unwrap();
    let claims = accounts.claims(&first);
    assert_eq!(claims.create_time, maker.create_time);
    assert_ne!(claims.session_id, maker.session_id, "a session of its own");
    assert_eq!(claims.iat, Some(accounts.domain.clock.now().as_secs()));
    let second = accounts.login_with_code(&here(), &code).await.unwrap().unwrap();
    assert_eq!(accounts.login_with_code(&here(), &code).await.unwrap(), None);
    assert!(accounts.is_alive(&first) && accounts.is_alive(&second), "tokens outlive the code");
    assert_eq!(accounts.domain.run(&Stored(maker.network_id)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_code_for_one_login_gives_one_however_many_ask_at_once() {
    let accounts = TestAccounts::auto();
    let maker = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    let code = made(&accounts, &maker, 10.0, 1).await;
    let origin = here();
    let logins = futures_util::future::join_all((0..8).map(|_| accounts.login_with_code(&origin, &code))).await;
    assert_eq!(logins.into_iter().filter(|login| matches!(login, Ok(Some(_)))).count(), 1);
}

#[tokio::test]
async fn expired_codes_log_nobody_in() {
    let accounts = TestAccounts::auto();
    let maker = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    let code = made(&accounts, &maker, 1.0, 5).await;
    accounts.advance(Duration::from_millis(59_999));
    assert!(accounts.login_with_code(&here(), &code).await.unwrap().is_some());
    accounts.advance(Duration::from_millis(1));
    assert_eq!(accounts.login_with_code(&here(), &code).await.unwrap(), None);
}

#[tokio::test]
async fn the_next_live_code_above_the_limit_is_refused_and_expired_ones_do_not_count() {
    let accounts = TestAccounts::with(|config| {
        config.auth.verify = crate::config::auth::Verify::Auto;
        config.limits.auth_codes_per_network = 3;
    });
    let maker = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    for _ in 0..3 {
        made(&accounts, &maker, 1.0, 1).await;
    }
    let refused = accounts.create_auth_code(&maker, &AuthCodeRequest::default()).await.unwrap();
    assert_eq!(refused, AuthCodeOutcome::LimitExceeded("Auth code limit exceeded."));
    accounts.advance(Duration::from_secs(60));
    made(&accounts, &maker, 1.0, 1).await;
    assert_eq!(accounts.domain.run(&Stored(maker.network_id)).await.unwrap(), 1, "expired ones are swept");
}

#[tokio::test]
async fn a_client_token_makes_no_code_unless_the_setting_says_so() {
    let accounts = TestAccounts::auto();
    let user = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    let client = accounts.caller(&accounts.client_token(&user, 7).await);
    let refused = accounts.create_auth_code(&client, &AuthCodeRequest::default()).await.unwrap();
    assert_eq!(refused, AuthCodeOutcome::LimitExceeded("A client JWT cannot create an auth code."));

    let accounts = TestAccounts::with(|config| {
        config.auth.verify = crate::config::auth::Verify::Auto;
        config.auth.code_from_client_token = true;
    });
    let user = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    let client = accounts.caller(&accounts.client_token(&user, 7).await);
    let code = made(&accounts, &client, 1.0, 1).await;
    let token = accounts.login_with_code(&here(), &code).await.unwrap().unwrap();
    assert_eq!(accounts.claims(&token).client_id, None, "it logs in as the user");
}

#[tokio::test]
async fn roles_and_principal_are_set_by_users_and_inherited_by_what_comes_of_them() {
    let accounts = TestAccounts::auto();
    let user = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    let identity = WantedIdentity { roles: vec!["ops".into()], principal: "svc-a".into() };
    let request = AuthCodeRequest { uses: 1, identity, ..AuthCodeRequest::default() };
    let AuthCodeOutcome::Created { auth_code, .. } = accounts.create_auth_code(&user, &request).await.unwrap() else {
        panic!()
    };
    let token = accounts.login_with_code(&here(), &auth_code).await.unwrap().unwrap();
    let child = accounts.caller(&token);
    assert_eq!((child.roles.as_slice(), child.principal.as_str()), (["ops".to_owned()].as_slice(), "svc-a"));
    let code = made(&accounts, &child, 1.0, 1).await;
    let grandchild = accounts.claims(&accounts.login_with_code(&here(), &code).await.unwrap().unwrap());
    assert_eq!((grandchild.roles, grandchild.principal), (child.roles, child.principal));

    let too_much = [
        WantedIdentity { roles: vec!["r".into(); 33], ..WantedIdentity::default() },
        WantedIdentity { roles: vec![String::new()], ..WantedIdentity::default() },
        WantedIdentity { roles: vec!["r".repeat(129)], ..WantedIdentity::default() },
        WantedIdentity { principal: "p".repeat(257), ..WantedIdentity::default() },
    ];
    for identity in too_much {
        let request = AuthCodeRequest { identity, ..AuthCodeRequest::default() };
        let outcome = accounts.create_auth_code(&user, &request).await.unwrap();
        assert!(matches!(outcome, AuthCodeOutcome::Refused(_)), "{outcome:?}");
    }
}

#[tokio::test]
async fn guessing_codes_is_limited_by_address() {
    let accounts = TestAccounts::auto();
    let maker = accounts.caller(&accounts.member(EMAIL, "hilltop-lab").await.by_jwt);
    let code = made(&accounts, &maker, 10.0, 100).await;
    for _ in 0..29 {
        assert_eq!(accounts.login_with_code(&here(), "guess").await.unwrap(), None);
    }
    for _ in 0..50 {
        assert!(accounts.login_with_code(&here(), &code).await.unwrap().is_some(), "right ones do not count");
    }
    assert_eq!(accounts.login_with_code(&here(), "guess").await.unwrap(), None);
    assert!(is_too_many(accounts.login_with_code(&here(), &code).await));
    assert!(accounts.login_with_code(&from("198.51.100.7"), &code).await.unwrap().is_some());
}
