//! What a network is given, when, and that it is never given twice.

use super::super::chores::Chores;
use super::super::grants::{GRANT_KEYS, GrantOnce, GrantOutcome, RENEWALS, Sku};
use super::super::record::{BALANCES, GRANTS};
use super::*;
use crate::domain::balance::{BalanceView, Market};
use crate::domain::network::{NETWORKS, NetworkRecord};
use crate::time::DAY;

/// 2023-11-14T22:13:20Z, where every test begins.
const NOVEMBER: &str = "2023-11-01T00:00:00Z";
const DECEMBER: &str = "2023-12-01T00:00:00Z";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn purchase(world: &World, key: &str, sku: Sku, bytes: i64) -> GrantOnce {
    let start = world.domain.clock.now();
    GrantOnce {
        network_id: network(CONSUMER),
        sku,
        market: Market::Manual,
        key: key.into(),
        start,
        end: start + DAY * 30,
        bytes,
        revenue: 3_000,
        is_pro: sku == Sku::Subscription,
    }
}

async fn view(world: &World) -> BalanceView {
    world.ledger.balance(network(CONSUMER)).await.unwrap()
}

#[tokio::test]
async fn a_purchase_is_given_once_however_often_it_is_reported() {
    let mut world = World::new(0).await;
    let grant = purchase(&world, "order 1", Sku::Data, 5 * MIB);
    let GrantOutcome::Granted(given) = world.ledger.grant_once(grant.clone()).await.unwrap() else { panic!() };
    for _ in 0..2 {
        let other = GrantOnce { bytes: 900 * MIB, network_id: network(PROVIDER), ..grant.clone() };
        assert_eq!(world.ledger.grant_once(other).await.unwrap(), GrantOutcome::Already(given));
        assert_eq!(view(&world).await.available_bytes, 5 * MIB);
        world.reopen().await;
    }
    let bucket = &view(&world).await.buckets[0];
    assert_eq!((bucket.balance_id, bucket.net_revenue, bucket.is_pro), (given.balance_id.unwrap(), 3_000, false));
}

#[tokio::test]
async fn of_many_reports_at_once_one_gives() {
    let world = World::new(0).await;
    let reports = (0..50).map(|_| {
        let (ledger, grant) = (world.ledger.clone(), purchase(&world, "order 1", Sku::Data, MIB));
        tokio::spawn(async move { ledger.grant_once(grant).await.unwrap() })
    });
    let mut granted = 0;
    for report in reports.collect::<Vec<_>>() {
        granted += usize::from(matches!(report.await.unwrap(), GrantOutcome::Granted(_)));
    }
    assert_eq!((granted, view(&world).await.available_bytes), (1, MIB));
}

#[tokio::test]
async fn key_renewal_and_balance_are_one_commit() {
    let world = World::new(0).await;
    world.ledger.grant_once(purchase(&world, "invoice 1", Sku::Subscription, MIB)).await.unwrap();
    let written =
        [GRANT_KEYS.prefix(&()), RENEWALS.prefix(&()), BALANCES.prefix(&())].map(|table| world.commit_of(table));
    assert!(written[0].is_some() && written.iter().all(|commit| *commit == written[0]), "{written:?}");
}

#[tokio::test]
async fn nonsense_gives_nothing() {
    let world = World::new(0).await;
    let good = purchase(&world, "order 1", Sku::Data, MIB);
    let wrong = [
        GrantOnce { key: String::new(), ..good.clone() },
        GrantOnce { key: "k".repeat(257), ..good.clone() },
        GrantOnce { bytes: 0, ..good.clone() },
        GrantOnce { bytes: -1, ..good.clone() },
        GrantOnce { revenue: -1, ..good.clone() },
        GrantOnce { end: good.start, ..good.clone() },
    ];
    for grant in wrong {
        assert_eq!(world.ledger.grant_once(grant).await.unwrap(), GrantOutcome::Malformed);
    }
    assert_eq!(view(&world).await.buckets, []);
    assert!(matches!(world.ledger.grant_once(good).await.unwrap(), GrantOutcome::Granted(_)), "the key is free still");
}

