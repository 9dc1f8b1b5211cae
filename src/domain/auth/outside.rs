//! Proofs of who somebody is that were made elsewhere: tokens of sign-in services, and signatures of wallets.

use super::Accounts;
use super::attempts::Origin;
use super::method::{self, MethodKind, MethodRecord};
use super::wallet::{WalletProof, WalletRefusal};
use super::{password_reset, session, verification};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::token::Claims;
use crate::time::Timestamp;

/// A proof made elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutsideProof {
    /// The token of a sign-in service (`auth_jwt`).
    Token {
        /// Name of the service (`auth_jwt_type`).
        service: String,
        /// Its token.
        token: String,
    },
    /// A wallet's signature (`wallet_auth`).
    Wallet(WalletProof),
}

/// Who a proof is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideIdentity {
    /// How it was proven.
    pub kind: MethodKind,
    /// Normalised mail address, or address of the wallet.
    pub identity: String,
    /// What the service calls the person; empty when it does not say.
    pub user_name: String,
}

/// Why a proof does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutsideRefusal {
    /// It does not hold, or is of a kind that is switched off.
    Credentials,
    /// The wallet's does not hold.
    Wallet(WalletRefusal),
}

impl OutsideIdentity {
    /// The mail address, when a sign-in service has told it.
    pub(in crate::domain) fn service_address(&self) -> Option<String> {
        (self.kind != MethodKind::Solana).then(|| self.identity.clone())
    }

    pub(in crate::domain) fn method(&self, create_time: Timestamp) -> MethodRecord {
        let identity = self.identity.clone();
        MethodRecord { kind: self.kind, identity, password: None, verified: true, create_time }
    }
}

impl Accounts {
    /// Who a proof is about. A wallet's challenge is used up by it.
    ///
    /// # Errors
    /// [`DomainError::TooMany`] after too many bad proofs, [`DomainError::Unavailable`] while it cannot be checked.
    pub(in crate::domain) async fn prove_outside(
        &self,
        origin: &Origin,
        proof: &OutsideProof,
    ) -> Result<Result<OutsideIdentity, OutsideRefusal>, DomainError> {
        self.prove(origin, proof, false).await
    }

    /// The same for a request that may have arrived before: a wallet's challenge may be used up already, but not too
    /// old.
    pub(in crate::domain) async fn prove_outside_again(
        &self,
        origin: &Origin,
        proof: &OutsideProof,
    ) -> Result<Result<OutsideIdentity, OutsideRefusal>, DomainError> {
        self.prove(origin, proof, true).await
    }

    async fn prove(
        &self,
        origin: &Origin,
        proof: &OutsideProof,
        is_repeat: bool,
    ) -> Result<Result<OutsideIdentity, OutsideRefusal>, DomainError> {
        let (service, token) = match proof {
            OutsideProof::Wallet(_) if !self.service.config().auth.wallet_sign_in => {
                return Ok(Err(OutsideRefusal::Credentials));
            }
            OutsideProof::Wallet(proof) => {
                return Ok(self.prove_wallet(origin, proof, is_repeat)?.map_err(OutsideRefusal::Wallet));
            }
            OutsideProof::Token { service, token } => (service, token),
        };
        let attempt = self.attempts.secret(self.now(), origin, None)?;
        match self.services.identify(self.now(), service, token).await {
            Ok(Some(identity)) => {
                attempt.clear();
                Ok(Ok(identity))
            }
            Ok(None) => {
                attempt.keep();
                Ok(Err(OutsideRefusal::Credentials))
            }
            Err(busy) => {
                attempt.withdraw();
                Err(busy)
            }
        }
    }
}

/// Logs in the user who has a proven identity.
pub(in crate::domain) struct OutsideLogin<'a> {
    pub(in crate::domain) identity: &'a OutsideIdentity,
}

pub(in crate::domain) enum OutsideLoggedIn {
    /// Logged in.
    As(Box<Claims>),
    /// Nobody has the identity.
    Nobody,
    /// Somebody has named the address as a further one of theirs, and never proven it.
    Unproven,
}

impl Operation for OutsideLogin<'_> {
    type Output = OutsideLoggedIn;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<OutsideLoggedIn, DomainError> {
        let OutsideIdentity { kind, identity, .. } = self.identity;
        let Some(user_id) = method::user_of(tx, identity)? else { return Ok(OutsideLoggedIn::Nobody) };
        let methods = method::methods(tx, &user_id)?;
        let is_same = |method: &&MethodRecord| method.identity == *identity;
        if !methods.iter().filter(is_same).any(|method| method.verified) {
            if methods.iter().any(|method| method.verified) {
                return Ok(OutsideLoggedIn::Unproven);
            }
            // Whoever signed up with the address never had it; their password must not open what its owner makes of it.
            for method in methods.iter().filter(is_same) {
                method::remove(tx, &user_id, method)?;
                verification::forget_code(tx, &user_id, method.kind)?;
            }
            password_reset::forget_code(tx, &user_id)?;
        }
        if method::method(tx, &user_id, *kind)?.is_none() {
            method::put(tx, &user_id, &self.identity.method(tx.now))?;
        }
        let caller = session::login(tx, &user_id)?;
        Ok(OutsideLoggedIn::As(Box::new(session::claims(tx, &caller)?)))
    }
}
