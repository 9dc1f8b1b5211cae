//! Who is connected, where, and since when.
//!
//! Memory only: an entry lives as long as the guard that [`Presence::attach`] returns, so what it holds is bounded by
//! the transports its callers accept, plus [`REMEMBERED_CLIENTS`] clients that have left. Others follow along as
//! [`PresenceListener`]s. A transport counts here from the moment it is attached; those who show clients to others
//! (peers, discovery) wait `relay.announce_delay` on their own.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::RwLock;

use super::address_bucket::AddressBucket;
use super::vitals::Vitals;
use crate::ids::{ClientId, ConnectionId, InstanceId, NetworkId};
use crate::time::{Clock, Timestamp};

/// Clients that have left and are still known as such.
pub const REMEMBERED_CLIENTS: usize = 65_536;

/// One authenticated transport of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceEntry {
    /// The transport.
    pub connection_id: ConnectionId,
    /// The client it was authenticated as.
    pub client_id: ClientId,
    /// The client's network.
    pub network_id: NetworkId,
    /// The process run at the other end.
    pub instance_id: InstanceId,
    /// Where it comes from, after trusted proxies.
    pub address: IpAddr,
}

/// A live transport.
#[derive(Clone, Debug)]
pub struct Connection {
    /// What the transport said of itself.
    pub entry: PresenceEntry,
    /// When it was attached.
    pub connect_time: Timestamp,
    /// What it shows of its client's health.
    pub vitals: Arc<Vitals>,
}

/// What is known of a client's connections since the server started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It has a transport.
    Connected {
        /// When the newest transport was attached.
        last_connect: Timestamp,
    },
    /// It had one.
    Gone {
        /// When the newest transport was attached.
        last_connect: Timestamp,
        /// When the last transport ended.
        since: Timestamp,
    },
    /// Not seen, or forgotten.
    Never,
}

/// Follows transports as they come and go. Called without any lock held; attach always precedes detach of the same
/// connection, different connections may overtake each other.
pub trait PresenceListener: Send + Sync + 'static {
    /// A transport came.
    fn attached(&self, connection: &Connection);
    /// A transport ended.
    fn detached(&self, connection: &Connection);
}

/// The register of live transports.
pub struct Presence {
    clock: Clock,
    state: RwLock<State>,
    listeners: RwLock<Vec<Arc<dyn PresenceListener>>>,
}

#[derive(Default)]
struct State {
    clients: HashMap<ClientId, Live>,
    networks: HashMap<NetworkId, BTreeSet<ClientId>>,
    buckets: HashMap<AddressBucket, usize>,
    gone: HashMap<ClientId, (Timestamp, Timestamp)>,
    /// The keys of `gone` by the time they left, to forget the oldest first.
    gone_order: BTreeSet<(Timestamp, ClientId)>,
}

/// A connected client.
#[derive(Default)]
struct Live {
    connections: Vec<Connection>,
    last_connect: Timestamp,
}

