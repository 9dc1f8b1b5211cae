//! Contracts and balances through the ledger's front door.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::*;
use crate::config::contracts::HmacForm;
use crate::domain::contract::CloseError;
use crate::domain::contract::list::ContractQuery;
use crate::domain::contract::record::Outcome;
use crate::store::cache::RowCache;
use crate::store::{Commit, CommitFuture, Committed, Key, Row, StoreError};
use crate::wire::contract_signature;

#[tokio::test]
async fn a_paid_contract_moves_what_was_used_from_payer_to_provider() {
    let world = World::new(100 * MIB).await;
    let made = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    let contract = &made.contract;
    assert_eq!(contract.provide_mode, i32::from(ProvideMode::Public));
    let secret = secret(PROVIDER, ProvideMode::Public);
    let (bytes, hmac) = (&contract.stored_contract_bytes, &contract.stored_contract_hmac);
    assert!(contract_signature::verify(HmacForm::Standard, &secret, bytes, hmac));
    assert_eq!(made.stored.transfer_byte_count, MIB as u64);
    let view = world.ledger.balance(network(CONSUMER)).await.unwrap();
    assert_eq!((view.start_bytes, view.available_bytes, view.open_bytes), (100 * MIB, 99 * MIB, MIB));
    world.close(CONSUMER, made.id, 1000).await;
    world.close(PROVIDER, made.id, 1003).await;
    let view = world.ledger.balance(network(CONSUMER)).await.unwrap();
    assert_eq!((view.available_bytes, view.open_bytes, view.used_bytes), (100 * MIB - 1001, 0, 1001));
    assert_eq!(world.provided(PROVIDER).await, 1001);
    let again = world.ledger.close(id(PROVIDER), &close(made.id, 5, false)).await;
    assert_eq!(again, Err(CloseError::AlreadyClosed(made.id, Outcome::Settled)));
}

#[tokio::test]
async fn a_contract_within_a_network_is_free_and_carries_identity() {
    let world = World::new(0).await;
    let mut record = client_record(network_of(CONSUMER));
    record.roles = vec!["ops".into()];
    record.principal = "svc-a".into();
    world.domain.put(&CLIENTS, &id(CONSUMER), &record).await;
    for companion in [false, true] {
        let made = world.create(CONSUMER, SIBLING, companion).await.unwrap();
        assert_eq!(made.contract.provide_mode, i32::from(ProvideMode::Network));
        assert_eq!(made.stored.priority, Some(200));
        assert_eq!((made.stored.roles, made.stored.principal), (vec!["ops".into()], "svc-a".into()));
        for party in [CONSUMER, SIBLING] {
            world.close(party, made.id, MIB).await;
        }
    }
    let view = world.ledger.balance(network(CONSUMER)).await.unwrap();
    assert_eq!((view.available_bytes, view.used_bytes, view.provided_bytes), (0, 0, 0));
}

