//! Adding and removing sign-in methods of an account that exists, seedphrases among them.

use super::attempts::{Limit, MethodChange, Origin};
use super::method::{self, MethodKind, MethodRecord};
use super::outside::{OutsideIdentity, OutsideProof};
use super::user_auth::UserAuth;
use super::{Accounts, authenticate, seedphrase, verification, verifies_at_once};
use crate::domain::caller::Caller;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::password::{self, PasswordHash};

/// A method to add (`/auth/add-auth`).
#[derive(Clone, Debug, Default)]
pub struct AddMethodRequest {
    /// Mail address or phone number.
    pub user_auth: Option<String>,
    /// Its password.
    pub password: String,
    /// A proof made elsewhere, which counts without the two.
    pub proof: Option<OutsideProof>,
}

/// Why a change was refused; the text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefusal {
    /// No usable field.
    #[error("No sign-in method was given.")]
    NothingGiven,
    /// Neither a mail address nor a phone number.
    #[error("Invalid email or phone number.")]
    InvalidUserAuth,
    /// Shorter than [`password::MIN_PASSWORD_BYTES`].
    #[error("Password is too short.")]
    PasswordTooShort,
    /// The user has one of that kind.
    #[error("A sign-in method of this type exists already.")]
    KindPresent,
    /// Another user has it.
    #[error("Account might already exist. Please sign in.")]
    IdentityTaken,
    /// A proof made elsewhere that does not hold, or of a kind that is switched off.
    #[error("Invalid login credentials.")]
    InvalidCredentials,
    /// Not a kind there is.
    #[error("Unknown sign-in method.")]
    UnknownKind,
    /// The user has none of that kind.
    #[error("There is no sign-in method of this type.")]
    KindAbsent,
    /// It is the last one.
    #[error("Cannot remove the last sign-in method.")]
    LastMethod,
    /// A seedphrase is there already.
    #[error("A seedphrase already exists.")]
    SeedphrasePresent,
    /// No seedphrase yet.
    #[error("There is no seedphrase yet.")]
    SeedphraseAbsent,
    /// Enough changes for a day.
    #[error("Daily limit reached. Try again tomorrow.")]
    DailyLimit,
}

impl Accounts {
    /// Adds a mail address or phone number with its password; a code goes to it unless accounts are verified at once. Or
    /// adds what a proof made elsewhere is about.
    ///
    /// # Errors
    /// [`DomainError::Unauthorized`] when the caller no longer stands, [`DomainError::TooMany`] after too many bad proofs.
    pub async fn add_method(
        &self,
        origin: &Origin,
        caller: &Caller,
        request: &AddMethodRequest,
    ) -> Result<Result<(), ChangeRefusal>, DomainError> {
        let Some(text) = &request.user_auth else {
            let Some(proof) = &request.proof else { return Ok(Err(ChangeRefusal::NothingGiven)) };
            let work = async {
                match self.prove_outside(origin, proof).await? {
                    Ok(identity) => {
                        self.service.run(&AddMethod { caller, method: NewMethod::Outside(&identity) }).await
                    }
                    Err(_) => Ok(Err(ChangeRefusal::InvalidCredentials)),
                }
            };
            return self.within_daily_limit(origin, caller, MethodChange::Add, work).await;
        };
        let Some(user_auth) = UserAuth::parse_reachable(text, self.service.config()) else {
            return Ok(Err(ChangeRefusal::InvalidUserAuth));
        };
        if !password::is_acceptable(&request.password) {
            return Ok(Err(ChangeRefusal::PasswordTooShort));
        }
        self.within_daily_limit(origin, caller, MethodChange::Add, async {
            let hash = self.hasher.hash(&request.password).await?;
            self.service.run(&AddMethod { caller, method: NewMethod::Password(&user_auth, hash) }).await
        })
        .await
    }

    /// Removes the method of a kind, unless it is the last (`/auth/remove-auth`).
    ///
    /// # Errors
    /// [`DomainError::Unauthorized`] when the caller no longer stands.
    pub async fn remove_method(
        &self,
        origin: &Origin,
        caller: &Caller,
        kind: &str,
    ) -> Result<Result<(), ChangeRefusal>, DomainError> {
        let Some(kind) = MethodKind::parse(kind) else { return Ok(Err(ChangeRefusal::UnknownKind)) };
        let removal = RemoveMethod { caller, kind };
        self.within_daily_limit(origin, caller, MethodChange::Remove, self.service.run(&removal)).await
    }

