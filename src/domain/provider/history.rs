//! Which of the last twelve hours' minutes ("blocks") were good, one bit each.

/// Seconds of a block.
pub const BLOCK_SECS: u64 = 60;

/// Blocks of the longest window.
pub const LONGEST: u32 = 720;

const WORDS: usize = 12;

/// Bits kept; the longest window and room to spare.
const BITS: u32 = WORDS as u32 * 64;

/// A bit for each of the last blocks; what is older is overwritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocks([u64; WORDS]);

impl Blocks {
    /// Sets or clears the bit of a block.
    pub fn set(&mut self, block: u32, is_set: bool) {
        let (word, bit) = place(block);
        self.0[word] = self.0[word] & !bit | if is_set { bit } else { 0 };
    }

    /// Whether the bit of a block is set.
    pub fn contains(&self, block: u32) -> bool {
        let (word, bit) = place(block);
        self.0[word] & bit != 0
    }

    /// How many blocks from `first` to `last`, both included, are set here and in `others`. At most the longest window.
    pub fn count(&self, others: &Blocks, first: u32, last: u32) -> u32 {
        let (mut block, mut count) = (first.max((last + 1).saturating_sub(LONGEST)), 0);
        while block <= last {
            // As many as lie in one word.
            let length = (64 - block % 64).min(last - block + 1);
            let mask = (u64::MAX >> (64 - length)) << (block % 64);
            let (word, _) = place(block);
            count += (self.0[word] & others.0[word] & mask).count_ones();
            block += length;
        }
        count
    }

    /// The bytes, for the store.
    pub fn to_bytes(self) -> [u8; WORDS * 8] {
        let mut bytes = [0; WORDS * 8];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// From the bytes in the store.
    pub fn from_bytes(bytes: &[u8; WORDS * 8]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        Self(std::array::from_fn(|at| u64::from_be_bytes(words[at])))
    }
}

fn place(block: u32) -> (usize, u64) {
    let at = block % BITS;
    ((at / 64) as usize, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_agree_with_a_plain_set(start in 0u32..2000, bits in proptest::collection::vec(any::<(bool, bool)>(), 1..700), from in 0u32..700) {
            let (mut blocks, mut others) = (Blocks::default(), Blocks::default());
            let mut both = BTreeSet::new();
            for (block, (here, there)) in (start..).zip(&bits) {
                blocks.set(block, *here);
                others.set(block, *there);
                if *here && *there {
                    both.insert(block);
                }
                prop_assert_eq!(blocks.contains(block), *here);
            }
            let last = start + bits.len() as u32 - 1;
            let first = (start + from).min(last);
            prop_assert_eq!(blocks.count(&others, first, last) as usize, both.range(first..=last).count());
            prop_assert_eq!(Blocks::from_bytes(&blocks.to_bytes()), blocks);
        }
    }
}
