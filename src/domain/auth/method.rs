//! Sign-in methods: the ways a user can prove who they are, one of each kind.
//!
//! The store holds no address in plain: a method's is sealed, and users are found by its keyed hash
//! ([`crate::domain::seal`]).

use serde::{Deserialize, Serialize};

use super::mail_alias;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::password::PasswordHash;
use crate::domain::seal::Sealed;
use crate::domain::service::Service;
use crate::ids::UserId;
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Methods of a user, under the number of their kind.
const METHODS: Table<(UserId, u8), StoredMethod> = Table::guarded(10, "sign_in_methods", 16);

/// Users by the keyed hash of what identifies them: mail address, phone number, wallet address, or digest of a
/// seedphrase.
const IDENTITIES: Table<[u8; 32], IdentityRecord> = Table::new(15, "identity_hashes");

/// The same by the identity itself, as stores of before 15 was there had it; [`seal_all`] empties it.
const PLAIN_IDENTITIES: Table<String, IdentityRecord> = Table::new(11, "identities");

/// Rows of [`PLAIN_IDENTITIES`] that one transaction takes.
const SEAL_BATCH: usize = 100;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodRecord {
    /// Its kind.
    pub kind: MethodKind,
    /// Normalised mail or wallet address or number; for a seedphrase, the SHA-256 of its words in hex.
    pub identity: String,
    /// The password, for mail and phone.
    pub password: Option<PasswordHash>,
    /// Whether the address is proven to be the user's.
    pub verified: bool,
    /// When it was added.
    pub create_time: Timestamp,
}

/// A sign-in method in the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredMethod {
    kind: MethodKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed_identity: Option<Sealed>,
    /// In rows that [`seal_all`] has not met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<PasswordHash>,
    verified: bool,
    create_time: Timestamp,
}
json_record!(StoredMethod, 1);

/// The owner of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdentityRecord {
    pub(super) user_id: UserId,
}
json_record!(IdentityRecord, 1);

impl StoredMethod {
    fn seal(tx: &Tx<'_>, method: &MethodRecord) -> Self {
        let MethodRecord { kind, identity, password, verified, create_time } = method.clone();
        let sealed_identity = Some(tx.seal.seal(&identity));
        Self { kind, sealed_identity, identity: None, password, verified, create_time }
    }

    fn open(self, tx: &Tx<'_>) -> Result<MethodRecord, DomainError> {
        let Self { kind, sealed_identity, identity, password, verified, create_time } = self;
        let opened = match sealed_identity {
            Some(sealed) => tx.seal.open(&sealed),
            None => identity,
        };
        let Some(identity) = opened else {
            tracing::error!("a sign-in method was sealed under another identity-key; restore that file");
            return Err(DomainError::Unavailable);
        };
        Ok(MethodRecord { kind, identity, password, verified, create_time })
    }
}

/// The user behind an identity.
pub fn user_of(tx: &mut Tx<'_>, identity: &str) -> Result<Option<UserId>, DomainError> {
    let hash = tx.seal.hash(identity);
    Ok(tx.get(&IDENTITIES, &hash)?.map(|record| record.user_id))
}

/// All methods of a user.
pub fn methods(tx: &mut Tx<'_>, user_id: &UserId) -> Result<Vec<MethodRecord>, DomainError> {
    tx.scan(&METHODS, user_id)?.into_iter().map(|(_, method)| method.open(tx)).collect()
}

/// The method of a kind.
pub fn method(tx: &mut Tx<'_>, user_id: &UserId, kind: MethodKind) -> Result<Option<MethodRecord>, DomainError> {
    tx.get(&METHODS, &(*user_id, kind.number()))?.map(|method| method.open(tx)).transpose()
}

/// Writes a method, and its identity with it. The caller has checked that nobody else has the identity.
pub fn put(tx: &mut Tx<'_>, user_id: &UserId, method: &MethodRecord) -> Result<(), DomainError> {
    let stored = StoredMethod::seal(tx, method);
    tx.put(&METHODS, &(*user_id, method.kind.number()), &stored)?;
    let hash = tx.seal.hash(&method.identity);
    tx.put(&IDENTITIES, &hash, &IdentityRecord { user_id: *user_id })?;
    mail_alias::put(tx, user_id, method)
}

