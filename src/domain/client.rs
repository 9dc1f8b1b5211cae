//! Clients: the addressable members of a network.
//!
//! A *top-level* client has a device of its own. A *derived* client shares the device of its source, which is always
//! top-level; apps make one per provider path and forget many of them, so the two have separate limits.
//! A removed client keeps its row as a tombstone for a while; ids are made from time and chance, so none comes twice.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::app;
use super::association;
use super::auth::role::WantedIdentity;
use super::auth::tokens;
use super::caller::Caller;
use super::certificate;
use super::client_key;
use super::device::{DEVICES, DeviceRecord, MAX_DEVICE_TEXT_BYTES, cut};
use super::effect::Effect;
use super::error::DomainError;
use super::operation::{Operation, Tx};
use super::provide;
use crate::ids::{ClientId, DeviceId, NetworkId};
use crate::json_record;
use crate::store::StoreError;
use crate::store::table::Table;
use crate::time::Timestamp;
use crate::wire::messages::ProvideMode;

/// Every client that ever was.
pub const CLIENTS: Table<ClientId, ClientRecord> = Table::new(60, "clients");

/// Active top-level clients of a network.
pub const NETWORK_CLIENTS: Table<(NetworkId, ClientId), ()> = Table::guarded(61, "network_clients", 16);

/// Active clients derived from a top-level client, under its id.
pub const DERIVED_CLIENTS: Table<(ClientId, ClientId), ()> = Table::guarded(62, "derived_clients", 16);

/// Removed clients by the day of their removal (days since 1970), to forget them in time.
pub const TOMBSTONES: Table<(u32, ClientId), ()> = Table::new(66, "tombstones");

pub mod device_name;
pub mod idle;

/// A client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRecord {
    /// The network it belongs to.
    pub network_id: NetworkId,
    /// Its device, shared with its source when derived.
    pub device_id: DeviceId,
    /// The top-level client it is derived from; none for a top-level client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_client_id: Option<ClientId>,
    /// What the app calls it, at most 256 bytes.
    pub description: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// When a token was last made for it.
    pub auth_time: Timestamp,
    /// When it was last seen connected, to the day; zero for never.
    #[serde(default)]
    pub seen_time: Timestamp,
    /// Whether its tokens are good and contracts may name it.
    pub active: bool,
    /// When it stopped being active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deactivate_time: Option<Timestamp>,
    /// Opaque identity roles, fixed at creation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Opaque identity principal, fixed at creation; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub principal: String,
}
json_record!(ClientRecord, 1);

impl ClientRecord {
    /// Whether it has a device of its own.
    pub fn is_top_level(&self) -> bool {
        self.source_client_id.is_none()
    }
}

/// The record of an active client; a removed one is as unknown as one that never was.
pub fn active(tx: &mut Tx<'_>, client_id: &ClientId) -> Result<Option<ClientRecord>, StoreError> {
    Ok(tx.get(&CLIENTS, client_id)?.filter(|client| client.active))
}

/// Makes a client, or a new token for one that exists; the door to the relay.
///
/// A user token makes a top-level client with a device of its own, unless a source is named. A client token makes a
/// client derived from its own, so that apps, which hold nothing else, do not use up the network's clients.
#[derive(Clone, Debug)]
pub struct AuthClient {
    /// Who asks.
    pub caller: Caller,
    /// The existing client to make a token for.
    pub client_id: Option<ClientId>,
    /// The client to derive the new one from.
    pub source_client_id: Option<ClientId>,
    /// What the app calls it; names the device of a new top-level client.
    pub description: String,
    /// What the device is.
    pub device_spec: String,
    /// Roles and principal of the new client.
    pub identity: WantedIdentity,
}

/// How [`AuthClient`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthClientOutcome {
    /// A token may be made for this client.
    Authorized(ClientId, Box<ClientRecord>),
    /// The network, or the source, has all the clients it may have.
    LimitExceeded,
    /// The request cannot be met. The text must not hold the words by which apps recognise rejected credentials or
    /// throttling (`auth`, `401`, `403`, `429`, ...; `connect/ip_remote_multi_client_outcome.go`).
    Refused(&'static str),
}

const UNKNOWN_CLIENT: AuthClientOutcome = AuthClientOutcome::Refused("Client does not exist.");

