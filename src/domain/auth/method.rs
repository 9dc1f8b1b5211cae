//! Sign-in methods: the ways a user can prove who they are, one of each kind.

use serde::{Deserialize, Serialize};

use super::mail_alias;
use crate::domain::error::DomainError;
use crate::domain::operation::Tx;
use crate::domain::password::PasswordHash;
use crate::ids::UserId;
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Methods of a user, under the number of their kind.
pub const METHODS: Table<(UserId, u8), MethodRecord> = Table::guarded(10, "sign_in_methods", 16);

/// Users by what identifies them: mail address, phone number, wallet address, or digest of a seedphrase.
pub const IDENTITIES: Table<String, IdentityRecord> = Table::new(11, "identities");

/// A kind of sign-in method; its text form is the API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodKind {
    /// Mail address and password.
    Email,
    /// Phone number and password.
    Phone,
    /// Apple account.
    Apple,
    /// Google account.
    Google,
    /// Solana wallet.
    Solana,
    /// 24 words.
    Seedphrase,
}

impl MethodKind {
    const ALL: [MethodKind; 6] = [Self::Email, Self::Phone, Self::Apple, Self::Google, Self::Solana, Self::Seedphrase];

    /// The API's name of the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Apple => "apple",
            Self::Google => "google",
            Self::Solana => "solana",
            Self::Seedphrase => "seedphrase",
        }
    }

    /// The kind of an API name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether it ties the account to something of the outside world that only one person has.
    pub fn is_proof_of_person(self) -> bool {
        self != Self::Seedphrase
    }

    fn number(self) -> u8 {
        match self {
            Self::Email => 1,
            Self::Phone => 2,
            Self::Apple => 3,
            Self::Google => 4,
            Self::Solana => 5,
            Self::Seedphrase => 6,
        }
    }
}

/// A sign-in method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodRecord {
    /// Its kind.
    pub kind: MethodKind,
    /// Normalised mail or wallet address or number; for a seedphrase, the SHA-256 of its words in hex.
    pub identity: String,
    /// The password, for mail and phone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordHash>,
    /// Whether the address is proven to be the user's.
    pub verified: bool,
    /// When it was added.
    pub create_time: Timestamp,
}
json_record!(MethodRecord, 1);

/// The owner of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityRecord {
    /// The user.
    pub user_id: UserId,
}
json_record!(IdentityRecord, 1);

/// The user behind an identity.
pub fn user_of(tx: &mut Tx<'_>, identity: &str) -> Result<Option<UserId>, DomainError> {
    Ok(tx.get(&IDENTITIES, &identity.to_owned())?.map(|record| record.user_id))
}

/// All methods of a user.
pub fn methods(tx: &mut Tx<'_>, user_id: &UserId) -> Result<Vec<MethodRecord>, DomainError> {
    Ok(tx.scan(&METHODS, user_id)?.into_iter().map(|(_, method)| method).collect())
}

/// The method of a kind.
pub fn method(tx: &mut Tx<'_>, user_id: &UserId, kind: MethodKind) -> Result<Option<MethodRecord>, DomainError> {
    Ok(tx.get(&METHODS, &(*user_id, kind.number()))?)
}

/// Writes a method, and its identity with it. The caller has checked that nobody else has the identity.
pub fn put(tx: &mut Tx<'_>, user_id: &UserId, method: &MethodRecord) -> Result<(), DomainError> {
    tx.put(&METHODS, &(*user_id, method.kind.number()), method)?;
    tx.put(&IDENTITIES, &method.identity, &IdentityRecord { user_id: *user_id })?;
    mail_alias::put(tx, user_id, method)
}

/// Removes a method; its identity goes too unless another method of the user has the same.
pub fn remove(tx: &mut Tx<'_>, user_id: &UserId, method: &MethodRecord) -> Result<(), DomainError> {
    tx.delete(&METHODS, &(*user_id, method.kind.number()))?;
    if !methods(tx, user_id)?.iter().any(|other| other.identity == method.identity) {
        tx.delete(&IDENTITIES, &method.identity)?;
    }
    mail_alias::remove(tx, user_id, method)
}
