use std::net::IpAddr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::config::Config;
use crate::config::geoip::Override;
use crate::domain::client::{CLIENTS, ClientRecord};
use crate::domain::location::geoip::Geography;
use crate::domain::location::place::{Place, derive_id};
use crate::domain::presence::{Presence, PresenceEntry, PresenceGuard};
use crate::domain::provide::{PROVIDE_SETS, ProvideSet};
use crate::domain::provider::blocked::SetBlocked;
use crate::domain::provider::places::countries;
use crate::domain::testing::{TestDomain, client_record, id};
use crate::ids::{ConnectionId, Id, NetworkId};
use crate::wire::messages::ProvideMode;

const DELAY: Duration = Duration::from_secs(5);

/// Providers of networks 1 and 2 in Germany (10.1.x.x), Sweden (10.2.x.x) and nowhere (10.9.x.x).
struct Market {
    domain: TestDomain,
    presence: Arc<Presence>,
    index: Arc<ProviderIndex>,
    connections: u8,
}

impl Market {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        let range = |range: &str, country: &str, region: &str| Override {
            range: range.into(),
            country: country.into(),
            region: region.into(),
            ..Override::default()
        };
        config.geoip.overrides = vec![range("10.1.0.0/16", "de", "Berlin"), range("10.2.0.0/16", "se", "")];
        change(&mut config);
        let geography = Geography::open(&config.geoip).unwrap();
        let domain = TestDomain::with_config(config);
        let presence = Presence::new(domain.clock.clone());
        let index = ProviderIndex::new(Arc::clone(&domain.service), Arc::clone(&presence), geography);
        presence.follow(index.clone());
        Self { domain, presence, index, connections: 0 }
    }

    async fn client(&self, client: u8, record: ClientRecord, modes: &[ProvideMode]) {
        self.domain.put(&CLIENTS, &id(client), &record).await;
        let mut set = ProvideSet::default();
        modes.iter().for_each(|mode| set.insert(*mode, vec![1; 32]));
        self.domain.put(&PROVIDE_SETS, &id::<ClientId>(client), &set).await;
        self.index.refresh(id(client));
    }

    fn connect(&mut self, client: u8, network: u8, area: u8) -> PresenceGuard {
        self.connections += 1;
        self.presence.attach(PresenceEntry {
            connection_id: ConnectionId::from_bytes([self.connections; 16]),
            client_id: id(client),
            network_id: id(network),
            instance_id: id(client),
            address: IpAddr::from([10, area, client, 1]),
        })
    }

    /// A connected provider that has waited long enough.
    async fn provider(&mut self, client: u8, network: u8, area: u8, modes: &[ProvideMode]) -> PresenceGuard {
        self.client(client, client_record(network), modes).await;
        let guard = self.connect(client, network, area);
        self.domain.clock.advance(DELAY);
        guard
    }

    /// The clients found, as bytes in ascending order.
    fn find(&self, find: &FindProviders) -> Vec<u8> {
        let mut found: Vec<_> = self.found(find).iter().map(|found| found.client_id.as_bytes()[0]).collect();
        found.sort();
        found
    }

    fn found(&self, find: &FindProviders) -> Vec<FoundProvider> {
        find.run(&self.index, &mut StdRng::seed_from_u64(7))
    }
}

fn best() -> FindProviders {
    FindProviders { specs: vec![ProviderSpec::BestAvailable], ..FindProviders::default() }
}

fn at(spec: ProviderSpec) -> FindProviders {
    FindProviders { specs: vec![spec], ..FindProviders::default() }
}

fn country(code: &str) -> LocationId {
    Place::new(code, "", "", "").unwrap().country_id()
}

const PUBLIC: &[ProvideMode] = &[ProvideMode::Public, ProvideMode::Network];
const NETWORK: &[ProvideMode] = &[ProvideMode::Network, ProvideMode::Stream];

#[tokio::test]
async fn a_provider_is_offered_after_the_delay_and_only_while_connected_and_providing() {
    let mut market = Market::new();
    market.client(1, client_record(1), PUBLIC).await;
    assert!(market.find(&best()).is_empty(), "not connected");
    let guard = market.connect(1, 1, 1);
    market.domain.clock.advance(DELAY - Duration::from_millis(1));
    assert!(market.find(&best()).is_empty(), "too new");
    market.domain.clock.advance(Duration::from_millis(1));
    assert_eq!(market.find(&best()), [1]);
    market.client(1, client_record(1), &[ProvideMode::Stream]).await;
    assert!(market.find(&best()).is_empty(), "paused");
    market.client(1, client_record(1), PUBLIC).await;
    assert_eq!(market.find(&best()), [1], "at once, since it is connected for long");
    let second = market.connect(1, 1, 2);
    drop(guard);
    assert_eq!(market.find(&best()), [1], "another transport has taken over");
    drop(second);
    assert!(market.find(&best()).is_empty());
}

