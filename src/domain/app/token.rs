//! The tokens of devices: random, shown once, kept as a digest, and dead as soon as their row is gone.

use aws_lc_rs::digest::{SHA256, digest};
use rand::Rng;

use super::device::{self, APP_DEVICES, AppDevice, ListedDevice};
use super::number::Number;
use crate::domain::auth::{authenticate, session};
use crate::domain::caller::Caller;
use crate::domain::effect::Effect;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::UserId;
use crate::store::table::Table;

/// Numbers of devices by the SHA-256 of their tokens.
pub const APP_TOKENS: Table<[u8; 32], Number> = Table::new(76, "app_tokens");

/// What every token begins with.
pub const PREFIX: &str = "app_";

const SECRET_BYTES: usize = 32;

/// Longest text that is looked at.
const TOKEN_BYTES: usize = PREFIX.len() + 2 * SECRET_BYTES;

/// A token, and the digest to keep.
pub(super) fn make(tx: &mut Tx<'_>) -> (String, [u8; 32]) {
    let mut secret = [0; SECRET_BYTES];
    tx.rng.fill_bytes(&mut secret);
    let token = format!("{PREFIX}{}", hex::encode(secret));
    let hash = hash(&token);
    (token, hash)
}

fn hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

/// Who bears a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppBearer {
    /// The device the token is bound to.
    pub device: ListedDevice,
    /// The identity that its client tokens carry.
    pub caller: Caller,
}

/// Finds the bearer of a token.
pub struct FindBearer<'a> {
    /// The token.
    pub token: &'a str,
}

impl Operation for FindBearer<'_> {
    type Output = AppBearer;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<AppBearer, DomainError> {
        if !self.token.starts_with(PREFIX) || self.token.len() != TOKEN_BYTES {
            return Err(DomainError::Unauthorized);
        }
        let Number { number } = tx.get(&APP_TOKENS, &hash(self.token))?.ok_or(DomainError::Unauthorized)?;
        let device = device::find(tx, number)?.ok_or(DomainError::Unauthorized)?;
        let caller = device::caller(tx, &device.device)?.ok_or(DomainError::Unauthorized)?;
        authenticate::confirm(tx, &caller)?;
        Ok(AppBearer { device, caller })
    }
}

/// Signs a device out: its token is dead, and so is every client token that it was given.
pub struct SignOut {
    /// Whose device.
    pub user_id: UserId,
    /// Which.
    pub number: u32,
}

impl Operation for SignOut {
    /// Whether it was signed in.
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        let device = tx.get(&APP_DEVICES, &self.number)?.filter(|device| device.user_id == self.user_id);
        let Some((device, login)) = device.and_then(|device| device.login.map(|login| (device, login))) else {
            return Ok(false);
        };
        tx.delete(&APP_TOKENS, &login.token)?;
        let (network_id, client_id) = (device.network_id, device.client_id);
        tx.put(&APP_DEVICES, &self.number, &AppDevice { login: None, ..device })?;
        match session::end(tx, &network_id, &login.session_id)? {
            // Others have signed in with codes that the device made; only a look at everybody finds them.
            2.. => tx.effect(Effect::CredentialsChanged(network_id)),
            _ => tx.effect(Effect::ProofEnded(client_id)),
        }
        Ok(true)
    }
}