impl Operation for AuthClient {
    type Output = AuthClientOutcome;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<AuthClientOutcome, DomainError> {
        match self.client_id {
            Some(_) if self.identity != WantedIdentity::default() => {
                Ok(AuthClientOutcome::Refused("Roles and principal of a client cannot be changed."))
            }
            Some(client_id) => self.renew(tx, client_id),
            None => match self.identity.resolve(tx, &self.caller)? {
                Ok((roles, principal)) => self.create(tx, roles, principal),
                Err(refusal) => Ok(AuthClientOutcome::Refused(refusal)),
            },
        }
    }
}

impl AuthClient {
    fn renew(&self, tx: &mut Tx<'_>, client_id: ClientId) -> Result<AuthClientOutcome, DomainError> {
        let Some(mut client) = self.own(tx, client_id)? else { return Ok(UNKNOWN_CLIENT) };
        client.auth_time = tx.now;
        if !self.description.is_empty() {
            client.description = cut(&self.description, MAX_DEVICE_TEXT_BYTES).to_owned();
        }
        tx.put(&CLIENTS, &client_id, &client)?;
        self.refresh_device(tx, client_id, &client, "")?;
        Ok(AuthClientOutcome::Authorized(client_id, Box::new(client)))
    }

    fn create(&self, tx: &mut Tx<'_>, roles: Vec<String>, principal: String) -> Result<AuthClientOutcome, DomainError> {
        let source_client_id = match self.source_client_id.or(self.caller.client_id()) {
            None => None,
            Some(named) => match self.top_level(tx, named)? {
                None => return Ok(UNKNOWN_CLIENT),
                top_level => top_level,
            },
        };
        let new = NewClient {
            network_id: self.caller.network_id,
            description: &self.description,
            device_spec: &self.device_spec,
            roles,
            principal,
        };
        let created = match source_client_id {
            None => create_top_level(tx, new)?,
            Some((source_id, source)) => self.derive(tx, source_id, &source, new)?,
        };
        Ok(match created {
            Some((client_id, client)) => AuthClientOutcome::Authorized(client_id, Box::new(client)),
            None => AuthClientOutcome::LimitExceeded,
        })
    }

    fn derive(
        &self,
        tx: &mut Tx<'_>,
        source_id: ClientId,
        source: &ClientRecord,
        new: NewClient<'_>,
    ) -> Result<Option<(ClientId, ClientRecord)>, DomainError> {
        let limit = tx.config.limits.derived_per_client;
        if limit != 0 && tx.scan(&DERIVED_CLIENTS, &source_id)?.len() >= limit {
            return Ok(None);
        }
        let client_id = tx.new_id();
        let client = new.into_record(tx.now, source.device_id, Some(source_id));
        tx.put(&CLIENTS, &client_id, &client)?;
        tx.put(&DERIVED_CLIENTS, &(source_id, client_id), &())?;
        self.refresh_device(tx, source_id, source, &self.description)?;
        Ok(Some((client_id, client)))
    }

    /// An active client of the caller's network.
    fn own(&self, tx: &mut Tx<'_>, client_id: ClientId) -> Result<Option<ClientRecord>, DomainError> {
        Ok(active(tx, &client_id)?.filter(|client| client.network_id == self.caller.network_id))
    }

    /// The top-level client that `named` is or is derived from.
    fn top_level(&self, tx: &mut Tx<'_>, named: ClientId) -> Result<Option<(ClientId, ClientRecord)>, DomainError> {
        let Some(client) = self.own(tx, named)? else { return Ok(None) };
        match client.source_client_id {
            None => Ok(Some((named, client))),
            Some(source) => Ok(self.own(tx, source)?.map(|client| (source, client))),
        }
    }

    fn refresh_device(
        &self,
        tx: &mut Tx<'_>,
        client_id: ClientId,
        client: &ClientRecord,
        description: &str,
    ) -> Result<(), DomainError> {
        let Some(mut device) = tx.get(&DEVICES, &client.device_id)? else { return Ok(()) };
        if device.refresh(description, &self.device_spec) {
            tx.put(&DEVICES, &client.device_id, &device)?;
            tx.effect(Effect::ClientChanged(client.network_id, client.source_client_id.unwrap_or(client_id)));
        }
        Ok(())
    }
}

