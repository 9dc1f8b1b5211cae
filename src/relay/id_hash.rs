//! Hashing of 16-byte ids for the maps of the frame road.
//!
//! Ids are made by this server and end in 80 random bits, so a keyed multiply is enough to spread them; the
//! keys are drawn per map, so that an id chosen to collide in one process does not collide in the next.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Builds [`IdHasher`]s of one map.
#[derive(Clone, Debug)]
pub struct IdHash {
    keys: (u64, u64),
}

impl Default for IdHash {
    fn default() -> Self {
        let random = RandomState::new();
        // Odd keys keep the multiplication from losing low bits.
        Self { keys: (random.hash_one(1) | 1, random.hash_one(2) | 1) }
    }
}

impl BuildHasher for IdHash {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher { keys: self.keys, state: 0 }
    }
}

/// Folds the 16 bytes of an id into 64 bits.
#[derive(Clone, Debug)]
pub struct IdHasher {
    keys: (u64, u64),
    state: u64,
}

impl Hasher for IdHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_ne_bytes(*word));
        }
        for byte in rest {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.state ^ word ^ self.keys.0) * u128::from(self.keys.1);
        self.state = (product as u64) ^ ((product >> 64) as u64);
    }

    /// The length in front of a byte array says nothing: all ids have the same.
    #[inline]
    fn write_usize(&mut self, _length: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::ids::ClientId;

    #[test]
    fn ids_that_differ_in_few_bits_spread_over_all_buckets() {
        let hash = IdHash::default();
        let top = |shift: u32| -> HashSet<u64> {
            let ids = (0..4096u128).map(|at| ClientId::new((at << 3).to_be_bytes()));
            ids.map(|id| hash.hash_one(id) >> shift).collect()
        };
        assert_eq!(top(0).len(), 4096, "no two of 4096 neighbours collide");
        assert!(top(57).len() > 100, "the seven top bits, which choose the shard, are used");
    }
}
