//! Addresses of the chains that USDC lives on, checked by each chain's own rules.

use aws_lc_rs::digest;
use blake2::Blake2b512;
use sha3::{Digest, Keccak256};

use super::curve::is_on_curve;
use crate::config::wallet::Wallet;

/// Longest text that is looked at.
const MAX_ADDRESS_BYTES: usize = 128;

/// Addresses that are programs or contracts: what is paid to them is lost.
const REFUSED: [&str; 4] = [
    "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
    "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359",
    "0x2791Bca1f2de4661ED88A30C99A7a9449Aa84174",
];

/// A chain, as far as its addresses differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Solana.
    Solana,
    /// Polygon.
    Polygon,
    /// Ethereum and the chains with its addresses other than Polygon.
    Ethereum,
    /// Bittensor.
    Bittensor,
}

impl Chain {
    /// The chain of a name, in any case; `None` for a chain nobody here knows.
    pub fn parse(name: &str) -> Option<Self> {
        match name.trim().to_ascii_uppercase().as_str() {
            "SOL" | "SOLANA" | "SOL-DEVNET" => Some(Chain::Solana),
            "MATIC" | "POLY" | "POLYGON" | "MATIC-AMOY" => Some(Chain::Polygon),
            "ETH" | "ETHEREUM" | "BASE" | "ARB" | "OP" | "AVAX" => Some(Chain::Ethereum),
            "TAO" | "BITTENSOR" => Some(Chain::Bittensor),
            _ => None,
        }
    }

    /// What clients call it.
    pub fn name(self) -> &'static str {
        match self {
            Chain::Solana => "SOL",
            Chain::Polygon => "MATIC",
            Chain::Ethereum => "ETHEREUM",
            Chain::Bittensor => "TAO",
        }
    }
}

/// The address in its one form, when it is one of the chain that can be paid to.
pub fn check(settings: &Wallet, chain: Chain, address: &str) -> Option<String> {
    let address = address.trim();
    if address.len() > MAX_ADDRESS_BYTES {
        return None;
    }
    let (key, checked) = match chain {
        Chain::Solana => {
            let key = solana(address)?;
            if settings.require_on_curve && !is_on_curve(&key) {
                return None;
            }
            (key.to_vec(), address.to_owned())
        }
        Chain::Polygon | Chain::Ethereum => ethereum(address)?,
        Chain::Bittensor => (bittensor(address)?, address.to_owned()),
    };
    // Nobody has the key of zero: Solana's system program, Ethereum's place to burn.
    let is_zero = key.iter().all(|byte| *byte == 0);
    let refused = REFUSED.into_iter().chain(settings.refused_addresses.iter().map(String::as_str));
    let is_refused = |refused: &str| match chain {
        Chain::Polygon | Chain::Ethereum => refused.eq_ignore_ascii_case(&checked),
        _ => refused == checked,
    };
    (!is_zero && !refused.into_iter().any(is_refused)).then_some(checked)
}

/// Base58 of 32 bytes.
pub fn solana(address: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    let is_possible = (32..=44).contains(&address.len());
    let length = is_possible.then(|| bs58::decode(address).onto(&mut key).ok())??;
    (length == key.len()).then_some(key)
}

/// `0x` and 40 hex digits; capitals among small letters are a checksum. Gives the form with checksum (EIP-55).
fn ethereum(address: &str) -> Option<(Vec<u8>, String)> {
    let digits = address.strip_prefix("0x").filter(|digits| digits.len() == 40)?;
    let key = hex::decode(digits).ok()?;
    let lower = digits.to_ascii_lowercase();
    let hash = Keccak256::digest(lower.as_bytes());
    let nibble = |at: usize| hash[at / 2] >> (4 * (1 - at % 2)) & 15;
    let cased = |(at, digit): (usize, char)| if nibble(at) >= 8 { digit.to_ascii_uppercase() } else { digit };
    let checked: String = lower.chars().enumerate().map(cased).collect();
    let has_no_checksum = digits == lower || digits == digits.to_ascii_uppercase();
    (has_no_checksum || digits == checked).then(|| (key, format!("0x{checked}")))
}

/// SS58: one or two bytes of prefix, the key, two bytes of checksum, all in base58.
fn bittensor(address: &str) -> Option<Vec<u8>> {
    let bytes = bs58::decode(address).into_vec().ok()?;
    let prefix_bytes = match (bytes.len(), bytes.first()?) {
        (35, first) if *first < 64 => 1,
        (36, first) if *first >= 64 => 2,
        _ => return None,
    };
    let (body, checksum) = bytes.split_at(bytes.len() - 2);
    let hash = Blake2b512::new().chain_update(b"SS58PRE").chain_update(body).finalize();
    (hash[..2] == *checksum).then(|| body[prefix_bytes..].to_vec())
}

/// Whether an address is of Bittensor's form and begins with this prefix of one byte.
pub fn has_bittensor_prefix(address: &str, prefix: u8) -> bool {
    let is_short = address.len() <= MAX_ADDRESS_BYTES;
    is_short
        && bittensor(address).is_some()
        && bs58::decode(address).into_vec().is_ok_and(|bytes| bytes.first() == Some(&prefix))
}

