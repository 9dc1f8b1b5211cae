//! Login: first what methods an identity has, then the proof.

use super::attempts::{Limit, Origin};
use super::method::{self, MethodKind, MethodRecord};
use super::outside::{OutsideLoggedIn, OutsideLogin, OutsideProof, OutsideRefusal};
use super::user_auth::UserAuth;
use super::verification::SendCode;
use super::wallet::WalletProof;
use super::{Accounts, seedphrase, session};
use crate::domain::error::DomainError;
use crate::domain::network::{NETWORKS, USERS};
use crate::domain::operation::{Operation, Tx};
use crate::domain::password::PasswordHash;
use crate::domain::token::Claims;
use crate::ids::{NetworkId, UserId};

/// The first step of a login (`/auth/login`). The first field given counts.
#[derive(Clone, Debug, Default)]
pub struct LoginRequest {
    /// Mail address or phone number; given but empty is given, and invalid.
    pub user_auth: Option<String>,
    /// A proof made elsewhere.
    pub proof: Option<OutsideProof>,
    /// 24 words; empty for none.
    pub seedphrase: String,
}

/// How the first step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// The identity exists and has these methods; the one with a password is `[email or phone, "password"]`.
    Methods {
        /// The normalised identity.
        user_auth: String,
        /// The API's names of the methods.
        allowed: Vec<&'static str>,
    },
    /// Nobody has this identity: the client goes on to sign-up.
    Unknown {
        /// The normalised identity.
        user_auth: String,
    },
    /// The token of a sign-in service holds, and nobody has its identity: the client goes on to sign-up.
    UnknownToken {
        /// What the service calls the person; empty when it does not say.
        user_name: String,
    },
    /// The wallet's signature holds, and nobody has the wallet: the client goes on to sign-up, with a new challenge.
    UnknownWallet {
        /// The proof, whose challenge is used up.
        proof: WalletProof,
    },
    /// The proof was complete.
    LoggedIn {
        /// A user token.
        by_jwt: String,
    },
    /// Neither a mail address nor a phone number.
    InvalidUserAuth,
    /// Nothing usable was given, or the proof is of a kind that is switched off.
    InvalidCredentials,
    /// Nobody has this seedphrase.
    UnknownSeedphrase,
}

/// How a login with a password ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordLoginOutcome {
    /// Logged in.
    LoggedIn {
        /// A user token.
        by_jwt: String,
    },
    /// The password is right, but the address is not proven yet; a code is on its way.
    VerificationRequired {
        /// The normalised identity.
        user_auth: String,
        /// Name of the user's network.
        network_name: String,
    },
    /// Neither a mail address nor a phone number.
    InvalidUserAuth,
    /// Unknown user or wrong password: all alike, in the same time.
    InvalidPassword,
}

/// Whose password it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordOwner {
    /// The user.
    pub user_id: UserId,
    /// Their network.
    pub network_id: NetworkId,
    /// The normalised identity.
    pub user_auth: String,
    /// Whether the address is proven.
    pub verified: bool,
    /// The hash that matched.
    pub(super) hash: PasswordHash,
}

impl Accounts {
    /// The first step of a login.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many wrong seedphrases or proofs; for a wallet's proof that does not hold the
    /// error of its [`WalletRefusal`](super::wallet::WalletRefusal).
    pub async fn login(&self, origin: &Origin, request: &LoginRequest) -> Result<LoginOutcome, DomainError> {
        if let Some(text) = &request.user_auth {
            let Some(user_auth) = UserAuth::parse(text) else { return Ok(LoginOutcome::InvalidUserAuth) };
            let allowed = self.service.read(&FindMethods { user_auth: &user_auth })?;
            let user_auth = user_auth.as_str().to_owned();
            return Ok(match allowed.is_empty() {
                true => LoginOutcome::Unknown { user_auth },
                false => LoginOutcome::Methods { user_auth, allowed },
            });
        }
        if let Some(proof) = &request.proof {
            return self.login_outside(origin, proof).await;
        }
        if request.seedphrase.trim().is_empty() {
            return Ok(LoginOutcome::InvalidCredentials);
        }
        let attempt = self.attempts.secret(self.now(), origin, None)?;
        let identity = seedphrase::identity(&request.seedphrase);
        match self.service.run(&SeedphraseLogin { identity }).await? {
            Some(claims) => {
                attempt.clear();
                Ok(LoginOutcome::LoggedIn { by_jwt: self.issue(&claims) })
            }
            None => {
                attempt.keep();
                Ok(LoginOutcome::UnknownSeedphrase)
            }
        }
    }

    async fn login_outside(&self, origin: &Origin, proof: &OutsideProof) -> Result<LoginOutcome, DomainError> {
        let identity = match self.prove_outside(origin, proof).await? {
            Ok(identity) => identity,
            Err(OutsideRefusal::Credentials) => return Ok(LoginOutcome::InvalidCredentials),
            Err(OutsideRefusal::Wallet(refusal)) => return Err(refusal.into()),
        };
        Ok(match (self.service.run(&OutsideLogin { identity: &identity }).await?, proof) {
            (OutsideLoggedIn::As(claims), _) => LoginOutcome::LoggedIn { by_jwt: self.issue(&claims) },
            (OutsideLoggedIn::Unproven, _) => LoginOutcome::InvalidCredentials,
            (OutsideLoggedIn::Nobody, OutsideProof::Token { .. }) => {
                LoginOutcome::UnknownToken { user_name: identity.user_name }
            }
            (OutsideLoggedIn::Nobody, OutsideProof::Wallet(proof)) => {
                LoginOutcome::UnknownWallet { proof: proof.clone() }
            }
        })
    }

