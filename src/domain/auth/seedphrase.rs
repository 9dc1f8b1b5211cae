//! Seedphrases: 24 BIP-39 words that are an account's sign-in method by themselves.
//!
//! They carry 256 bits of entropy, so a plain SHA-256 finds them again and gives nothing away; a slow hash would add
//! only cost.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use rand::{Rng, RngExt};

use super::method::{self, MethodKind, MethodRecord};
use crate::domain::error::DomainError;
use crate::domain::operation::Tx;
use crate::ids::UserId;

/// The English list of BIP-39, 2048 words in order.
static WORDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| include_str!("seedphrase_words.txt").lines().collect());

const ENTROPY_BYTES: usize = 32;
const BITS_PER_WORD: usize = 11;

/// A word of the list.
pub fn random_word(rng: &mut impl Rng) -> &'static str {
    WORDS[rng.random_range(0..WORDS.len())]
}

/// A new phrase of 24 words.
pub fn generate(rng: &mut impl Rng) -> String {
    let mut entropy = [0; ENTROPY_BYTES];
    rng.fill_bytes(&mut entropy);
    encode(&entropy)
}

/// The words of some entropy: its bits and an eighth byte of checksum, eleven bits a word (BIP-39).
fn encode(entropy: &[u8; ENTROPY_BYTES]) -> String {
    let mut bits: Vec<u8> = entropy.to_vec();
    bits.push(digest(&SHA256, entropy).as_ref()[0]);
    let bit = |at: usize| usize::from(bits[at / 8] >> (7 - at % 8) & 1);
    let word = |at: usize| (0..BITS_PER_WORD).fold(0, |index, offset| index << 1 | bit(at * BITS_PER_WORD + offset));
    let words: Vec<&str> = (0..bits.len() * 8 / BITS_PER_WORD).map(|at| WORDS[word(at)]).collect();
    words.join(" ")
}

/// What a phrase is stored and found under: the digest of its words in lower case with single spaces.
pub fn identity(phrase: &str) -> String {
    let words: Vec<String> = phrase.split_whitespace().map(str::to_lowercase).collect();
    format!("seedphrase:{}", hex::encode(digest(&SHA256, words.join(" ").as_bytes())))
}

/// Gives a user a new phrase in place of any other, and returns it: the only time it is seen.
pub fn assign(tx: &mut Tx<'_>, user_id: &UserId) -> Result<String, DomainError> {
    if let Some(old) = method::method(tx, user_id, MethodKind::Seedphrase)? {
        method::remove(tx, user_id, &old)?;
    }
    let phrase = generate(&mut tx.rng);
    let record = MethodRecord {
        kind: MethodKind::Seedphrase,
        identity: identity(&phrase),
        password: None,
        verified: true,
        create_time: tx.now,
    };
    method::put(tx, user_id, &record)?;
    Ok(phrase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_published_one() {
        assert_eq!(WORDS.len(), 2048);
        let list = include_bytes!("seedphrase_words.txt");
        assert_eq!(
            hex::encode(digest(&SHA256, list)),
            "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
        );
    }

    #[test]
    fn phrases_match_the_published_vectors() {
        assert_eq!(encode(&[0; 32]), format!("{}art", "abandon ".repeat(23)));
        assert_eq!(encode(&[0xff; 32]), format!("{}vote", "zoo ".repeat(23)));
        let legal = "legal winner thank year wave sausage worth useful ";
        assert_eq!(encode(&[0x7f; 32]), format!("{legal}{legal}legal winner thank year wave sausage worth title"));
    }

    #[test]
    fn a_phrase_is_found_however_it_is_typed() {
        let phrase = generate(&mut rand::rng());
        assert_eq!(phrase.split(' ').count(), 24);
        let typed = format!("  {}\n", phrase.to_uppercase().replace(' ', " \t "));
        assert_eq!(identity(&typed), identity(&phrase));
        assert_ne!(identity(&phrase), identity(&generate(&mut rand::rng())));
    }
}
