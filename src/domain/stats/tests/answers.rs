//! What is told about providers, the network and its leaders.

use std::time::Duration;

use super::super::answer::Figures;
use super::super::ranking::{SetRankingVisibility, Standing};
use super::super::record::{CENSUS_DAYS, CensusDay, INTEREST_DAYS, UPTIME_DAYS};
use super::super::window::Window;
use super::*;
use crate::domain::contract::record::{Credit, NETWORK_DAYS};
use crate::domain::error::DomainError;
use crate::domain::network::{NETWORKS, NetworkRecord};
use crate::time::DAY;

const CONSUMER: u8 = 1;
const PROVIDER: u8 = 2;
const HOUR: Duration = Duration::from_secs(3600);

fn network(client: u8) -> NetworkId {
    id(network_of(client))
}

async fn world() -> World {
    let world = World::new();
    let modes = [ProvideMode::Network, ProvideMode::FriendsAndFamily, ProvideMode::Public, ProvideMode::Stream];
    world.provider(PROVIDER, network_of(PROVIDER), &modes).await;
    world
}

fn last(world: &World, length: Duration) -> Window {
    Window::last(length, world.now())
}

#[tokio::test]
async fn bytes_count_for_the_provider_in_both_directions() {
    let mut world = world().await;
    let made = world.now();
    world.domain.clock.advance(Duration::from_secs(60));
    let up = contract(CONSUMER, PROVIDER, Some(CONSUMER), made);
    let down = contract(PROVIDER, CONSUMER, Some(CONSUMER), made);
    let free = contract(PROVIDER, PROVIDER, None, made);
    let now = world.now();
    let both = [up, down].into_iter().zip(1..).map(|(contract, at)| settled(id(at), contract, now, GIB, 1_500_000_000));
    let row: Vec<_> = both.chain([settled(id(3), free, now, GIB, 0)]).collect();
    world.archive(row).await;
    let expected = Figures { bytes: 2 * GIB, revenue: 3_000_000_000, interest: 0, contracts: 2, clients: 1 };
    let providers = world.stats.providers(network(PROVIDER), last(&world, DAY)).await.unwrap();
    assert_eq!(providers.len(), 1, "four modes, one provider");
    assert_eq!((providers[0].figures, providers[0].provide_mode), (expected, ProvideMode::Stream as u8));
    let report = world.stats.provider(network(PROVIDER), id(PROVIDER), last(&world, DAY)).await.unwrap();
    assert_eq!(report.days[&now.day_number()].1, expected);
    assert_eq!(report.clients, [(id(CONSUMER), [(now.day_number(), 2 * GIB)].into())]);
    let overview = world.stats.overview(network(PROVIDER), last(&world, DAY)).await.unwrap();
    assert_eq!((overview.provider_count, overview.days[&now.day_number()].1), (1, expected));
    // Anyone's contracts move bytes, paid or not.
    let network_wide = world.stats.last_ninety().await.unwrap();
    assert_eq!(network_wide.days[&now.day_number()].0, 3 * GIB);
}

