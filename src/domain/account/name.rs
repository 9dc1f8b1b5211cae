//! Names of networks: how they are written, which are taken.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::domain::auth::seedphrase;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::NetworkId;
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Names in use, and names that still rest after their network gave them up.
pub const NETWORK_NAMES: Table<String, NameRecord> = Table::new(2, "network_names");

/// Longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 50;

/// Room for the number behind a derived name.
const MAX_SUFFIX_BYTES: usize = 10;

/// Names tried before a generated one gets a longer number.
const TRIES_PER_LENGTH: u32 = 8;

/// Who holds a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRecord {
    /// The network.
    pub network_id: NetworkId,
    /// Set once the network took another name: until then nobody else gets this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_until: Option<Timestamp>,
}
json_record!(NameRecord, 1);

/// The stored form of a name: trimmed, lower case, dashes for spaces. `None` when it is not 5 to 50 letters, digits or
/// dashes (the lower bound is `auth.network_name_min`).
pub fn normalise(name: &str, min_bytes: usize) -> Option<String> {
    let name = name.trim().to_lowercase().replace(' ', "-");
    let is_valid = (min_bytes..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    is_valid.then_some(name)
}

/// Whether a normalised name may be taken by `network_id`; by a new network when that is none.
pub fn is_free(tx: &mut Tx<'_>, name: &str, network_id: Option<&NetworkId>) -> Result<bool, DomainError> {
    let holder = tx.get(&NETWORK_NAMES, &name.to_owned())?;
    Ok(holder.is_none_or(|holder| {
        let rests_no_more = holder.reserved_until.is_some_and(|until| until <= tx.now);
        rests_no_more || Some(&holder.network_id) == network_id
    }))
}

/// Forgets those of a network's former names that rest no more, and gives back the others.
pub fn forget_rested(
    tx: &mut Tx<'_>,
    network_id: &NetworkId,
    former_names: Vec<String>,
) -> Result<Vec<String>, DomainError> {
    let mut resting = Vec::new();
    for name in former_names {
        let held = tx.get(&NETWORK_NAMES, &name)?.filter(|record| record.network_id == *network_id);
        match held.and_then(|record| record.reserved_until) {
            Some(until) if until > tx.now => resting.push(name),
            Some(_) => tx.delete(&NETWORK_NAMES, &name)?,
            // Somebody else's by now, or in use again.
            None => {}
        }
    }
    Ok(resting)
}

/// A free name of the form `word-word-NN`.
pub fn generate(tx: &mut Tx<'_>) -> Result<String, DomainError> {
    for digits in 2..=9u32 {
        for _ in 0..TRIES_PER_LENGTH {
            let number = tx.rng.random_range(0..10u32.pow(digits));
            let (first, second) = (seedphrase::random_word(&mut tx.rng), seedphrase::random_word(&mut tx.rng));
            let name = format!("{first}-{second}-{number:0width$}", width = digits as usize);
            if is_free(tx, &name, None)? {
                return Ok(name);
            }
        }
    }
    Err(DomainError::Unavailable)
}

/// A free name made from a word, such as the local part of a mail address.
pub fn derive(tx: &mut Tx<'_>, word: &str) -> Result<String, DomainError> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let mut base: String = word.chars().map(plain).take(MAX_NAME_BYTES - MAX_SUFFIX_BYTES).collect();
    base = base.trim_matches('-').to_owned();
    if base.is_empty() {
        return generate(tx);
    }
    if base.len() >= tx.config.auth.network_name_min && is_free(tx, &base, None)? {
        return Ok(base);
    }
    // Behind a short word stands a longer number, so that the name is long enough.
    let missing = tx.config.auth.network_name_min.saturating_sub(base.len() + 1).clamp(2, 9) as u32;
    for digits in missing..=9 {
        for _ in 0..TRIES_PER_LENGTH {
            let number = tx.rng.random_range(0..10u32.pow(digits));
            let name = format!("{base}-{number:0width$}", width = digits as usize);
            if name.len() >= tx.config.auth.network_name_min && is_free(tx, &name, None)? {
                return Ok(name);
            }
        }
    }
    generate(tx)
}

/// Whether a new network may have a name. An invalid name is not available; that is no error.
pub struct CheckName {
    /// The name as typed.
    pub name: String,
}

impl Operation for CheckName {
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        match normalise(&self.name, tx.config.auth.network_name_min) {
            Some(name) => is_free(tx, &name, None),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::TestDomain;

    struct Derive(&'static str);

    impl Operation for Derive {
        type Output = String;
        fn apply(&self, tx: &mut Tx<'_>) -> Result<String, DomainError> {
            let name = derive(tx, self.0)?;
            let holder = NameRecord { network_id: tx.new_id(), reserved_until: None };
            tx.put(&NETWORK_NAMES, &name, &holder)?;
            Ok(name)
        }
    }

    #[tokio::test]
    async fn names_made_from_words_are_names_and_free() {
        let domain = TestDomain::new();
        let derived = async |word| domain.run(&Derive(word)).await.unwrap();
        assert_eq!(derived("Ada.Hill+x").await, "ada-hill-x");
        let second = derived("ada.hill.x").await;
        assert!(second.starts_with("ada-hill-x-") && second.len() == 13, "{second}");
        for word in ["a", "", "ü", "...", "a-very-long-local-part-that-goes-on-and-on-for-a-while-and-on"] {
            let name = derived(word).await;
            assert_eq!(normalise(&name, 5).as_ref(), Some(&name), "{word}");
        }
    }

    #[test]
    fn names_are_folded_to_their_stored_form() {
        assert_eq!(normalise(" Ab cd1 ", 5).as_deref(), Some("ab-cd1"));
        assert_eq!(normalise("hilltop-lab", 5).as_deref(), Some("hilltop-lab"));
        let (five, fifty) = ("abcde", "a".repeat(50));
        assert_eq!(normalise(five, 5).as_deref(), Some(five));
        assert_eq!(normalise(&fifty, 5), Some(fifty.clone()));
        for wrong in ["", "abcd", &format!("{fifty}a"), "hügelland", "under_score", "a.b.c.d", "tab\there"] {
            assert_eq!(normalise(wrong, 5), None, "{wrong}");
        }
    }
}
