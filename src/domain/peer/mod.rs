//! Network peers: the other top-level clients of a client's network, as lists that follow the connections.
//!
//! [`roster`] decides who shows to whom and when; this front feeds it with presence, with what the store says of a
//! client, and with time, and carries its messages to a [`PeerSink`]. Derived clients neither show nor receive.

use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
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
use super::service::Service;
use crate::ids::{ClientId, NetworkId};
use crate::wire::control_message::Push;

/// Where messages to clients leave; the relay implements it.
pub trait PeerSink: Send + Sync + 'static {
    /// Queues messages that must travel in one pack, at most 3000 bytes. A client that is not here is no error. Must
    /// not block and must not call back.
    fn push(&self, client_id: ClientId, pushes: Vec<Push>);
}

/// The lists of all networks, kept up to date and delivered.
///
/// Follow [`super::presence::Presence`] with it. A client must be able to receive before its transport is attached,
/// because a process run that is new gets its full list from the attach.
pub struct Peers {
    service: Arc<Service>,
    state: Mutex<State>,
    sink: OnceLock<Weak<dyn PeerSink>>,
    rescheduled: Notify,
}

struct State {
    roster: Roster,
    /// Somebody is handing messages to the sink, and will take new ones too: messages keep their order without a lock
    /// held while they leave.
    is_delivering: bool,
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
        let state = Mutex::new(State { roster: Roster::new(rules), is_delivering: false });
        Arc::new(Self { service, state, sink: OnceLock::new(), rescheduled: Notify::new() })
    }

    /// Names the way out, once; messages before that are dropped. Weak, because the relay holds the peers.
    pub fn deliver_to(&self, sink: Weak<dyn PeerSink>) {
        // A second call has no effect; there is one relay.
        let _ = self.sink.set(sink);
    }

    /// The peers of a network without `except`, and those that left within the last five minutes.
    pub fn list(&self, network_id: NetworkId, except: Option<ClientId>) -> (Vec<Peer>, Vec<Marker>) {
        self.state.lock().roster.list(self.service.clock().now(), network_id, except)
    }

    /// Sends a client its full list again: its control conversation has lost what was said.
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
            let next = self.state.lock().roster.poll_timeout();
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
        let is_sooner = {
            let mut state = self.state.lock();
            let before = state.roster.poll_timeout();
            input(&mut state.roster);
            let after = state.roster.poll_timeout();
            after.is_some() && before.is_none_or(|before| after < Some(before))
        };
        if is_sooner {
            self.rescheduled.notify_one();
        }
        self.deliver();
    }

    fn deliver(&self) {
        if std::mem::replace(&mut self.state.lock().is_delivering, true) {
            return;
        }
        let sink = self.sink.get().and_then(Weak::upgrade);
        loop {
            let output = {
                let mut state = self.state.lock();
                let output = state.roster.poll_output();
                state.is_delivering = output.is_some();
                output
            };
            let Some((client_id, pushes)) = output else { return };
            if let Some(sink) = &sink {
                sink.push(client_id, pushes);
            }
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
        let entry = &connection.entry;
        self.feed(|roster| {
            if let Some((network_id, peer)) = self.load(entry.client_id) {
                roster.handle_attach(self.service.clock().now(), network_id, peer, entry.instance_id);
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
