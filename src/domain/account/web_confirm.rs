//! What happens once the mail address of somebody at the account website is proven. Whoever proves an address has it:
//! accounts that only claimed it lose it.

use super::create::{self, Names};
use super::web_sign_up::is_taken;
use super::{delete, name};
use crate::domain::auth::method::{self, MethodKind, MethodRecord};
use crate::domain::auth::session::SESSIONS;
use crate::domain::auth::{mail_alias, password_reset, verification};
use crate::domain::client::NETWORK_CLIENTS;
use crate::domain::error::DomainError;
use crate::domain::network::USERS;
use crate::domain::operation::{Operation, Tx};
use crate::domain::password::PasswordHash;
use crate::domain::portal::confirmation::{self, Purpose};
use crate::domain::portal::mail::{self, Letter};
use crate::domain::portal::profile;
use crate::ids::UserId;

/// Returns the code of a letter.
pub struct Confirm<'a> {
    /// The mail address it was sent to, in lower case.
    pub address: &'a str,
    /// The code.
    pub code: &'a str,
    /// Whether it shall replace an address; else make or complete an account.
    pub is_replacement: bool,
}

/// How returning a code ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmOutcome {
    /// The address is proven, now or by the same code before.
    Confirmed,
    /// No such code was sent to this address.
    Unknown,
    /// Meanwhile somebody else has proven the address, or the account is no more.
    Taken,
}

impl Operation for Confirm<'_> {
    type Output = ConfirmOutcome;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<ConfirmOutcome, DomainError> {
        let Some(record) = confirmation::find(tx, self.address, self.code)? else {
            return Ok(ConfirmOutcome::Unknown);
        };
        match &record.purpose {
            Purpose::Done => return Ok(ConfirmOutcome::Confirmed),
            Purpose::Replace { .. } if !self.is_replacement => return Ok(ConfirmOutcome::Unknown),
            Purpose::Replace { .. } => {}
            _ if self.is_replacement => return Ok(ConfirmOutcome::Unknown),
            _ => {}
        }
        let account = NewAccount { address: self.address, language: &record.language };
        if !fulfil(tx, account, &record.purpose)? {
            return Ok(ConfirmOutcome::Taken);
        }
        confirmation::finish(tx, self.address, record)?;
        Ok(ConfirmOutcome::Confirmed)
    }
}

/// Whose address is proven.
#[derive(Clone, Copy)]
pub(super) struct NewAccount<'a> {
    pub(super) address: &'a str,
    pub(super) language: &'a str,
}

/// Does what waited for the proof; says whether it could.
pub(super) fn fulfil(tx: &mut Tx<'_>, account: NewAccount<'_>, purpose: &Purpose) -> Result<bool, DomainError> {
    let NewAccount { address, language } = account;
    let but = match purpose {
        Purpose::Verify { user_id } | Purpose::Replace { user_id } | Purpose::Convert { user_id, .. } => Some(user_id),
        Purpose::SignUp { .. } | Purpose::Done => None,
    };
    if is_taken(tx, address, but)? {
        return Ok(false);
    }
    release(tx, address, but)?;
    match purpose {
        Purpose::Done => Ok(true),
        Purpose::SignUp { password, referral_code } => {
            let local = address.split('@').next().unwrap_or_default();
            let network_name = name::derive(tx, local)?;
            let names = Names { network: &network_name, user: "" };
            let (_, user_id) = create::put_account(tx, names, referral_code)?;
            put_method(tx, &user_id, address, Some(password.clone()))?;
            profile::note_language(tx, &user_id, language)?;
            Ok(true)
        }
        Purpose::Convert { user_id, password } => {
            if tx.get(&USERS, user_id)?.is_none() {
                return Ok(false);
            }
            if let Some(unproven) = method::method(tx, user_id, MethodKind::Email)? {
                method::remove(tx, user_id, &unproven)?;
                verification::forget_code(tx, user_id, MethodKind::Email)?;
            }
            put_method(tx, user_id, address, Some(password.clone()))?;
            profile::note_language(tx, user_id, language)?;
            Ok(true)
        }
        Purpose::Verify { user_id } => {
            let method = method::method(tx, user_id, MethodKind::Email)?;
            let Some(method) = method.filter(|method| is_same(&method.identity, address)) else { return Ok(false) };
            method::put(tx, user_id, &MethodRecord { verified: true, ..method })?;
            verification::forget_code(tx, user_id, MethodKind::Email)?;
            Ok(true)
        }
        Purpose::Replace { user_id } => {
            let Some(old) = method::method(tx, user_id, MethodKind::Email)? else { return Ok(false) };
            method::remove(tx, user_id, &old)?;
            put_method(tx, user_id, address, old.password)?;
            // A code sent to the old address must not open the account any more.
            password_reset::forget_code(tx, user_id)?;
            verification::forget_code(tx, user_id, MethodKind::Email)?;
            mail::send(tx, &old.identity, language, Letter::EmailChanged)?;
            Ok(true)
        }
    }
}

