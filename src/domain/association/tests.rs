use std::time::Duration;

use super::add::Added;
use super::adopt::{AdoptRequest, ConfirmAdoptOutcome, CreatedAdopt, LIFE};
use super::edit::{NameAssociation, RemoveAssociation};
use super::list::{Associations, ListAssociations};
use super::share::{ConfirmShare, CreateShare, CreateShareOutcome, MAX_OPEN};
use super::*;
use crate::domain::account::delete::DeleteNetwork;
use crate::domain::auth::attempts::{Origin, Surface};
use crate::domain::auth::session::{self, Revoke};
use crate::domain::auth::testing::{HERE, TestAccounts};
use crate::domain::caller::Caller;
use crate::domain::client::{CLIENTS, ClientRecord, NETWORK_CLIENTS, RemoveClients};
use crate::domain::device::DEVICES;
use crate::domain::error::DomainError;
use crate::domain::operation::Operation;
use crate::domain::testing::{client_record, id};

/// Three networks, each with a user; the first has a client.
struct Street {
    accounts: TestAccounts,
    ada: Caller,
    bob: Caller,
    eve: Caller,
}

const CLIENT: u8 = 7;

impl Street {
    async fn new() -> Self {
        let accounts = TestAccounts::auto();
        let ada = accounts.caller(&accounts.member("ada@x.org", "ada-lab").await.by_jwt);
        let bob = accounts.caller(&accounts.member("bob@x.org", "bob-lab").await.by_jwt);
        let eve = accounts.caller(&accounts.member("eve@x.org", "eve-lab").await.by_jwt);
        let record = ClientRecord { network_id: ada.network_id, ..client_record(1) };
        accounts.domain.put(&CLIENTS, &id(CLIENT), &record).await;
        accounts.domain.put(&NETWORK_CLIENTS, &(ada.network_id, id(CLIENT)), &()).await;
        Self { accounts, ada, bob, eve }
    }

    async fn run<O: Operation>(&self, operation: &O) -> O::Output {
        self.accounts.domain.run(operation).await.unwrap()
    }

    async fn share(&self) -> Code {
        let share = CreateShare { caller: self.ada.clone(), client_id: id(CLIENT), device_name: "printer".into() };
        match self.run(&share).await {
            CreateShareOutcome::Created(code) => code,
            other => panic!("{other:?}"),
        }
    }

    async fn adopt(&self) -> CreatedAdopt {
        let request = AdoptRequest { device_name: "camera".into(), device_spec: "arm".into() };
        self.accounts.create_adopt_code(&HERE, &request).await.unwrap()
    }

    async fn add(&self, who: &Caller, code: &Code) -> Result<Added, InvalidCode> {
        self.accounts.add_device(&HERE, who, code).await.unwrap()
    }

    async fn confirm_share(&self, who: &Caller, code: &Code, guest_name: &str) -> Result<(), InvalidCode> {
        let (network_id, code, guest_name) = (who.network_id, code.clone(), guest_name.into());
        self.run(&ConfirmShare { network_id, code, guest_name }).await
    }

    async fn confirm(&self, created: &CreatedAdopt, owner_name: &str) -> ConfirmAdoptOutcome {
        self.accounts.confirm_adopt(&HERE, &created.code, &created.secret, owner_name).await.unwrap()
    }

    async fn list(&self, who: &Caller) -> Associations {
        self.run(&ListAssociations(who.network_id)).await
    }

    async fn remove(&self, who: &Caller, code: &Code) -> Result<(), InvalidCode> {
        self.run(&RemoveAssociation { network_id: who.network_id, code: code.clone() }).await
    }

    /// Whether nothing at all is left of an association.
    fn is_gone(&self, code: &Code) -> bool {
        let domain = &self.accounts.domain;
        let code = code.to_string();
        let networks = [&self.ada, &self.bob, &self.eve].map(|caller| caller.network_id);
        domain.get(&ASSOCIATIONS, &code).is_none()
            && networks.iter().all(|network| domain.get(&NETWORK_ASSOCIATIONS, &(*network, code.clone())).is_none())
            && domain.get(&CLIENT_ASSOCIATIONS, &(id(CLIENT), code.clone())).is_none()
    }
}