/// A client to make.
pub struct NewClient<'a> {
    /// The network it belongs to.
    pub network_id: NetworkId,
    /// What the app calls it; names the device of a top-level client.
    pub description: &'a str,
    /// What the device is.
    pub device_spec: &'a str,
    /// Opaque identity roles.
    pub roles: Vec<String>,
    /// Opaque identity principal; empty for none.
    pub principal: String,
}

impl NewClient<'_> {
    fn into_record(self, now: Timestamp, device_id: DeviceId, source_client_id: Option<ClientId>) -> ClientRecord {
        ClientRecord {
            network_id: self.network_id,
            device_id,
            source_client_id,
            description: cut(self.description, MAX_DEVICE_TEXT_BYTES).to_owned(),
            create_time: now,
            auth_time: now,
            seen_time: Timestamp::ZERO,
            active: true,
            deactivate_time: None,
            roles: self.roles,
            principal: self.principal,
        }
    }
}

/// Whether a network has all the top-level clients it may have.
pub fn is_full(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<bool, StoreError> {
    let limit = tx.config.limits.clients_per_network;
    Ok(limit != 0 && tx.scan(&NETWORK_CLIENTS, network_id)?.len() >= limit)
}

/// How many top-level clients a network has.
#[derive(Clone, Copy, Debug)]
pub struct CountTopLevel {
    /// The network.
    pub network_id: NetworkId,
}

impl Operation for CountTopLevel {
    type Output = usize;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<usize, DomainError> {
        Ok(tx.scan(&NETWORK_CLIENTS, &self.network_id)?.len())
    }
}

/// Makes a top-level client with a device of its own; `None` when the network has all the clients it may have.
pub fn create_top_level(tx: &mut Tx<'_>, new: NewClient<'_>) -> Result<Option<(ClientId, ClientRecord)>, DomainError> {
    if is_full(tx, &new.network_id)? {
        return Ok(None);
    }
    let (device_id, client_id) = (tx.new_id(), tx.new_id());
    let mut device = DeviceRecord {
        network_id: new.network_id,
        device_name: String::new(),
        device_spec: String::new(),
        create_time: tx.now,
    };
    device.refresh(new.description, new.device_spec);
    let client = new.into_record(tx.now, device_id, None);
    tx.put(&DEVICES, &device_id, &device)?;
    tx.put(&CLIENTS, &client_id, &client)?;
    tx.put(&NETWORK_CLIENTS, &(client.network_id, client_id), &())?;
    Ok(Some((client_id, client)))
}

/// Removes clients of a network, each with all that is derived from it.
#[derive(Clone, Debug)]
pub struct RemoveClients {
    /// The caller's network; clients of others are as good as unknown.
    pub network_id: NetworkId,
    /// The clients; many are best given in parts, since one call is one transaction.
    pub client_ids: Vec<ClientId>,
}

impl Operation for RemoveClients {
    /// How many of them are, or already were, removed clients of the network.
    type Output = usize;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<usize, DomainError> {
        let mut known = 0;
        for client_id in &self.client_ids {
            let Some(client) = tx.get(&CLIENTS, client_id)? else { continue };
            if client.network_id == self.network_id {
                known += 1;
                remove(tx, *client_id, client)?;
            }
        }
        Ok(known)
    }
}

/// Reads an active client.
#[derive(Clone, Copy, Debug)]
pub struct ReadClient(
    /// The client.
    pub ClientId,
);

impl Operation for ReadClient {
    type Output = Option<ClientRecord>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<ClientRecord>, DomainError> {
        Ok(active(tx, &self.0)?)
    }
}

/// Which of some clients are active and of a network, each once.
#[derive(Clone, Debug)]
pub struct OwnClients {
    /// The caller's network.
    pub network_id: NetworkId,
    /// The clients asked about.
    pub client_ids: Vec<ClientId>,
}

impl Operation for OwnClients {
    type Output = Vec<ClientId>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<ClientId>, DomainError> {
        let mut own = Vec::new();
        for client_id in BTreeSet::from_iter(&self.client_ids) {
            if active(tx, client_id)?.is_some_and(|client| client.network_id == self.network_id) {
                own.push(*client_id);
            }
        }
        Ok(own)
    }
}

/// Removes every client of a network that is itself being removed.
pub fn remove_all(tx: &mut Tx<'_>, network_id: NetworkId) -> Result<(), StoreError> {
    for ((_, client_id), ()) in tx.scan(&NETWORK_CLIENTS, &network_id)? {
        if let Some(client) = active(tx, &client_id)? {
            remove(tx, client_id, client)?;
        }
    }
    Ok(())
}

/// Ends a client and everything derived from it: tokens, certificates, keys, provide modes. The row stays
/// for a while, without what a person wrote; contracts and transports end when the effect arrives.
fn remove(tx: &mut Tx<'_>, client_id: ClientId, client: ClientRecord) -> Result<(), StoreError> {
    if !client.active {
        return Ok(());
    }
    match client.source_client_id {
        Some(source) => tx.delete(&DERIVED_CLIENTS, &(source, client_id))?,
        None => {
            for ((_, derived_id), ()) in tx.scan(&DERIVED_CLIENTS, &client_id)? {
                if let Some(derived) = active(tx, &derived_id)? {
                    tx.delete(&DERIVED_CLIENTS, &(client_id, derived_id))?;
                    end(tx, derived_id, derived)?;
                }
            }
            tx.delete(&NETWORK_CLIENTS, &(client.network_id, client_id))?;
            tx.delete(&DEVICES, &client.device_id)?;
            app::device::remove_of_client(tx, client_id)?;
            certificate::record::remove_of_client(tx, &client.network_id, client_id)?;
        }
    }
    end(tx, client_id, client)
}

fn end(tx: &mut Tx<'_>, client_id: ClientId, client: ClientRecord) -> Result<(), StoreError> {
    let tombstone = ClientRecord {
        active: false,
        deactivate_time: Some(tx.now),
        description: String::new(),
        roles: Vec::new(),
        principal: String::new(),
        ..client
    };
    tx.put(&CLIENTS, &client_id, &tombstone)?;
    tx.put(&TOMBSTONES, &(tx.now.day_number(), client_id), &())?;
    client_key::withdraw(tx, &client_id)?;
    tokens::forget(tx, &client_id)?;
    provide::remove(tx, client_id)?;
    association::remove_of_client(tx, client_id)?;
    tx.effect(Effect::ClientRemoved(client_id));
    Ok(())
}

/// Lists the active clients of a network: connected ones first, then top-level ones, then derived ones.
#[derive(Clone, Debug)]
pub struct ListClients {
    /// The caller's network.
    pub network_id: NetworkId,
    /// Its connected clients.
    pub connected: Vec<ClientId>,
    /// Where the list is cut.
    pub max_count: usize,
}

/// A client in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedClient {
    /// The client.
    pub client_id: ClientId,
    /// Its record.
    pub client: ClientRecord,
    /// Its device.
    pub device: Option<DeviceRecord>,
    /// What it provides, ascending.
    pub provide_modes: Vec<ProvideMode>,
}

impl Operation for ListClients {
    type Output = Vec<ListedClient>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<ListedClient>, DomainError> {
        let top_level: Vec<_> =
            tx.scan(&NETWORK_CLIENTS, &self.network_id)?.into_iter().map(|((_, client_id), ())| client_id).collect();
        let mut client_ids = self.connected.clone();
        client_ids.extend(&top_level);
        for client_id in &top_level {
            // The connected and the top-level ones are named twice at most.
            if client_ids.len() >= 2 * self.max_count {
                break;
            }
            client_ids.extend(tx.scan(&DERIVED_CLIENTS, client_id)?.into_iter().map(|((_, derived), ())| derived));
        }
        let mut listed = Vec::new();
        let mut seen = HashSet::new();
        for client_id in client_ids {
            if listed.len() >= self.max_count {
                break;
            }
            let Some(client) = active(tx, &client_id)? else { continue };
            if client.network_id == self.network_id && seen.insert(client_id) {
                let device = tx.get(&DEVICES, &client.device_id)?;
                let provide_modes = provide::modes(tx, client_id)?;
                listed.push(ListedClient { client_id, client, device, provide_modes });
            }
        }
        Ok(listed)
    }
}

#[cfg(test)]
mod tests;
