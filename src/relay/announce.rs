//! What happens once a transport is authenticated and routable: the client becomes present, and a process run that is
//! new gets its lists.
//!
//! Presence is told at once; those who show clients to others wait `relay.announce_delay` themselves. The lists follow
//! in the order clients want them, peers first (`control-and-routing` section 5.3).

use std::net::IpAddr;

use super::Relay;
use super::resident::Resident;
use crate::domain::presence::{PresenceEntry, PresenceGuard};
use crate::ids::ClientId;

/// Announces a transport that has just been attached to its resident; the guard's drop is its end.
pub fn announce(relay: &Relay, resident: &Resident, is_new: bool, address: IpAddr) -> PresenceGuard {
    let guard = relay.presence.attach(PresenceEntry {
        connection_id: relay.ids.next_random(relay.clock.now()),
        client_id: resident.client_id,
        network_id: resident.network_id,
        instance_id: resident.instance_id,
        address,
    });
    if is_new {
        send_lists(relay, resident.client_id);
    }
    guard
}

/// Asks for the full lists of a client whose view is unknown.
pub fn send_lists(relay: &Relay, client_id: ClientId) {
    relay.peers.resync(client_id);
    relay.streams.resync(client_id);
}

#[cfg(test)]
mod tests;