/// A name-based id (RFC 9562, version 5): the same name always gives the same one.
pub fn named_uuid(name: &str) -> String {
    // A random id that stands for this server's kind of ledger.
    const NAMESPACE: [u8; 16] = *b"\x9d\x0a\x7c\x2e\x51\xb6\x4f\x18\x8e\x93\x2b\x64\xd0\x7f\xa1\x35";
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(&NAMESPACE);
    context.update(name.as_bytes());
    let hash = context.finish();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    crate::ids::RecordId::new(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_valid(chain: Chain, address: &str) -> bool {
        check(&Wallet::default(), chain, address).is_some()
    }

    const SOLANA: [&str; 2] =
        ["DgTYzxzYRpkGQ8e3Un71GoQf494VLDBnyqXNXB38MP73", "74UNdYRpvakSABaYHSZMQNaXBVtA6eY9Nt8chcqocKe7"];
    const OFF_CURVE: &str = "46pcSL5gmjBrPqGKFaLbbCmR6iVuLJbnQy13hAe7s6CC";
    const ETHEREUM: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

    #[test]
    fn solana_addresses_are_32_bytes_in_base58() {
        for address in SOLANA {
            assert!(is_valid(Chain::Solana, address), "{address}");
            assert!(!is_valid(Chain::Polygon, address) && !is_valid(Chain::Bittensor, address), "{address}");
        }
        assert!(is_valid(Chain::Solana, &format!(" {} ", SOLANA[0])));
        let (short, long) = (bs58::encode([7; 31]).into_string(), bs58::encode([7; 33]).into_string());
        let (zero, letter) = (SOLANA[0].replace('g', "0"), SOLANA[0].replace('g', "l"));
        let system = "1".repeat(32);
        for wrong in [REFUSED[0], REFUSED[1], &system, &short, &long, &zero, &letter, ETHEREUM, "", "ß"] {
            assert!(!is_valid(Chain::Solana, wrong), "{wrong}");
        }
        assert!(!is_valid(Chain::Solana, &"1".repeat(1 << 20)));
    }

    #[test]
    fn vaults_off_the_curve_are_fine_unless_the_operator_says_otherwise() {
        let strict = Wallet { require_on_curve: true, ..Wallet::default() };
        assert!(is_valid(Chain::Solana, OFF_CURVE));
        assert_eq!(check(&strict, Chain::Solana, OFF_CURVE), None);
        for address in SOLANA {
            assert!(check(&strict, Chain::Solana, address).is_some(), "{address}");
        }
    }

    #[test]
    fn ethereum_addresses_carry_their_checksum_in_capitals() {
        let (lower, upper) = (ETHEREUM.to_ascii_lowercase(), format!("0x{}", ETHEREUM[2..].to_ascii_uppercase()));
        for chain in [Chain::Polygon, Chain::Ethereum] {
            for address in [ETHEREUM, &lower, &upper] {
                assert_eq!(check(&Wallet::default(), chain, address).as_deref(), Some(ETHEREUM), "{address}");
            }
            let flipped = ETHEREUM.replace("aA", "AA");
            let zero = format!("0x{}", "0".repeat(40));
            let usdc = REFUSED[2].to_ascii_lowercase();
            let (short, long) = (&ETHEREUM[..41], &format!("{ETHEREUM}0"));
            for wrong in [&flipped, short, long, &ETHEREUM[2..], &zero, REFUSED[2], &usdc, REFUSED[3], SOLANA[0]] {
                assert!(!is_valid(chain, wrong), "{wrong}");
            }
        }
        // The examples of EIP-55.
        for address in [
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        ] {
            assert!(is_valid(Chain::Polygon, address), "{address}");
        }
    }

    #[test]
    fn bittensor_addresses_carry_a_checksum() {
        // Alice, the development key of the makers of the format, under three prefixes.
        for address in [
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
            "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5",
            "HNZata7iMYWmk5RvZRTiAsSDhV8366zq2YGb3tLH5Upf74F",
        ] {
            assert!(is_valid(Chain::Bittensor, address), "{address}");
            assert!(!is_valid(Chain::Bittensor, &address.replace('w', "x").replace('V', "W").replace('Z', "Y")));
        }
        for wrong in ["", SOLANA[0], ETHEREUM] {
            assert!(!is_valid(Chain::Bittensor, wrong), "{wrong}");
        }
    }

    #[test]
    fn the_operator_can_refuse_more() {
        let refused_addresses = vec![SOLANA[0].to_owned(), ETHEREUM.to_ascii_lowercase()];
        let settings = Wallet { refused_addresses, ..Wallet::default() };
        assert_eq!(check(&settings, Chain::Solana, SOLANA[0]), None);
        assert_eq!(check(&settings, Chain::Polygon, ETHEREUM), None);
        assert!(check(&settings, Chain::Solana, SOLANA[1]).is_some());
    }

    #[test]
    fn chains_have_many_names() {
        let cases = [
            ("sol", Some(Chain::Solana)),
            (" Solana ", Some(Chain::Solana)),
            ("POLYGON", Some(Chain::Polygon)),
            ("base", Some(Chain::Ethereum)),
            ("tao", Some(Chain::Bittensor)),
            ("", None),
            ("BTC", None),
        ];
        for (name, chain) in cases {
            assert_eq!(Chain::parse(name), chain, "{name}");
        }
        for chain in [Chain::Solana, Chain::Polygon, Chain::Ethereum, Chain::Bittensor] {
            assert_eq!(Chain::parse(chain.name()), Some(chain));
        }
    }

    #[test]
    fn named_ids_are_of_version_5_and_constant() {
        assert_eq!(named_uuid("usdc:SOL"), named_uuid("usdc:SOL"));
        assert_ne!(named_uuid("usdc:SOL"), named_uuid("usdc:MATIC"));
        assert_eq!(&named_uuid("x")[14..15], "5");
    }
}
