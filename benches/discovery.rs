//! Searches among 100 000 providers in 10 000 cities, and what it takes to keep them in order: CPU time of one call on
//! one thread, at the median and at the 99th percentile of many, each the mean of a few equal calls in a row.
//!
//! What the scheduler counted for this thread (Linux: `/proc/thread-self/schedstat`), so that other work on the machine
//! does not.

#![allow(clippy::print_stdout, reason = "a bench reports")]

use std::collections::HashSet;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warren::domain::location::country::COUNTRIES;
use warren::domain::location::directory::{Directory, Names};
use warren::domain::location::geoip::{Located, NetworkKind};
use warren::domain::location::group::GROUPS;
use warren::domain::location::place::Place;
use warren::domain::provider::candidates::{Candidate, Candidates};
use warren::domain::provider::find::{FindProviders, ProviderSpec};
use warren::domain::provider::places::FindPlaces;
use warren::domain::provider::rank::{Health, RankMode, Reliability, Speed};
use warren::ids::{ClientId, LocationId, NetworkId};
use warren::time::Timestamp;

const PROVIDERS: usize = 100_000;
const CITIES: usize = 10_000;
/// Every second provider is in the first country.
const FIRST_COUNTRY: &str = "us";
/// Providers of the largest city.
const LARGEST_CITY: usize = 1000;
const EXCLUDED: usize = 1000;
/// What is measured together.
const CALLS: usize = 20;
/// How often it is measured.
const SAMPLES: usize = 500;

fn main() {
    let mut rng = StdRng::seed_from_u64(1);
    let cities: Vec<Arc<Located>> = (0..CITIES).map(|number| city(number, &mut rng)).collect();
    let providers: Vec<Candidate> = (0..PROVIDERS).map(|number| provider(number, &cities, &mut rng)).collect();

    let mut candidates = Candidates::default();
    let began = Instant::now();
    providers.iter().cloned().for_each(|provider| candidates.insert(provider));
    candidates.announce(Timestamp::ZERO, usize::MAX);
    println!("{PROVIDERS} providers added in {:?}", began.elapsed());
    let began = Instant::now();
    let mut directory = Directory::new();
    directory.add(candidates.take_fresh_places());
    let names = directory.names();
    println!("names of {CITIES} cities sorted in {:?}", began.elapsed());

    println!("{:48} {:>10} {:>10}", "find-providers2", "p50", "p99");
    let us = providers.iter().find(|provider| provider.place_ids[0] == country_id()).map(|_| country_id());
    let scopes = [
        ("best available", ProviderSpec::BestAvailable),
        ("country with 50 000", ProviderSpec::Location(us.expect("half of them are there"))),
        ("city with 1000", ProviderSpec::Location(cities[0].place.city_id().expect("a city"))),
        ("city with 10", ProviderSpec::Location(cities[77].place.city_id().expect("a city"))),
        ("group: strong privacy", ProviderSpec::Group(GROUPS[2].id())),
        ("group: European Union", ProviderSpec::Group(GROUPS[0].id())),
    ];
    for (name, spec) in scopes {
        for excluded in [0, EXCLUDED] {
            let excluded = excluded_from(&providers, spec, excluded);
            find(&format!("{name}, {} excluded", excluded.len()), &candidates, spec, &excluded, &mut rng);
        }
    }

    println!("{:48} {:>10} {:>10}", "find-provider-locations", "p50", "p99");
    let typed: Vec<String> = (0..SAMPLES).map(|_| typed(&cities, &mut rng)).collect();
    search("names with typos and cut short", &candidates, &names, &typed);
    search("three letters", &candidates, &names, &typed.iter().map(|text| text[..3].into()).collect::<Vec<_>>());
    search("a country with half of the cities", &candidates, &names, &vec!["united states".into(); 100]);

    println!("{:48} {:>10} {:>10}", "changes", "p50", "p99");
    changes(&mut candidates, &providers, &mut rng);
}

fn country_id() -> LocationId {
    Place::new(FIRST_COUNTRY, "", "", "").expect("a country").country_id()
}

const SYLLABLES: &[&str] =
    &["ka", "lo", "mi", "ber", "san", "ton", "ville", "ra", "pe", "stad", "no", "vi", "quu", "dor"];

fn name(rng: &mut StdRng) -> String {
    let words = rng.random_range(1..3);
    let word = |rng: &mut StdRng| {
        (0..rng.random_range(2..5)).map(|_| SYLLABLES[rng.random_range(0..SYLLABLES.len())]).collect::<String>()
    };
    (0..words).map(|_| word(rng)).collect::<Vec<_>>().join(" ")
}

fn city(number: usize, rng: &mut StdRng) -> Arc<Located> {
    let code = if number.is_multiple_of(2) { FIRST_COUNTRY } else { COUNTRIES[number / 2 % COUNTRIES.len()].0 };
    let region = format!("Region {}", number / 2 % 50);
    let place = Place::new(code, "", &region, &format!("{} {number}", name(rng))).expect("a country");
    Arc::new(Located { place, network: NetworkKind::default() })
}