#[tokio::test]
async fn strangers_do_not_see_who_the_source_is() {
    let world = World::new(100 * MIB).await;
    let mut record = client_record(network_of(CONSUMER));
    record.roles = vec!["ops".into()];
    record.principal = "svc-a".into();
    world.domain.put(&CLIENTS, &id(CONSUMER), &record).await;
    let made = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    assert!(made.stored.roles.is_empty() && made.stored.principal.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_relationship_and_the_modes_decide_who_may_ask() {
    let world = World::new(100 * MIB).await;
    let cases = [
        (CONSUMER, SIBLING, &[ProvideMode::Public][..], false, Err(ContractError::NoPermission)),
        (CONSUMER, SIBLING, &[ProvideMode::Network], true, Ok(ProvideMode::Network)),
        (CONSUMER, PROVIDER, &[ProvideMode::Network], false, Err(ContractError::NoPermission)),
        (CONSUMER, PROVIDER, &[ProvideMode::Network], true, Err(ContractError::NoPermission)),
        (CONSUMER, PROVIDER, &[ProvideMode::Public], true, Err(ContractError::NoPermission)),
        (CONSUMER, PROVIDER, &[ProvideMode::Public], false, Ok(ProvideMode::Public)),
        (CONSUMER, PROVIDER, &[], false, Err(ContractError::NoPermission)),
    ];
    for (source, destination, modes, companion, expected) in cases {
        world.provide(destination, modes).await;
        let result = world.create(source, destination, companion).await;
        let mode = result.map(|made| ProvideMode::try_from(made.contract.provide_mode).unwrap());
        assert_eq!(mode, expected, "{source} to {destination}, {modes:?}, companion {companion}");
    }
}

#[tokio::test]
async fn bad_destinations_are_told_apart_from_unknown_ones() {
    let world = World::new(100 * MIB).await;
    let to = |bytes: Vec<u8>| CreateContract { destination_id: Some(bytes.into()), ..request(PROVIDER, false) };
    for bytes in [vec![], vec![7; 15], vec![7; 17], vec![CONSUMER; 16], vec![0; 16]] {
        let result = world.ledger.create(id(CONSUMER), &to(bytes.clone())).await;
        assert_eq!(result, Err(ContractError::Invalid), "{bytes:?}");
    }
    let unknown = world.ledger.create(id(CONSUMER), &to(vec![99; 16])).await;
    assert_eq!(unknown, Err(ContractError::NoPermission));
    let hops = CreateContract { intermediary_ids: vec![vec![9; 16].into(); 9], ..request(PROVIDER, false) };
    assert_eq!(world.ledger.create(id(CONSUMER), &hops).await, Err(ContractError::Setup));
    for removed in [CONSUMER, PROVIDER] {
        let record = crate::domain::client::ClientRecord { active: false, ..client_record(network_of(removed)) };
        world.domain.put(&CLIENTS, &id(removed), &record).await;
        assert_eq!(world.create(CONSUMER, PROVIDER, false).await, Err(ContractError::NoPermission));
    }
}

#[tokio::test]
async fn parallel_requests_never_reserve_more_than_there_is() {
    let world = World::new(10 * MIB).await;
    for round in 0..2 {
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let ledger = world.ledger.clone();
                tokio::spawn(async move { ledger.create(id(CONSUMER), &request(PROVIDER, false)).await.map(Made::new) })
            })
            .collect();
        let mut made = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                Ok(contract) => made.push(contract.id),
                Err(error) => assert_eq!(error, ContractError::InsufficientBalance),
            }
        }
        assert_eq!(made.len(), 10, "round {round}");
        for contract in made {
            world.close(CONSUMER, contract, 0).await;
            world.close(PROVIDER, contract, 0).await;
        }
        assert_eq!(world.available(CONSUMER).await, 10 * MIB);
    }
}

#[tokio::test]
async fn limits_of_open_contracts_answer_setup() {
    let mut config = Config::default();
    config.contracts.open_per_pair = 2;
    config.contracts.open_per_client = 3;
    let world = World::with_config(config).await;
    let first = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    world.create(CONSUMER, PROVIDER, false).await.unwrap();
    assert_eq!(world.create(CONSUMER, PROVIDER, false).await, Err(ContractError::Setup));
    world.create(CONSUMER, SIBLING, false).await.unwrap();
    assert_eq!(world.create(CONSUMER, SIBLING, false).await, Err(ContractError::Setup));
    for party in [CONSUMER, PROVIDER] {
        world.close(party, first.id, 0).await;
    }
    world.create(CONSUMER, PROVIDER, false).await.unwrap();
}

#[tokio::test]
async fn a_day_is_granted_once_and_overlaps_the_next_by_an_hour() {
    let mut world = World::new(10 * MIB).await;
    for _ in 0..3 {
        assert_eq!(world.available(CONSUMER).await, 10 * MIB);
        world.reopen().await;
    }
    let now = world.domain.clock.now();
    let midnight = now.start_of_day() + crate::time::DAY;
    world.domain.clock.advance(midnight.since(now) + Duration::from_secs(1800));
    let view = world.ledger.balance(network(CONSUMER)).await.unwrap();
    assert_eq!((view.buckets.len(), view.available_bytes), (2, 20 * MIB), "00:30");
    world.domain.clock.advance(Duration::from_secs(1800));
    assert_eq!(world.available(CONSUMER).await, 10 * MIB, "01:00");
    world.domain.clock.advance(crate::time::DAY * 3);
    assert_eq!(world.available(CONSUMER).await, 10 * MIB, "missed days are not made up for");
}

