//! Credit on its way to those who earned it: unpaid, in a payment, paid.

use super::super::payout::{ListPayments, Payment, PaymentRecord, PaymentRefusal, PaymentState, PayoutPlan, PayoutRun};
use super::*;
use crate::ids::RecordId;

const GIB: i64 = 1 << 30;
const RUN: PayoutRun = PayoutRun { minimum: 1, bonus_per_gib: 0 };

fn record() -> PaymentRecord {
    PaymentRecord { reference: "transfer 1".into(), ..PaymentRecord::default() }
}

async fn plan(world: &World, run: PayoutRun) -> PayoutPlan {
    world.ledger.plan_payout(run).await.unwrap()
}

/// Newest first.
fn payments(world: &World) -> Vec<(NetworkId, RecordId, Payment)> {
    world.domain.service.read(&ListPayments { network_id: None }).unwrap()
}

async fn paid(world: &World) -> (i64, i64) {
    let view = world.ledger.balance(network(PROVIDER)).await.unwrap();
    (view.paid_bytes, view.paid_revenue)
}

#[tokio::test]
async fn a_run_pays_everyone_who_has_earned_enough_and_nothing_twice() {
    let mut world = World::new(0).await;
    world.ledger.earn(network(PROVIDER), 2 * GIB, 100).await;
    world.ledger.earn(network(CONSUMER), GIB, 99).await;
    let first = plan(&world, PayoutRun { minimum: 100, bonus_per_gib: 0 }).await;
    assert_eq!((first.payments, first.bytes, first.amount, first.left), (1, 2 * GIB, 100, 0));
    assert_eq!(plan(&world, PayoutRun { minimum: 100, bonus_per_gib: 0 }).await.payments, 0, "it is in a payment");
    world.reopen().await;
    world.domain.clock.advance(Duration::from_secs(1));
    let second = plan(&world, RUN).await;
    assert_eq!((second.payments, second.amount), (1, 99), "the rest was left for this run");
    let listed = payments(&world);
    assert_eq!(listed.iter().map(|(of, _, _)| *of).collect::<Vec<_>>(), [network(CONSUMER), network(PROVIDER)]);
    assert_eq!((listed[0].2.plan_id, listed[1].2.plan_id), (second.plan_id, first.plan_id));
}

#[tokio::test]
async fn bytes_that_nobody_paid_for_are_due_by_the_operators_rate_only() {
    let world = World::new(0).await;
    world.ledger.earn(network(PROVIDER), GIB + GIB / 2, 0).await;
    assert_eq!(plan(&world, RUN).await.payments, 0);
    let planned = plan(&world, PayoutRun { minimum: 1, bonus_per_gib: 1000 }).await;
    assert_eq!((planned.payments, planned.amount), (1, 1500));
    let (_, _, payment) = &payments(&world)[0];
    assert_eq!((payment.revenue, payment.bonus, payment.amount()), (0, 1500, 1500));
}

#[tokio::test]
async fn a_payment_is_planned_recorded_completed_and_then_final() {
    let mut world = World::new(0).await;
    world.ledger.earn(network(PROVIDER), GIB, 100).await;
    plan(&world, RUN).await;
    let (_, payment, planned) = payments(&world).remove(0);
    assert_eq!(planned.state(), PaymentState::Planned);
    let early = world.ledger.complete_payment(payment, "tx".into()).await.unwrap();
    assert_eq!(early, Err(PaymentRefusal::NotRecorded(payment)));
    world.ledger.record_payment(payment, record()).await.unwrap().unwrap();
    let again = world.ledger.record_payment(payment, record()).await.unwrap();
    assert_eq!(again, Err(PaymentRefusal::AlreadyRecorded(payment)));
    assert_eq!(payments(&world)[0].2.state(), PaymentState::Recorded);
    assert_eq!(paid(&world).await, (0, 0), "not before it is completed");
    world.reopen().await;
    world.ledger.complete_payment(payment, "tx".into()).await.unwrap().unwrap();
    for _ in 0..2 {
        assert_eq!(paid(&world).await, (GIB, 100));
        let over = Err(PaymentRefusal::NotOpen(payment));
        assert_eq!(world.ledger.complete_payment(payment, "tx".into()).await.unwrap(), over);
        assert_eq!(world.ledger.cancel_payment(payment).await.unwrap(), over);
        assert_eq!(world.ledger.record_payment(payment, record()).await.unwrap(), over);
        assert_eq!(payments(&world)[0].2.state(), PaymentState::Completed);
        assert_eq!(plan(&world, RUN).await.payments, 0);
        world.reopen().await;
    }
}