fn provider(number: usize, cities: &[Arc<Located>], rng: &mut StdRng) -> Candidate {
    let city = &cities[if number < LARGEST_CITY { 0 } else { number % CITIES }];
    let client_id = client(number);
    // One in ten shares its line with others.
    let line = if number.is_multiple_of(10) { number % 1000 } else { number } as u32;
    let address = IpAddr::from((0x0b00_0000 + line * 8).to_be_bytes());
    let health = Health {
        latency: rng.random::<bool>().then(|| Duration::from_millis(rng.random_range(1..250))),
        speed: rng
            .random::<bool>()
            .then(|| Speed { bytes_per_second: rng.random_range(1e5..1e8), is_floor: rng.random::<bool>() }),
        reliability: Reliability {
            shares: [rng.random_range(0.6..1.0), rng.random_range(0.9..1.0), 0.9],
            is_abnormal: false,
        },
        ..Health::UNKNOWN
    };
    Candidate { health, ..Candidate::new(client_id, network(number), address, Some(Arc::clone(city))) }
}

fn client(number: usize) -> ClientId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    ClientId::new(bytes)
}

fn network(number: usize) -> NetworkId {
    NetworkId::new(*client(number % 5000).as_bytes())
}

/// Ids that a client has tried before: of providers where it looks.
fn excluded_from(providers: &[Candidate], spec: ProviderSpec, count: usize) -> Vec<ClientId> {
    let is_there = |provider: &&Candidate| match spec {
        ProviderSpec::Location(id) => provider.place_ids.contains(&id),
        _ => true,
    };
    let there: Vec<ClientId> = providers.iter().filter(is_there).map(|provider| provider.client_id).collect();
    // Spread out; of a small place not everyone.
    let step = (there.len() / count.max(1)).max(1);
    there.into_iter().step_by(step).take(count).collect()
}

fn find(name: &str, candidates: &Candidates, spec: ProviderSpec, excluded: &[ClientId], rng: &mut StdRng) {
    let mut search = |mode| {
        // Making the set belongs to the request.
        let search = FindProviders {
            specs: vec![spec],
            count: 20,
            excluded: excluded.iter().copied().collect::<HashSet<_>>(),
            mode,
            ..FindProviders::default()
        };
        black_box(search.pick(candidates, 8, rng));
    };
    let modes = (0..SAMPLES).map(|sample| if sample % 2 == 0 { RankMode::Quality } else { RankMode::Speed });
    report(name, modes.map(|mode| measure(|| search(mode))).collect());
}

/// The beginning of a city's name, with up to two mistakes.
fn typed(cities: &[Arc<Located>], rng: &mut StdRng) -> String {
    let mut text = cities[rng.random_range(0..cities.len())].place.city.clone().into_bytes();
    text.truncate(rng.random_range(4..12));
    for _ in 0..rng.random_range(0..3) {
        let at = rng.random_range(0..text.len());
        text[at] = b'a' + rng.random_range(0..26);
    }
    String::from_utf8(text).expect("plain letters")
}

fn search(name: &str, candidates: &Candidates, names: &Names, queries: &[String]) {
    let search = |query: &String| {
        let find = FindPlaces { query, max_distance_fraction: None, asker: None };
        black_box(find.pick(&find.look_up(names), candidates, 1.0));
    };
    report(name, queries.iter().map(|query| measure(|| search(query))).collect());
}

fn changes(candidates: &mut Candidates, providers: &[Candidate], rng: &mut StdRng) {
    let (mut replaced, mut reweighed) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        replaced.push(measure(|| {
            let provider = &providers[rng.random_range(0..providers.len())];
            candidates.remove(provider.client_id);
            candidates.insert(provider.clone());
            candidates.announce(Timestamp::ZERO, 1);
        }));
        reweighed.push(measure(|| {
            let provider = &providers[rng.random_range(0..providers.len())];
            let reliability = Reliability { shares: [rng.random(); 3], is_abnormal: false };
            candidates.set_health(provider.client_id, Health { reliability, ..provider.health });
        }));
    }
    report("disconnect and connect", replaced);
    report("another health", reweighed);
}

/// The CPU time of one call.
fn measure(mut call: impl FnMut()) -> Duration {
    let began = cpu_time();
    (0..CALLS).for_each(|_| call());
    (cpu_time() - began) / CALLS as u32
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    // The scheduler counts when it is asked for another thread, and else from time to time.
    thread::yield_now();
    let counted = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let running = counted.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok());
    Duration::from_nanos(running.expect("nanoseconds"))
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{name:48} {:>10.1?} {:>10.1?}", at(0.50), at(0.99));
}
