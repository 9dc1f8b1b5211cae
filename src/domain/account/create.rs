//! Sign-up: a user, their first sign-in method and their network, in one transaction.

use super::name::{self, NETWORK_NAMES, NameRecord};
use super::referral;
use super::repeat::{FindProvenRepeat, FindRepeat};
use crate::config::auth::Signup;
use crate::domain::auth::attempts::{Limit, Origin, Surface};
use crate::domain::auth::method::{self, MethodKind, MethodRecord};
use crate::domain::auth::outside::{OutsideIdentity, OutsideProof};
use crate::domain::auth::user_auth::UserAuth;
use crate::domain::auth::{Accounts, seedphrase, session, verification, verifies_at_once};
use crate::domain::contract::codes::{PENDING_CODES, PendingCode, Secret};
use crate::domain::device::cut;
use crate::domain::error::DomainError;
use crate::domain::network::{NETWORKS, NetworkRecord, USERS, UserRecord, is_pro};
use crate::domain::operation::{Operation, Tx};
use crate::domain::password::{self, PasswordHash};
use crate::domain::token::Claims;
use crate::domain::wallet::account_wallet;
use crate::domain::wallet::address::Chain;
use crate::ids::{NetworkId, UserId};

const MAX_USER_NAME_BYTES: usize = 128;

/// A sign-up (`/auth/network-create`). Without any sign-in method the account gets a seedphrase and a generated name.
#[derive(Clone, Debug, Default)]
pub struct CreateNetwork {
    /// What the user calls themselves; may be empty.
    pub user_name: String,
    /// Mail address or phone number; given but empty is given, and invalid.
    pub user_auth: Option<String>,
    /// Its password.
    pub password: String,
    /// A proof made elsewhere, which counts without a `user_auth`.
    pub proof: Option<OutsideProof>,
    /// Wanted name of the network.
    pub network_name: String,
    /// Whether the terms are accepted.
    pub terms: bool,
    /// Whether the verification code shall be 6 digits.
    pub verify_use_numeric: bool,
    /// Somebody's referral code; ignored when unknown.
    pub referral_code: String,
    /// A balance code to redeem in place of the free grant of the day. The network is made with a note of it;
    /// [`Ledger::redeem_pending`](crate::domain::contract::Ledger::redeem_pending) then does it.
    pub balance_code: Option<Secret>,
}

/// How a sign-up ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateNetworkOutcome {
    /// The account is ready.
    Created(CreatedNetwork),
    /// The account is there, but its address must be proven first; a code is on its way.
    VerificationRequired {
        /// The network.
        network_id: NetworkId,
        /// Its normalised name.
        network_name: String,
        /// The normalised address.
        user_auth: String,
    },
    /// Nothing was made.
    Refused(CreateRefusal),
}

impl CreateNetworkOutcome {
    /// The network, new or made by the same sign-up a moment ago.
    pub fn network_id(&self) -> Option<NetworkId> {
        match self {
            Self::Created(created) => Some(created.network_id),
            Self::VerificationRequired { network_id, .. } => Some(*network_id),
            Self::Refused(_) => None,
        }
    }
}

/// A new network with a logged-in user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedNetwork {
    /// The network.
    pub network_id: NetworkId,
    /// Its user.
    pub user_id: UserId,
    /// Its normalised name.
    pub network_name: String,
    /// A user token.
    pub by_jwt: String,
    /// The mail address that a sign-in service knows the user by.
    pub user_auth: Option<String>,
    /// The 24 words of an account without another method; shown once.
    pub seedphrase: Option<String>,
    /// Whether it has a Pro balance.
    pub is_pro: bool,
}

/// Why a sign-up was refused; the text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateRefusal {
    /// The operator makes networks.
    #[error("Sign up is closed on this server.")]
    SignupClosed,
    /// Terms not accepted.
    #[error("The terms must be accepted.")]
    TermsNotAccepted,
    /// Not a name. Also shown beside the name field.
    #[error("Network name must be {min_bytes} to 50 letters, digits or dashes.")]
    InvalidName {
        /// `auth.network_name_min`.
        min_bytes: usize,
    },
    /// Somebody has the name. Also shown beside the name field.
    #[error("Network name not available.")]
    NameTaken,
    /// Neither a mail address nor a phone number that a code can reach.
    #[error("Invalid email or phone number.")]
    InvalidUserAuth,
    /// Shorter than [`password::MIN_PASSWORD_BYTES`].
    #[error("Password is too short.")]
    PasswordTooShort,
    /// Somebody has the address.
    #[error("Account might already exist. Please sign in.")]
    IdentityTaken,
    /// A proof made elsewhere that does not hold, or of a kind that is switched off.
    #[error("Invalid login credentials.")]
    InvalidCredentials,
}

impl CreateRefusal {
    /// Whether the text belongs to the name field (`network_name_message`).
    pub fn is_about_name(&self) -> bool {
        matches!(self, Self::InvalidName { .. } | Self::NameTaken)
    }
}

