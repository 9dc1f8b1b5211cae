//! Peers as messages: entries cut to size and gathered into packs that fit a frame.

use prost::Message;

use super::roster::{Marker, Peer};
use crate::domain::device::cut;
use crate::wire::control_message::Push;
use crate::wire::messages::{NetworkPeer, NetworkPeersUpdate};

/// Largest sum of the entries of one pack. A frame holds 4096 bytes, of which the pack's own fields, a reset and the
/// frames around the messages need some.
pub const MAX_PACK_BYTES: usize = 2900;

/// Longest device name and description in an entry.
const MAX_NAME_BYTES: usize = 128;

/// What one entry costs in a list besides its own bytes: tag and length.
const ENTRY_OVERHEAD_BYTES: usize = 3;

/// The entry of a peer that is there. Roles that do not fit are left out from the end.
pub fn entry(peer: &Peer) -> NetworkPeer {
    let mut entry = NetworkPeer {
        client_id: peer.client_id.into(),
        provide_modes: peer.provide_modes.iter().map(|mode| i32::from(*mode)).collect(),
        principal: peer.principal.clone(),
        roles: peer.roles.clone(),
        device_name: cut(&peer.device_name, MAX_NAME_BYTES).to_owned(),
        device_spec: cut(&peer.device_spec, MAX_NAME_BYTES).to_owned(),
        disconnect_time: None,
    };
    while entry.encoded_len() + ENTRY_OVERHEAD_BYTES > MAX_PACK_BYTES && entry.roles.pop().is_some() {}
    entry
}

/// The entry of a peer that has left.
pub fn marker(marker: &Marker) -> NetworkPeer {
    NetworkPeer {
        client_id: marker.client_id.into(),
        disconnect_time: Some(marker.disconnect_time.as_millis()),
        ..NetworkPeer::default()
    }
}

/// Entries as packs; the first one begins with a reset when `reset` is set, so that the receiver never sees an empty
/// list in between.
pub fn packs(reset: bool, entries: Vec<NetworkPeer>) -> Vec<Vec<Push>> {
    let mut packs = Vec::new();
    let mut pushes = if reset { vec![Push::NetworkPeersReset] } else { Vec::new() };
    let mut peers = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let entry_bytes = entry.encoded_len() + ENTRY_OVERHEAD_BYTES;
        if bytes + entry_bytes > MAX_PACK_BYTES && !peers.is_empty() {
            pushes.push(Push::NetworkPeersUpdate(NetworkPeersUpdate { peers: std::mem::take(&mut peers) }));
            packs.push(std::mem::take(&mut pushes));
            bytes = 0;
        }
        bytes += entry_bytes;
        peers.push(entry);
    }
    if !peers.is_empty() {
        pushes.push(Push::NetworkPeersUpdate(NetworkPeersUpdate { peers }));
    }
    if !pushes.is_empty() {
        packs.push(pushes);
    }
    packs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::id;
    use crate::wire::messages::{Pack, ProvideMode};

    fn peer(byte: u8) -> Peer {
        Peer {
            client_id: id(byte),
            provide_modes: vec![ProvideMode::Network, ProvideMode::Public],
            principal: "p".repeat(256),
            roles: vec!["ops".into()],
            device_name: "ü".repeat(128),
            device_spec: "s".repeat(256),
        }
    }

    #[test]
    fn a_long_list_is_cut_into_packs_of_3000_bytes_with_one_reset() {
        let entries: Vec<_> = (1..=100).map(|byte| entry(&peer(byte))).collect();
        let packs = packs(true, entries);
        assert!(packs.len() > 10);
        let mut peers = 0;
        for (at, pack) in packs.iter().enumerate() {
            let frames: Vec<_> = pack.iter().map(Push::to_frame).collect();
            assert!(Pack { frames, ..Pack::default() }.encoded_len() <= 3000);
            assert_eq!(pack[0] == Push::NetworkPeersReset, at == 0);
            let Some(Push::NetworkPeersUpdate(update)) = pack.last() else { panic!("an update ends each pack") };
            peers += update.peers.len();
        }
        assert_eq!(peers, 100);
    }

    #[test]
    fn an_entry_fits_a_pack_whatever_its_roles() {
        let mut large = peer(1);
        large.roles = vec!["r".repeat(128); 32];
        let entry = entry(&large);
        assert_eq!(entry.device_name.len(), 128);
        assert_eq!(entry.device_spec.len(), 128);
        assert!(entry.roles.len() > 10 && entry.encoded_len() < MAX_PACK_BYTES);
    }

    #[test]
    fn an_empty_list_is_a_reset_alone() {
        assert_eq!(packs(true, Vec::new()), [vec![Push::NetworkPeersReset]]);
        assert!(packs(false, Vec::new()).is_empty());
    }
}
