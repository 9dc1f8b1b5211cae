//! Network peers: the other top-level clients of a client's network, as lists that follow the connections.
//!
//! [`roster`] decides who shows to whom and when; this front feeds it with presence, with what the store says of a
//! client, and with time, and a [`Pusher`] carries its messages out. Derived clients neither show nor receive.

use std::sync::{Arc, Weak};

use tokio::sync::Notify;

pub mod pack;
pub mod roster;

use self::roster::{Marker, Peer, Roster, RosterRules};
use super::client;
use super::device::DEVICES;
use super::error::DomainError;
use super::operation::{Operation, Tx};
use super::presence::{Connection, PresenceListener};
use super::provide;
use super::push::{PushSink, Pusher};
use super::service::Service;
use crate::ids::{ClientId, NetworkId};

/// The lists of all networks, kept up to date and delivered.
///
/// Follow [`super::presence::Presence`] with it, and ask for the full list of every client whose view is unknown once
/// its transport is attached.
pub struct Peers {
    service: Arc<Service>,
    lists: Pusher<Roster>,
    rescheduled: Notify,
}

impl Peers {
    /// Empty lists.
    pub fn new(service: Arc<Service>) -> Arc<Self> {
        let config = service.config();
        let rules = RosterRules {
            announce_delay: config.relay.announce_delay,
            grace: config.relay.peer_grace,
            members_max: config.limits.peers_per_network,
        };
        Arc::new(Self { service, lists: Pusher::new(Roster::new(rules)), rescheduled: Notify::new() })
    }

    /// Names the way out, once; messages before that are dropped.
    pub fn deliver_to(&self, sink: Weak<dyn PushSink>) {
        self.lists.deliver_to(sink);
    }

    /// The peers of a network without `except`, and those that left within the last five minutes.
    pub fn list(&self, network_id: NetworkId, except: Option<ClientId>) -> (Vec<Peer>, Vec<Marker>) {
        self.lists.read(|roster| roster.list(self.service.clock().now(), network_id, except))
    }

    /// Sends a client its full list: it is new, or its control conversation has lost what was said.
    pub fn resync(&self, client_id: ClientId) {
        self.feed(|roster| roster.handle_resync(client_id));
    }

    /// Follows `Effect::ClientChanged`.
    pub fn client_changed(&self, client_id: ClientId) {
        // The store is read under the lock, so that of two changes the later one is also the last one told.
        self.feed(|roster| {
            if let Some((_, peer)) = self.load(client_id) {
                roster.handle_change(self.service.clock().now(), peer);
            }
        });
    }

    /// Follows `Effect::ClientRemoved`.
    pub fn client_removed(&self, client_id: ClientId) {
        self.feed(|roster| roster.handle_remove(self.service.clock().now(), client_id));
    }

    /// Keeps the lists in time; runs until dropped.
    pub async fn drive(&self) {
        loop {
            let rescheduled = self.rescheduled.notified();
            let next = self.lists.read(Roster::poll_timeout);
            match next {
                Some(at) => {
                    let pause = at.since(self.service.clock().now());
                    tokio::select! {
                        () = tokio::time::sleep(pause) => self.handle_timeout(),
                        () = rescheduled => {}
                    }
                }
                None => rescheduled.await,
            }
        }
    }

    /// Moves the lists to the present; [`Peers::drive`] calls it in time.
    pub fn handle_timeout(&self) {
        self.feed(|roster| roster.handle_timeout(self.service.clock().now()));
    }

    fn feed(&self, input: impl FnOnce(&mut Roster)) {
        let is_sooner = self.lists.feed(|roster| {
            let before = roster.poll_timeout();
            input(roster);
            let after = roster.poll_timeout();
            after.is_some() && before.is_none_or(|before| after < Some(before))
        });
        if is_sooner {
            self.rescheduled.notify_one();
        }
    }

    /// A client as others see it. A store that fails is logged; the list then stays as it was.
    fn load(&self, client_id: ClientId) -> Option<(NetworkId, Peer)> {
        match self.service.read(&LoadPeer(client_id)) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::error!(client = %client_id, %error, "cannot read a peer");
                None
            }
        }
    }
}

impl PresenceListener for Peers {
    fn attached(&self, connection: &Connection) {
        self.feed(|roster| {
            if let Some((network_id, peer)) = self.load(connection.entry.client_id) {
                roster.handle_attach(self.service.clock().now(), network_id, peer);
            }
        });
    }

    fn detached(&self, connection: &Connection) {
        self.feed(|roster| roster.handle_detach(self.service.clock().now(), connection.entry.client_id));
    }
}

/// Reads a client as others see it; none when it is derived or not active.
struct LoadPeer(ClientId);

impl Operation for LoadPeer {
    type Output = Option<(NetworkId, Peer)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let Some(client) = client::active(tx, &self.0)?.filter(|client| client.is_top_level()) else { return Ok(None) };
        let device = tx.get(&DEVICES, &client.device_id)?;
        let (device_name, device_spec) =
            device.map(|device| (device.device_name, device.device_spec)).unwrap_or_default();
        let mut roles = client.roles;
        roles.sort();
        let provide_modes = provide::modes(tx, self.0)?;
        let peer =
            Peer { client_id: self.0, provide_modes, principal: client.principal, roles, device_name, device_spec };
        Ok(Some((client.network_id, peer)))
    }
}
