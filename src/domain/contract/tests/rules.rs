//! Rules of contracts and balances that no other file here is about.

use super::*;
use crate::domain::contract::CloseError;
use crate::time::DAY;

#[tokio::test]
async fn the_same_request_again_makes_another_contract() {
    let world = World::new(100 * MIB).await;
    let first = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    let again = CreateContract { used_contract_ids: vec![first.id.into()], ..request(PROVIDER, false) };
    let second = Made::new(world.ledger.create(id(CONSUMER), &again).await.unwrap());
    assert_ne!(second.id, first.id);
    assert_eq!(world.available(CONSUMER).await, 98 * MIB);
}

#[tokio::test]
async fn many_replies_may_answer_one_contract_of_any_size() {
    let world = World::new(200 * MIB).await;
    let origin = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    for _ in 0..3 {
        let large = CreateContract { transfer_byte_count: 32 << 20, ..request(CONSUMER, true) };
        world.ledger.create(id(PROVIDER), &large).await.unwrap();
    }
    assert_eq!(world.available(CONSUMER).await, (200 - 1 - 3 * 32) * MIB);
    world.close(CONSUMER, origin.id, 0).await;
    world.close(PROVIDER, origin.id, 0).await;
    assert_eq!(world.available(CONSUMER).await, (200 - 3 * 32) * MIB, "the origin closes on its own");
}

#[tokio::test]
async fn a_count_beyond_the_size_is_the_size() {
    let world = World::new(100 * MIB).await;
    let made = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    world.close(CONSUMER, made.id, i64::MAX).await;
    world.close(PROVIDER, made.id, i64::MAX).await;
    assert_eq!(world.available(CONSUMER).await, 99 * MIB);
    assert_eq!(world.provided(PROVIDER).await, MIB);
}

#[tokio::test]
async fn without_use_everything_returns_and_nobody_earns() {
    let world = World::new(100 * MIB).await;
    let made = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    assert_eq!(world.available(CONSUMER).await, 99 * MIB);
    world.close(CONSUMER, made.id, 0).await;
    world.close(PROVIDER, made.id, 0).await;
    assert_eq!(world.available(CONSUMER).await, 100 * MIB);
    assert_eq!(world.provided(PROVIDER).await, 0);
}

#[tokio::test]
async fn an_outcome_is_set_once_and_later_reports_change_nothing() {
    let world = World::new(100 * MIB).await;
    let made = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    world.close(CONSUMER, made.id, 1000).await;
    world.close(PROVIDER, made.id, 1000).await;
    for (party, acked, is_checkpoint) in [(CONSUMER, 5000, false), (PROVIDER, 5000, true), (PROVIDER, 1000, false)] {
        let late = world.ledger.close(id(party), &close(made.id, acked, is_checkpoint)).await;
        assert!(matches!(late, Err(CloseError::AlreadyClosed(..))), "{late:?}");
    }
    world.domain.clock.advance(Duration::from_secs(600));
    assert_eq!(world.ledger.sweep().await.unwrap(), 0);
    assert_eq!(world.provided(PROVIDER).await, 1000);
}

#[tokio::test]
async fn days_that_nobody_looked_are_not_made_up_for() {
    let world = World::new(100 * MIB).await;
    assert_eq!(world.available(CONSUMER).await, 100 * MIB);
    world.domain.clock.advance(3 * DAY);
    for _ in 0..2 {
        assert_eq!(world.available(CONSUMER).await, 100 * MIB, "the day at hand, once");
    }
}