impl Accounts {
    /// Signs a user up.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many accounts without a method from one address, or too many wrong passwords
    /// for a sign-up that is under way.
    pub async fn create_network(
        &self,
        origin: &Origin,
        request: &CreateNetwork,
    ) -> Result<CreateNetworkOutcome, DomainError> {
        let refused = |refusal| Ok(CreateNetworkOutcome::Refused(refusal));
        let config = self.service.config();
        if config.auth.signup == Signup::Closed && origin.surface != Surface::Operator {
            return refused(CreateRefusal::SignupClosed);
        }
        if !request.terms {
            return refused(CreateRefusal::TermsNotAccepted);
        }
        let Some(user_auth) = &request.user_auth else {
            return match &request.proof {
                Some(proof) => self.create_proven(origin, request, proof).await,
                None => self.create_anonymous(origin, request).await,
            };
        };

        let min_bytes = config.auth.network_name_min;
        let Some(network_name) = name::normalise(&request.network_name, min_bytes) else {
            return refused(CreateRefusal::InvalidName { min_bytes });
        };
        let user_auth = UserAuth::parse_reachable(user_auth, config);
        if let Some(user_auth) = &user_auth
            && let Some(first) = self.service.read(&FindRepeat { user_auth, network_name: &network_name })?
        {
            return self.repeat(origin, request, user_auth, first, network_name).await;
        }
        if !self.service.read(&name::CheckName { name: network_name.clone() })? {
            return refused(CreateRefusal::NameTaken);
        }
        let Some(user_auth) = user_auth else { return refused(CreateRefusal::InvalidUserAuth) };
        if !password::is_acceptable(&request.password) {
            return refused(CreateRefusal::PasswordTooShort);
        }
        if self.service.read(&IsTaken { identity: user_auth.as_str() })? {
            return refused(CreateRefusal::IdentityTaken);
        }
        // The first code counts as a message too, but a sign-up is not refused for it.
        if let Ok(place) = self.attempts.by_user(self.now(), origin, Limit::Message, user_auth.as_str()) {
            place.keep();
        }
        let hash = self.hasher.hash(&request.password).await?;
        let method = FirstMethod::Password(user_auth, hash);
        self.finish(&SignUp { request, network_name: Some(network_name), method }).await
    }

    /// Signs up somebody who has proven elsewhere who they are.
    async fn create_proven(
        &self,
        origin: &Origin,
        request: &CreateNetwork,
        proof: &OutsideProof,
    ) -> Result<CreateNetworkOutcome, DomainError> {
        let refused = |refusal| Ok(CreateNetworkOutcome::Refused(refusal));
        let min_bytes = self.service.config().auth.network_name_min;
        let Some(network_name) = name::normalise(&request.network_name, min_bytes) else {
            return refused(CreateRefusal::InvalidName { min_bytes });
        };
        // Before the proof: a wallet's challenge is not used up by a name that cannot be had.
        if !self.service.read(&name::CheckName { name: network_name.clone() })? {
            return match self.service.read(&FindProvenRepeat { network_name: &network_name })? {
                Some(first) => self.repeat_proven(origin, proof, first, network_name).await,
                None => refused(CreateRefusal::NameTaken),
            };
        }
        let Ok(identity) = self.prove_outside(origin, proof).await? else {
            return refused(CreateRefusal::InvalidCredentials);
        };
        let method = FirstMethod::Outside(identity);
        self.finish(&SignUp { request, network_name: Some(network_name), method }).await
    }

    async fn create_anonymous(
        &self,
        origin: &Origin,
        request: &CreateNetwork,
    ) -> Result<CreateNetworkOutcome, DomainError> {
        let limit = self.service.config().auth.anonymous_per_day;
        let sign_up = SignUp { request, network_name: None, method: FirstMethod::Words };
        if limit == 0 || origin.address.to_canonical().is_loopback() {
            return self.finish(&sign_up).await;
        }
        let place = self.attempts.by_address(self.now(), origin, Limit::AnonymousAccount(limit))?;
        let outcome = self.finish(&sign_up).await;
        match outcome {
            Ok(_) => place.keep(),
            Err(_) => place.withdraw(),
        }
        outcome
    }

    async fn finish(&self, sign_up: &SignUp<'_>) -> Result<CreateNetworkOutcome, DomainError> {
        let made = match self.service.run(sign_up).await? {
            Ok(made) => made,
            Err(refusal) => return Ok(CreateNetworkOutcome::Refused(refusal)),
        };
        let Made { network_id, user_id, network_name, seedphrase, is_pro, claims } = made;
        match (claims, &sign_up.method) {
            (None, FirstMethod::Password(user_auth, _)) => {
                let user_auth = user_auth.as_str().to_owned();
                Ok(CreateNetworkOutcome::VerificationRequired { network_id, network_name, user_auth })
            }
            (claims, method) => {
                let by_jwt = self.issue(&claims.ok_or(DomainError::Unauthorized)?);
                let user_auth = match method {
                    FirstMethod::Outside(identity) => identity.service_address(),
                    FirstMethod::Words | FirstMethod::Password(..) => None,
                };
                let created =
                    CreatedNetwork { network_id, user_id, network_name, by_jwt, user_auth, seedphrase, is_pro };
                Ok(CreateNetworkOutcome::Created(created))
            }
        }
    }
}

