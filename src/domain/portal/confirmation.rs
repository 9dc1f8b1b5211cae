//! Codes that prove a mail address, and what happens once one comes back: one for each address, the latest.
//!
//! The address itself is not kept: it comes back with the code.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::mail::{self, Letter};
use crate::domain::auth::mail_alias::{canonical, key};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::password::PasswordHash;
use crate::ids::UserId;
use crate::json_record;
use crate::store::table::Table;
use crate::time::{DAY, Timestamp};

/// What waits for the proof of an address, by its hash.
pub const CONFIRMATIONS: Table<[u8; 32], ConfirmationRecord> = Table::new(80, "mail_confirmations");

/// How long a code can come back.
const LIFE: Duration = DAY;
/// Characters of a code.
pub const CODE_CHARS: usize = 32;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Rows that one step of a sweep looks at.
const SWEEP_PAGE: usize = 500;

/// What waits for the proof of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmationRecord {
    /// SHA-256 of the code in hex.
    pub code: String,
    /// When it was sent.
    pub create_time: Timestamp,
    /// Whether its link leads back to the website; else to the app.
    pub is_browser: bool,
    /// The language of who asked.
    pub language: String,
    /// What happens then.
    pub purpose: Purpose,
}
json_record!(ConfirmationRecord, 1);

/// What happens once an address is proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// An account is made.
    SignUp {
        /// Its password.
        password: PasswordHash,
        /// The referral code that was given; empty for none.
        referral_code: String,
    },
    /// A user without an address gets it.
    Convert {
        /// The user.
        user_id: UserId,
        /// The password to sign in with.
        password: PasswordHash,
    },
    /// A user who has it already has proven it.
    Verify {
        /// The user.
        user_id: UserId,
    },
    /// It takes the place of a user's address.
    Replace {
        /// The user.
        user_id: UserId,
    },
    /// It has happened; the code may come again.
    Done,
}

/// A fresh code: letters and digits, about 190 bits.
pub fn new_code(tx: &mut Tx<'_>) -> String {
    (0..CODE_CHARS).map(|_| char::from(ALPHABET[tx.rng.random_range(0..ALPHABET.len())])).collect()
}

/// Whether a text can be a code.
pub fn is_code(text: &str) -> bool {
    text.len() == CODE_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn hash(code: &str) -> String {
    hex::encode(digest(&SHA256, code.as_bytes()))
}

/// Has an address prove itself: sends a code, in place of an earlier one.
pub fn ask(
    tx: &mut Tx<'_>,
    address: &str,
    (language, is_browser): (&str, bool),
    purpose: Purpose,
) -> Result<(), DomainError> {
    let code = new_code(tx);
    let letter = match purpose {
        Purpose::Replace { .. } => Letter::ConfirmNewEmail { code: code.clone() },
        _ => Letter::ConfirmEmail { code: code.clone(), is_browser },
    };
    let language = language.to_owned();
    mail::send(tx, address, &language, letter)?;
    let record = ConfirmationRecord { code: hash(&code), create_time: tx.now, is_browser, language, purpose };
    let key = key(tx, &canonical(address));
    tx.put(&CONFIRMATIONS, &key, &record)?;
    Ok(())
}

/// What waits for the proof of an address, whatever the code.
pub fn waiting(tx: &mut Tx<'_>, address: &str) -> Result<Option<ConfirmationRecord>, DomainError> {
    let key = key(tx, &canonical(address));
    let record = tx.get(&CONFIRMATIONS, &key)?;
    Ok(record.filter(|record| tx.now.since(record.create_time) < LIFE))
}

/// What waits for this proof of an address.
pub fn find(tx: &mut Tx<'_>, address: &str, code: &str) -> Result<Option<ConfirmationRecord>, DomainError> {
    let record = waiting(tx, address)?;
    Ok(record.filter(|record| bool::from(record.code.as_bytes().ct_eq(hash(code).as_bytes()))))
}

/// Notes that it has happened.
pub fn finish(tx: &mut Tx<'_>, address: &str, record: ConfirmationRecord) -> Result<(), DomainError> {
    let done = ConfirmationRecord { purpose: Purpose::Done, ..record };
    let key = key(tx, &canonical(address));
    tx.put(&CONFIRMATIONS, &key, &done)?;
    Ok(())
}

/// Deletes what has waited too long, a page of it; to be run until it says that there is no next page.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// The last row that was looked at.
    pub after: Option<[u8; 32]>,
}

impl Operation for Sweep {
    /// Where the next page starts.
    type Output = Option<[u8; 32]>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let page = tx.page_snapshot(&CONFIRMATIONS, self.after.as_ref(), SWEEP_PAGE)?;
        let next = page.last().filter(|_| page.len() == SWEEP_PAGE).map(|(key, _)| *key);
        for (key, record) in page {
            if tx.now.since(record.create_time) >= LIFE {
                tx.delete(&CONFIRMATIONS, &key)?;
            }
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::portal::sweep;
    use crate::domain::testing::{TestDomain, id};

    const ADDRESS: &str = "a.da@gmail.com";

    struct Ask;

    impl Operation for Ask {
        type Output = [u8; 32];
        fn apply(&self, tx: &mut Tx<'_>) -> Result<[u8; 32], DomainError> {
            ask(tx, ADDRESS, ("en", true), Purpose::Verify { user_id: id(1) })?;
            Ok(key(tx, &canonical(ADDRESS)))
        }
    }

    #[tokio::test]
    async fn neither_address_nor_code_is_kept_and_what_has_waited_a_day_is_swept() {
        let domain = TestDomain::new();
        let key = domain.run(&Ask).await.unwrap();
        let record = domain.get(&CONFIRMATIONS, &key).unwrap();
        assert!(!serde_json::to_string(&record).unwrap().contains("gmail"));
        assert!(!is_code(&record.code), "it is a hash");
        domain.clock.advance(LIFE - Duration::from_secs(1));
        sweep(&domain.service).await.unwrap();
        assert!(domain.get(&CONFIRMATIONS, &key).is_some());
        domain.clock.advance(Duration::from_secs(1));
        sweep(&domain.service).await.unwrap();
        assert_eq!(domain.get(&CONFIRMATIONS, &key), None);
    }
}