impl Presence {
    /// Nobody is connected yet.
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, state: RwLock::default(), listeners: RwLock::default() })
    }

    /// Adds a follower; it does not hear of transports attached before.
    pub fn follow(&self, listener: Arc<dyn PresenceListener>) {
        self.listeners.write().push(listener);
    }

    /// Registers a transport until the guard is dropped.
    #[must_use = "dropping the guard ends the presence"]
    pub fn attach(self: &Arc<Self>, entry: PresenceEntry) -> PresenceGuard {
        let connect_time = self.clock.now();
        let vitals = Arc::<Vitals>::default();
        vitals.heard(connect_time);
        let connection = Connection { entry, connect_time, vitals };
        self.state.write().insert(connection.clone());
        for listener in self.listeners() {
            listener.attached(&connection);
        }
        let Connection { entry: PresenceEntry { client_id, connection_id, .. }, vitals, .. } = connection;
        PresenceGuard { presence: Arc::clone(self), client_id, connection_id, vitals }
    }

    /// Whether the client has a live transport.
    pub fn is_connected(&self, client_id: ClientId) -> bool {
        self.state.read().clients.contains_key(&client_id)
    }

    /// What is known of a client's connections.
    pub fn seen(&self, client_id: ClientId) -> Seen {
        let state = self.state.read();
        if let Some(live) = state.clients.get(&client_id) {
            return Seen::Connected { last_connect: live.last_connect };
        }
        match state.gone.get(&client_id) {
            Some(&(last_connect, since)) => Seen::Gone { last_connect, since },
            None => Seen::Never,
        }
    }

    /// The live transports of a client, oldest first.
    pub fn connections(&self, client_id: ClientId) -> Vec<Connection> {
        self.state.read().clients.get(&client_id).map(|live| live.connections.clone()).unwrap_or_default()
    }

    /// Looks at the live transports of some clients, oldest first, without a copy. Clients without any are left out.
    pub fn look_at(&self, client_ids: &[ClientId], mut look: impl FnMut(ClientId, &[Connection])) {
        let state = self.state.read();
        for client_id in client_ids {
            if let Some(live) = state.clients.get(client_id) {
                look(*client_id, &live.connections);
            }
        }
    }

    /// The connected clients of a network, derived ones included, in the order of their ids.
    pub fn connected(&self, network_id: NetworkId) -> Vec<ClientId> {
        self.state.read().networks.get(&network_id).map(|clients| clients.iter().copied().collect()).unwrap_or_default()
    }

    /// Every connected client, in no order.
    pub fn all_connected(&self) -> Vec<ClientId> {
        self.state.read().clients.keys().copied().collect()
    }

    /// Whether any transport comes from the same address bucket.
    pub fn is_bucket_connected(&self, address: IpAddr) -> bool {
        self.state.read().buckets.contains_key(&AddressBucket::of(address))
    }

    /// How many clients are connected.
    pub fn client_count(&self) -> usize {
        self.state.read().clients.len()
    }

    fn listeners(&self) -> Vec<Arc<dyn PresenceListener>> {
        self.listeners.read().clone()
    }

    fn detach(&self, client_id: ClientId, connection_id: ConnectionId) {
        let removed = self.state.write().remove(client_id, connection_id, self.clock.now());
        let Some(connection) = removed else { return };
        for listener in self.listeners() {
            listener.detached(&connection);
        }
    }
}

impl State {
    fn insert(&mut self, connection: Connection) {
        let entry = &connection.entry;
        if let Some((_, since)) = self.gone.remove(&entry.client_id) {
            self.gone_order.remove(&(since, entry.client_id));
        }
        self.networks.entry(entry.network_id).or_default().insert(entry.client_id);
        *self.buckets.entry(AddressBucket::of(entry.address)).or_default() += 1;
        let live = self.clients.entry(entry.client_id).or_default();
        live.last_connect = connection.connect_time;
        // Most clients have one, and room for four is what a list begins with otherwise.
        live.connections.reserve_exact(1);
        live.connections.push(connection);
    }

    fn remove(&mut self, client_id: ClientId, connection_id: ConnectionId, now: Timestamp) -> Option<Connection> {
        let live = self.clients.get_mut(&client_id)?;
        let at = live.connections.iter().position(|connection| connection.entry.connection_id == connection_id)?;
        let connection = live.connections.remove(at);
        let (is_last, last_connect) = (live.connections.is_empty(), live.last_connect);
        let entry = &connection.entry;
        let bucket = AddressBucket::of(entry.address);
        if let Some(count) = self.buckets.get_mut(&bucket) {
            *count -= 1;
            if *count == 0 {
                self.buckets.remove(&bucket);
            }
        }
        if is_last {
            self.clients.remove(&client_id);
            if let Some(clients) = self.networks.get_mut(&entry.network_id) {
                clients.remove(&client_id);
                if clients.is_empty() {
                    self.networks.remove(&entry.network_id);
                }
            }
            self.remember(client_id, last_connect, now);
        }
        Some(connection)
    }