#[tokio::test]
async fn a_removed_client_is_no_candidate_although_connected() {
    let mut market = Market::new();
    let _guard = market.provider(1, 1, 1, PUBLIC).await;
    market.client(1, ClientRecord { active: false, ..client_record(1) }, PUBLIC).await;
    assert!(market.find(&best()).is_empty());
    assert!(countries(&market.index, None).is_empty());
}

#[tokio::test]
async fn places_and_groups_hold_what_is_inside_them() {
    let mut market = Market::new();
    let _guards = [
        market.provider(1, 1, 1, PUBLIC).await,
        market.provider(2, 1, 2, PUBLIC).await,
        market.provider(3, 1, 9, PUBLIC).await,
    ];
    let berlin = Place::new("de", "", "Berlin", "").unwrap();
    assert_eq!(market.find(&at(ProviderSpec::Location(berlin.country_id()))), [1]);
    assert_eq!(market.find(&at(ProviderSpec::Location(berlin.region_id().unwrap()))), [1]);
    assert_eq!(market.find(&at(ProviderSpec::Location(country("us")))), [0; 0]);
    assert_eq!(market.find(&at(ProviderSpec::Group(derive_id("group", &["Nordic"])))), [2]);
    assert_eq!(market.find(&at(ProviderSpec::Group(id(5)))), [0; 0]);
    assert_eq!(market.find(&best()), [1, 2, 3], "unlocated ones too");
    let both = vec![ProviderSpec::Location(country("de")), ProviderSpec::Location(country("se"))];
    assert_eq!(market.find(&FindProviders { specs: both, ..FindProviders::default() }), [1, 2]);
    assert_eq!(market.find(&FindProviders::default()), [0; 0], "no spec");
}

#[tokio::test]
async fn a_network_only_provider_is_offered_to_its_own_network() {
    let mut market = Market::new();
    let _guard = market.provider(1, 1, 1, NETWORK).await;
    let asking = |network: u8, find: FindProviders| FindProviders {
        asker: Some(Asker { network_id: id::<NetworkId>(network), top_level_id: None }),
        ..find
    };
    let germany = at(ProviderSpec::Location(country("de")));
    assert_eq!(market.find(&best()), [0; 0]);
    assert_eq!(market.find(&asking(2, best())), [0; 0]);
    assert_eq!(market.find(&asking(1, best())), [1]);
    assert_eq!(market.find(&asking(1, germany)), [1]);
    assert!(countries(&market.index, None).is_empty());
    let own = Asker { network_id: id(1), top_level_id: None };
    assert_eq!(countries(&market.index, Some(own))[0].provider_count, 1);
}

#[tokio::test]
async fn the_callers_own_client_and_its_derived_ones_are_not_offered() {
    let mut market = Market::new();
    let _guards = [market.provider(1, 1, 1, PUBLIC).await, market.provider(3, 1, 1, PUBLIC).await];
    market.client(2, ClientRecord { source_client_id: Some(id(1)), ..client_record(1) }, PUBLIC).await;
    let _derived = market.connect(2, 1, 1);
    market.domain.clock.advance(DELAY);
    assert_eq!(market.find(&best()), [1, 2, 3]);
    let asker = Some(Asker { network_id: id(1), top_level_id: Some(id(1)) });
    assert_eq!(market.find(&FindProviders { asker, ..best() }), [3]);
}

#[tokio::test]
async fn excluded_clients_are_left_out_and_an_exhausted_set_is_empty() {
    let mut market = Market::new();
    let _guards = [market.provider(1, 1, 1, PUBLIC).await, market.provider(2, 1, 1, PUBLIC).await];
    let excluding = |excluded: &[u8], find: FindProviders| FindProviders {
        excluded: excluded.iter().map(|byte| id(*byte)).collect(),
        ..find
    };
    assert_eq!(market.find(&excluding(&[1], best())), [2]);
    assert_eq!(market.find(&excluding(&[1, 2], best())), [0; 0]);
    assert_eq!(market.find(&excluding(&[7], at(ProviderSpec::Client(id(7))))), [0; 0]);
}

#[tokio::test]
async fn a_client_asked_for_by_id_comes_first_even_when_unknown() {
    let mut market = Market::new();
    let _guard = market.provider(1, 1, 1, PUBLIC).await;
    let specs = vec![ProviderSpec::BestAvailable, ProviderSpec::Client(id(9)), ProviderSpec::Client(id(1))];
    let found = market.found(&FindProviders { specs, ..FindProviders::default() });
    let ids: Vec<_> = found.iter().map(|found| found.client_id.as_bytes()[0]).collect();
    assert_eq!(ids, [9, 1]);
    assert_eq!((found[0].tier, found[0].located.is_none(), found[1].located.is_some()), (0, true, true));
}