/// Removes a method; its identity goes too unless another method of the user has the same.
pub fn remove(tx: &mut Tx<'_>, user_id: &UserId, method: &MethodRecord) -> Result<(), DomainError> {
    tx.delete(&METHODS, &(*user_id, method.kind.number()))?;
    if !methods(tx, user_id)?.iter().any(|other| other.identity == method.identity) {
        let hash = tx.seal.hash(&method.identity);
        tx.delete(&IDENTITIES, &hash)?;
    }
    mail_alias::remove(tx, user_id, method)
}

/// Seals what an older release wrote in plain; to be called before anyone signs in. Cut off, it goes on at the next
/// start.
pub async fn seal_all(service: &Service) -> Result<(), DomainError> {
    let mut sealed = 0;
    loop {
        match service.run(&SealSome).await? {
            0 => break,
            count => sealed += count,
        }
    }
    if sealed > 0 {
        tracing::info!(identities = sealed, "the addresses of sign-in methods are now sealed");
    }
    Ok(())
}

/// Seals the first identities in plain; answers how many.
struct SealSome;

impl Operation for SealSome {
    type Output = usize;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<usize, DomainError> {
        let plain = tx.page_snapshot(&PLAIN_IDENTITIES, None, SEAL_BATCH)?;
        for (identity, IdentityRecord { user_id }) in &plain {
            for method in methods(tx, user_id)? {
                put(tx, user_id, &method)?;
            }
            tx.delete(&PLAIN_IDENTITIES, identity)?;
        }
        Ok(plain.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{TestDomain, id};
    use crate::store::Store;

    struct Put(MethodRecord);

    impl Operation for Put {
        type Output = ();

        fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
            put(tx, &id(2), &self.0)
        }
    }

    struct Find(&'static str);

    impl Operation for Find {
        type Output = (Option<UserId>, Vec<MethodRecord>);

        fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
            Ok((user_of(tx, self.0)?, methods(tx, &id(2))?))
        }
    }

    fn by_mail() -> MethodRecord {
        MethodRecord {
            kind: MethodKind::Email,
            identity: "alice@example.com".into(),
            password: None,
            verified: true,
            create_time: Timestamp::from_secs(7),
        }
    }

    /// Whether any row of the store shows the address.
    fn shows_address(domain: &TestDomain) -> bool {
        let address = b"alice@example.com";
        let shows = |bytes: &[u8]| bytes.windows(address.len()).any(|part| part == address);
        let rows = domain.store.scan(&[], None, usize::MAX).unwrap();
        rows.iter().any(|(key, row)| shows(key) || shows(&row.value))
    }

    #[tokio::test]
    async fn the_store_shows_no_address() {
        let domain = TestDomain::new();
        domain.run(&Put(by_mail())).await.unwrap();
        assert!(!shows_address(&domain));
        let found = domain.service.read(&Find("alice@example.com")).unwrap();
        assert_eq!(found, (Some(id(2)), vec![by_mail()]));
        assert_eq!(domain.service.read(&Find("bob@example.com")).unwrap().0, None);
    }

    #[tokio::test]
    async fn rows_of_before_are_sealed_at_the_start() {
        let domain = TestDomain::new();
        let MethodRecord { kind, identity, password, verified, create_time } = by_mail();
        let plain =
            StoredMethod { kind, sealed_identity: None, identity: Some(identity), password, verified, create_time };
        domain.put(&METHODS, &(id(2), kind.number()), &plain).await;
        domain.put(&PLAIN_IDENTITIES, &"alice@example.com".into(), &IdentityRecord { user_id: id(2) }).await;
        assert!(shows_address(&domain));

        seal_all(&domain.service).await.unwrap();
        assert!(!shows_address(&domain));
        let found = domain.service.read(&Find("alice@example.com")).unwrap();
        assert_eq!(found, (Some(id(2)), vec![by_mail()]));
    }
}
