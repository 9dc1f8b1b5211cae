use super::*;
use crate::config::Config;
use crate::domain::auth::method::{self, MethodKind, MethodRecord};
use crate::domain::caller::CallerClient;
use crate::domain::operation::{Operation, Tx};
use crate::domain::testing::{TestDomain, id};
use crate::ids::{SessionId, UserId};

fn user() -> Caller {
    Caller {
        network_id: id(1),
        user_id: id::<UserId>(2),
        client: None,
        create_time: Timestamp::ZERO,
        session_id: Some(id::<SessionId>(3)),
        roles: vec!["inherited".into()],
        principal: "from the token".into(),
    }
}

fn client_caller(client_id: ClientId, device_id: DeviceId) -> Caller {
    Caller { client: Some(CallerClient { client_id, device_id }), ..user() }
}

fn request(caller: Caller) -> AuthClient {
    AuthClient {
        caller,
        client_id: None,
        source_client_id: None,
        description: "attic box".into(),
        device_spec: "linux".into(),
        identity: WantedIdentity::default(),
    }
}

fn identity(roles: Vec<String>, principal: &str) -> WantedIdentity {
    WantedIdentity { roles, principal: principal.into() }
}

struct PutMethod(MethodRecord);

impl Operation for PutMethod {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        method::put(tx, &id(2), &self.0)
    }
}

/// Gives the user a sign-in method.
async fn with_method(domain: &TestDomain) {
    let method = MethodRecord {
        kind: MethodKind::Solana,
        identity: "wallet".into(),
        password: None,
        verified: true,
        create_time: Timestamp::ZERO,
    };
    domain.run(&PutMethod(method)).await.unwrap();
}

async fn authorize(domain: &TestDomain, request: AuthClient) -> (ClientId, ClientRecord) {
    match domain.run(&request).await.unwrap() {
        AuthClientOutcome::Authorized(client_id, client) => (client_id, *client),
        other => panic!("{other:?}"),
    }
}

async fn remove(domain: &TestDomain, client_ids: Vec<ClientId>) -> usize {
    domain.run(&RemoveClients { network_id: id(1), client_ids }).await.unwrap()
}

async fn list(domain: &TestDomain, connected: Vec<ClientId>, max_count: usize) -> Vec<ClientId> {
    let listed = domain.service.read(&ListClients { network_id: id(1), connected, max_count }).unwrap();
    listed.into_iter().map(|listed| listed.client_id).collect()
}

fn with_limits(clients: usize, derived: usize) -> TestDomain {
    let mut config = Config::default();
    config.limits.clients_per_network = clients;
    config.limits.derived_per_client = derived;
    TestDomain::with_config(config)
}

#[tokio::test]
async fn a_user_token_makes_a_top_level_client_with_a_named_device() {
    let domain = TestDomain::new();
    let (client_id, client) = authorize(&domain, request(user())).await;
    assert!(client.is_top_level() && client.active);
    assert_eq!((client.create_time, client.auth_time), (domain.clock.now(), domain.clock.now()));
    assert_eq!((client.roles, client.principal), (vec!["inherited".to_owned()], "from the token".to_owned()));
    let device = domain.get(&DEVICES, &client.device_id).unwrap();
    assert_eq!((device.device_name.as_str(), device.device_spec.as_str()), ("attic box", "linux"));
    assert_eq!(list(&domain, vec![], 10).await, [client_id]);
}

#[tokio::test]
async fn a_derived_client_shares_the_device_of_the_top_level_client() {
    let domain = TestDomain::new();
    let (source_id, source) = authorize(&domain, request(user())).await;
    let named = AuthClient { source_client_id: Some(source_id), ..request(user()) };
    let (first_id, first) = authorize(&domain, named).await;
    assert_eq!((first.source_client_id, first.device_id), (Some(source_id), source.device_id));
    // Derived from a derived one, and without naming a source: always the same ancestor.
    let chained = AuthClient { source_client_id: Some(first_id), ..request(user()) };
    assert_eq!(authorize(&domain, chained).await.1.source_client_id, Some(source_id));
    let inferred = request(client_caller(first_id, source.device_id));
    assert_eq!(authorize(&domain, inferred).await.1.source_client_id, Some(source_id));
}

#[tokio::test]
async fn an_existing_client_keeps_its_identity_and_its_device_name() {
    let domain = TestDomain::new();
    with_method(&domain).await;
    let new = AuthClient { identity: identity(vec!["ops".into()], ""), ..request(user()) };
    let (client_id, client) = authorize(&domain, new).await;
    domain.take_effects();
    domain.clock.advance(std::time::Duration::from_secs(60));
    let again = AuthClient { client_id: Some(client_id), ..request(user()) };
    let again = AuthClient { description: "renamed".into(), device_spec: "linux 2".into(), ..again };
    let (_, renewed) = authorize(&domain, again.clone()).await;
    assert_eq!(renewed.roles, ["ops"]);
    assert_eq!(renewed.description, "renamed");
    assert_eq!((renewed.create_time, renewed.auth_time), (client.create_time, domain.clock.now()));
    let device = domain.get(&DEVICES, &client.device_id).unwrap();
    assert_eq!((device.device_name.as_str(), device.device_spec.as_str()), ("attic box", "linux 2"));
    assert_eq!(domain.take_effects(), [Effect::ClientChanged(id(1), client_id)]);
    let with_roles = AuthClient { identity: identity(vec!["x".into()], ""), ..again };
    assert!(matches!(domain.run(&with_roles).await.unwrap(), AuthClientOutcome::Refused(_)));
}

