use std::time::Duration;

use super::device::{APP_DEVICES, ListAppDevices};
use super::login::{SignIn, SignInOutcome};
use super::token::{FindBearer, SignOut};
use crate::domain::auth::login::PasswordOwner;
use crate::domain::auth::session::{List, Revoke};
use crate::domain::auth::testing::{EMAIL, HERE, PASSWORD, TestAccounts};
use crate::domain::auth::user_auth::UserAuth;
use crate::domain::client::RemoveClients;
use crate::domain::effect::Effect;
use crate::domain::error::DomainError;

/// Ada, who has an account.
struct Ada {
    accounts: TestAccounts,
    owner: PasswordOwner,
}

impl Ada {
    async fn new() -> Self {
        let accounts = TestAccounts::auto();
        accounts.member(EMAIL, "hilltop-lab").await;
        let email = UserAuth::parse(EMAIL).unwrap();
        let owner = accounts.check_password(&HERE, &email, PASSWORD).await.unwrap().unwrap();
        Self { accounts, owner }
    }

    async fn sign_in(&self, app_name: &str) -> (String, u32) {
        match self.accounts.domain.run(&SignIn { owner: &self.owner, app_name, name: "" }).await.unwrap() {
            SignInOutcome::SignedIn { token, number } => (token, number),
            other => panic!("{other:?}"),
        }
    }

    fn is_good(&self, token: &str) -> bool {
        match self.accounts.domain.service.read(&FindBearer { token }) {
            Ok(_) => true,
            Err(DomainError::Unauthorized) => false,
            Err(other) => panic!("another error: {other}"),
        }
    }

    async fn session_count(&self) -> usize {
        self.accounts.domain.run(&List { network_id: self.owner.network_id }).await.unwrap().len()
    }
}

#[tokio::test]
async fn the_store_holds_no_token() {
    let ada = Ada::new().await;
    let (token, number) = ada.sign_in("phone").await;
    assert!(ada.is_good(&token));
    let stored = serde_json::to_string(&ada.accounts.domain.get(&APP_DEVICES, &number).unwrap()).unwrap();
    assert!(!stored.contains(token.trim_start_matches("app_")));
}

#[tokio::test]
async fn signing_in_again_goes_on_with_the_session_and_retires_the_token() {
    let ada = Ada::new().await;
    let (first, number) = ada.sign_in("phone").await;
    let sessions = ada.session_count().await;
    let (second, again) = ada.sign_in("phone").await;
    assert_eq!((again, ada.session_count().await), (number, sessions));
    assert!(!ada.is_good(&first) && ada.is_good(&second));
    assert_eq!(ada.accounts.domain.take_effects(), [], "what it was given stays good");
}

#[tokio::test]
async fn signing_out_ends_the_session_and_cuts_the_device_alone() {
    let ada = Ada::new().await;
    let ((phone, number), (tablet, _)) = (ada.sign_in("phone").await, ada.sign_in("tablet").await);
    let sessions = ada.session_count().await;
    let client_id = ada.accounts.domain.get(&APP_DEVICES, &number).unwrap().client_id;
    let sign_out = SignOut { user_id: ada.owner.user_id, number };
    assert!(ada.accounts.domain.run(&sign_out).await.unwrap());
    assert_eq!(ada.accounts.domain.take_effects(), [Effect::ProofEnded(client_id)]);
    assert!(!ada.is_good(&phone) && ada.is_good(&tablet));
    assert_eq!(ada.session_count().await, sessions - 1);
    assert!(!ada.accounts.domain.run(&sign_out).await.unwrap(), "once only");
    let (phone, again) = ada.sign_in("phone").await;
    assert!(again == number && ada.is_good(&phone));
}

#[tokio::test]
async fn others_cannot_sign_a_device_out() {
    let ada = Ada::new().await;
    let (phone, number) = ada.sign_in("phone").await;
    let stranger = SignOut { user_id: crate::domain::testing::id(9), number };
    assert!(!ada.accounts.domain.run(&stranger).await.unwrap());
    assert!(ada.is_good(&phone));
}

#[tokio::test]
async fn a_revoked_session_takes_the_token_with_it() {
    let ada = Ada::new().await;
    let (phone, number) = ada.sign_in("phone").await;
    let session_id = ada.accounts.domain.get(&APP_DEVICES, &number).unwrap().login.unwrap().session_id;
    ada.accounts.domain.run(&Revoke { network_id: ada.owner.network_id, session_id }).await.unwrap();
    assert!(!ada.is_good(&phone));
    let (phone, _) = ada.sign_in("phone").await;
    assert!(ada.is_good(&phone), "a sign-in begins another session");
}

#[tokio::test]
async fn a_removed_client_takes_its_device_with_it_and_numbers_do_not_come_back() {
    let ada = Ada::new().await;
    let ((phone, first), (tablet, second)) = (ada.sign_in("phone").await, ada.sign_in("tablet").await);
    let client_id = ada.accounts.domain.get(&APP_DEVICES, &second).unwrap().client_id;
    let remove = RemoveClients { network_id: ada.owner.network_id, client_ids: vec![client_id] };
    ada.accounts.domain.run(&remove).await.unwrap();
    assert!(ada.is_good(&phone) && !ada.is_good(&tablet));
    let listed = ada.accounts.domain.run(&ListAppDevices { user_id: ada.owner.user_id }).await.unwrap();
    assert_eq!(listed.iter().map(|device| device.number).collect::<Vec<_>>(), [first]);
    let (_, third) = ada.sign_in("tablet").await;
    assert!(third > second);
}

#[tokio::test]
async fn a_password_that_changed_meanwhile_signs_nobody_in() {
    let ada = Ada::new().await;
    let email = UserAuth::parse(EMAIL).unwrap();
    let other = TestAccounts::auto();
    other.member(EMAIL, "hilltop-lab").await;
    let mut stale = other.check_password(&HERE, &email, PASSWORD).await.unwrap().unwrap();
    (stale.user_id, stale.network_id) = (ada.owner.user_id, ada.owner.network_id);
    let outcome = ada.accounts.domain.run(&SignIn { owner: &stale, app_name: "phone", name: "" }).await.unwrap();
    assert_eq!(outcome, SignInOutcome::Changed);
}

#[tokio::test]
async fn a_device_gets_the_name_that_people_read_and_else_that_of_the_app() {
    let ada = Ada::new().await;
    ada.sign_in("uuid-1").await;
    let named = SignIn { owner: &ada.owner, app_name: "uuid-2", name: "iPhone 12" };
    ada.accounts.domain.run(&named).await.unwrap();
    ada.accounts.advance(Duration::from_secs(1));
    let listed = ada.accounts.domain.run(&ListAppDevices { user_id: ada.owner.user_id }).await.unwrap();
    assert_eq!(listed.iter().map(|device| device.name.as_str()).collect::<Vec<_>>(), ["uuid-1", "iPhone 12"]);
}
