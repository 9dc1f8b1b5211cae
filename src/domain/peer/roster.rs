//! Who shows to whom: one list of members per network, driven by inputs and `now`.
//!
//! ```text
//!            attach               delay over                last detach
//!  (unknown) ──────► joining ────────────────► shown ◄──────────────────► leaving
//!                      │ last detach             │        attach             │ grace over
//!                      ▼                         │ removed                   ▼
//!                  (unknown)                     └──────────────────────►  left ── 5 min ──► (unknown)
//! ```
//!
//! Members that are not `left` receive lists. The grace keeps a reconnect invisible: a marker of departure makes
//! providers tear down the streams of that peer. Members whose time comes soon after that of another are told of with it,
//! or a network that comes back at once would be told of each of its clients in a message of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::pack;
use crate::domain::push::PushSource;
use crate::ids::{ClientId, NetworkId};
use crate::time::Timestamp;
use crate::wire::control_message::Push;
use crate::wire::messages::ProvideMode;

/// How long a marker of departure is part of full lists; clients age markers by the same time.
pub const MARKER_LIFETIME: Duration = Duration::from_secs(300);

/// The last part of its time that a member need not wait for when the time of another has come.
const TOGETHER: Duration = Duration::from_millis(500);

/// What others see of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client.
    pub client_id: ClientId,
    /// What it provides, ascending.
    pub provide_modes: Vec<ProvideMode>,
    /// Its principal; empty for none.
    pub principal: String,
    /// Its roles, sorted.
    pub roles: Vec<String>,
    /// The name of its device.
    pub device_name: String,
    /// What its device is.
    pub device_spec: String,
}

/// A peer that has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The client.
    pub client_id: ClientId,
    /// When its last transport ended.
    pub disconnect_time: Timestamp,
}

/// Times and bounds of the lists.
#[derive(Clone, Copy, Debug)]
pub struct RosterRules {
    /// How long a client must have been attached before others see it.
    pub announce_delay: Duration,
    /// How long a client without transport still shows.
    pub grace: Duration,
    /// Above so many members a network has no lists at all.
    pub members_max: usize,
}

/// The lists of all networks.
pub struct Roster {
    rules: RosterRules,
    networks: HashMap<NetworkId, Network>,
    /// The network of every member.
    homes: HashMap<ClientId, NetworkId>,
    timers: BTreeSet<(Timestamp, ClientId)>,
    /// Networks with members whose entry must go out when the current input is done.
    changed: BTreeSet<NetworkId>,
    outputs: VecDeque<(ClientId, Vec<Push>)>,
}

#[derive(Default)]
struct Network {
    members: BTreeMap<ClientId, Member>,
    /// The network is above the bound; everyone's list is empty until it shrinks.
    is_muted: bool,
    /// Members whose entry must go out, of a network in [`Roster::changed`].
    changed: BTreeSet<ClientId>,
}

struct Member {
    peer: Peer,
    connection_count: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Joining { until: Timestamp },
    Shown,
    Leaving { since: Timestamp, until: Timestamp },
    Left { since: Timestamp, until: Timestamp },
}

impl State {
    /// Part of the lists of others.
    fn is_shown(self) -> bool {
        matches!(self, State::Shown | State::Leaving { .. })
    }
    /// Receives lists. One that is leaving does too: its resident lingers and may resume without a new full list.
    fn receives(self) -> bool {
        !matches!(self, State::Left { .. })
    }
    fn timer(self) -> Option<Timestamp> {
        match self {
            State::Joining { until } | State::Leaving { until, .. } | State::Left { until, .. } => Some(until),
            State::Shown => None,
        }
    }
}

impl Roster {
    /// Empty lists.
    pub fn new(rules: RosterRules) -> Self {
        Self {
            rules,
            networks: HashMap::new(),
            homes: HashMap::new(),
            timers: BTreeSet::new(),
            changed: BTreeSet::new(),
            outputs: VecDeque::new(),
        }
    }

    /// A transport of a top-level client came.
    pub fn handle_attach(&mut self, now: Timestamp, network_id: NetworkId, peer: Peer) {
        let client_id = peer.client_id;
        match self.member_mut(client_id) {
            Some((_, member)) if member.state.receives() => {
                member.connection_count += 1;
                if let State::Leaving { .. } = member.state {
                    self.set_state(network_id, client_id, State::Shown);
                }
                self.update(network_id, peer);
            }
            _ => {
                self.forget(client_id);
                let until = now + self.rules.announce_delay;
                let member = Member { peer, connection_count: 1, state: State::Joining { until } };
                self.networks.entry(network_id).or_default().members.insert(client_id, member);
                self.homes.insert(client_id, network_id);
                self.timers.insert((until, client_id));
            }
        }
        self.handle_timeout(now);
    }

