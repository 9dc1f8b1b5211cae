//! Sign-ups that arrive a second time: a client sends a request anew when the answer is lost, and then means the account
//! that the first one made.

use std::time::Duration;

use super::create::{CreateNetwork, CreateNetworkOutcome, CreateRefusal, CreatedNetwork};
use super::name::NETWORK_NAMES;
use crate::domain::auth::Accounts;
use crate::domain::auth::attempts::Origin;
use crate::domain::auth::login::{FindPassword, PasswordOwner};
use crate::domain::auth::method::{self, MethodKind, MethodRecord};
use crate::domain::auth::outside::{OutsideLoggedIn, OutsideLogin, OutsideProof};
use crate::domain::auth::user_auth::UserAuth;
use crate::domain::error::DomainError;
use crate::domain::network::{NETWORKS, NetworkRecord, is_pro};
use crate::domain::operation::{Operation, Tx};
use crate::ids::{NetworkId, UserId};

/// How long the same sign-up may arrive again and still be answered as the first.
const REPEAT_WINDOW: Duration = Duration::from_secs(600);

impl Accounts {
    /// Answers a sign-up that arrives a second time as the first, with a new code.
    pub(super) async fn repeat(
        &self,
        origin: &Origin,
        request: &CreateNetwork,
        user_auth: &UserAuth,
        first: PasswordOwner,
        network_name: String,
    ) -> Result<CreateNetworkOutcome, DomainError> {
        if self.check_password(origin, user_auth, &request.password).await?.is_none() {
            return Ok(CreateNetworkOutcome::Refused(CreateRefusal::IdentityTaken));
        }
        match self.send_verification(origin, user_auth.as_str(), request.verify_use_numeric).await {
            // When too many went out lately, the last code still serves.
            Ok(_) | Err(DomainError::TooMany { .. }) => {}
            Err(other) => return Err(other),
        }
        let PasswordOwner { network_id, user_auth, .. } = first;
        Ok(CreateNetworkOutcome::VerificationRequired { network_id, network_name, user_auth })
    }

    /// Answers a proven sign-up that arrives a second time as the first. To anybody else the name is taken.
    pub(super) async fn repeat_proven(
        &self,
        origin: &Origin,
        proof: &OutsideProof,
        first: ProvenOwner,
        network_name: String,
    ) -> Result<CreateNetworkOutcome, DomainError> {
        let refused = Ok(CreateNetworkOutcome::Refused(CreateRefusal::NameTaken));
        let Ok(identity) = self.prove_outside_again(origin, proof).await? else { return refused };
        if !first.identities.contains(&(identity.kind, identity.identity.clone())) {
            return refused;
        }
        let OutsideLoggedIn::As(claims) = self.service.run(&OutsideLogin { identity: &identity }).await? else {
            return refused;
        };
        Ok(CreateNetworkOutcome::Created(CreatedNetwork {
            network_id: first.network_id,
            user_id: first.user_id,
            network_name,
            by_jwt: self.issue(&claims),
            user_auth: identity.service_address(),
            seedphrase: None,
            is_pro: first.is_pro,
        }))
    }
}

/// Finds the unverified account that the same sign-up made a moment ago.
pub(super) struct FindRepeat<'a> {
    pub(super) user_auth: &'a UserAuth,
    pub(super) network_name: &'a str,
}

impl Operation for FindRepeat<'_> {
    type Output = Option<PasswordOwner>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<PasswordOwner>, DomainError> {
        let Some(owner) = (FindPassword { user_auth: self.user_auth }).apply(tx)? else { return Ok(None) };
        let network = tx.get(&NETWORKS, &owner.network_id)?;
        let is_repeat = network.is_some_and(|network| is_new(tx, &network, self.network_name) && !owner.verified);
        Ok(is_repeat.then_some(owner))
    }
}

/// Finds the account that a proven sign-up made a moment ago, by the name it took.
pub(super) struct FindProvenRepeat<'a> {
    pub(super) network_name: &'a String,
}

/// Whose account it is.
pub(super) struct ProvenOwner {
    network_id: NetworkId,
    user_id: UserId,
    identities: Vec<(MethodKind, String)>,
    is_pro: bool,
}

impl Operation for FindProvenRepeat<'_> {
    type Output = Option<ProvenOwner>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<ProvenOwner>, DomainError> {
        let Some(holder) = tx.get(&NETWORK_NAMES, self.network_name)? else { return Ok(None) };
        let network_id = holder.network_id;
        let network = tx.get(&NETWORKS, &network_id)?.filter(|network| is_new(tx, network, self.network_name));
        let Some(user_id) = network.map(|network| network.admin_user_id) else { return Ok(None) };
        let methods = method::methods(tx, &user_id)?;
        let is_proven =
            |method: &MethodRecord| matches!(method.kind, MethodKind::Apple | MethodKind::Google | MethodKind::Solana);
        let identities: Vec<_> =
            methods.into_iter().filter(is_proven).map(|method| (method.kind, method.identity)).collect();
        if identities.is_empty() {
            return Ok(None);
        }
        Ok(Some(ProvenOwner { network_id, user_id, identities, is_pro: is_pro(tx, &network_id)? }))
    }
}

/// Whether a network of this name was made a moment ago.
fn is_new(tx: &Tx<'_>, network: &NetworkRecord, name: &str) -> bool {
    network.name == name && tx.now.since(network.create_time) <= REPEAT_WINDOW
}