struct IsTaken<'a> {
    identity: &'a str,
}

impl Operation for IsTaken<'_> {
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        Ok(method::user_of(tx, self.identity)?.is_some())
    }
}

struct SignUp<'a> {
    request: &'a CreateNetwork,
    /// Normalised; generated when none.
    network_name: Option<String>,
    method: FirstMethod,
}

/// How the new user will sign in.
enum FirstMethod {
    /// With words that are made up now.
    Words,
    Password(UserAuth, PasswordHash),
    Outside(OutsideIdentity),
}

impl FirstMethod {
    fn identity(&self) -> Option<&str> {
        match self {
            Self::Words => None,
            Self::Password(user_auth, _) => Some(user_auth.as_str()),
            Self::Outside(identity) => Some(&identity.identity),
        }
    }
}

struct Made {
    network_id: NetworkId,
    user_id: UserId,
    network_name: String,
    seedphrase: Option<String>,
    is_pro: bool,
    /// None while the address is not proven.
    claims: Option<Claims>,
}

impl Operation for SignUp<'_> {
    type Output = Result<Made, CreateRefusal>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let network_name = match &self.network_name {
            Some(name) if name::is_free(tx, name, None)? => name.clone(),
            Some(_) => return Ok(Err(CreateRefusal::NameTaken)),
            None => name::generate(tx)?,
        };
        if let Some(identity) = self.method.identity()
            && method::user_of(tx, identity)?.is_some()
        {
            return Ok(Err(CreateRefusal::IdentityTaken));
        }

        let (network_id, user_id) = self.put_records(tx, &network_name)?;
        let mut seedphrase = None;
        let is_ready = match &self.method {
            FirstMethod::Words => {
                seedphrase = Some(seedphrase::assign(tx, &user_id)?);
                true
            }
            FirstMethod::Outside(identity) => {
                method::put(tx, &user_id, &identity.method(tx.now))?;
                if identity.kind == MethodKind::Solana {
                    let address = identity.identity.clone();
                    account_wallet::add_own_wallet(tx, network_id, Chain::Solana, address)?;
                }
                true
            }
            FirstMethod::Password(user_auth, password) => {
                let verified = verifies_at_once(tx.config);
                let record = MethodRecord {
                    kind: user_auth.kind(),
                    identity: user_auth.as_str().to_owned(),
                    password: Some(password.clone()),
                    verified,
                    create_time: tx.now,
                };
                debug_assert!(matches!(record.kind, MethodKind::Email | MethodKind::Phone));
                method::put(tx, &user_id, &record)?;
                if !verified {
                    verification::send_code(tx, &user_id, &record, self.request.verify_use_numeric)?;
                }
                verified
            }
        };
        let claims = match is_ready {
            true => {
                let caller = session::login(tx, &user_id)?;
                Some(session::claims(tx, &caller)?)
            }
            false => None,
        };
        let is_pro = is_pro(tx, &network_id)?;
        Ok(Ok(Made { network_id, user_id, network_name, seedphrase, is_pro, claims }))
    }
}

impl SignUp<'_> {
    fn put_records(&self, tx: &mut Tx<'_>, network_name: &str) -> Result<(NetworkId, UserId), DomainError> {
        let user_name = match &self.method {
            FirstMethod::Outside(identity) if self.request.user_name.trim().is_empty() => &identity.user_name,
            _ => &self.request.user_name,
        };
        let names = Names { network: network_name, user: user_name };
        let (network_id, user_id) = put_account(tx, names, &self.request.referral_code)?;
        if let Some(secret) = self.request.balance_code.clone() {
            tx.put(&PENDING_CODES, &network_id, &PendingCode { secret, create_time: tx.now })?;
        }
        Ok((network_id, user_id))
    }
}

/// What a new account is called.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    /// The network, by a name that is free.
    pub(super) network: &'a str,
    /// The user; may be empty.
    pub(super) user: &'a str,
}

/// Writes a network and its user, without a way to sign in yet. A referral code that brings nothing is ignored.
pub(super) fn put_account(
    tx: &mut Tx<'_>,
    names: Names<'_>,
    referral_code: &str,
) -> Result<(NetworkId, UserId), DomainError> {
    let network_id: NetworkId = tx.new_id();
    let user_id: UserId = tx.new_id();
    let referred_by = referral::accept(tx, referral_code, &network_id)?;
    let referral_code = referral::new_code(tx, network_id)?;
    let user = UserRecord {
        network_id,
        user_name: cut(names.user.trim(), MAX_USER_NAME_BYTES).to_owned(),
        create_time: tx.now,
        credential_change_time: tx.now,
    };
    let network = NetworkRecord {
        name: names.network.to_owned(),
        admin_user_id: user_id,
        create_time: tx.now,
        referral_code,
        referred_by,
        former_names: Vec::new(),
    };
    tx.put(&NETWORK_NAMES, &network.name, &NameRecord { network_id, reserved_until: None })?;
    tx.put(&USERS, &user_id, &user)?;
    tx.put(&NETWORKS, &network_id, &network)?;
    Ok((network_id, user_id))
}