#[tokio::test]
async fn unlimited_networks_reserve_nothing_but_are_metered() {
    let mut config = Config::default();
    config.plan.free.bytes = Grant::Unlimited;
    let world = World::with_config(config).await;
    let made = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    assert_eq!(made.stored.priority, Some(0));
    for party in [CONSUMER, PROVIDER] {
        world.close(party, made.id, 500).await;
    }
    let view = world.ledger.balance(network(CONSUMER)).await.unwrap();
    assert_eq!((view.used_bytes, view.available_bytes, view.open_bytes), (500, 0, 0));
    assert_eq!(world.provided(PROVIDER).await, 500);
}

#[tokio::test]
async fn a_restart_keeps_contracts_reservations_votes_and_the_gate() {
    let mut world = World::new(100 * MIB).await;
    let open = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    let voted = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    world.close(CONSUMER, voted.id, 40).await;
    world.reopen().await;
    let now = world.domain.clock.now();
    assert!(world.ledger.gate().admit(client(PROVIDER), client(CONSUMER), now).is_some());
    let view = world.ledger.balance(network(CONSUMER)).await.unwrap();
    assert_eq!((view.available_bytes, view.open_bytes), (98 * MIB, 2 * MIB));
    world.close(PROVIDER, voted.id, 40).await;
    for party in [CONSUMER, PROVIDER] {
        world.close(party, open.id, 2).await;
    }
    assert_eq!(world.available(CONSUMER).await, 100 * MIB - 42);
    world.reopen().await;
    assert_eq!(world.available(CONSUMER).await, 100 * MIB - 42);
    assert_eq!(world.provided(PROVIDER).await, 42);
    let flow = world.ledger.gate().admit(client(CONSUMER), client(PROVIDER), now);
    assert!(flow.is_none(), "no contract is open");
    let late = world.ledger.close(id(CONSUMER), &close(open.id, 2, false)).await;
    assert_eq!(late, Err(CloseError::AlreadyClosed(open.id, Outcome::Settled)));
}

#[tokio::test]
async fn closes_of_strangers_and_nonsense_are_refused() {
    let world = World::new(100 * MIB).await;
    let made = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    let short = CloseContract { contract_id: vec![1; 15].into(), ..close(made.id, 0, false) };
    assert_eq!(world.ledger.close(id(CONSUMER), &short).await, Err(CloseError::Malformed));
    let huge = close(made.id, u64::MAX, false);
    assert_eq!(world.ledger.close(id(CONSUMER), &huge).await, Err(CloseError::Malformed));
    let unknown = close(id(77), 0, false);
    assert_eq!(world.ledger.close(id(CONSUMER), &unknown).await, Err(CloseError::NotFound(id(77))));
    let stranger = world.ledger.close(id(SIBLING), &close(made.id, 0, false)).await;
    assert_eq!(stranger, Err(CloseError::NotAParty(made.id)));
    let large = close(made.id, i64::MAX as u64, false);
    world.ledger.close(id(CONSUMER), &large).await.unwrap();
    world.ledger.close(id(PROVIDER), &large).await.unwrap();
    assert_eq!(world.available(CONSUMER).await, 99 * MIB, "counts are clamped to the contract's size");
}

#[tokio::test]
async fn an_ended_balance_still_pays_for_what_was_reserved_from_it() {
    let world = World::new(0).await;
    let now = world.domain.clock.now();
    let balance = Balance { start_bytes: 4 * MIB, bytes: 4 * MIB, net_revenue: 1000, ..Balance::default() };
    let end = now + crate::time::DAY;
    let granted = world.ledger.grant(network(CONSUMER), now, end, balance).await.unwrap().unwrap();
    let made = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    assert_eq!(made.stored.priority, Some(100));
    assert!(world.ledger.claw_back(granted).await.unwrap());
    assert_eq!(world.create(CONSUMER, PROVIDER, false).await, Err(ContractError::InsufficientBalance));
    for party in [CONSUMER, PROVIDER] {
        world.close(party, made.id, MIB).await;
    }
    let view = world.ledger.balance(network(PROVIDER)).await.unwrap();
    assert_eq!((view.provided_bytes, view.provided_revenue), (MIB, 125));
    assert!(!world.ledger.claw_back(id(99)).await.unwrap());
    let empty = world.ledger.grant(network(CONSUMER), now, end, Balance::default()).await.unwrap();
    assert_eq!(empty, None, "no balance of no bytes");
}

