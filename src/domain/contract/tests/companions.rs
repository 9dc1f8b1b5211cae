//! Replies: which contract they answer, how long they wait for it, who pays.

use super::*;
use crate::domain::contract::companion::COMPANION_WAIT;

#[tokio::test(start_paused = true)]
async fn a_companion_waits_for_its_origin() {
    let world = World::new(100 * MIB).await;
    let ledger = world.ledger.clone();
    let reply = tokio::spawn(async move { ledger.create(id(PROVIDER), &request(CONSUMER, true)).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!reply.is_finished());
    let started = tokio::time::Instant::now();
    world.create(CONSUMER, PROVIDER, false).await.unwrap();
    let contract = reply.await.unwrap().unwrap();
    assert_eq!(contract.provide_mode, i32::from(ProvideMode::Stream));
    assert!(started.elapsed() < Duration::from_millis(10));
    assert_eq!(world.available(CONSUMER).await, 98 * MIB, "the destination's network pays for the reply");
    assert_eq!(world.available(PROVIDER).await, 100 * MIB);
}

#[tokio::test(start_paused = true)]
async fn a_companion_without_origin_fails_after_three_seconds() {
    let world = World::new(100 * MIB).await;
    let started = tokio::time::Instant::now();
    assert_eq!(world.create(PROVIDER, CONSUMER, true).await, Err(ContractError::Setup));
    let waited = started.elapsed();
    assert!(waited >= COMPANION_WAIT && waited < COMPANION_WAIT + Duration::from_millis(500), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn two_hundred_waiting_companions_delay_nobody() {
    let world = World::new(1000 * MIB).await;
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let ledger = world.ledger.clone();
            tokio::spawn(async move { ledger.create(id(PROVIDER), &request(CONSUMER, true)).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let started = tokio::time::Instant::now();
    world.create(CONSUMER, SIBLING, false).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(10));
    world.create(CONSUMER, PROVIDER, false).await.unwrap();
    let mut made = 0;
    for reply in waiting {
        made += usize::from(reply.await.unwrap().is_ok());
    }
    assert_eq!(made, 64, "those over the bound of a pair are refused at once");
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_caller_has_gone_reserves_nothing() {
    let world = World::new(100 * MIB).await;
    let ledger = world.ledger.clone();
    let reply = tokio::spawn(async move { ledger.create(id(PROVIDER), &request(CONSUMER, true)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    reply.abort();
    let _ = reply.await;
    world.create(CONSUMER, PROVIDER, false).await.unwrap();
    assert_eq!(world.available(CONSUMER).await, 99 * MIB);
}

#[tokio::test(start_paused = true)]
async fn an_origin_counts_for_300_seconds_after_it_has_closed() {
    for (secs, is_made) in [(299, true), (300, true), (301, false)] {
        let mut world = World::new(100 * MIB).await;
        let origin = world.create(CONSUMER, PROVIDER, false).await.unwrap();
        world.close(CONSUMER, origin.id, 0).await;
        world.close(PROVIDER, origin.id, 0).await;
        world.domain.clock.advance(Duration::from_secs(secs));
        assert_eq!(world.create(PROVIDER, CONSUMER, true).await.is_ok(), is_made, "{secs}");
        world.reopen().await;
        assert_eq!(world.create(PROVIDER, CONSUMER, true).await.is_ok(), is_made, "{secs}, after a restart");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_to_a_reply_is_paid_by_whoever_began() {
    let world = World::new(100 * MIB).await;
    let origin = world.create(CONSUMER, PROVIDER, false).await.unwrap();
    world.create(PROVIDER, CONSUMER, true).await.unwrap();
    for party in [CONSUMER, PROVIDER] {
        world.close(party, origin.id, 0).await;
    }
    // Past the linger of the origin, so that the reply is the only anchor left.
    world.domain.clock.advance(Duration::from_secs(301));
    let chained = world.create(CONSUMER, PROVIDER, true).await.unwrap();
    assert_eq!(world.available(PROVIDER).await, 100 * MIB);
    assert_eq!(world.available(CONSUMER).await, 98 * MIB);
    for party in [CONSUMER, PROVIDER] {
        world.close(party, chained.id, 5).await;
    }
    assert_eq!(world.provided(PROVIDER).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_destination_with_stream_only_gets_replies_only() {
    let world = World::new(100 * MIB).await;
    world.provide(CONSUMER, &[ProvideMode::Stream]).await;
    assert_eq!(world.create(PROVIDER, CONSUMER, false).await, Err(ContractError::Setup));
    world.create(CONSUMER, PROVIDER, false).await.unwrap();
    let reply = world.create(PROVIDER, CONSUMER, false).await.unwrap();
    assert_eq!(reply.contract.provide_mode, i32::from(ProvideMode::Stream));
}

#[tokio::test(start_paused = true)]
async fn companions_of_a_pair_reserve_no_more_than_their_cap() {
    let mut config = Config::default();
    config.contracts.companion_bytes_per_pair = ByteSize::mib(3);
    let mut world = World::with_config(config).await;
    world.create(CONSUMER, PROVIDER, false).await.unwrap();
    let mut last = None;
    for _ in 0..3 {
        last = Some(world.create(PROVIDER, CONSUMER, true).await.unwrap());
    }
    assert_eq!(world.create(PROVIDER, CONSUMER, true).await, Err(ContractError::Setup));
    world.reopen().await;
    assert_eq!(world.create(PROVIDER, CONSUMER, true).await, Err(ContractError::Setup), "after a restart");
    for party in [CONSUMER, PROVIDER] {
        world.close(party, last.as_ref().unwrap().id, 0).await;
    }
    world.create(PROVIDER, CONSUMER, true).await.unwrap();
}
