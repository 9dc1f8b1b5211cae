//! Balance codes from the making to the refund.

use super::super::chores::Chores;
use super::super::codes::{
    BALANCE_CODES, CancelOutcome, CodeRefusal, MadeCode, NewCodes, PENDING_CODES, PendingCode, RedeemOutcome,
};
use super::super::record::BALANCES;
use super::*;
use crate::time::DAY;

const YEAR: Duration = Duration::from_secs(8760 * 3600);

fn new_codes(count: u32) -> NewCodes {
    NewCodes {
        count,
        bytes: 5 * MIB,
        net_revenue: 1000,
        duration: YEAR,
        purchase_event_id: None,
        purchase_record: String::new(),
        purchase_email: String::new(),
    }
}

async fn make(world: &World) -> MadeCode {
    world.ledger.create_codes(new_codes(1)).await.unwrap().unwrap().pop().unwrap()
}

async fn redeem(world: &World, by: u8, code: &MadeCode) -> RedeemOutcome {
    world.ledger.redeem_code(network(by), code.secret.as_str()).await.unwrap()
}

#[tokio::test]
async fn a_code_is_redeemed_once_for_its_full_duration_and_a_day() {
    let mut world = World::new(0).await;
    let code = make(&world).await;
    // Long after the code's own end.
    world.domain.clock.advance(YEAR * 2);
    let now = world.domain.clock.now();
    let RedeemOutcome::Redeemed(redeemed) = redeem(&world, CONSUMER, &code).await else { panic!() };
    assert_eq!((redeemed.start_time, redeemed.end_time), (now, now + DAY + YEAR));
    for _ in 0..2 {
        assert_eq!(redeem(&world, CONSUMER, &code).await, RedeemOutcome::Unknown);
        assert_eq!(redeem(&world, PROVIDER, &code).await, RedeemOutcome::Unknown);
        let view = world.ledger.balance(network(CONSUMER)).await.unwrap();
        assert_eq!((view.buckets.len(), view.available_bytes, view.is_pro), (1, 5 * MIB, false), "paid, never Pro");
        assert_eq!(view.buckets[0].net_revenue, 1000);
        let listed = world.ledger.redeemed_codes(network(CONSUMER)).await.unwrap();
        assert_eq!(listed[0].redemption.as_ref().unwrap().secret, code.secret);
        assert!(world.ledger.redeemed_codes(network(PROVIDER)).await.unwrap().is_empty());
        world.reopen().await;
    }
}

#[tokio::test]
async fn the_secret_is_not_stored_before_it_is_redeemed() {
    let world = World::new(0).await;
    let code = make(&world).await;
    let stored = || world.domain.store.scan(&BALANCE_CODES.prefix(&()), None, 10).unwrap();
    let holds = |(key, row): &(Vec<u8>, crate::store::Row)| {
        let secret = code.secret.as_str().as_bytes();
        [&key[..], &row.value[..]].iter().any(|bytes| bytes.windows(secret.len()).any(|part| part == secret))
    };
    assert_eq!(stored().iter().filter(|row| holds(row)).count(), 0);
    redeem(&world, CONSUMER, &code).await;
    assert_eq!(stored().iter().filter(|row| holds(row)).count(), 1);
}

#[tokio::test]
async fn claim_and_balance_are_one_commit() {
    let world = World::new(0).await;
    let code = make(&world).await;
    redeem(&world, CONSUMER, &code).await;
    let written = [BALANCE_CODES.prefix(&()), BALANCES.prefix(&())].map(|table| world.commit_of(table));
    assert!(written[0].is_some() && written[0] == written[1], "{written:?}");
}

#[tokio::test]
async fn a_purchase_makes_codes_once_also_the_one_without_a_name() {
    let mut world = World::new(0).await;
    let of = |event: &str| NewCodes { purchase_event_id: Some(event.into()), ..new_codes(1) };
    for event in ["", "session 1"] {
        assert_eq!(world.ledger.create_codes(of(event)).await.unwrap().unwrap().len(), 1);
        assert_eq!(world.ledger.create_codes(of(event)).await.unwrap(), Err(CodeRefusal::EventTaken));
    }
    world.reopen().await;
    let many = NewCodes { count: 3, ..of("session 1") };
    assert_eq!(world.ledger.create_codes(many).await.unwrap(), Err(CodeRefusal::EventTaken), "all or none");
    let many = NewCodes { count: 3, ..of("session 2") };
    assert_eq!(world.ledger.create_codes(many).await.unwrap().unwrap().len(), 3);
    assert_eq!(world.ledger.create_codes(of("session 2/3")).await.unwrap(), Err(CodeRefusal::EventTaken));
    assert_eq!(world.ledger.create_codes(new_codes(2)).await.unwrap().unwrap().len(), 2, "made up when there is none");
    let newest_first = world.ledger.codes(100).await.unwrap();
    assert_eq!(newest_first.len(), 7);
    assert!(newest_first.is_sorted_by(|left, right| left.code_id > right.code_id));
}