    fn remember(&mut self, client_id: ClientId, last_connect: Timestamp, since: Timestamp) {
        self.gone.insert(client_id, (last_connect, since));
        self.gone_order.insert((since, client_id));
        while self.gone.len() > REMEMBERED_CLIENTS {
            let Some((_, oldest)) = self.gone_order.pop_first() else { break };
            self.gone.remove(&oldest);
        }
    }
}

/// Keeps a transport registered; its drop is the disconnect.
pub struct PresenceGuard {
    presence: Arc<Presence>,
    client_id: ClientId,
    connection_id: ConnectionId,
    vitals: Arc<Vitals>,
}

impl PresenceGuard {
    /// What the transport shows of its client's health.
    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }
}

impl Drop for PresenceGuard {
    fn drop(&mut self) {
        self.presence.detach(self.client_id, self.connection_id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::*;
    use crate::ids::Id;

    #[derive(Default)]
    struct Log(Mutex<Vec<(bool, ConnectionId)>>);

    impl PresenceListener for Log {
        fn attached(&self, connection: &Connection) {
            self.0.lock().push((true, connection.entry.connection_id));
        }
        fn detached(&self, connection: &Connection) {
            self.0.lock().push((false, connection.entry.connection_id));
        }
    }

    fn id<I: Id>(n: u8) -> I {
        I::from_bytes([n; 16])
    }

    fn entry(client: u8, connection: u8) -> PresenceEntry {
        PresenceEntry {
            connection_id: id(connection),
            client_id: id(client),
            network_id: id(9),
            instance_id: id(client),
            address: IpAddr::from([203, 0, 113, client]),
        }
    }

    #[test]
    fn a_client_is_connected_until_its_last_guard_drops() {
        let clock = Clock::manual(Timestamp::from_secs(100));
        let presence = Presence::new(clock.clone());
        let log = Arc::new(Log::default());
        presence.follow(log.clone());
        assert_eq!(presence.seen(id(1)), Seen::Never);

        let first = presence.attach(entry(1, 11));
        clock.advance(Duration::from_secs(5));
        let second = presence.attach(entry(1, 12));
        assert_eq!(presence.seen(id(1)), Seen::Connected { last_connect: Timestamp::from_secs(105) });
        assert_eq!(presence.connections(id(1)).len(), 2);
        assert_eq!(presence.connected(id(9)), [id(1)]);
        assert!(presence.is_bucket_connected(IpAddr::from([203, 0, 113, 7])), "the same /29");
        assert!(!presence.is_bucket_connected(IpAddr::from([203, 0, 113, 8])));

        drop(first);
        assert!(presence.is_connected(id(1)));
        clock.advance(Duration::from_secs(1));
        drop(second);
        assert!(!presence.is_connected(id(1)));
        let gone = Seen::Gone { last_connect: Timestamp::from_secs(105), since: Timestamp::from_secs(106) };
        assert_eq!(presence.seen(id(1)), gone);
        assert!(presence.connected(id(9)).is_empty());
        assert_eq!(*log.0.lock(), [(true, id(11)), (true, id(12)), (false, id(11)), (false, id(12))]);
    }

    #[test]
    fn what_has_left_is_forgotten_oldest_first_above_the_bound() {
        let clock = Clock::manual(Timestamp::ZERO);
        let presence = Presence::new(clock.clone());
        for n in 0..REMEMBERED_CLIENTS as u64 + 1 {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            clock.advance(Duration::from_millis(1));
            drop(presence.attach(PresenceEntry { client_id: ClientId::new(bytes), ..entry(1, 1) }));
        }
        assert_eq!(presence.seen(ClientId::new([0; 16])), Seen::Never);
        assert_eq!(presence.state.read().gone.len(), REMEMBERED_CLIENTS);
        assert!(presence.state.read().clients.is_empty() && presence.state.read().buckets.is_empty());
    }
}
