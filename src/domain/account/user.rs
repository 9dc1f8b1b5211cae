//! What the administrator of a network sees of themselves.

use crate::domain::auth::method::{self, MethodKind};
use crate::domain::error::DomainError;
use crate::domain::network::{NETWORKS, USERS};
use crate::domain::operation::{Operation, Tx};
use crate::ids::UserId;
use crate::time::Timestamp;

/// A user and how they sign in; secrets left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkUser {
    /// The user.
    pub user_id: UserId,
    /// What they call themselves.
    pub user_name: String,
    /// Name of their network.
    pub network_name: String,
    /// When they came.
    pub create_time: Timestamp,
    /// Whether every address of theirs is proven.
    pub verified: bool,
    /// Their sign-in methods.
    pub methods: Vec<SignInMethod>,
}

/// A sign-in method as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInMethod {
    /// Its kind.
    pub kind: MethodKind,
    /// Normalised mail or wallet address or number; none for a seedphrase, of which nothing can be shown.
    pub identity: Option<String>,
    /// Whether it is proven.
    pub verified: bool,
}

/// Reads a user.
pub struct GetNetworkUser {
    /// Which.
    pub user_id: UserId,
}

impl Operation for GetNetworkUser {
    /// `None` when there is no such user.
    type Output = Option<NetworkUser>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<NetworkUser>, DomainError> {
        let Some(user) = tx.get(&USERS, &self.user_id)? else { return Ok(None) };
        let Some(network) = tx.get(&NETWORKS, &user.network_id)? else { return Ok(None) };
        let methods: Vec<SignInMethod> = method::methods(tx, &self.user_id)?
            .into_iter()
            .map(|method| SignInMethod {
                kind: method.kind,
                identity: (method.kind != MethodKind::Seedphrase).then_some(method.identity),
                verified: method.verified,
            })
            .collect();
        Ok(Some(NetworkUser {
            user_id: self.user_id,
            user_name: user.user_name,
            create_time: user.create_time,
            network_name: network.name,
            verified: methods.iter().all(|method| method.verified),
            methods,
        }))
    }
}