#[tokio::test]
async fn a_subscription_gives_the_month_at_once_and_each_month_it_sees() {
    let mut world = World::new(7 * MIB).await;
    world.ledger.grant_once(purchase(&world, "invoice 1", Sku::Subscription, 0)).await.unwrap();
    let month = view(&world).await;
    assert!(month.is_pro);
    assert_eq!(month.buckets.len(), 1, "no free grant beside it");
    let bucket = &month.buckets[0];
    assert_eq!((bucket.start_time, bucket.end_time), (at(NOVEMBER), at("2023-12-02T00:00:00Z")));
    assert_eq!((bucket.available_bytes, bucket.net_revenue), (10 << 40, 0));
    world.reopen().await;
    assert_eq!(view(&world).await.buckets.len(), 1);

    world.domain.clock.advance(at(DECEMBER).since(world.domain.clock.now()));
    let overlap = view(&world).await;
    assert_eq!(overlap.buckets.len(), 2, "a day of overlap");
    assert_eq!(overlap.buckets[1].end_time, at("2024-01-02T00:00:00Z"));
    let shares: i64 = overlap.buckets.iter().map(|bucket| bucket.subsidy_net_revenue).sum();
    assert!((2_999..=3_000).contains(&shares), "the revenue stands behind its months once: {shares}");

    // Runs out on December 14th; December's balance still lasts, January brings none.
    world.domain.clock.advance(DAY * 34);
    let over = view(&world).await;
    assert!(!over.is_pro && over.subscriptions.is_empty());
    assert_eq!(over.buckets.len(), 1);
    assert_eq!(over.available_bytes, 7 * MIB, "the free grant is back");
}

#[tokio::test]
async fn the_ledger_gives_the_month_before_anybody_looks() {
    let mut machine = super::votes::Machine::new();
    let start = machine.state.now;
    let grant = |of: u8| GrantOnce {
        network_id: id(of),
        sku: Sku::Subscription,
        market: Market::Apple,
        key: format!("invoice {of}"),
        start,
        end: start + DAY * 365,
        bytes: 0,
        revenue: 0,
        is_pro: true,
    };
    for of in 20..50 {
        machine.state.grant_once(&grant(of));
    }
    machine.pass(20 * 86_400);
    let mut rounds = 0;
    while machine.state.grant_months(7) {
        rounds += 1;
    }
    assert!(rounds >= 4, "a few at a time: {rounds}");
    for of in 20..50 {
        let ends = machine.state.balances.usable(id(of), machine.state.now).map(|(key, _)| key.end_time);
        assert_eq!(ends.collect::<Vec<_>>(), [at("2024-01-02T00:00:00Z")]);
    }
    let balances = machine.state.balances.iter().count();
    assert!(!machine.state.grant_months(7), "once a day");
    assert_eq!(machine.state.balances.iter().count(), balances);
}

#[tokio::test]
async fn a_refund_ends_the_subscription_and_its_month_and_a_new_one_gives_it_anew() {
    let mut world = World::new(0).await;
    world.ledger.grant_once(purchase(&world, "invoice 1", Sku::Subscription, MIB)).await.unwrap();
    world.ledger.grant_once(purchase(&world, "invoice 2", Sku::Subscription, 0)).await.unwrap();
    assert_eq!(view(&world).await.buckets.len(), 2);
    assert!(world.ledger.revoke("invoice 1".into()).await.unwrap().is_some());
    let after = view(&world).await;
    assert!(after.is_pro, "the other subscription still runs");
    assert_eq!((after.buckets.len(), after.subscriptions.len()), (1, 1));
    assert!(world.ledger.revoke("invoice 2".into()).await.unwrap().is_some());
    assert_eq!(world.ledger.revoke("no such key".into()).await.unwrap(), None);
    for _ in 0..2 {
        let after = view(&world).await;
        assert!(!after.is_pro && after.buckets.is_empty() && after.subscriptions.is_empty());
        world.reopen().await;
    }
    let again = world.ledger.grant_once(purchase(&world, "invoice 1", Sku::Subscription, 0)).await.unwrap();
    assert!(matches!(again, GrantOutcome::Already(_)), "a refunded invoice does not come back");
    world.ledger.grant_once(purchase(&world, "invoice 3", Sku::Subscription, 0)).await.unwrap();
    assert!(view(&world).await.is_pro);
}