#[tokio::test]
async fn a_share_goes_from_the_source_to_one_guest() {
    let street = Street::new().await;
    let code = street.share().await;
    let status = || async { street.accounts.share_status(&HERE, &code).await.unwrap() };
    assert_eq!(status().await, Some(Status { is_pending: true, network_name: None }));
    let outgoing = street.list(&street.ada).await.outgoing;
    assert!(outgoing.len() == 1 && outgoing[0].is_pending && outgoing[0].network_name.is_none());
    assert_eq!(street.add(&street.ada, &code).await, Err(InvalidCode), "the source is no guest");
    let added = street.add(&street.bob, &code).await.unwrap();
    let expected = Added::Share { device_name: "printer".into(), source_name: "ada-lab".into(), client_id: id(CLIENT) };
    assert_eq!(added, expected);
    for late in [&street.bob, &street.eve] {
        assert_eq!(street.add(late, &code).await, Err(InvalidCode));
    }
    assert_eq!(status().await, Some(Status { is_pending: true, network_name: Some("bob-lab".into()) }));
    assert_eq!(street.confirm_share(&street.ada, &code, "eve-lab").await, Err(InvalidCode), "another name");
    assert_eq!(street.confirm_share(&street.bob, &code, "bob-lab").await, Err(InvalidCode), "the guest itself");
    assert_eq!(street.confirm_share(&street.ada, &code, "bob-lab").await, Ok(()));
    assert_eq!(street.confirm_share(&street.ada, &code, "bob-lab").await, Err(InvalidCode), "a second time");
    assert_eq!(status().await, Some(Status { is_pending: false, network_name: Some("bob-lab".into()) }));
    assert!(!street.list(&street.ada).await.outgoing[0].is_pending);
    assert!(!street.list(&street.bob).await.incoming[0].is_pending);
    assert_eq!(street.remove(&street.eve, &code).await, Err(InvalidCode), "a stranger");
    assert_eq!(street.remove(&street.bob, &code).await, Ok(()));
    assert!(street.is_gone(&code));
    assert_eq!(street.add(&street.bob, &code).await, Err(InvalidCode), "the code is dead");
    assert_eq!(street.list(&street.ada).await, Associations::default());
}

#[tokio::test]
async fn the_name_that_a_share_is_confirmed_with_is_the_guests_name_now() {
    use crate::domain::network::RenameKind;
    let street = Street::new().await;
    let code = street.share().await;
    street.add(&street.bob, &code).await.unwrap();
    street.accounts.rename_network(&HERE, &street.bob, "bob-house", RenameKind::Update).await.unwrap();
    assert_eq!(street.confirm_share(&street.ada, &code, "bob-lab").await, Err(InvalidCode));
    assert_eq!(street.confirm_share(&street.ada, &code, "bob-house").await, Ok(()));
}

#[tokio::test]
async fn each_side_of_a_share_has_its_own_name_for_it() {
    let street = Street::new().await;
    let code = street.share().await;
    street.add(&street.bob, &code).await.unwrap();
    let name = |who: &Caller, label: &str| NameAssociation {
        network_id: who.network_id,
        code: code.clone(),
        label: label.into(),
    };
    assert_eq!(street.run(&name(&street.bob, "Ada's printer")).await, Ok(()));
    assert_eq!(street.list(&street.ada).await.outgoing[0].device_name, "printer");
    assert_eq!(street.run(&name(&street.ada, "for Bob")).await, Ok(()));
    assert_eq!(street.list(&street.ada).await.outgoing[0].device_name, "for Bob");
    assert_eq!(street.list(&street.bob).await.incoming[0].device_name, "Ada's printer");
    assert_eq!(street.run(&name(&street.eve, "mine")).await, Err(InvalidCode));
    let long = street.accounts.domain.run(&name(&street.ada, &"x".repeat(257))).await;
    assert!(matches!(long, Err(DomainError::BadRequest(_))));
}

#[tokio::test]
async fn only_own_active_clients_are_shared_and_open_codes_are_bounded() {
    let street = Street::new().await;
    let try_share = |caller: &Caller, client: u8| CreateShare {
        caller: caller.clone(),
        client_id: id(client),
        device_name: String::new(),
    };
    assert_eq!(street.run(&try_share(&street.bob, CLIENT)).await, CreateShareOutcome::InvalidClient);
    assert_eq!(street.run(&try_share(&street.ada, 9)).await, CreateShareOutcome::InvalidClient);
    let mut codes = Vec::new();
    for _ in 0..MAX_OPEN {
        codes.push(street.share().await);
    }
    assert_eq!(street.run(&try_share(&street.ada, CLIENT)).await, CreateShareOutcome::TooMany);
    street.add(&street.bob, &codes[0]).await.unwrap();
    street.share().await;
}