#[tokio::test]
async fn foreign_removed_and_unknown_clients_do_not_exist() {
    let domain = TestDomain::new();
    let (removed_id, _) = authorize(&domain, request(user())).await;
    remove(&domain, vec![removed_id]).await;
    let stranger = Caller { network_id: id(8), ..user() };
    let (foreign_id, _) = authorize(&domain, request(stranger)).await;
    for named in [removed_id, foreign_id, id(200)] {
        let existing = AuthClient { client_id: Some(named), ..request(user()) };
        let derived = AuthClient { source_client_id: Some(named), ..request(user()) };
        for request in [existing, derived] {
            assert_eq!(domain.run(&request).await.unwrap(), UNKNOWN_CLIENT);
        }
    }
}

#[tokio::test]
async fn roles_and_principal_have_bounds_and_need_a_user_token() {
    let domain = TestDomain::new();
    let (client_id, client) = authorize(&domain, request(user())).await;
    let named = |caller, identity| AuthClient { identity, ..request(caller) };
    let without_method = named(user(), identity(vec!["r".into()], ""));
    assert!(matches!(domain.run(&without_method).await.unwrap(), AuthClientOutcome::Refused(_)));
    with_method(&domain).await;
    let refused = [
        named(user(), identity(vec!["r".into(); 33], "")),
        named(user(), identity(vec![String::new()], "")),
        named(user(), identity(vec!["r".repeat(129)], "")),
        named(user(), identity(Vec::new(), &"p".repeat(257))),
        named(client_caller(client_id, client.device_id), identity(Vec::new(), "p")),
    ];
    for request in refused {
        let AuthClientOutcome::Refused(text) = domain.run(&request).await.unwrap() else { panic!("{request:?}") };
        // Apps look for these in the text and would drop their credentials or slow down.
        for word in ["auth", "forbidden", "401", "403", "429", "rate limit", "too many requests"] {
            assert!(!text.to_lowercase().contains(word), "{text}");
        }
    }
    authorize(&domain, named(user(), identity(vec!["r".repeat(128); 32], &"p".repeat(256)))).await;
}

#[tokio::test]
async fn top_level_and_derived_clients_have_limits_of_their_own() {
    let domain = with_limits(2, 1);
    let (first, _) = authorize(&domain, request(user())).await;
    authorize(&domain, AuthClient { source_client_id: Some(first), ..request(user()) }).await;
    let (second, _) = authorize(&domain, request(user())).await;
    assert_eq!(domain.run(&request(user())).await.unwrap(), AuthClientOutcome::LimitExceeded);
    let derived = AuthClient { source_client_id: Some(first), ..request(user()) };
    assert_eq!(domain.run(&derived).await.unwrap(), AuthClientOutcome::LimitExceeded);
    remove(&domain, vec![second]).await;
    authorize(&domain, request(user())).await;
}

#[tokio::test]
async fn a_limit_of_zero_is_none() {
    let domain = with_limits(0, 0);
    let (first, _) = authorize(&domain, request(user())).await;
    authorize(&domain, AuthClient { source_client_id: Some(first), ..request(user()) }).await;
    authorize(&domain, request(user())).await;
}

#[tokio::test]
async fn removing_a_top_level_client_removes_what_is_derived_from_it() {
    let domain = TestDomain::new();
    let (client_id, client) = authorize(&domain, request(user())).await;
    let derived = AuthClient { source_client_id: Some(client_id), ..request(user()) };
    let (derived_id, _) = authorize(&domain, derived).await;
    let (other_id, _) = authorize(&domain, request(user())).await;
    let key = client_key::PublishClientKey { client_id, public_key: vec![1; 32].into() };
    domain.run(&key).await.unwrap();
    domain.take_effects();

    assert_eq!(remove(&domain, vec![client_id]).await, 1);
    let mut effects = domain.take_effects();
    effects.sort_by_key(|effect| *effect != Effect::ClientRemoved(client_id));
    assert_eq!(effects, [Effect::ClientRemoved(client_id), Effect::ClientRemoved(derived_id)]);
    let tombstone = domain.get(&CLIENTS, &client_id).unwrap();
    assert_eq!((tombstone.active, tombstone.deactivate_time), (false, Some(domain.clock.now())));
    assert_eq!(domain.get(&client_key::CLIENT_KEYS, &client_id), None);
    assert_eq!(domain.get(&DEVICES, &client.device_id), None);
    assert_eq!(list(&domain, vec![], 10).await, [other_id]);
    assert_eq!(remove(&domain, vec![client_id]).await, 1, "again is no error");
    assert!(domain.take_effects().is_empty());
}

#[tokio::test]
async fn clients_of_other_networks_are_not_removed() {
    let domain = TestDomain::new();
    let (client_id, _) = authorize(&domain, request(Caller { network_id: id(8), ..user() })).await;
    assert_eq!(remove(&domain, vec![client_id, id(77)]).await, 0);
    assert!(domain.get(&CLIENTS, &client_id).unwrap().active);
}

#[tokio::test]
async fn a_list_shows_connected_clients_first_and_is_cut() {
    let domain = TestDomain::new();
    let (first, _) = authorize(&domain, request(user())).await;
    let (second, _) = authorize(&domain, request(user())).await;
    let (derived, _) = authorize(&domain, AuthClient { source_client_id: Some(first), ..request(user()) }).await;
    let (connected, _) = authorize(&domain, AuthClient { source_client_id: Some(first), ..request(user()) }).await;
    let all = [connected, first, second, derived];
    assert_eq!(list(&domain, vec![connected], 10).await, all);
    assert_eq!(list(&domain, vec![connected], 3).await, all[..3]);
    assert_eq!(list(&domain, vec![id(99)], 10).await.len(), 4, "a connected client of unknown record is left out");
}
