//! What happens once a transport is authenticated and routable: the client becomes present, and a process run that is
//! new gets its lists.
//!
//! Presence is told at once; those who show clients to others wait `relay.announce_delay` themselves. The lists come in
//! the order clients want them, peers first (`control-and-routing` section 5.3): the peers' own follower pushes them
//! when presence is told, and the empty list of streams follows.

use std::net::IpAddr;

use super::Relay;
use super::resident::Resident;
use crate::domain::presence::{PresenceEntry, PresenceGuard};
use crate::wire::control_message::Push;
use crate::wire::messages::StreamReset;

/// Announces a transport that has just been attached to its resident; the guard's drop is its end.
pub fn announce(relay: &Relay, resident: &Resident, is_new: bool, address: IpAddr) -> PresenceGuard {
    let pack_count = resident.control.pack_count();
    let guard = relay.presence.attach(PresenceEntry {
        connection_id: relay.ids.next_random(relay.clock.now()),
        client_id: resident.client_id,
        network_id: resident.network_id,
        instance_id: resident.instance_id,
        address,
    });
    if is_new {
        // The follower sends lists to a process run it does not know. It knows this one if the resident was given up
        // sooner than the peers forgot it; the client's view is lost all the same.
        if resident.control.pack_count() == pack_count {
            relay.peers.resync(resident.client_id);
        }
        resident.control.push_pack(stream_list());
    }
    guard
}

/// The client's streams: none, because this server opens none.
pub fn stream_list() -> Vec<Push> {
    vec![Push::StreamReset(StreamReset::default())]
}
