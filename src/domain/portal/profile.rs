//! What the account website remembers of a user.

use serde::{Deserialize, Serialize};

use crate::domain::error::DomainError;
use crate::domain::operation::Tx;
use crate::ids::UserId;
use crate::json_record;
use crate::store::StoreError;
use crate::store::table::Table;

/// What is remembered, by user.
pub const PROFILES: Table<UserId, ProfileRecord> = Table::new(82, "portal_profiles");

/// What is remembered of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileRecord {
    /// Who brought them: `<partner>-<campaign>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// The language they read last; empty when unknown.
    #[serde(default)]
    pub language: String,
}
json_record!(ProfileRecord, 1);

/// The language to write to a user in.
pub fn language(tx: &mut Tx<'_>, user_id: &UserId) -> Result<String, DomainError> {
    let profile = tx.get(&PROFILES, user_id)?.unwrap_or_default();
    Ok(if profile.language.is_empty() { tx.config.portal.language.clone() } else { profile.language })
}

/// Remembers the language that a user reads.
pub fn note_language(tx: &mut Tx<'_>, user_id: &UserId, language: &str) -> Result<(), DomainError> {
    let profile = tx.get(&PROFILES, user_id)?.unwrap_or_default();
    if profile.language != language {
        tx.put(&PROFILES, user_id, &ProfileRecord { language: language.to_owned(), ..profile })?;
    }
    Ok(())
}

/// Forgets a user who is being removed.
pub fn remove(tx: &mut Tx<'_>, user_id: &UserId) -> Result<(), StoreError> {
    tx.delete(&PROFILES, user_id)
}