#[tokio::test]
async fn a_pro_balance_makes_the_network_pro_until_its_end() {
    let world = World::new(10 * MIB).await;
    let now = world.domain.clock.now();
    let balance = Balance { start_bytes: MIB, bytes: MIB, is_pro: true, ..Balance::default() };
    let end = now + Duration::from_secs(100);
    let granted = world.ledger.grant(network(CONSUMER), now, end, balance).await.unwrap().unwrap();
    let view = world.ledger.balance(network(CONSUMER)).await.unwrap();
    assert!(view.is_pro);
    assert_eq!(view.available_bytes, MIB, "no free grant for a network that is Pro");
    assert!(world.ledger.claw_back(granted).await.unwrap());
    let view = world.ledger.balance(network(CONSUMER)).await.unwrap();
    assert!(!view.is_pro);
    assert_eq!(view.available_bytes, 10 * MIB);
}

#[tokio::test]
async fn a_stopped_ledger_refuses() {
    let world = World::new(100 * MIB).await;
    let made = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    world.ledger.shutdown().await;
    world.ledger.shutdown().await;
    assert_eq!(world.create(CONSUMER, PROVIDER, false).await, Err(ContractError::Setup));
    let refused = world.ledger.close(id(CONSUMER), &close(made.id, 0, false)).await;
    assert_eq!(refused, Err(CloseError::Unavailable));
    assert!(world.ledger.balance(network(CONSUMER)).await.is_err());
}

/// A store whose commits all fail.
#[derive(Default)]
pub(super) struct Broken(RowCache);

impl Store for Broken {
    fn get(&self, _: &[u8]) -> Result<Option<Row>, StoreError> {
        Ok(None)
    }
    fn cache(&self) -> &RowCache {
        &self.0
    }
    fn scan(&self, _: &[u8], _: Option<&[u8]>, _: usize) -> Result<Vec<(Key, Row)>, StoreError> {
        Ok(Vec::new())
    }
    fn commit(&self, _: Commit) -> CommitFuture {
        Box::pin(std::future::ready(Err(StoreError::Failed("disk full".into()))))
    }
}

#[tokio::test]
async fn after_a_failed_commit_nothing_is_answered_any_more() {
    let world = World::new(100 * MIB).await;
    let domain = &world.domain;
    let config = domain.service.config().clone();
    let ledger =
        Ledger::open(domain.service.clone(), Arc::new(Broken::default()), domain.clock.clone(), config).unwrap();
    for _ in 0..2 {
        let refused = ledger.create(id(CONSUMER), &request(PROVIDER, false)).await;
        assert_eq!(refused, Err(ContractError::Setup));
    }
    assert!(ledger.has_failed());
    let error = ledger.balance(network(CONSUMER)).await.unwrap_err();
    assert!(matches!(error, crate::domain::error::DomainError::Store(_)));
    ledger.shutdown().await;
}

/// A store whose commits land when the test says so.
#[derive(Default)]
struct Slow {
    cache: RowCache,
    submitted: Mutex<VecDeque<oneshot::Sender<()>>>,
}

impl Slow {
    fn submitted(&self) -> usize {
        self.submitted.lock().len()
    }

    fn land(&self) {
        let first = self.submitted.lock().pop_front();
        first.expect("no commit is on its way").send(()).unwrap();
    }
}

impl Store for Slow {
    fn get(&self, _: &[u8]) -> Result<Option<Row>, StoreError> {
        Ok(None)
    }
    fn cache(&self) -> &RowCache {
        &self.cache
    }
    fn scan(&self, _: &[u8], _: Option<&[u8]>, _: usize) -> Result<Vec<(Key, Row)>, StoreError> {
        Ok(Vec::new())
    }
    fn commit(&self, _: Commit) -> CommitFuture {
        let (land, landed) = oneshot::channel();
        self.submitted.lock().push_back(land);
        Box::pin(async move { landed.await.map(|()| Committed::Yes).map_err(|_| StoreError::Failed("gone".into())) })
    }
}