fn is_same(left: &str, right: &str) -> bool {
    mail_alias::canonical(left) == mail_alias::canonical(right)
}

fn put_method(
    tx: &mut Tx<'_>,
    user_id: &UserId,
    address: &str,
    password: Option<PasswordHash>,
) -> Result<(), DomainError> {
    let record = MethodRecord {
        kind: MethodKind::Email,
        identity: address.to_owned(),
        password,
        verified: true,
        create_time: tx.now,
    };
    method::put(tx, user_id, &record)
}

/// Takes an address from an account that has claimed but not proven it. An account that was never used goes altogether.
fn release(tx: &mut Tx<'_>, address: &str, but: Option<&UserId>) -> Result<(), DomainError> {
    let Some(user_id) = mail_alias::user_of(tx, address)?.filter(|user_id| but != Some(user_id)) else { return Ok(()) };
    let methods = method::methods(tx, &user_id)?;
    let claimed: Vec<&MethodRecord> =
        methods.iter().filter(|method| !method.verified && is_same(&method.identity, address)).collect();
    let user = tx.get(&USERS, &user_id)?;
    if let (Some(user), true) = (user, claimed.len() == methods.len()) {
        let is_unused =
            tx.scan(&SESSIONS, &user.network_id)?.is_empty() && tx.scan(&NETWORK_CLIENTS, &user.network_id)?.is_empty();
        if is_unused {
            delete::delete(tx, &user.network_id)?;
            return Ok(());
        }
    }
    for method in claimed {
        verification::forget_code(tx, &user_id, method.kind)?;
        password_reset::forget_code(tx, &user_id)?;
        method::remove(tx, &user_id, method)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::auth::testing::TestAccounts;
    use crate::domain::network::NETWORKS;

    const ADDRESS: &str = "ada@hill.example";

    struct Fulfil(Purpose);

    impl Operation for Fulfil {
        type Output = bool;
        fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
            fulfil(tx, NewAccount { address: ADDRESS, language: "ru" }, &self.0)
        }
    }

    async fn sign_up(accounts: &TestAccounts) -> bool {
        let password = accounts.hasher.hash("Aa1_aaaa").await.unwrap();
        let purpose = Purpose::SignUp { password, referral_code: String::new() };
        accounts.domain.run(&Fulfil(purpose)).await.unwrap()
    }

    struct UserOf;

    impl Operation for UserOf {
        type Output = Option<UserId>;
        fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<UserId>, DomainError> {
            method::user_of(tx, ADDRESS)
        }
    }

    fn owner(accounts: &TestAccounts) -> Option<UserId> {
        accounts.domain.service.read(&UserOf).unwrap()
    }

    #[tokio::test]
    async fn whoever_proves_an_address_takes_it_from_an_account_that_was_never_used() {
        let accounts = TestAccounts::new();
        let network_id = accounts.sign_up(ADDRESS, "ada-claims").await.network_id().unwrap();
        assert!(sign_up(&accounts).await);
        assert_eq!(accounts.domain.get(&NETWORKS, &network_id), None);
        assert!(!sign_up(&accounts).await, "now it is proven");
    }

    #[tokio::test]
    async fn an_account_in_use_loses_the_address_it_only_claimed() {
        let accounts = TestAccounts::new();
        let created = accounts.anonymous().await;
        let caller = accounts.caller(&created.by_jwt);
        let request = crate::domain::auth::method_change::AddMethodRequest {
            user_auth: Some(ADDRESS.into()),
            password: "correct horse".into(),
            proof: None,
        };
        let here = crate::domain::auth::testing::here();
        accounts.add_method(&here, &caller, &request).await.unwrap().unwrap();
        assert_eq!(owner(&accounts), Some(created.user_id));
        assert!(sign_up(&accounts).await);
        assert!(accounts.is_alive(&created.by_jwt));
        assert_ne!(owner(&accounts), Some(created.user_id));
        let language = accounts.domain.get(&profile::PROFILES, &owner(&accounts).unwrap()).unwrap().language;
        assert_eq!(language, "ru");
    }
}
