//! What a client provides: its set of modes, each with the secret that signs contracts to it.
//!
//! Modes are a set, never an order: Public does not imply Network, Stream implies nothing. A registration replaces the
//! whole set, so readers see the old set or the new one. What others see is what is left of it under the owner's
//! [`cap`].

use std::fmt;

use super::client;
use super::effect::Effect;
use super::error::DomainError;
use super::operation::{Operation, Tx};
use crate::ids::{ClientId, NetworkId};
use crate::store::StoreError;
use crate::store::table::{Table, TableValue};
use crate::wire::messages::{Provide, ProvideMode};

pub mod cap;

use cap::PROVIDE_CAPS;

/// The provide set of each client that has registered one; an empty set is kept as no row.
pub const PROVIDE_SETS: Table<ClientId, ProvideSet> = Table::new(110, "provide_sets");

/// Longest accepted secret, bytes; clients use 32.
pub const MAX_SECRET_BYTES: usize = 64;

const FORMAT: u8 = 1;

/// The modes a client provides, each with its secret. At most one entry per mode, in the order of their numbers.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProvideSet {
    keys: Vec<(u8, Vec<u8>)>,
}

impl ProvideSet {
    /// Takes what a client sent: the last entry of a mode wins, mode None is ignored, and an entry with an unknown mode
    /// or a secret that is empty or too long is left out. Also says how many were left out.
    pub fn from_message(message: &Provide) -> (Self, usize) {
        let mut set = Self::default();
        let mut left_out = 0;
        for key in &message.keys {
            let secret = &key.provide_secret_key;
            match ProvideMode::try_from(key.mode) {
                Ok(ProvideMode::None) => {}
                Ok(mode) if (1..=MAX_SECRET_BYTES).contains(&secret.len()) => set.insert(mode, secret.to_vec()),
                _ => left_out += 1,
            }
        }
        (set, left_out)
    }

    /// Adds a mode or replaces its secret.
    pub fn insert(&mut self, mode: ProvideMode, secret: Vec<u8>) {
        let number = mode as u8;
        match self.keys.binary_search_by_key(&number, |(mode, _)| *mode) {
            Ok(at) => self.keys[at].1 = secret,
            Err(at) => self.keys.insert(at, (number, secret)),
        }
    }

    /// The modes, ascending by number.
    pub fn modes(&self) -> Vec<ProvideMode> {
        self.keys.iter().filter_map(|(mode, _)| ProvideMode::try_from(i32::from(*mode)).ok()).collect()
    }

    /// Drops the modes that `is_kept` does not say yes to.
    pub fn retain(&mut self, is_kept: impl Fn(ProvideMode) -> bool) {
        self.keys.retain(|(mode, _)| ProvideMode::try_from(i32::from(*mode)).is_ok_and(&is_kept));
    }

    /// Whether a mode is provided.
    pub fn contains(&self, mode: ProvideMode) -> bool {
        self.secret(mode).is_some()
    }

    /// The secret of a mode.
    pub fn secret(&self, mode: ProvideMode) -> Option<&[u8]> {
        self.keys.iter().find(|(number, _)| *number == mode as u8).map(|(_, secret)| secret.as_slice())
    }

    /// Whether nothing is provided.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Secrets never reach a log.
impl fmt::Debug for ProvideSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProvideSet").field(&self.modes()).finish()
    }
}

/// Version byte, then per mode: number, length of the secret, the secret.
impl TableValue for ProvideSet {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        for (mode, secret) in &self.keys {
            out.extend([*mode, secret.len() as u8]);
            out.extend_from_slice(secret);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&FORMAT, mut rest) = bytes.split_first()? else { return None };
        let mut keys = Vec::new();
        while let [mode, length, tail @ ..] = rest {
            let (secret, tail) = tail.split_at_checked(usize::from(*length))?;
            keys.push((*mode, secret.to_vec()));
            rest = tail;
        }
        rest.is_empty().then_some(Self { keys })
    }
}

/// The provide set of a client as it registered it; empty when it never did.
fn published(tx: &mut Tx<'_>, client: ClientId) -> Result<ProvideSet, StoreError> {
    Ok(tx.get(&PROVIDE_SETS, &client)?.unwrap_or_default())
}