    /// Logs in with a password (`/auth/login-with-password`). With an unproven address a code is sent instead, unless
    /// too many went to it lately: then the last one still serves.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many wrong passwords.
    pub async fn login_with_password(
        &self,
        origin: &Origin,
        user_auth: &str,
        password: &str,
        is_numeric: bool,
    ) -> Result<PasswordLoginOutcome, DomainError> {
        let Some(user_auth) = UserAuth::parse(user_auth) else { return Ok(PasswordLoginOutcome::InvalidUserAuth) };
        let Some(owner) = self.check_password(origin, &user_auth, password).await? else {
            return Ok(PasswordLoginOutcome::InvalidPassword);
        };
        match self.service.run(&FinishPasswordLogin { owner: &owner, kind: user_auth.kind() }).await? {
            Finished::LoggedIn(claims) => Ok(PasswordLoginOutcome::LoggedIn { by_jwt: self.issue(&claims) }),
            Finished::Unverified { network_name } => {
                if let Ok(place) = self.attempts.by_user(self.now(), origin, Limit::Message, user_auth.as_str()) {
                    place.keep();
                    self.service.run(&SendCode { user_auth: &user_auth, is_numeric }).await?;
                }
                Ok(PasswordLoginOutcome::VerificationRequired { user_auth: owner.user_auth, network_name })
            }
            Finished::Changed => Ok(PasswordLoginOutcome::InvalidPassword),
        }
    }

    /// Whose password this is; `None` for an unknown user and for a wrong password, in the same time. For every
    /// surface that logs in with one.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many wrong passwords.
    pub async fn check_password(
        &self,
        origin: &Origin,
        user_auth: &UserAuth,
        password: &str,
    ) -> Result<Option<PasswordOwner>, DomainError> {
        let attempt = self.attempts.secret(self.now(), origin, Some(user_auth.as_str()))?;
        let owner = self.service.read(&FindPassword { user_auth })?;
        let matches = self.hasher.matches(password, owner.as_ref().map(|owner| &owner.hash)).await;
        match matches {
            Ok(true) => {
                attempt.clear();
                Ok(owner)
            }
            Ok(false) => {
                attempt.keep();
                Ok(None)
            }
            Err(busy) => {
                attempt.withdraw();
                Err(busy)
            }
        }
    }
}

struct FindMethods<'a> {
    user_auth: &'a UserAuth,
}

impl Operation for FindMethods<'_> {
    type Output = Vec<&'static str>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<&'static str>, DomainError> {
        let Some(user_id) = method::user_of(tx, self.user_auth.as_str())? else { return Ok(Vec::new()) };
        let mut allowed = Vec::new();
        for method in method::methods(tx, &user_id)? {
            if method.identity == self.user_auth.as_str() {
                allowed.push(method.kind.as_str());
                // Older clients look for this word.
                allowed.extend(method.password.map(|_| "password"));
            }
        }
        Ok(allowed)
    }
}

struct SeedphraseLogin {
    identity: String,
}

impl Operation for SeedphraseLogin {
    type Output = Option<Claims>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Claims>, DomainError> {
        let Some(user_id) = method::user_of(tx, &self.identity)? else { return Ok(None) };
        let caller = session::login(tx, &user_id)?;
        session::claims(tx, &caller).map(Some)
    }
}

/// Finds the stored hash that a password must match.
pub(in crate::domain) struct FindPassword<'a> {
    pub(in crate::domain) user_auth: &'a UserAuth,
}

impl Operation for FindPassword<'_> {
    type Output = Option<PasswordOwner>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<PasswordOwner>, DomainError> {
        let Some(user_id) = method::user_of(tx, self.user_auth.as_str())? else { return Ok(None) };
        let Some(method) = method::method(tx, &user_id, self.user_auth.kind())? else { return Ok(None) };
        let Some(user) = tx.get(&USERS, &user_id)? else { return Ok(None) };
        let MethodRecord { identity, password: Some(hash), verified, .. } = method else { return Ok(None) };
        let owner = PasswordOwner { user_id, network_id: user.network_id, user_auth: identity, verified, hash };
        Ok((owner.user_auth == self.user_auth.as_str()).then_some(owner))
    }
}

/// The method whose password was right; `None` when it was changed since.
pub(in crate::domain) fn still_owned(
    tx: &mut Tx<'_>,
    owner: &PasswordOwner,
    kind: MethodKind,
) -> Result<Option<MethodRecord>, DomainError> {
    let method = method::method(tx, &owner.user_id, kind)?;
    Ok(method.filter(|method| method.password.as_ref() == Some(&owner.hash)))
}

struct FinishPasswordLogin<'a> {
    owner: &'a PasswordOwner,
    kind: MethodKind,
}

enum Finished {
    LoggedIn(Box<Claims>),
    Unverified {
        network_name: String,
    },
    /// The password was changed between its check and this transaction.
    Changed,
}

impl Operation for FinishPasswordLogin<'_> {
    type Output = Finished;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Finished, DomainError> {
        let PasswordOwner { user_id, network_id, .. } = self.owner;
        let Some(method) = still_owned(tx, self.owner, self.kind)? else { return Ok(Finished::Changed) };
        if method.verified {
            let caller = session::login(tx, user_id)?;
            return Ok(Finished::LoggedIn(Box::new(session::claims(tx, &caller)?)));
        }
        let network = tx.get(&NETWORKS, network_id)?.ok_or(DomainError::Unauthorized)?;
        Ok(Finished::Unverified { network_name: network.name })
    }
}