    /// A transport ended.
    pub fn handle_detach(&mut self, now: Timestamp, client_id: ClientId) {
        let Some((network_id, member)) = self.member_mut(client_id) else { return };
        if member.connection_count == 0 {
            return;
        }
        member.connection_count -= 1;
        if member.connection_count > 0 {
            return;
        }
        match member.state {
            State::Joining { .. } => self.forget(client_id),
            State::Shown => {
                let until = now + self.rules.grace;
                self.set_state(network_id, client_id, State::Leaving { since: now, until });
            }
            State::Leaving { .. } | State::Left { .. } => {}
        }
        self.handle_timeout(now);
    }

    /// A client presents itself otherwise than before.
    pub fn handle_change(&mut self, now: Timestamp, peer: Peer) {
        if let Some(network_id) = self.homes.get(&peer.client_id) {
            self.update(*network_id, peer);
        }
        self.handle_timeout(now);
    }

    /// A client was removed: it leaves without grace.
    pub fn handle_remove(&mut self, now: Timestamp, client_id: ClientId) {
        let Some((network_id, member)) = self.member_mut(client_id) else { return };
        member.connection_count = 0;
        match member.state {
            State::Joining { .. } => self.forget(client_id),
            State::Shown | State::Leaving { .. } => self.leave(now, network_id, client_id, now),
            State::Left { .. } => {}
        }
        self.handle_timeout(now);
    }

    /// Sends a member its full list: it is new, or its control conversation has lost what was said.
    pub fn handle_resync(&mut self, client_id: ClientId) {
        if let Some(network_id) = self.homes.get(&client_id).copied() {
            self.full_list(network_id, client_id);
        }
    }