/// What is left of a client's set under its cap.
fn effective(tx: &mut Tx<'_>, client: ClientId, set: ProvideSet) -> Result<ProvideSet, StoreError> {
    Ok(match tx.get(&PROVIDE_CAPS, &client)? {
        Some(cap) => cap.apply(set),
        None => set,
    })
}

/// What a client provides, its cap applied.
pub fn provide_set(tx: &mut Tx<'_>, client: ClientId) -> Result<ProvideSet, StoreError> {
    let set = published(tx, client)?;
    effective(tx, client, set)
}

/// The modes a client provides, ascending by number, its cap applied.
pub fn modes(tx: &mut Tx<'_>, client: ClientId) -> Result<Vec<ProvideMode>, StoreError> {
    Ok(provide_set(tx, client)?.modes())
}

/// Forgets the provide set and the cap of a client that is being removed.
pub fn remove(tx: &mut Tx<'_>, client: ClientId) -> Result<(), StoreError> {
    tx.delete(&PROVIDE_CAPS, &client)?;
    tx.delete(&PROVIDE_SETS, &client)
}

/// Replaces the provide set of a client.
#[derive(Debug)]
pub struct RegisterProvide {
    /// The network of the client.
    pub network_id: NetworkId,
    /// The client that provides.
    pub client_id: ClientId,
    /// Its complete set from now on.
    pub set: ProvideSet,
}

/// What a registration changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProvideChange {
    /// The set of modes is another one; peers are told.
    pub modes: bool,
    /// The client began or ceased to provide to everyone; its running reliability block does not count.
    pub public: bool,
}

impl Operation for RegisterProvide {
    type Output = ProvideChange;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<ProvideChange, DomainError> {
        // A removed client must not leave a set behind it.
        client::active(tx, &self.client_id)?.ok_or(DomainError::Unauthorized)?;
        let registered = published(tx, self.client_id)?;
        if registered == self.set {
            return Ok(ProvideChange::default());
        }
        match self.set.is_empty() {
            true => tx.delete(&PROVIDE_SETS, &self.client_id)?,
            false => tx.put(&PROVIDE_SETS, &self.client_id, &self.set)?,
        }
        // What the cap holds back changes nothing for others.
        let before = effective(tx, self.client_id, registered)?;
        let after = effective(tx, self.client_id, self.set.clone())?;
        let change = ProvideChange {
            modes: before.modes() != after.modes(),
            public: before.contains(ProvideMode::Public) != after.contains(ProvideMode::Public),
        };
        if change.modes {
            tx.effect(Effect::ClientChanged(self.network_id, self.client_id));
        }
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::ProvideKey;

    fn key(mode: i32, secret: &[u8]) -> ProvideKey {
        ProvideKey { mode, provide_secret_key: secret.to_vec().into() }
    }

    #[test]
    fn the_last_key_of_a_mode_wins_and_bad_keys_are_left_out() {
        let keys = vec![
            key(3, b"old"),
            key(0, b"none"),
            key(9, b"unknown mode"),
            key(1, b""),
            key(4, &[7; 65]),
            key(3, b"new"),
            key(4, &[7; 64]),
        ];
        let (set, left_out) = ProvideSet::from_message(&Provide { keys });
        assert_eq!(set.modes(), [ProvideMode::Public, ProvideMode::Stream]);
        assert_eq!(set.secret(ProvideMode::Public), Some(&b"new"[..]));
        assert_eq!(left_out, 3);
    }

    #[test]
    fn a_set_survives_the_store() {
        let mut set = ProvideSet::default();
        assert_eq!(ProvideSet::decode(&set.encode()), Some(set.clone()));
        set.insert(ProvideMode::Stream, vec![1; 32]);
        set.insert(ProvideMode::Network, vec![2; 64]);
        assert_eq!(ProvideSet::decode(&set.encode()), Some(set.clone()));
        let mut cut = set.encode();
        cut.pop();
        assert_eq!(ProvideSet::decode(&cut), None);
    }

    #[test]
    fn secrets_do_not_reach_debug_output() {
        let mut set = ProvideSet::default();
        set.insert(ProvideMode::Public, vec![0xab; 32]);
        assert_eq!(format!("{set:?}"), "ProvideSet([Public])");
    }
}