#[tokio::test]
async fn a_window_leaves_out_what_was_before_it() {
    let mut world = world().await;
    for number in 1..=50u8 {
        world.domain.clock.advance(HOUR);
        let contract = contract(number, PROVIDER, Some(number), world.now());
        let settled = settled(id(number), contract, world.now(), GIB, 0);
        world.archive(vec![settled]).await;
    }
    for (hours, expected) in [(1, 2), (2, 3), (24, 25), (72, 50)] {
        let window = last(&world, hours * HOUR);
        let providers = world.stats.providers(network(PROVIDER), window).await.unwrap();
        let figures = providers[0].figures;
        assert_eq!(
            (figures.bytes, figures.contracts, figures.clients),
            (expected * GIB, expected as u64, expected as u64)
        );
        let report = world.stats.provider(network(PROVIDER), id(PROVIDER), window).await.unwrap();
        let sum = |figure: fn(&Figures) -> i64| report.days.values().map(|(_, figures)| figure(figures)).sum::<i64>();
        assert_eq!(sum(|figures| figures.bytes), expected * GIB);
        assert_eq!(sum(|figures| figures.clients as i64), expected);
        let served: i64 = report.clients.iter().flat_map(|(_, days)| days.values()).sum();
        assert_eq!(served, expected * GIB, "the clients' shares add up");
        let overview = world.stats.overview(network(PROVIDER), window).await.unwrap();
        assert_eq!(overview.days.values().map(|(_, figures)| figures.clients).sum::<u64>(), expected as u64);
        assert_eq!(overview.days.keys().copied().collect::<Vec<_>>(), window.days().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn open_contracts_count_by_the_day_they_were_made() {
    let mut world = world().await;
    let contract = contract(CONSUMER, PROVIDER, Some(CONSUMER), world.now());
    let told = async |world: &World| {
        let overview = world.stats.overview(network(PROVIDER), last(world, DAY)).await.unwrap();
        let figures = overview.days.values().fold(Figures::default(), |mut sum, (_, more)| {
            sum.add(more);
            sum
        });
        (figures.contracts, figures.clients, figures.bytes)
    };
    assert_eq!(told(&world).await, (0, 0, 0));
    world.open(id(1), &contract).await;
    assert_eq!(told(&world).await, (0, 0, 0), "half a minute old at most");
    world.domain.clock.advance(Duration::from_secs(30));
    assert_eq!(told(&world).await, (1, 1, 0));
    world.archive(vec![settled(id(1), contract, world.now(), GIB, 0)]).await;
    assert_eq!(told(&world).await, (1, 1, 0), "settled, not counted");
    world.stats.flush().await.unwrap();
    assert_eq!(told(&world).await, (1, 1, GIB), "not twice");
}

#[tokio::test]
async fn uptime_is_shared_out_over_days_and_clipped_to_the_window() {
    let world = world().await;
    // 23:45 of a day.
    let evening = world.now().start_of_day() + (DAY - 15 * Duration::from_secs(60));
    world.domain.clock.advance(evening.since(world.now()));
    let first = world.attach(PROVIDER, network_of(PROVIDER), 1);
    let second = world.attach(PROVIDER, network_of(PROVIDER), 2);
    world.stats.flush().await.unwrap();
    world.domain.clock.advance(Duration::from_secs(15 * 60));
    drop(first);
    world.domain.clock.advance(Duration::from_secs(15 * 60));
    drop(second);
    for flush in [false, true] {
        if flush {
            world.stats.flush().await.unwrap();
        }
        let line = &world.stats.providers(network(PROVIDER), last(&world, DAY)).await.unwrap()[0];
        assert_eq!((line.uptime, line.connected), (Duration::from_secs(1800), false));
        assert_eq!(line.events, [(evening, true), (world.now(), false)]);
        let overview = world.stats.overview(network(PROVIDER), last(&world, DAY)).await.unwrap();
        let uptimes: Vec<_> = overview.days.values().map(|(uptime, _)| uptime.as_secs()).collect();
        assert_eq!(uptimes, [900, 900]);
    }
    world.domain.clock.advance(Duration::from_secs(40 * 60));
    let line = &world.stats.providers(network(PROVIDER), last(&world, HOUR)).await.unwrap()[0];
    assert!(line.uptime <= Duration::from_secs(20 * 60), "{:?}", line.uptime);
    assert_eq!(line.events.len(), 1, "it came before the window");

    let _third = world.attach(PROVIDER, network_of(PROVIDER), 3);
    world.domain.clock.advance(3 * DAY);
    let line = &world.stats.providers(network(PROVIDER), last(&world, DAY)).await.unwrap()[0];
    assert_eq!((line.uptime, line.connected), (DAY, true), "never more than the window");
}

#[tokio::test]
async fn a_session_that_a_crash_left_open_ends_at_the_last_sign_of_life() {
    let mut world = world().await;
    let guard = world.attach(PROVIDER, network_of(PROVIDER), 1);
    world.stats.flush().await.unwrap();
    world.domain.clock.advance(HOUR);
    world.stats.flush().await.unwrap();
    let end = world.now();
    world.domain.clock.advance(HOUR);
    std::mem::forget(guard);
    world.crash().await;
    let line = &world.stats.providers(network(PROVIDER), last(&world, DAY)).await.unwrap()[0];
    assert_eq!((line.uptime, line.connected), (HOUR, false));
    assert_eq!(line.events.last(), Some(&(end, false)));
    world.crash().await;
    let again = &world.stats.providers(network(PROVIDER), last(&world, DAY)).await.unwrap()[0];
    assert_eq!(again, line, "once");
}

#[tokio::test]
async fn devices_are_counted_once_a_day_and_carried_over_midnight() {
    let world = world().await;
    let today = world.now().day_number();
    let _stays = world.attach(1, 1, 1);
    for connection in 2..5 {
        drop(world.attach(2, 1, connection));
        world.stats.flush().await.unwrap();
    }
    let devices = |day| CENSUS_DAYS.get(world.store(), &day).unwrap().map_or(0, |census| census.devices);
    assert_eq!(devices(today), 2);
    world.domain.clock.advance(DAY);
    world.stats.flush().await.unwrap();
    assert_eq!((devices(today), devices(today + 1)), (2, 1));
}

#[tokio::test]
async fn the_census_of_a_day_is_its_last_one() {
    let world = world().await;
    let today = world.now().day_number();
    let record = NetworkRecord {
        name: "n".into(),
        admin_user_id: id(1),
        create_time: world.now(),
        referral_code: "AAAAAA".into(),
        referred_by: None,
        former_names: Vec::new(),
    };
    world.domain.put(&NETWORKS, &id(5), &record).await;
    let guard = world.attach(PROVIDER, network_of(PROVIDER), 1);
    world.domain.clock.advance(Duration::from_secs(60));
    world.stats.flush().await.unwrap();
    world.stats.take_census().await.unwrap();
    let census = CensusDay { devices: 1, providers: 1, networks: 1, ..CensusDay::default() };
    assert_eq!(CENSUS_DAYS.get(world.store(), &today).unwrap(), Some(census));
    assert_eq!(world.stats.last_ninety().await.unwrap().days[&today].1, census);
    drop(guard);
    assert_eq!(world.stats.last_ninety().await.unwrap().days[&today].1, census, "a minute old at most");
    world.domain.clock.advance(Duration::from_secs(60));
    assert_eq!(world.stats.last_ninety().await.unwrap().days[&today].1.providers, 0);
    // Nobody is there while the server is off, but the networks are.
    world.domain.clock.advance(5 * DAY);
    let later = world.stats.last_ninety().await.unwrap();
    assert_eq!(later.days[&(today + 3)].1, CensusDay { networks: 1, ..CensusDay::default() });
    assert_eq!(later.days.len(), 91);
}

#[tokio::test]
async fn offers_are_kept_by_the_hour() {
    let world = world().await;
    let now = world.now();
    for at in [now.before(DAY), now.before(HOUR), now, now] {
        world.providers.interest().record(at, [id(PROVIDER)].into_iter());
    }
    world.stats.flush().await.unwrap();
    world.providers.interest().record(now, [id(PROVIDER)].into_iter());
    world.stats.flush().await.unwrap();
    let interest = async |length| {
        let window = last(&world, length);
        world.stats.providers(network(PROVIDER), window).await.unwrap()[0].figures.interest
    };
    assert_eq!([interest(HOUR).await, interest(DAY).await], [4, 5]);
}

#[tokio::test]
async fn foreign_and_unknown_clients_are_not_shown_but_removed_ones_are() {
    let world = world().await;
    let window = last(&world, DAY);
    for client in [PROVIDER, 99] {
        let answer = world.stats.provider(network(CONSUMER), id(client), window).await;
        assert!(matches!(answer, Err(DomainError::Forbidden("Not authorized to view this provider."))));
    }
    let removed = crate::domain::client::ClientRecord { active: false, ..client_record(network_of(PROVIDER)) };
    world.domain.put(&crate::domain::client::CLIENTS, &id(PROVIDER), &removed).await;
    assert!(world.stats.provider(network(PROVIDER), id(PROVIDER), window).await.is_ok());
    assert!(world.stats.providers(network(PROVIDER), window).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_best_networks_of_28_days_lead_and_show_their_names_only_if_they_want() {
    let world = World::new();
    let today = world.now().day_number();
    for (network, bytes, age) in [(1, 5, 0), (1, 6, 27), (2, 20, 3), (3, 100, 28), (4, 7, 1)] {
        let credit = Credit { provided_bytes: bytes, ..Credit::default() };
        world.domain.put(&NETWORK_DAYS, &(today - age, id(network)), &credit).await;
    }
    for network in [1, 2, 3] {
        let record = NetworkRecord {
            name: format!("net-{network}"),
            admin_user_id: id(network),
            create_time: world.now(),
            referral_code: "AAAAAA".into(),
            referred_by: None,
            former_names: Vec::new(),
        };
        world.domain.put(&NETWORKS, &id(network), &record).await;
    }
    world.domain.run(&SetRankingVisibility { network_id: id(1), is_public: true }).await.unwrap();
    let earners = world.stats.leaderboard().await.unwrap();
    let told: Vec<_> = earners.into_iter().map(|earner| (earner.network, earner.bytes)).collect();
    assert_eq!(told, [(None, 20), (Some((id(1), "net-1".to_owned())), 11)], "the fourth is deleted");
    assert_eq!(world.stats.standing(id(1)).await.unwrap(), Standing { bytes: 11, rank: 2, is_public: true });
    assert_eq!(world.stats.standing(id(3)).await.unwrap(), Standing::default());
    world.domain.run(&SetRankingVisibility { network_id: id(1), is_public: false }).await.unwrap();
    assert!(world.stats.leaderboard().await.unwrap().iter().all(|earner| earner.network.is_none()));
    let gone = world.domain.run(&SetRankingVisibility { network_id: id(9), is_public: true }).await;
    assert!(matches!(gone, Err(DomainError::Unauthorized)));
}

#[tokio::test]
async fn old_days_go() {
    let world = world().await;
    let today = world.now().day_number();
    for age in 0..500 {
        world.domain.put(&UPTIME_DAYS, &(today - age, id(1)), &Default::default()).await;
        world.domain.put(&INTEREST_DAYS, &(today - age, id(1)), &Default::default()).await;
    }
    world.stats.delete_old().await.unwrap();
    let count = |prefix: Vec<u8>| world.store().scan(&prefix, None, 1000).unwrap().len();
    assert_eq!(count(UPTIME_DAYS.prefix(&())), 500, "not yet");
    world.domain.clock.advance(HOUR);
    world.stats.delete_old().await.unwrap();
    assert_eq!((count(UPTIME_DAYS.prefix(&())), count(INTEREST_DAYS.prefix(&()))), (401, 31));
}

#[tokio::test]
async fn long_lists_are_cut() {
    use super::super::provider::{MAX_CLIENT_DAYS, MAX_CLIENTS};
    let mut world = world().await;
    for number in 0..MAX_CLIENTS as u64 + 100 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        let mut contract = contract(CONSUMER, PROVIDER, Some(CONSUMER), world.now());
        contract.source.client_id = ClientId::new(bytes);
        world.archive(vec![settled(ContractId::new(bytes), contract, world.now(), 1 + number as i64, 0)]).await;
    }
    let report = world.stats.provider(network(PROVIDER), id(PROVIDER), last(&world, DAY)).await.unwrap();
    assert_eq!(report.clients.len(), MAX_CLIENTS);
    assert_eq!(report.clients[0].1.values().sum::<i64>(), MAX_CLIENTS as i64 + 100, "largest first");
    assert!(report.clients.iter().map(|(_, days)| days.len()).sum::<usize>() <= MAX_CLIENT_DAYS);
}