#[tokio::test(start_paused = true)]
async fn what_arrives_while_a_commit_is_on_its_way_is_answered_with_the_next_one() {
    let world = World::new(100 * MIB).await;
    let domain = &world.domain;
    let (store, config) = (Arc::new(Slow::default()), domain.service.config().clone());
    let shared: Arc<dyn Store> = Arc::<Slow>::clone(&store);
    let ledger = Ledger::open(domain.service.clone(), shared, domain.clock.clone(), config).unwrap();
    let ask = || {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move { ledger.create(id(CONSUMER), &request(PROVIDER, false)).await })
    };
    // Time is paused: each wait ends only when nothing else can run.
    let settle = || tokio::time::sleep(Duration::from_millis(1));
    let first = ask();
    settle().await;
    let (second, third) = (ask(), ask());
    settle().await;
    assert_eq!(store.submitted(), 1, "one commit at a time");
    assert!(!first.is_finished() && !second.is_finished());
    store.land();
    settle().await;
    assert!(first.is_finished() && !second.is_finished() && !third.is_finished());
    assert_eq!(store.submitted(), 1, "the other two share one");
    store.land();
    for answer in [first, second, third] {
        assert!(answer.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_burst_of_closes_takes_a_few_commits() {
    let world = World::new(100_000 * MIB).await;
    let mut contracts = Vec::new();
    for _ in 0..1_000 {
        contracts.push(world.create(CONSUMER, PROVIDER, false).await.unwrap().id);
    }
    for party in [CONSUMER, PROVIDER] {
        let before = world.domain.store.commits();
        // Each from a task of its own, as the conversations of different clients are.
        let closing: Vec<_> = contracts
            .iter()
            .map(|contract| {
                let (ledger, report) = (Arc::clone(&world.ledger), close(*contract, 1, false));
                tokio::spawn(async move { ledger.close(id(party), &report).await })
            })
            .collect();
        for close in closing {
            assert_eq!(close.await.unwrap(), Ok(()));
        }
        let commits = world.domain.store.commits() - before;
        assert!(commits <= 10, "{commits} commits for {} closes", contracts.len());
    }
}

#[tokio::test]
async fn a_clock_that_steps_back_is_not_followed() {
    let mut world = World::new(100 * MIB).await;
    let made = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    world.ledger.shutdown().await;
    let behind = crate::time::Clock::manual(Timestamp::from_secs(1_600_000_000));
    let store: Arc<dyn Store> = world.domain.store.clone();
    let config = world.domain.service.config().clone();
    world.ledger = Ledger::open(world.domain.service.clone(), store, behind, config).unwrap();
    let later = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    assert!(later.id.as_bytes()[..6] >= made.id.as_bytes()[..6]);
    assert_eq!(world.available(CONSUMER).await, 98 * MIB, "no second grant for an earlier day");
}

#[tokio::test]
async fn pending_contracts_are_paged_and_filtered() {
    let world = World::new(1000 * MIB).await;
    let large = CreateContract { transfer_byte_count: 200 * MIB as u64, ..request(PROVIDER, false) };
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(Made::new(world.ledger.create(id(CONSUMER), &large).await.unwrap()).id);
    }
    let within = world.create(CONSUMER, SIBLING, false).await.unwrap().id;
    // Reports this far apart are a dispute.
    world.close(CONSUMER, made[1], 200 * MIB).await;
    world.close(PROVIDER, made[1], 0).await;
    let list = async |query| {
        let found = world.ledger.pending(ContractQuery { count: 2, ..query }).await.unwrap();
        found.into_iter().map(|contract| contract.contract_id).collect::<Vec<_>>()
    };
    assert_eq!(list(ContractQuery::default()).await, made[..2]);
    assert_eq!(list(ContractQuery { after: Some(made[1]), ..Default::default() }).await, [made[2], within]);
    assert_eq!(list(ContractQuery { is_disputed: Some(true), ..Default::default() }).await, [made[1]]);
    let of_provider =
        ContractQuery { network_id: Some(network(PROVIDER)), is_disputed: Some(false), ..Default::default() };
    assert_eq!(list(of_provider).await, [made[0], made[2]]);
    assert_eq!(list(ContractQuery { network_id: Some(id(99)), ..Default::default() }).await, []);
}