#[tokio::test]
async fn the_count_is_at_least_20_unless_forced_and_200_at_most() {
    let mut market = Market::new();
    let mut guards = Vec::new();
    for client in 1..=250 {
        guards.push(market.provider(client, 1, 1, PUBLIC).await);
    }
    let count = |count, force_count| market.find(&FindProviders { count, force_count, ..best() }).len();
    assert_eq!([count(0, false), count(-3, false), count(5, false), count(50, false)], [20, 20, 20, 50]);
    assert_eq!([count(5, true), count(0, true), count(1000, false), count(i64::MAX, true)], [5, 20, 200, 200]);
}

#[tokio::test]
async fn no_provider_is_drawn_twice_and_all_are_drawn_in_time() {
    let mut market = Market::new();
    let mut guards = Vec::new();
    for client in 1..=40 {
        guards.push(market.provider(client, 1, 1, PUBLIC).await);
    }
    let mut rng = StdRng::seed_from_u64(3);
    let mut seen = HashSet::new();
    for _ in 0..60 {
        let found = best().run(&market.index, &mut rng);
        let ids: HashSet<_> = found.iter().map(|found| found.client_id).collect();
        assert_eq!((found.len(), ids.len()), (20, 20));
        seen.extend(ids);
    }
    assert_eq!(seen.len(), 40);
}

#[tokio::test]
async fn weights_decide_how_often_a_provider_is_drawn() {
    let mut market = Market::new();
    // Two share a line, so each weighs half of the third.
    market.client(1, client_record(1), PUBLIC).await;
    market.client(2, client_record(1), PUBLIC).await;
    let _first = market.connect(1, 1, 1);
    let entry = |client: u8, address: [u8; 4]| PresenceEntry {
        connection_id: id(100 + client),
        client_id: id(client),
        network_id: id(1),
        instance_id: id(client),
        address: IpAddr::from(address),
    };
    let _second = market.presence.attach(entry(2, [10, 1, 1, 2]));
    let _third = market.provider(3, 1, 1, PUBLIC).await;
    let mut rng = StdRng::seed_from_u64(5);
    let mut drawn = [0; 4];
    for _ in 0..4000 {
        let found = FindProviders { count: 1, force_count: true, ..best() }.run(&market.index, &mut rng);
        drawn[usize::from(found[0].client_id.as_bytes()[0])] += 1;
    }
    assert!((1850..2150).contains(&drawn[3]), "{drawn:?}");
    let intermediaries = HashSet::from([id(3)]);
    let less = FindProviders { count: 1, force_count: true, intermediaries, ..best() };
    let third = (0..4000).filter(|_| less.run(&market.index, &mut rng)[0].client_id == id(3)).count();
    assert!((1200..1470).contains(&third), "{third}");
}

#[tokio::test]
async fn connected_providers_move_when_the_address_tables_change() {
    let mut market = Market::new();
    let _guards = [market.provider(1, 1, 1, PUBLIC).await, market.provider(2, 1, 2, PUBLIC).await];
    assert_eq!(market.find(&at(ProviderSpec::Location(country("de")))), [1]);
    let mut config = Config::default().geoip;
    config.default.country = "se".into();
    market.index.set_geography(Geography::open(&config).unwrap());
    assert_eq!(market.find(&at(ProviderSpec::Location(country("de")))), [0; 0]);
    assert_eq!(market.find(&at(ProviderSpec::Location(country("se")))), [1, 2]);
}

#[tokio::test]
async fn overlapping_places_count_once() {
    let mut market = Market::new();
    let mut guards = Vec::new();
    for client in 1..=2 {
        guards.push(market.provider(client, 1, client, PUBLIC).await);
    }
    let berlin = Place::new("de", "", "Berlin", "").unwrap();
    let specs = [berlin.country_id(), berlin.region_id().unwrap(), country("se")].map(ProviderSpec::Location).to_vec();
    let find = FindProviders { specs, count: 1, force_count: true, ..FindProviders::default() };
    let mut rng = StdRng::seed_from_u64(9);
    let first = (0..2000).filter(|_| find.run(&market.index, &mut rng)[0].client_id == id(1)).count();
    assert!((900..1100).contains(&first), "{first} of 2000");
}

/// Makes everyone's transports speak and samples, twice a minute.
async fn minutes(market: &Market, count: u32, speaking: &[&PresenceGuard]) {
    for _ in 0..2 * count {
        market.domain.clock.advance(Duration::from_secs(30));
        speaking.iter().for_each(|guard| guard.vitals().heard(market.domain.clock.now()));
        market.index.sample().await;
    }
}