    /// Gives a user without a seedphrase one (`/auth/generate-seedphrase`), or one who has one another
    /// (`/auth/regenerate-seedphrase`, `replace`).
    ///
    /// # Errors
    /// [`DomainError::Unauthorized`] when the caller no longer stands.
    pub async fn generate_seedphrase(
        &self,
        origin: &Origin,
        caller: &Caller,
        replace: bool,
    ) -> Result<Result<String, ChangeRefusal>, DomainError> {
        let kind = if replace { MethodChange::RegenerateSeedphrase } else { MethodChange::GenerateSeedphrase };
        let generation = GenerateSeedphrase { caller, replace };
        self.within_daily_limit(origin, caller, kind, self.service.run(&generation)).await
    }

    /// Runs a change of which a user may make a few a day; only those that succeed count.
    async fn within_daily_limit<T>(
        &self,
        origin: &Origin,
        caller: &Caller,
        change: MethodChange,
        work: impl Future<Output = Result<Result<T, ChangeRefusal>, DomainError>>,
    ) -> Result<Result<T, ChangeRefusal>, DomainError> {
        let user = caller.user_id.to_string();
        let Ok(place) = self.attempts.by_user(self.now(), origin, Limit::MethodChange(change), &user) else {
            return Ok(Err(ChangeRefusal::DailyLimit));
        };
        let outcome = work.await;
        match &outcome {
            Ok(Ok(_)) => place.keep(),
            _ => place.withdraw(),
        }
        outcome
    }
}

struct AddMethod<'a> {
    caller: &'a Caller,
    method: NewMethod<'a>,
}

enum NewMethod<'a> {
    Password(&'a UserAuth, PasswordHash),
    Outside(&'a OutsideIdentity),
}

impl NewMethod<'_> {
    fn record(&self, tx: &Tx<'_>) -> MethodRecord {
        match self {
            Self::Password(user_auth, hash) => MethodRecord {
                kind: user_auth.kind(),
                identity: user_auth.as_str().to_owned(),
                password: Some(hash.clone()),
                verified: verifies_at_once(tx.config),
                create_time: tx.now,
            },
            Self::Outside(identity) => identity.method(tx.now),
        }
    }
}

impl Operation for AddMethod<'_> {
    type Output = Result<(), ChangeRefusal>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        authenticate::confirm(tx, self.caller)?;
        let user_id = &self.caller.user_id;
        let record = self.method.record(tx);
        if method::method(tx, user_id, record.kind)?.is_some() {
            return Ok(Err(ChangeRefusal::KindPresent));
        }
        if method::user_of(tx, &record.identity)?.is_some_and(|owner| owner != *user_id) {
            return Ok(Err(ChangeRefusal::IdentityTaken));
        }
        method::put(tx, user_id, &record)?;
        if !record.verified {
            verification::send_code(tx, user_id, &record, false)?;
        }
        Ok(Ok(()))
    }
}

struct RemoveMethod<'a> {
    caller: &'a Caller,
    kind: MethodKind,
}

impl Operation for RemoveMethod<'_> {
    type Output = Result<(), ChangeRefusal>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        authenticate::confirm(tx, self.caller)?;
        let user_id = &self.caller.user_id;
        let methods = method::methods(tx, user_id)?;
        let Some(method) = methods.iter().find(|method| method.kind == self.kind) else {
            return Ok(Err(ChangeRefusal::KindAbsent));
        };
        if methods.len() == 1 {
            return Ok(Err(ChangeRefusal::LastMethod));
        }
        method::remove(tx, user_id, method)?;
        if method.password.is_some() {
            verification::forget_code(tx, user_id, self.kind)?;
            // A reset code sent to the address that is going must not open what stays.
            super::password_reset::forget_code(tx, user_id)?;
        }
        Ok(Ok(()))
    }
}

struct GenerateSeedphrase<'a> {
    caller: &'a Caller,
    replace: bool,
}

impl Operation for GenerateSeedphrase<'_> {
    type Output = Result<String, ChangeRefusal>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        authenticate::confirm(tx, self.caller)?;
        let user_id = &self.caller.user_id;
        let is_present = method::method(tx, user_id, MethodKind::Seedphrase)?.is_some();
        match (is_present, self.replace) {
            (true, false) => Ok(Err(ChangeRefusal::SeedphrasePresent)),
            (false, true) => Ok(Err(ChangeRefusal::SeedphraseAbsent)),
            _ => seedphrase::assign(tx, user_id).map(Ok),
        }
    }
}