    /// When [`Roster::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Moves members whose time has come, and sends what has changed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let mut told = BTreeSet::new();
        while let Some((at, client_id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, client_id));
            if let Some((network_id, state)) = self.member_mut(client_id).map(|(id, member)| (id, member.state)) {
                self.move_on(now, network_id, client_id);
                if !matches!(state, State::Left { .. }) {
                    told.insert(network_id);
                }
            }
        }
        for network_id in told {
            for client_id in self.soon_told(now, network_id) {
                self.move_on(now, network_id, client_id);
            }
        }
        self.send_changes();
    }

    /// A member's time has come.
    fn move_on(&mut self, now: Timestamp, network_id: NetworkId, client_id: ClientId) {
        match self.member_mut(client_id).map(|(_, member)| member.state) {
            Some(State::Joining { .. }) => {
                self.set_state(network_id, client_id, State::Shown);
                self.mark_changed(network_id, client_id);
            }
            Some(State::Leaving { since, .. }) => self.leave(now, network_id, client_id, since),
            Some(State::Left { .. }) => self.forget(client_id),
            Some(State::Shown) | None => {}
        }
    }

    /// Members of a network that others would be told of soon.
    fn soon_told(&self, now: Timestamp, network_id: NetworkId) -> Vec<ClientId> {
        let soon = |member: &Member| match member.state {
            State::Joining { until } | State::Leaving { until, .. } => until <= now + TOGETHER,
            State::Shown | State::Left { .. } => false,
        };
        let members = self.networks.get(&network_id).into_iter().flat_map(|network| &network.members);
        members.filter(|(_, member)| soon(member)).map(|(client_id, _)| *client_id).collect()
    }

    /// The peers of a network without `except`, and those that have left, in the order of their ids.
    pub fn list(&self, now: Timestamp, network_id: NetworkId, except: Option<ClientId>) -> (Vec<Peer>, Vec<Marker>) {
        let Some(network) = self.networks.get(&network_id) else { return (Vec::new(), Vec::new()) };
        let others = || network.members.values().filter(|member| Some(member.peer.client_id) != except);
        let peers = others().filter(|member| member.state.is_shown()).map(|member| member.peer.clone()).collect();
        let markers =
            others().filter_map(Member::marker).filter(|marker| now.since(marker.disconnect_time) < MARKER_LIFETIME);
        (peers, markers.collect())
    }

    fn member_mut(&mut self, client_id: ClientId) -> Option<(NetworkId, &mut Member)> {
        let network_id = *self.homes.get(&client_id)?;
        let member = self.networks.get_mut(&network_id)?.members.get_mut(&client_id)?;
        Some((network_id, member))
    }

    fn set_state(&mut self, network_id: NetworkId, client_id: ClientId, state: State) {
        let Some(network) = self.networks.get_mut(&network_id) else { return };
        let Some(member) = network.members.get_mut(&client_id) else { return };
        let before = std::mem::replace(&mut member.state, state);
        self.forget_timer(before, client_id);
        if let Some(at) = state.timer() {
            self.timers.insert((at, client_id));
        }
    }

    fn forget_timer(&mut self, state: State, client_id: ClientId) {
        if let Some(at) = state.timer() {
            self.timers.remove(&(at, client_id));
        }
    }

    fn update(&mut self, network_id: NetworkId, peer: Peer) {
        let client_id = peer.client_id;
        let Some((_, member)) = self.member_mut(client_id) else { return };
        if member.peer != peer && member.state.receives() {
            member.peer = peer;
            if member.state.is_shown() {
                self.mark_changed(network_id, client_id);
            }
        }
    }

    fn mark_changed(&mut self, network_id: NetworkId, client_id: ClientId) {
        if let Some(network) = self.networks.get_mut(&network_id) {
            network.changed.insert(client_id);
            self.changed.insert(network_id);
        }
    }

    fn leave(&mut self, now: Timestamp, network_id: NetworkId, client_id: ClientId, since: Timestamp) {
        // Counted from the announcement: one that comes late must still be there for the next full list.
        self.set_state(network_id, client_id, State::Left { since, until: now + MARKER_LIFETIME });
        self.mark_changed(network_id, client_id);
        self.bound_markers(network_id);
    }

    /// Clients that are made and removed in a loop must not pile up markers.
    fn bound_markers(&mut self, network_id: NetworkId) {
        let Some(network) = self.networks.get(&network_id) else { return };
        let markers: BTreeSet<_> = network
            .members
            .values()
            .filter_map(|member| member.marker().map(|marker| (marker.disconnect_time, marker.client_id)))
            .collect();
        let excess = markers.len().saturating_sub(self.rules.members_max);
        for (_, client_id) in markers.into_iter().take(excess) {
            self.forget(client_id);
        }
    }

    fn forget(&mut self, client_id: ClientId) {
        let Some(network_id) = self.homes.remove(&client_id) else { return };
        let Some(network) = self.networks.get_mut(&network_id) else { return };
        let member = network.members.remove(&client_id);
        network.changed.remove(&client_id);
        if network.members.is_empty() {
            self.networks.remove(&network_id);
        }
        if let Some(member) = member {
            self.forget_timer(member.state, client_id);
        }
    }

    fn full_list(&mut self, network_id: NetworkId, client_id: ClientId) {
        let Some(network) = self.networks.get(&network_id) else { return };
        if !network.members.get(&client_id).is_some_and(|member| member.state.receives()) {
            return;
        }
        let entries = if network.is_muted { Vec::new() } else { network.entries(client_id, |_| true) };
        self.outputs.extend(pack::packs(true, entries).into_iter().map(|pack| (client_id, pack)));
    }

    fn send_changes(&mut self) {
        let mut relisted = Vec::new();
        for network_id in std::mem::take(&mut self.changed) {
            let Some(network) = self.networks.get_mut(&network_id) else { continue };
            let changed = std::mem::take(&mut network.changed);
            let was_muted = network.is_muted;
            network.update_mute(self.rules.members_max);
            let receivers = network.members.iter().filter(|(_, member)| member.state.receives()).map(|(id, _)| *id);
            if was_muted != network.is_muted {
                relisted.extend(receivers.map(|client_id| (network_id, client_id)));
            } else if !network.is_muted {
                for client_id in receivers {
                    let entries = network.entries(client_id, |other| changed.contains(&other));
                    self.outputs.extend(pack::packs(false, entries).into_iter().map(|pack| (client_id, pack)));
                }
            }
        }
        for (network_id, client_id) in relisted {
            self.full_list(network_id, client_id);
        }
    }
}

impl PushSource for Roster {
    fn poll_output(&mut self) -> Option<(ClientId, Vec<Push>)> {
        self.outputs.pop_front()
    }
}

impl Network {
    fn update_mute(&mut self, members_max: usize) {
        let shown = self.members.values().filter(|member| member.state.is_shown()).count();
        // The lower way back keeps a network at the bound from being listed anew with every arrival.
        self.is_muted = shown > if self.is_muted { members_max - members_max / 10 } else { members_max };
    }

    fn entries(&self, except: ClientId, wanted: impl Fn(ClientId) -> bool) -> Vec<crate::wire::messages::NetworkPeer> {
        self.members
            .iter()
            .filter(|(client_id, _)| **client_id != except && wanted(**client_id))
            .filter_map(|(_, member)| match member.marker() {
                Some(marker) => Some(pack::marker(&marker)),
                None => member.state.is_shown().then(|| pack::entry(&member.peer)),
            })
            .collect()
    }
}

impl Member {
    fn marker(&self) -> Option<Marker> {
        match self.state {
            State::Left { since, .. } => Some(Marker { client_id: self.peer.client_id, disconnect_time: since }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
