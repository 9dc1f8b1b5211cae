use std::time::Duration;

use super::*;
use crate::domain::testing::id;

/// A watch that is fed like the server feeds it.
struct Watched {
    watch: Watch,
    now: Timestamp,
    buckets: Vec<NetworkBucket>,
}

const SAMPLE: Duration = Duration::from_secs(30);

impl Watched {
    /// Ten seconds into a block.
    fn new() -> Self {
        let now = Timestamp::from_secs(60 * 900_000 + 10);
        Self { watch: Watch::new(now), now, buckets: Vec::new() }
    }

    /// One sample: these clients of network 1 are there and speak, each on a line of its own.
    fn sample(&mut self, clients: &[u8]) {
        let addresses: Vec<_> = clients.iter().map(|client| (*client, *client)).collect();
        self.sample_on(&addresses, self.now);
    }

    fn sample_on(&mut self, clients: &[(u8, u8)], last_message: Timestamp) {
        self.watch.advance(self.now, &mut self.buckets);
        self.watch.watched();
        for (client, line) in clients {
            let bucket = AddressBucket::of([10, 0, *line, 0].into());
            let sighting = Sighting { client_id: id(*client), network_id: id(1), bucket, last_message };
            self.watch.seen(&sighting);
        }
        self.now = self.now + SAMPLE;
    }

    fn blocks(&mut self, count: u32, clients: &[u8]) {
        for _ in 0..2 * count {
            self.sample(clients);
        }
    }

    fn shares(&self, client: u8) -> [f64; 3] {
        self.watch.reliability(id(client)).shares
    }
}

#[test]
fn a_provider_is_trusted_until_five_blocks_say_otherwise() {
    let mut watched = Watched::new();
    watched.blocks(1, &[1]);
    watched.blocks(4, &[]);
    watched.sample(&[]);
    assert_eq!(watched.shares(1), [1.0; 3], "four blocks say nothing");
    watched.blocks(1, &[]);
    assert_eq!(watched.shares(1), [0.0; 3]);
    assert_eq!(watched.shares(2), [1.0; 3], "a stranger");
}

#[test]
fn shares_are_taken_over_five_minutes_an_hour_and_twelve_since_it_was_first_seen() {
    let mut watched = Watched::new();
    watched.blocks(1, &[1]);
    watched.blocks(100, &[1]);
    watched.blocks(30, &[]);
    watched.blocks(3, &[1]);
    watched.sample(&[1]);
    let [short, hour, half_day] = watched.shares(1);
    assert_eq!((short, hour), (0.6, 0.5));
    assert!((half_day - 103.0 / 133.0).abs() < 1e-9, "{half_day}");
}

#[test]
fn a_block_is_spoilt_by_silence_by_two_connections_and_by_a_change_of_providing() {
    let mut watched = Watched::new();
    watched.blocks(6, &[1, 2, 3, 4, 5]);
    watched.sample(&[1, 2, 3, 4, 5]);
    watched.watch.connected(id(2));
    watched.watch.connected(id(2));
    watched.watch.provide_changed(id(3));
    watched.watch.connected(id(4));
    watched.sample(&[1, 2, 3, 4, 5]);
    let long_ago = watched.now.before(Duration::from_secs(120));
    // The next block: client 5 is there, but says nothing.
    for _ in 0..2 {
        watched.sample_on(&[(5, 5)], long_ago);
        watched.now = watched.now.before(SAMPLE);
        watched.sample(&[1, 2, 3, 4]);
    }
    watched.sample(&[1, 2, 3, 4, 5]);
    let short = |client| watched.shares(client)[0];
    assert_eq!([1, 2, 3, 4, 5].map(short), [1.0, 0.8, 0.8, 1.0, 0.8]);
}

#[test]
fn blocks_in_which_the_server_was_away_do_not_count() {
    let mut watched = Watched::new();
    watched.blocks(10, &[1]);
    watched.now = watched.now + Duration::from_secs(3600 * 5);
    watched.blocks(2, &[1]);
    assert_eq!(watched.shares(1), [1.0; 3]);
}

#[test]
fn blocks_in_which_many_fail_at_once_do_not_count_and_make_conditions_abnormal() {
    let mut watched = Watched::new();
    let all: Vec<u8> = (1..=40).collect();
    watched.blocks(12, &all);
    watched.sample(&all);
    assert!(!watched.watch.reliability(id(1)).is_abnormal);
    watched.sample(&all);
    watched.blocks(2, &all[..37]);
    watched.sample(&all);
    let reliability = watched.watch.reliability(id(40));
    assert_eq!((reliability.shares, reliability.is_abnormal), ([1.0; 3], true));
    watched.blocks(6, &all);
    assert!(!watched.watch.reliability(id(40)).is_abnormal);
    watched.blocks(2, &all[..39]);
    watched.sample(&all);
    assert!(watched.shares(40)[0] < 1.0, "one of forty is its own fault");
}

#[test]
fn a_bucket_adds_up_what_the_providers_of_a_network_were_worth() {
    let mut watched = Watched::new();
    // Two share a line, the third is there half of the time.
    for minute in 0..16 {
        for _ in 0..2 {
            let there = [(1, 1), (2, 1), (3, 3)];
            watched.sample_on(&there[..if minute < 8 { 3 } else { 2 }], watched.now);
        }
    }
    let [bucket] = watched.buckets[..] else { panic!("{:?}", watched.buckets) };
    assert_eq!((bucket.bucket, bucket.valid_count, bucket.total_count), (60_000, 3, 3));
    // The first block was not watched from its beginning, so fourteen count.
    let expected = 1.0 + 7.0 / 14.0;
    assert!((f64::from(bucket.weight) - expected).abs() < 1e-6, "{bucket:?}");
}

#[test]
fn who_has_been_away_for_half_a_day_is_forgotten() {
    let mut watched = Watched::new();
    watched.blocks(1, &[1]);
    watched.blocks(LONGEST, &[]);
    assert_eq!(watched.watch.records.len(), 1);
    watched.blocks(2, &[]);
    assert!(watched.watch.records.is_empty());
}
