//! How reliable each provider is: a state machine fed with what was seen, every 30 s, and told the time.
//!
//! ```text
//!   connected, provide_changed, seen ---> the running block ---(60 s)---> one bit of the provider's history
//!                                                                  \----> its network's bucket ---(15 min)---> out
//! ```
//!
//! A block is good when the provider was seen connected and providing to everyone, spoke, connected once at most and did
//! not begin or cease to provide. A block counts when the server watched it from its beginning and it was not one in
//! which many providers failed at once. Of a provider only blocks since it was first seen count.
//!
//! A provider costs about 200 bytes here (16 + 16 + 16 of ids, 96 of history, 24 of the running block, the map around
//! them); there are at most [`TRACKED_MAX`], and one not seen for twelve hours is forgotten.

use std::collections::{HashMap, VecDeque};

use super::history::{BLOCK_SECS, Blocks, LONGEST};
use super::rank::Reliability;
use crate::domain::address_bucket::AddressBucket;
use crate::ids::{ClientId, NetworkId};
use crate::time::Timestamp;

/// Providers watched at once; further ones count as unknown until there is room.
pub const TRACKED_MAX: usize = 1 << 18;

/// Blocks of a network's bucket.
pub const BUCKET_BLOCKS: u32 = 15;

/// The windows over which shares are taken.
const WINDOWS: [u32; 3] = [5, 60, LONGEST];

/// Counted blocks below which a provider's share says nothing yet.
const MIN_BLOCKS: u32 = 5;

/// Blocks whose numbers of good providers are compared, how many there must be, and of how many providers.
const MEDIAN_BLOCKS: usize = 60;
/// See [`MEDIAN_BLOCKS`].
const MEDIAN_MIN_BLOCKS: usize = 10;
/// See [`MEDIAN_BLOCKS`].
const MEDIAN_MIN_PROVIDERS: usize = 20;

/// Below this part of the median a block is abnormal.
const ABNORMAL_BELOW: f64 = 0.95;

/// How long an abnormal block makes conditions abnormal, in blocks.
const ABNORMAL_BLOCKS: u32 = 5;

/// What a look at a provider that everyone may use has shown.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    /// The provider.
    pub client_id: ClientId,
    /// Its network.
    pub network_id: NetworkId,
    /// The line it shares with its neighbours.
    pub bucket: AddressBucket,
    /// When it last sent anything.
    pub last_message: Timestamp,
}

/// What a network's providers did in a bucket of 15 minutes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkBucket {
    /// The network.
    pub network_id: NetworkId,
    /// Quarters of an hour since 1970.
    pub bucket: u32,
    /// How many reliable lines its providers were worth.
    pub weight: f32,
    /// Providers with a good block.
    pub valid_count: u32,
    /// Providers known.
    pub total_count: u32,
}

/// What is known of one provider.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub network_id: NetworkId,
    pub bucket: AddressBucket,
    /// Good blocks.
    pub good: Blocks,
    /// The first block that counts.
    pub first_block: u32,
    /// The last block in which it was seen.
    pub last_seen: u32,
    new_connections: u8,
    was_seen: bool,
    has_spoken: bool,
    has_changed: bool,
    was_good_in_bucket: bool,
}

impl Record {
    pub(super) fn new(network_id: NetworkId, bucket: AddressBucket, first_block: u32, last_seen: u32) -> Self {
        Self {
            network_id,
            bucket,
            good: Blocks::default(),
            first_block,
            last_seen,
            new_connections: 0,
            was_seen: false,
            has_spoken: false,
            has_changed: false,
            was_good_in_bucket: false,
        }
    }

    fn end_block(&mut self, block: u32) -> bool {
        let is_good = self.was_seen && self.has_spoken && !self.has_changed && self.new_connections <= 1;
        self.good.set(block, is_good);
        self.was_good_in_bucket |= is_good;
        (self.new_connections, self.was_seen, self.has_spoken, self.has_changed) = (0, false, false, false);
        is_good
    }
}

/// Watches all providers.
#[derive(Debug)]
pub struct Watch {
    pub(super) records: HashMap<ClientId, Record>,
    /// The running block.
    pub(super) block: u32,
    /// Blocks that count.
    pub(super) counted: Blocks,
    /// The block in which everything was last written down.
    pub(super) saved_block: u32,
    /// Whether the running block has been watched from its beginning.
    is_whole: bool,
    /// Whether anybody looked in the running block.
    was_watched: bool,
    /// Numbers of good providers in the last blocks.
    good_counts: VecDeque<usize>,
    last_abnormal: Option<u32>,
    /// Weight of each network in the running bucket, as a sum over its blocks.
    weights: HashMap<NetworkId, f64>,
    bucket_blocks: u32,
}

impl Watch {
    /// Nobody was seen yet; the running block is only a part of one.
    pub fn new(now: Timestamp) -> Self {
        Self {
            records: HashMap::new(),
            block: block_of(now),
            counted: Blocks::default(),
            saved_block: block_of(now),
            is_whole: false,
            was_watched: false,
            good_counts: VecDeque::new(),
            last_abnormal: None,
            weights: HashMap::new(),
            bucket_blocks: 0,
        }
    }

    /// A provider has opened a transport.
    pub fn connected(&mut self, client_id: ClientId) {
        if let Some(record) = self.records.get_mut(&client_id) {
            record.new_connections = record.new_connections.saturating_add(1);
        }
    }

    /// A provider has begun or ceased to provide to everyone.
    pub fn provide_changed(&mut self, client_id: ClientId) {
        if let Some(record) = self.records.get_mut(&client_id) {
            record.has_changed = true;
        }
    }