#[tokio::test]
async fn codes_that_make_no_sense_are_not_made() {
    let world = World::new(0).await;
    let wrong = [
        new_codes(0),
        new_codes(1001),
        NewCodes { bytes: 0, ..new_codes(1) },
        NewCodes { net_revenue: -1, ..new_codes(1) },
        NewCodes { duration: Duration::MAX, ..new_codes(1) },
        NewCodes { purchase_email: "x".repeat(1025), ..new_codes(1) },
    ];
    for new in wrong {
        assert_eq!(world.ledger.create_codes(new).await.unwrap(), Err(CodeRefusal::Malformed));
    }
}

#[tokio::test]
async fn a_refund_voids_a_code_or_ends_its_balance_and_open_contracts_still_settle() {
    let mut world = World::new(0).await;
    let (unused, used) = (make(&world).await, make(&world).await);
    assert_eq!(world.ledger.cancel_code(unused.code_id).await.unwrap(), CancelOutcome::Cancelled);
    assert_eq!(redeem(&world, CONSUMER, &unused).await, RedeemOutcome::Unknown);
    redeem(&world, CONSUMER, &used).await;
    let contract = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    assert_eq!(contract.stored.priority, Some(100), "paid");
    assert!(matches!(world.ledger.cancel_code(used.code_id).await.unwrap(), CancelOutcome::ClawedBack(_)));
    for _ in 0..2 {
        assert_eq!(world.ledger.cancel_code(used.code_id).await.unwrap(), CancelOutcome::Already);
        assert_eq!(world.available(CONSUMER).await, 0);
        assert!(world.ledger.redeemed_codes(network(CONSUMER)).await.unwrap().is_empty());
        world.reopen().await;
    }
    for party in [CONSUMER, PROVIDER] {
        world.close(party, contract.id, MIB).await;
    }
    assert_eq!(world.provided(PROVIDER).await, MIB);
    assert_eq!(world.ledger.cancel_code(id(99)).await.unwrap(), CancelOutcome::Unknown);
}

#[tokio::test]
async fn a_code_whose_balance_is_taken_back_is_no_longer_listed() {
    let world = World::new(0).await;
    let code = make(&world).await;
    let RedeemOutcome::Redeemed(redeemed) = redeem(&world, CONSUMER, &code).await else { panic!() };
    assert!(world.ledger.claw_back(redeemed.balance_id).await.unwrap());
    assert!(world.ledger.redeemed_codes(network(CONSUMER)).await.unwrap().is_empty());
    assert_eq!(redeem(&world, CONSUMER, &code).await, RedeemOutcome::Unknown);
}

/// A sign-up with a code, broken off before the ledger heard of it.
async fn break_off(world: &World, code: &MadeCode) -> PendingCode {
    let pending = PendingCode { secret: code.secret.clone(), create_time: world.domain.clock.now() };
    world.domain.put(&PENDING_CODES, &network(CONSUMER), &pending).await;
    pending
}

#[tokio::test]
async fn a_sign_up_that_a_crash_interrupts_has_its_code_after_the_restart() {
    let mut world = World::new(7 * MIB).await;
    let code = make(&world).await;
    break_off(&world, &code).await;
    for _ in 0..2 {
        world.reopen().await;
        let view = world.ledger.balance(network(CONSUMER)).await.unwrap();
        assert_eq!((view.buckets.len(), view.available_bytes), (1, 5 * MIB), "in place of the free grant");
        assert_eq!(world.domain.get(&PENDING_CODES, &network(CONSUMER)), None);
    }
    world.domain.clock.advance(DAY);
    assert_eq!(world.available(CONSUMER).await, 12 * MIB, "of that day only");
}

#[tokio::test]
async fn a_sign_up_whose_caller_went_away_has_its_code_within_the_hour() {
    let world = World::new(7 * MIB).await;
    let code = make(&world).await;
    let pending = break_off(&world, &code).await;
    let chores = Chores::new(world.domain.service.clone(), world.ledger.clone());
    chores.once().await.unwrap();
    assert_eq!(world.available(CONSUMER).await, 5 * MIB);
    assert_eq!(world.domain.get(&PENDING_CODES, &network(CONSUMER)), None);
    // Again, as by a sign-up that was slow: nothing changes.
    world.ledger.redeem_pending(network(CONSUMER), pending).await.unwrap();
    assert_eq!(world.available(CONSUMER).await, 5 * MIB);
}

#[tokio::test]
async fn a_late_code_of_a_sign_up_does_not_open_a_day_that_was_granted() {
    let world = World::new(7 * MIB).await;
    let code = make(&world).await;
    let pending = break_off(&world, &code).await;
    world.domain.clock.advance(DAY);
    assert_eq!(world.available(CONSUMER).await, 7 * MIB);
    world.ledger.redeem_pending(network(CONSUMER), pending).await.unwrap();
    assert_eq!(world.available(CONSUMER).await, 12 * MIB);
}

#[tokio::test]
async fn a_sign_up_with_a_bad_code_has_the_free_grant() {
    let world = World::new(7 * MIB).await;
    let code = make(&world).await;
    redeem(&world, PROVIDER, &code).await;
    let pending = break_off(&world, &code).await;
    world.ledger.redeem_pending(network(CONSUMER), pending).await.unwrap();
    assert_eq!(world.available(CONSUMER).await, 7 * MIB);
}