#[tokio::test]
async fn an_adopted_device_becomes_a_client_of_who_added_it() {
    let street = Street::new().await;
    let created = street.adopt().await;
    assert!(created.secret.len() == 256 && created.secret.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let status = || async { street.accounts.adopt_status(&HERE, &created.code).await.unwrap() };
    assert_eq!(status().await, Some(Status { is_pending: true, network_name: None }));
    assert_eq!(street.confirm(&created, "ada-lab").await, ConfirmAdoptOutcome::Invalid, "nobody added it");
    street.accounts.advance(Duration::from_secs(60));
    let added = street.add(&street.ada, &created.code).await.unwrap();
    assert_eq!(added, Added::Adopt { device_name: "camera".into(), minutes_left: 14.0 });
    assert_eq!(street.add(&street.bob, &created.code).await, Err(InvalidCode), "it has an owner");
    assert_eq!(status().await, Some(Status { is_pending: true, network_name: Some("ada-lab".into()) }));
    let listed = street.list(&street.ada).await.adoptions;
    assert_eq!((listed.len(), listed[0].minutes_left), (1, Some(14.0)));
    assert_eq!(street.confirm(&created, "bob-lab").await, ConfirmAdoptOutcome::Invalid, "another name");
    let without = CreatedAdopt { secret: created.code.to_string(), ..created.clone() };
    assert_eq!(street.confirm(&without, "ada-lab").await, ConfirmAdoptOutcome::Invalid, "the code is no secret");

    let ConfirmAdoptOutcome::Adopted { by_client_jwt } = street.confirm(&created, "ada-lab").await else { panic!() };
    let claims = street.accounts.claims(&by_client_jwt);
    assert_eq!((claims.network_id, claims.user_id), (street.ada.network_id, street.ada.user_id));
    assert_eq!(claims.network_name, "ada-lab");
    assert!(street.accounts.is_alive(&by_client_jwt));
    let client_id = claims.client_id.unwrap();
    let client = street.accounts.domain.get(&CLIENTS, &client_id).unwrap();
    assert_eq!((client.description.as_str(), client.is_top_level()), ("camera", true));
    let device = street.accounts.domain.get(&DEVICES, &claims.device_id.unwrap()).unwrap();
    assert_eq!((device.device_name.as_str(), device.device_spec.as_str()), ("camera", "arm"));
    assert_eq!(status().await, Some(Status { is_pending: false, network_name: Some("ada-lab".into()) }));
    assert_eq!(street.list(&street.ada).await.adoptions, []);
    assert_eq!(street.confirm(&created, "ada-lab").await, ConfirmAdoptOutcome::Invalid, "a replay");

    let remove = RemoveClients { network_id: street.ada.network_id, client_ids: vec![client_id] };
    street.run(&remove).await;
    assert!(street.is_gone(&created.code), "the adopt goes with the client it has become");
}

#[tokio::test]
async fn of_two_confirmations_at_once_one_makes_a_client() {
    let street = Street::new().await;
    let created = street.adopt().await;
    street.add(&street.bob, &created.code).await.unwrap();
    let (one, two) = tokio::join!(street.confirm(&created, "bob-lab"), street.confirm(&created, "bob-lab"));
    let won = [&one, &two].into_iter().filter(|outcome| matches!(outcome, ConfirmAdoptOutcome::Adopted { .. }));
    assert_eq!(won.count(), 1, "{one:?} {two:?}");
    assert!([one, two].contains(&ConfirmAdoptOutcome::Invalid));
}

#[tokio::test]
async fn of_two_networks_that_add_a_code_at_once_one_wins() {
    let street = Street::new().await;
    for code in [street.adopt().await.code, street.share().await] {
        let (one, two) = tokio::join!(street.add(&street.bob, &code), street.add(&street.eve, &code));
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    }
}

#[tokio::test]
async fn an_adopt_code_works_until_just_before_its_end() {
    let street = Street::new().await;
    let (early, late) = (street.adopt().await, street.adopt().await);
    street.accounts.advance(LIFE - Duration::from_millis(1));
    street.add(&street.ada, &early.code).await.unwrap();
    street.accounts.advance(Duration::from_millis(1));
    assert_eq!(street.add(&street.ada, &late.code).await, Err(InvalidCode));
    assert_eq!(street.confirm(&early, "ada-lab").await, ConfirmAdoptOutcome::Invalid);
    assert_eq!(street.list(&street.ada).await.adoptions, []);
}

#[tokio::test]
async fn a_device_takes_its_code_back_with_its_secret_only() {
    let street = Street::new().await;
    let created = street.adopt().await;
    street.add(&street.ada, &created.code).await.unwrap();
    let wrong = street.accounts.remove_adopt_code(&HERE, &created.code, "00").await.unwrap();
    assert_eq!(wrong, Err(InvalidCode));
    let right = street.accounts.remove_adopt_code(&HERE, &created.code, &created.secret).await.unwrap();
    assert_eq!(right, Ok(()));
    assert!(street.is_gone(&created.code));
    let adopted = street.adopt().await;
    street.add(&street.ada, &adopted.code).await.unwrap();
    street.confirm(&adopted, "ada-lab").await;
    let late = street.accounts.remove_adopt_code(&HERE, &adopted.code, &adopted.secret).await.unwrap();
    assert_eq!(late, Err(InvalidCode), "confirmed ones stay");
    assert_eq!(street.remove(&street.ada, &adopted.code).await, Ok(()), "the owner may end it");
}

#[tokio::test]
async fn a_device_joins_only_while_the_login_that_added_it_lives() {
    let street = Street::new().await;
    let created = street.adopt().await;
    street.add(&street.ada, &created.code).await.unwrap();
    let revoke = Revoke { network_id: street.ada.network_id, session_id: street.ada.session_id.unwrap() };
    street.run(&revoke).await;
    assert_eq!(street.confirm(&created, "ada-lab").await, ConfirmAdoptOutcome::Invalid);
    assert_eq!(street.run(&session::List { network_id: street.ada.network_id }).await, []);
}

#[tokio::test]
async fn a_full_network_adopts_when_there_is_room_again() {
    let accounts = TestAccounts::with(|config| {
        config.auth.verify = crate::config::auth::Verify::Auto;
        config.limits.clients_per_network = 1;
    });
    let ada = accounts.caller(&accounts.member("ada@x.org", "ada-lab").await.by_jwt);
    let sessions = accounts.domain.run(&session::List { network_id: ada.network_id }).await.unwrap();
    let request = AdoptRequest::default();
    let mut adopted = Vec::new();
    for _ in 0..2 {
        let created = accounts.create_adopt_code(&HERE, &request).await.unwrap();
        accounts.add_device(&HERE, &ada, &created.code).await.unwrap().unwrap();
        adopted.push(created);
    }
    let accounts = &accounts;
    let confirm = |created: &CreatedAdopt| {
        let created = created.clone();
        async move { accounts.confirm_adopt(&HERE, &created.code, &created.secret, "ada-lab").await.unwrap() }
    };
    let ConfirmAdoptOutcome::Adopted { by_client_jwt } = confirm(&adopted[0]).await else { panic!() };
    assert_eq!(confirm(&adopted[1]).await, ConfirmAdoptOutcome::LimitExceeded);
    let now = accounts.domain.run(&session::List { network_id: ada.network_id }).await.unwrap();
    assert_eq!(now.len(), sessions.len() + 1, "a refusal leaves no session behind");
    let client_ids = vec![accounts.claims(&by_client_jwt).client_id.unwrap()];
    accounts.domain.run(&RemoveClients { network_id: ada.network_id, client_ids }).await.unwrap();
    assert!(matches!(confirm(&adopted[1]).await, ConfirmAdoptOutcome::Adopted { .. }));
}

#[tokio::test]
async fn a_tenth_try_in_half_an_hour_is_refused_like_a_wrong_code() {
    let street = Street::new().await;
    let code = street.share().await;
    for guess in 0..9 {
        let wrong = Code::parse(&format!("guess {guess}")).unwrap();
        assert_eq!(street.add(&street.bob, &wrong).await, Err(InvalidCode));
    }
    assert_eq!(street.add(&street.bob, &code).await, Err(InvalidCode));
    street.add(&street.eve, &street.share().await).await.expect("others are not held up");
    street.accounts.advance(Duration::from_secs(1800));
    street.add(&street.bob, &code).await.expect("half an hour later it works");
}

#[tokio::test]
async fn who_guesses_codes_or_secrets_is_stopped_by_address() {
    let street = Street::new().await;
    let created = street.adopt().await;
    street.add(&street.ada, &created.code).await.unwrap();
    let accounts = &street.accounts;
    let wrong = Code::parse("no such code").unwrap();
    for _ in 0..10 {
        assert_eq!(accounts.adopt_status(&HERE, &wrong).await.unwrap(), None);
        assert_eq!(accounts.share_status(&HERE, &wrong).await.unwrap(), None);
        let outcome = accounts.confirm_adopt(&HERE, &created.code, "00", "ada-lab").await.unwrap();
        assert_eq!(outcome, ConfirmAdoptOutcome::Invalid);
    }
    fn is_stopped<T>(answer: Result<T, DomainError>) -> bool {
        matches!(answer, Err(DomainError::TooMany { .. }))
    }
    assert!(is_stopped(accounts.confirm_adopt(&HERE, &created.code, &created.secret, "ada-lab").await));
    assert!(is_stopped(accounts.remove_adopt_code(&HERE, &created.code, &created.secret).await));
    assert!(is_stopped(accounts.adopt_status(&HERE, &created.code).await));
    let elsewhere = Origin { surface: Surface::Api, address: [198, 51, 100, 1].into() };
    let outcome = accounts.confirm_adopt(&elsewhere, &created.code, &created.secret, "ada-lab").await.unwrap();
    assert!(matches!(outcome, ConfirmAdoptOutcome::Adopted { .. }), "the device itself is elsewhere");
}

#[tokio::test]
async fn a_device_may_ask_for_its_status_as_often_as_it_likes() {
    let street = Street::new().await;
    let created = street.adopt().await;
    for _ in 0..100 {
        street.accounts.adopt_status(&HERE, &created.code).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn twenty_adopt_codes_in_ten_minutes_from_one_address() {
    let street = Street::new().await;
    for _ in 0..20 {
        street.adopt().await;
    }
    let more = street.accounts.create_adopt_code(&HERE, &AdoptRequest::default()).await;
    assert!(matches!(more, Err(DomainError::TooMany { .. })));
    street.accounts.advance(Duration::from_secs(600));
    street.adopt().await;
}

#[tokio::test]
async fn an_adopt_code_is_forgotten_a_day_after_its_end_unless_confirmed() {
    let street = Street::new().await;
    let (open, added, confirmed) = (street.adopt().await, street.adopt().await, street.adopt().await);
    for created in [&added, &confirmed] {
        street.add(&street.ada, &created.code).await.unwrap();
    }
    street.confirm(&confirmed, "ada-lab").await;
    let service = &street.accounts.domain.service;
    street.accounts.advance(LIFE + Duration::from_secs(86_400 - 1));
    assert_eq!(expiry::run(service).await.unwrap(), 0);
    let status = street.accounts.adopt_status(&HERE, &open.code).await.unwrap();
    assert!(status.is_some_and(|status| status.is_pending), "until then it reports as pending");
    street.accounts.advance(Duration::from_secs(3600));
    assert_eq!(expiry::run(service).await.unwrap(), 2);
    assert!(street.is_gone(&open.code) && street.is_gone(&added.code));
    assert_eq!(street.accounts.adopt_status(&HERE, &open.code).await.unwrap(), None);
    assert!(street.accounts.adopt_status(&HERE, &confirmed.code).await.unwrap().is_some());
    assert_eq!(expiry::run(service).await.unwrap(), 0);
}

#[tokio::test]
async fn associations_go_with_either_network_and_with_the_client() {
    let street = Street::new().await;
    let (by_guest, by_client, by_source) = (street.share().await, street.share().await, street.share().await);
    let adopt = street.adopt().await.code;
    street.add(&street.bob, &by_guest).await.unwrap();
    street.add(&street.eve, &by_source).await.unwrap();
    street.add(&street.bob, &adopt).await.unwrap();
    street.run(&DeleteNetwork { network_id: street.bob.network_id }).await;
    assert!(street.is_gone(&by_guest) && street.is_gone(&adopt));
    assert!(!street.is_gone(&by_client));
    street.run(&RemoveClients { network_id: street.ada.network_id, client_ids: vec![id(CLIENT)] }).await;
    assert!(street.is_gone(&by_client) && street.is_gone(&by_source));
    assert_eq!(street.list(&street.eve).await, Associations::default());
    let late = street.accounts.add_device(&HERE, &street.bob, &by_source).await;
    assert!(matches!(late, Err(DomainError::Unauthorized)), "a network that is no more adds nothing");
}