    /// A provider is connected and provides to everyone. Call [`Watch::advance`] first.
    pub fn seen(&mut self, sighting: &Sighting) {
        self.was_watched = true;
        if self.records.len() >= TRACKED_MAX && !self.records.contains_key(&sighting.client_id) {
            return;
        }
        let block = self.block;
        // The block in which it was first seen is only a part of one.
        let record = self
            .records
            .entry(sighting.client_id)
            .or_insert_with(|| Record::new(sighting.network_id, sighting.bucket, block + 1, block));
        record.network_id = sighting.network_id;
        record.bucket = sighting.bucket;
        record.last_seen = block;
        record.was_seen = true;
        record.has_spoken |= sighting.last_message >= start_of(block);
    }

    /// Says that the watching goes on, even if there is nobody to see.
    pub fn watched(&mut self) {
        self.was_watched = true;
    }

    /// Ends the running block if its time is over; true when it did. Of a bucket that ended with it, what each network
    /// did goes to `buckets`.
    pub fn advance(&mut self, now: Timestamp, buckets: &mut Vec<NetworkBucket>) -> bool {
        let next = block_of(now);
        if next <= self.block {
            return false;
        }
        self.end_block();
        if self.block / BUCKET_BLOCKS != next / BUCKET_BLOCKS {
            self.end_bucket(buckets);
        }
        // Nobody watched what lies between.
        for skipped in (self.block + 1..next).rev().take(LONGEST as usize) {
            self.counted.set(skipped, false);
        }
        (self.block, self.is_whole, self.was_watched) = (next, true, false);
        true
    }

    /// How reliable a provider is.
    pub fn reliability(&self, client_id: ClientId) -> Reliability {
        let is_abnormal = self.last_abnormal.is_some_and(|block| block + ABNORMAL_BLOCKS >= self.block);
        let shares = self.records.get(&client_id).map_or([1.0; 3], |record| self.shares(record));
        Reliability { shares, is_abnormal }
    }

    fn shares(&self, record: &Record) -> [f64; 3] {
        let last = self.block.saturating_sub(1);
        let counted = |window: u32| {
            let first = record.first_block.max((last + 1).saturating_sub(window));
            (first, self.counted.count(&self.counted, first, last))
        };
        if counted(LONGEST).1 < MIN_BLOCKS {
            return [1.0; 3];
        }
        WINDOWS.map(|window| match counted(window) {
            (_, 0) => 1.0,
            (first, count) => f64::from(record.good.count(&self.counted, first, last)) / f64::from(count),
        })
    }

    fn end_block(&mut self) {
        let block = self.block;
        let mut lines: HashMap<AddressBucket, u32> = HashMap::new();
        let mut good = Vec::new();
        for record in self.records.values_mut() {
            if record.end_block(block) {
                *lines.entry(record.bucket).or_default() += 1;
                good.push((record.network_id, record.bucket));
            }
        }
        let is_watched = self.is_whole && self.was_watched;
        let is_abnormal = is_watched && self.is_abnormal(good.len());
        if is_abnormal {
            self.last_abnormal = Some(block);
        }
        if is_watched {
            self.good_counts.push_back(good.len());
            if self.good_counts.len() > MEDIAN_BLOCKS {
                self.good_counts.pop_front();
            }
        }
        self.counted.set(block, is_watched && !is_abnormal);
        if is_watched && !is_abnormal {
            self.bucket_blocks += 1;
            for (network_id, bucket) in good {
                *self.weights.entry(network_id).or_default() += 1.0 / f64::from(lines[&bucket]);
            }
        }
        self.records.retain(|_, record| record.last_seen + LONGEST >= block);
        if self.records.len() >= TRACKED_MAX {
            self.records.retain(|_, record| record.last_seen == block);
        }
    }

    /// Whether far fewer providers were good than usual.
    fn is_abnormal(&self, good_count: usize) -> bool {
        let mut counts: Vec<usize> = self.good_counts.iter().copied().collect();
        counts.sort_unstable();
        let median = counts.get(counts.len() / 2).copied().unwrap_or(0);
        counts.len() >= MEDIAN_MIN_BLOCKS
            && median >= MEDIAN_MIN_PROVIDERS
            && (good_count as f64) < ABNORMAL_BELOW * median as f64
    }

    fn end_bucket(&mut self, buckets: &mut Vec<NetworkBucket>) {
        let mut networks: HashMap<NetworkId, (u32, u32)> = HashMap::new();
        for record in self.records.values_mut() {
            let (valid, total) = networks.entry(record.network_id).or_default();
            *valid += u32::from(std::mem::take(&mut record.was_good_in_bucket));
            *total += 1;
        }
        let (bucket, blocks) = (self.block / BUCKET_BLOCKS, f64::from(self.bucket_blocks.max(1)));
        let weights = std::mem::take(&mut self.weights);
        buckets.extend(networks.into_iter().map(|(network_id, (valid_count, total_count))| NetworkBucket {
            network_id,
            bucket,
            weight: (weights.get(&network_id).copied().unwrap_or(0.0) / blocks) as f32,
            valid_count,
            total_count,
        }));
        self.bucket_blocks = 0;
    }
}

pub(super) fn block_of(now: Timestamp) -> u32 {
    (now.as_secs() / BLOCK_SECS) as u32
}

fn start_of(block: u32) -> Timestamp {
    Timestamp::from_secs(u64::from(block) * BLOCK_SECS)
}

#[cfg(test)]
#[path = "reliability_tests.rs"]
mod tests;