#[tokio::test]
async fn subscriptions_are_listed_one_per_store() {
    let world = World::new(0).await;
    for (key, market, days) in [("a", Market::Stripe, 30), ("b", Market::Stripe, 60), ("c", Market::Google, 40)] {
        let grant = purchase(&world, key, Sku::Subscription, 0);
        let grant = GrantOnce { market, end: grant.start + DAY * days, ..grant };
        world.ledger.grant_once(grant).await.unwrap();
    }
    let markets = |view: &BalanceView| view.subscriptions.iter().map(|paid| paid.market).collect::<Vec<_>>();
    assert_eq!(markets(&view(&world).await), [Market::Stripe, Market::Google]);
    world.domain.clock.advance(DAY * 45);
    assert_eq!(markets(&view(&world).await), [Market::Stripe]);
    world.domain.clock.advance(DAY * 15);
    assert_eq!(markets(&view(&world).await), [], "a period is over at its end");
}

#[tokio::test]
async fn markers_are_kept_for_forty_days_after_their_period_and_keys_for_longer() {
    let mut machine = super::votes::Machine::new();
    machine.state.rules.free = Grant::Bytes(ByteSize::mib(1));
    machine.state.grant_due(id(50));
    let start = machine.state.now;
    let grant = GrantOnce {
        network_id: id(50),
        sku: Sku::Data,
        market: Market::Manual,
        key: "order 1".into(),
        start,
        end: start + DAY,
        bytes: 1,
        revenue: 0,
        is_pro: false,
    };
    machine.state.grant_once(&grant);
    let store: Arc<dyn Store> = Arc::new(crate::store::memory::MemoryStore::new());
    let count = |prefix: Vec<u8>| store.scan(&prefix, None, 10).unwrap().len();
    machine.commit(&*store).await;
    machine.pass(40 * 86_400);
    machine.state.forget_grants(10);
    machine.commit(&*store).await;
    assert_eq!((count(GRANTS.prefix(&())), count(GRANT_KEYS.prefix(&()))), (1, 1));
    machine.pass(86_400);
    machine.state.forget_grants(10);
    machine.commit(&*store).await;
    assert_eq!((count(GRANTS.prefix(&())), count(GRANT_KEYS.prefix(&()))), (0, 1));
    machine.pass(361 * 86_400);
    assert!(!machine.state.forget_grants(10));
    machine.commit(&*store).await;
    assert_eq!(count(GRANT_KEYS.prefix(&())), 0);
}

#[tokio::test]
async fn a_marker_that_moves_on_is_not_forgotten() {
    let mut machine = super::votes::Machine::new();
    machine.state.rules.free = Grant::Bytes(ByteSize::mib(1));
    for _ in 0..50 {
        machine.state.grant_due(id(50));
        machine.pass(86_400);
        machine.state.forget_grants(10);
    }
    machine.state.grant_due(id(50));
    let granted = machine.state.balances.iter().filter(|(key, _)| key.network_id == id(50)).count();
    assert_eq!(granted, 51, "once a day");
    machine.state.grant_due(id(50));
    assert_eq!(machine.state.balances.iter().filter(|(key, _)| key.network_id == id(50)).count(), granted);
}

#[tokio::test]
async fn either_end_of_a_referral_gets_its_bytes_once_a_day() {
    let mut config = Config::default();
    config.plan.free.bytes = Grant::Bytes(ByteSize(0));
    config.plan.referral.bytes = ByteSize::mib(3);
    let world = World::with_config(config).await;
    for (of, referred_by) in [(network(CONSUMER), None), (network(PROVIDER), Some(network(CONSUMER)))] {
        let record = NetworkRecord {
            name: "n".into(),
            admin_user_id: id(1),
            create_time: Timestamp::ZERO,
            referral_code: "ABCDEF".into(),
            referred_by,
            former_names: Vec::new(),
        };
        world.domain.put(&NETWORKS, &of, &record).await;
    }
    let chores = Chores::new(world.domain.service.clone(), world.ledger.clone());
    for _ in 0..2 {
        chores.once().await.unwrap();
        assert_eq!((world.available(CONSUMER).await, world.available(PROVIDER).await), (3 * MIB, 3 * MIB));
    }
    let bucket = &view(&world).await.buckets[0];
    assert_eq!(bucket.end_time.since(bucket.start_time), DAY + Duration::from_secs(3600));
    assert!(!bucket.is_pro && bucket.net_revenue == 0);
    world.domain.clock.advance(DAY);
    chores.once().await.unwrap();
    assert_eq!(world.available(CONSUMER).await, 6 * MIB, "an hour of overlap");
}
