//! Whether 32 bytes are a point of Ed25519.
//!
//! Somebody may hold the key of an address on the curve; one off the curve belongs to a program. The provider of
//! cryptography only says so as part of a signature check, so the one question is answered here: with `y` the bytes
//! and `d` the curve's constant, is there an `x` with `x² = (y² − 1) / (d·y² + 1)` modulo p = 2²⁵⁵ − 19 (RFC 8032,
//! 5.1.3). A quotient is a square exactly when the product is. Addresses are public, so the time it takes tells
//! nothing.

/// A number modulo p in 256 bits, least significant word first; not always the smallest one.
type Element = [u64; 4];

const P: Element = [0xffff_ffff_ffff_ffed, u64::MAX, u64::MAX, 0x7fff_ffff_ffff_ffff];
/// 2p − 1, which adds as −1.
const MINUS_ONE: Element = [0xffff_ffff_ffff_ffd9, u64::MAX, u64::MAX, u64::MAX];
const ONE: Element = [1, 0, 0, 0];
const D: Element = [0x75eb_4dca_1359_78a3, 0x0070_0a4d_4141_d8ab, 0x8cc7_4079_7779_e898, 0x5203_6cee_2b6f_fe73];
/// (p − 1) / 2: a number raised to it is 1 for a square, 0 for zero, −1 otherwise (Euler).
const HALF: Element = [0xffff_ffff_ffff_fff6, u64::MAX, u64::MAX, 0x3fff_ffff_ffff_ffff];

/// Whether the bytes are a point of the curve.
pub(super) fn is_on_curve(bytes: &[u8; 32]) -> bool {
    let mut y: Element = [0; 4];
    for (word, chunk) in y.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    // The top bit is the sign of x.
    y[3] &= u64::MAX >> 1;
    let square = multiply(&y, &y);
    let numerator = add(&square, &MINUS_ONE);
    let denominator = add(&multiply(&D, &square), &ONE);
    let symbol = smallest(power(&multiply(&numerator, &denominator), &HALF));
    symbol == [0; 4] || symbol == ONE
}

fn add(left: &Element, right: &Element) -> Element {
    let (mut sum, mut carry) = ([0; 4], 0);
    for ((out, left), right) in sum.iter_mut().zip(left).zip(right) {
        let word = u128::from(*left) + u128::from(*right) + carry;
        (*out, carry) = (word as u64, word >> 64);
    }
    fold(sum, carry)
}

fn multiply(left: &Element, right: &Element) -> Element {
    let mut wide = [0u64; 8];
    for (at, left) in left.iter().enumerate() {
        let mut carry = 0;
        for (word, right) in wide[at..].iter_mut().zip(right) {
            let product = u128::from(*left) * u128::from(*right) + u128::from(*word) + carry;
            (*word, carry) = (product as u64, product >> 64);
        }
        wide[at + 4] = carry as u64;
    }
    // 2²⁵⁶ is 38 modulo p.
    let (mut low, mut carry) = ([0; 4], 0);
    for (at, out) in low.iter_mut().enumerate() {
        let word = u128::from(wide[at]) + 38 * u128::from(wide[at + 4]) + carry;
        (*out, carry) = (word as u64, word >> 64);
    }
    fold(low, carry)
}

/// Brings what did not fit back in.
fn fold(mut element: Element, mut carry: u128) -> Element {
    while carry != 0 {
        carry *= 38;
        for word in &mut element {
            let sum = u128::from(*word) + carry;
            (*word, carry) = (sum as u64, sum >> 64);
        }
    }
    element
}

fn power(base: &Element, exponent: &Element) -> Element {
    let mut result = ONE;
    for word in exponent.iter().rev() {
        for bit in (0..64).rev() {
            result = multiply(&result, &result);
            if word >> bit & 1 == 1 {
                result = multiply(&result, base);
            }
        }
    }
    result
}

/// The smallest number equal to it modulo p.
fn smallest(mut element: Element) -> Element {
    while element.iter().rev().ge(P.iter().rev()) {
        let mut borrow = false;
        for (word, p) in element.iter_mut().zip(P) {
            let (less, first) = word.overflowing_sub(p);
            let (less, second) = less.overflowing_sub(u64::from(borrow));
            (*word, borrow) = (less, first || second);
        }
    }
    element
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_public_key_is_on_the_curve(seed in any::<[u8; 32]>()) {
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
            let key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
            prop_assert!(is_on_curve(&key));
            let mut negated = key;
            negated[31] ^= 0x80;
            prop_assert!(is_on_curve(&negated));
        }
    }

    #[test]
    fn about_half_of_all_numbers_are_on_the_curve() {
        // y = 2 is the smallest number that is not (RFC 8032, the vectors of many libraries).
        let point = |y: u8| std::array::from_fn(|at| if at == 0 { y } else { 0 });
        assert!(is_on_curve(&point(0)) && is_on_curve(&point(1)));
        assert!(!is_on_curve(&point(2)));
        let count = (0..=255).filter(|y| is_on_curve(&point(*y))).count();
        assert!((96..160).contains(&count), "{count}");
    }

    #[test]
    fn numbers_wrap_at_p() {
        assert_eq!(smallest(P), [0; 4]);
        assert_eq!(smallest(add(&P, &MINUS_ONE)), [P[0] - 1, P[1], P[2], P[3]]);
        let all = [u64::MAX; 4];
        assert_eq!(smallest(all), [37, 0, 0, 0]);
        assert_eq!(smallest(multiply(&all, &all)), [37 * 37, 0, 0, 0]);
        assert_eq!(smallest(power(&[3, 0, 0, 0], &[5, 0, 0, 0])), [243, 0, 0, 0]);
    }
}
