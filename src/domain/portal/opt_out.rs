//! People who want no letters. Every letter carries a code for that; it is made from a secret and the address, so that
//! nothing is kept about those who do not use it.

use aws_lc_rs::hmac;
use rand::Rng;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::domain::auth::mail_alias::{canonical, key};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// People who want no letters, by the keyed hash of their address.
pub const OPT_OUTS: Table<[u8; 32], OptOutRecord> = Table::new(84, "mail_opt_outs");

/// The secret that codes are made from; one row.
pub const OPT_OUT_SECRET: Table<(), OptOutSecret> = Table::new(85, "mail_opt_out_secret");

/// Characters of a code.
const CODE_CHARS: usize = 32;

/// What somebody does not want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptOutRecord {
    /// When they last said so.
    pub time: Timestamp,
    /// No letters at all.
    pub all: bool,
    /// No newsletters.
    pub newsletter: bool,
}
json_record!(OptOutRecord, 1);

/// A secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct OptOutSecret {
    secret: String,
}
json_record!(OptOutSecret, 1);

/// Whether somebody wants no letters at all.
pub fn is_stopped(tx: &mut Tx<'_>, address: &str) -> Result<bool, DomainError> {
    let key = key(tx, &canonical(address));
    Ok(tx.get(&OPT_OUTS, &key)?.is_some_and(|record| record.all))
}

/// The code of an address; the first one ever makes the secret.
pub fn code_for(tx: &mut Tx<'_>, address: &str) -> Result<String, DomainError> {
    let secret = match tx.get(&OPT_OUT_SECRET, &())? {
        Some(secret) => secret,
        None => {
            let mut bytes = [0; 32];
            tx.rng.fill_bytes(&mut bytes);
            let secret = OptOutSecret { secret: hex::encode(bytes) };
            tx.put(&OPT_OUT_SECRET, &(), &secret)?;
            secret
        }
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.secret.as_bytes());
    let mut code = hex::encode(hmac::sign(&key, canonical(address).as_bytes()));
    code.truncate(CODE_CHARS);
    Ok(code)
}

/// Whether a code is that of an address.
pub struct CheckOptOut<'a> {
    /// The address, in lower case.
    pub address: &'a str,
    /// The code.
    pub code: &'a str,
}

impl Operation for CheckOptOut<'_> {
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        let code = code_for(tx, self.address)?;
        Ok(code.as_bytes().ct_eq(self.code.as_bytes()).into())
    }
}

/// What somebody asks to be spared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spare {
    /// All letters.
    All,
    /// Newsletters.
    Newsletter,
}

/// Sends somebody no more letters.
pub struct OptOut<'a> {
    /// Their address, in lower case.
    pub address: &'a str,
    /// The code of their letters.
    pub code: &'a str,
    /// Which letters.
    pub spare: Spare,
}

impl Operation for OptOut<'_> {
    /// Whether the code is that of the address.
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        if !(CheckOptOut { address: self.address, code: self.code }).apply(tx)? {
            return Ok(false);
        }
        let key = key(tx, &canonical(self.address));
        let mut record = tx.get(&OPT_OUTS, &key)?.unwrap_or_default();
        match self.spare {
            Spare::All => record.all = true,
            Spare::Newsletter => record.newsletter = true,
        }
        record.time = tx.now;
        tx.put(&OPT_OUTS, &key, &record)?;
        Ok(true)
    }
}

/// Sends somebody letters again, as they have asked the operator.
pub struct AllowLetters<'a> {
    /// Their address, in lower case.
    pub address: &'a str,
}

impl Operation for AllowLetters<'_> {
    /// Whether they had wanted none.
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        let key = key(tx, &canonical(self.address));
        let is_known = tx.get(&OPT_OUTS, &key)?.is_some();
        tx.delete(&OPT_OUTS, &key)?;
        Ok(is_known)
    }
}