#[tokio::test]
async fn reliable_providers_are_preferred_while_there_are_enough_of_them() {
    let mut market = Market::with(|config| config.discovery.min_strict = 2);
    let guards = [
        market.provider(1, 1, 1, PUBLIC).await,
        market.provider(2, 1, 1, PUBLIC).await,
        market.provider(3, 1, 1, PUBLIC).await,
    ];
    minutes(&market, 10, &[&guards[0], &guards[1]]).await;
    assert_eq!(market.find(&best()), [1, 2], "the third was silent");
    let excluded = HashSet::from([id(1)]);
    assert_eq!(market.find(&FindProviders { excluded, ..best() }), [2, 3], "one alone is not enough");
    assert_eq!(market.find(&FindProviders { force_minimum: true, ..best() }), [1, 2, 3]);
    // What it provides, said again, changes nothing; ceasing for a moment does.
    minutes(&market, 5, &[&guards[0], &guards[1]]).await;
    market.client(1, client_record(1), PUBLIC).await;
    minutes(&market, 2, &[&guards[0], &guards[1]]).await;
    let share =
        |client: u8| market.index.with_candidates(|all| all.get(id(client)).unwrap().health.reliability.shares[0]);
    assert_eq!((share(1), share(3)), (1.0, 0.0));
    market.client(1, client_record(1), NETWORK).await;
    market.client(1, client_record(1), PUBLIC).await;
    minutes(&market, 2, &[&guards[0], &guards[1]]).await;
    assert_eq!(share(1), 0.8);
}

#[tokio::test]
async fn what_transports_show_becomes_the_tier() {
    let mut market = Market::new();
    let guards = [market.provider(1, 1, 1, PUBLIC).await, market.provider(2, 1, 1, PUBLIC).await];
    let tiers = |market: &Market| {
        let found = market.found(&best());
        found.iter().map(|found| (found.client_id.as_bytes()[0], found.tier, found.estimated_speed)).collect::<Vec<_>>()
    };
    assert!(tiers(&market).iter().all(|(_, tier, speed)| (*tier, *speed) == (1, None)));
    let (near, slow) = (guards[0].vitals(), guards[1].vitals());
    near.measured_latency(Duration::from_millis(20));
    near.measured_speed(50e6);
    slow.measured_speed(1e5);
    market.index.sample().await;
    assert_eq!(tiers(&market), [(1, 0, Some(50e6)), (2, 3, Some(1e5))]);
    slow.reached(60_000_000);
    market.index.sample().await;
    assert_eq!(tiers(&market)[1], (2, 0, Some(6e7)), "real traffic was faster than the measurement");
}

#[tokio::test]
async fn countries_are_listed_once_with_their_providers() {
    let mut market = Market::new();
    let _guards = [
        market.provider(1, 1, 1, PUBLIC).await,
        market.provider(2, 1, 1, PUBLIC).await,
        market.provider(3, 1, 2, PUBLIC).await,
        market.provider(4, 1, 9, PUBLIC).await,
    ];
    let listed = countries(&market.index, None);
    let summary: Vec<_> = listed.iter().map(|listed| (listed.place.country.as_str(), listed.provider_count)).collect();
    assert_eq!(summary, [("Germany", 2), ("Sweden", 1)]);
    assert!(listed.iter().all(|listed| listed.has_strong_privacy && listed.is_stable));
}

#[tokio::test]
async fn providers_of_a_network_are_not_offered_to_countries_that_it_blocks() {
    let mut market = Market::new();
    let _guards = [market.provider(1, 1, 1, PUBLIC).await, market.provider(2, 2, 1, PUBLIC).await];
    let block = |is_blocked, location_id| SetBlocked { network_id: id(1), location_id, is_blocked };
    assert!(market.domain.run(&block(true, country("se"))).await.unwrap());
    assert!(!market.domain.run(&block(true, id(9))).await.unwrap(), "no country");
    market.index.refresh_network(id(1));
    let from = |country| FindProviders { country, ..best() };
    assert_eq!(market.find(&from(Some(country("se")))), [2]);
    assert_eq!(market.find(&from(Some(country("de")))), [1, 2]);
    assert_eq!(market.find(&from(None)), [1, 2], "a caller nobody can locate");
    market.domain.run(&block(false, country("se"))).await.unwrap();
    market.index.refresh_network(id(1));
    assert_eq!(market.find(&from(Some(country("se")))), [1, 2]);
}

#[tokio::test]
async fn every_offer_counts_as_interest() {
    let mut market = Market::new();
    let _guard = market.provider(1, 1, 1, PUBLIC).await;
    market.find(&best());
    market.find(&best());
    let counters = market.index.interest().take();
    assert_eq!(counters.iter().map(|((_, client), count)| (*client, *count)).collect::<Vec<_>>(), [(id(1), 2)]);
}