#[tokio::test]
async fn a_cancelled_payment_returns_its_credit_to_the_next_run() {
    let mut world = World::new(0).await;
    let earned = world.domain.clock.now();
    world.ledger.earn(network(PROVIDER), GIB, 100).await;
    for is_recorded in [false, true] {
        world.domain.clock.advance(Duration::from_secs(60));
        plan(&world, RUN).await;
        let (_, payment, _) = payments(&world).remove(0);
        if is_recorded {
            world.ledger.record_payment(payment, record()).await.unwrap().unwrap();
        }
        world.reopen().await;
        world.ledger.cancel_payment(payment).await.unwrap().unwrap();
        assert_eq!(payments(&world)[0].2.state(), PaymentState::Cancelled);
        let over = world.ledger.cancel_payment(payment).await.unwrap();
        assert_eq!(over, Err(PaymentRefusal::NotOpen(payment)));
    }
    world.ledger.earn(network(PROVIDER), GIB, 1).await;
    let planned = plan(&world, RUN).await;
    assert_eq!((planned.payments, planned.bytes, planned.amount), (1, 2 * GIB, 101));
    assert_eq!(payments(&world)[0].2.first_earned, earned);
}

#[tokio::test]
async fn what_is_earned_after_a_plan_waits_for_the_next() {
    let world = World::new(0).await;
    world.ledger.earn(network(PROVIDER), GIB, 100).await;
    plan(&world, RUN).await;
    world.domain.clock.advance(Duration::from_secs(60));
    let later = world.domain.clock.now();
    world.ledger.earn(network(PROVIDER), 5, 7).await;
    let planned = plan(&world, RUN).await;
    assert_eq!((planned.bytes, planned.amount), (5, 7));
    assert_eq!(payments(&world)[0].2.first_earned, later);
}

#[tokio::test]
async fn payments_without_a_reference_or_with_endless_texts_are_refused() {
    let world = World::new(0).await;
    world.ledger.earn(network(PROVIDER), GIB, 100).await;
    plan(&world, RUN).await;
    let (_, payment, _) = payments(&world).remove(0);
    let wrong = [PaymentRecord::default(), PaymentRecord { wallet_address: "x".repeat(1025), ..record() }];
    for record in wrong {
        let refused = world.ledger.record_payment(payment, record).await.unwrap();
        assert_eq!(refused, Err(PaymentRefusal::Malformed));
    }
    world.ledger.record_payment(payment, record()).await.unwrap().unwrap();
    let refused = world.ledger.complete_payment(payment, "x".repeat(1025)).await.unwrap();
    assert_eq!(refused, Err(PaymentRefusal::Malformed));
    assert_eq!(payments(&world)[0].2.state(), PaymentState::Recorded);
}

#[tokio::test]
async fn a_settled_contract_earns_what_a_run_then_pays() {
    let world = World::new(0).await;
    let now = world.domain.clock.now();
    let balance = Balance { start_bytes: 4 * MIB, bytes: 4 * MIB, net_revenue: 1000, ..Balance::default() };
    world.ledger.grant(network(CONSUMER), now, now + crate::time::DAY, balance).await.unwrap();
    let made = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    for party in [CONSUMER, PROVIDER] {
        world.close(party, made.id, MIB).await;
    }
    let planned = plan(&world, RUN).await;
    assert_eq!((planned.bytes, planned.amount), (MIB, 125));
}
