//! Mail addresses that reach the same person: upper case, dots and tags that a provider ignores.
//!
//! Accounts keep the address as it was given; what other ways of writing it lead to is kept beside. The API compares
//! addresses as they are, the account website by [`canonical`].

use super::method::{self, IdentityRecord, MethodKind, MethodRecord};
use crate::domain::error::DomainError;
use crate::domain::operation::Tx;
use crate::ids::UserId;
use crate::store::table::Table;

/// Users by the keyed hash of the canonical form of their mail address, where that is another than the address.
const MAIL_ALIASES: Table<[u8; 32], IdentityRecord> = Table::new(27, "mail_aliases");

const DOTLESS: [&str; 2] = ["gmail.com", "googlemail.com"];
const PLUS_TAGS: [&str; 6] = ["icloud.com", "me.com", "mac.com", "msn.com", "protonmail.com", "fastmail.com"];
const PLUS_TAG_NAMES: [&str; 3] = ["outlook", "hotmail", "live"];
const MINUS_TAG_NAMES: [&str; 3] = ["yahoo", "ymail", "rocketmail"];

/// The one form of an address, without what its provider ignores. `address` is in lower case.
pub fn canonical(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else { return address.to_owned() };
    let name = domain.split('.').next().unwrap_or_default();
    let before = |tag: char| local.split(tag).next().filter(|local| !local.is_empty()).unwrap_or(local);
    if DOTLESS.contains(&domain) {
        let local = before('+').replace('.', "");
        return format!("{local}@gmail.com");
    }
    if PLUS_TAGS.contains(&domain) || PLUS_TAG_NAMES.contains(&name) {
        return format!("{}@{domain}", before('+'));
    }
    if MINUS_TAG_NAMES.contains(&name) {
        return format!("{}@{domain}", before('-'));
    }
    address.to_owned()
}

/// The key under which a person is kept whose address has this canonical form.
pub fn key(tx: &Tx<'_>, canonical: &str) -> [u8; 32] {
    tx.seal.hash(canonical)
}

/// The user whom an address reaches, however it is written. One who has it exactly so comes first.
pub fn user_of(tx: &mut Tx<'_>, address: &str) -> Result<Option<UserId>, DomainError> {
    if let Some(user_id) = method::user_of(tx, address)? {
        return Ok(Some(user_id));
    }
    let canonical = canonical(address);
    if canonical != address
        && let Some(user_id) = method::user_of(tx, &canonical)?
    {
        return Ok(Some(user_id));
    }
    let key = key(tx, &canonical);
    Ok(tx.get(&MAIL_ALIASES, &key)?.map(|alias| alias.user_id))
}

/// Notes how else an address may be written; who had that first keeps it.
pub(super) fn put(tx: &mut Tx<'_>, user_id: &UserId, method: &MethodRecord) -> Result<(), DomainError> {
    let Some(key) = alias_of(tx, method) else { return Ok(()) };
    if tx.get(&MAIL_ALIASES, &key)?.is_none() {
        tx.put(&MAIL_ALIASES, &key, &IdentityRecord { user_id: *user_id })?;
    }
    Ok(())
}

/// Forgets it with the address.
pub(super) fn remove(tx: &mut Tx<'_>, user_id: &UserId, method: &MethodRecord) -> Result<(), DomainError> {
    let Some(key) = alias_of(tx, method) else { return Ok(()) };
    if tx.get(&MAIL_ALIASES, &key)?.is_some_and(|alias| alias.user_id == *user_id) {
        tx.delete(&MAIL_ALIASES, &key)?;
    }
    Ok(())
}

fn alias_of(tx: &Tx<'_>, method: &MethodRecord) -> Option<[u8; 32]> {
    let canonical = canonical(&method.identity);
    (method.kind == MethodKind::Email && canonical != method.identity).then(|| key(tx, &canonical))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::auth::testing::TestAccounts;
    use crate::domain::operation::Operation;

    #[test]
    fn what_a_provider_ignores_is_left_out() {
        for (address, form) in [
            ("a.d.a+news@gmail.com", "ada@gmail.com"),
            ("ada@googlemail.com", "ada@gmail.com"),
            ("a.da+x@outlook.de", "a.da@outlook.de"),
            ("ada-x@yahoo.com", "ada@yahoo.com"),
            ("a.da+x@icloud.com", "a.da@icloud.com"),
            ("a.da+x@hill.example", "a.da+x@hill.example"),
            ("+x@gmail.com", "+x@gmail.com"),
        ] {
            assert_eq!(canonical(address), form);
            assert_eq!(canonical(form), form);
        }
    }

    struct UserOf(&'static str);

    impl Operation for UserOf {
        type Output = Option<UserId>;
        fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<UserId>, DomainError> {
            user_of(tx, self.0)
        }
    }

    #[tokio::test]
    async fn a_user_is_found_however_the_address_is_written() {
        let accounts = TestAccounts::auto();
        let dotted = accounts.member("a.da@gmail.com", "dotted-net").await.user_id;
        let plain = accounts.member("bob@gmail.com", "plain-net").await.user_id;
        let exact = accounts.member("bob+x@gmail.com", "exact-net").await.user_id;
        let found = |address| accounts.domain.service.read(&UserOf(address)).unwrap();
        assert_eq!(found("ada@gmail.com"), Some(dotted));
        assert_eq!(found("ad.a+x@googlemail.com"), Some(dotted));
        assert_eq!(found("b.ob@gmail.com"), Some(plain));
        assert_eq!(found("bob+x@gmail.com"), Some(exact));
        assert_eq!(found("ada@hill.example"), None);
    }
}
