//! ClientId to resident: the one map that all connections share. Cached flows ask it only when their resident is
//! gone.

use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::drop_reason::EndReason;
use super::id_hash::IdHash;
use super::outbox::Outbox;
use super::ports::Identity;
use super::resident::Resident;
use crate::ids::{ClientId, InstanceId, NetworkId};

/// Every resident of this node.
#[derive(Debug, Default)]
pub struct Registry {
    residents: DashMap<ClientId, Arc<Resident>, IdHash>,
}

/// What a joining transport found.
#[derive(Debug)]
pub struct Joined {
    /// The resident it is attached to.
    pub resident: Arc<Resident>,
    /// Whether it was made for this transport.
    pub is_new: bool,
}

impl Registry {
    /// Attaches a transport of an authenticated client. The instance that joined last owns the client id: another
    /// one is retired and its transports close.
    pub fn join(&self, identity: Identity, instance_id: InstanceId, outbox: &Arc<Outbox>, limit: usize) -> Joined {
        let fresh = || {
            let resident = Arc::new(Resident::new(identity.client_id, identity.network_id, instance_id));
            resident.attach(outbox, limit);
            resident
        };
        let (joined, replaced) = match self.residents.entry(identity.client_id) {
            Entry::Occupied(mut entry) => {
                let resident = entry.get();
                let is_same = resident.instance_id == instance_id && resident.network_id == identity.network_id;
                if is_same && resident.attach(outbox, limit) {
                    (Joined { resident: Arc::clone(resident), is_new: false }, None)
                } else {
                    let resident = fresh();
                    let replaced = entry.insert(Arc::clone(&resident));
                    (Joined { resident, is_new: true }, Some(replaced))
                }
            }
            Entry::Vacant(entry) => {
                let resident = fresh();
                entry.insert(Arc::clone(&resident));
                (Joined { resident, is_new: true }, None)
            }
        };
        if let Some(replaced) = replaced {
            replaced.retire(EndReason::Replaced);
        }
        joined
    }

    /// The resident of a client.
    pub fn get(&self, client_id: ClientId) -> Option<Arc<Resident>> {
        self.residents.get(&client_id).map(|entry| Arc::clone(entry.value()))
    }

    /// Forgets a resident without transports; false when it has one again, or has been replaced.
    pub fn forget_detached(&self, resident: &Arc<Resident>) -> bool {
        self.residents
            .remove_if(&resident.client_id, |_, current| Arc::ptr_eq(current, resident) && current.retire_if_detached())
            .is_some()
    }

    /// Forgets a client and closes its transports.
    pub fn remove(&self, client_id: ClientId, reason: EndReason) {
        if let Some((_, resident)) = self.residents.remove(&client_id) {
            resident.retire(reason);
        }
    }

    /// Forgets this resident, unless another has taken its place, and closes its transports.
    pub fn give_up(&self, resident: &Arc<Resident>, reason: EndReason) {
        let is_same = |_: &ClientId, current: &Arc<Resident>| Arc::ptr_eq(current, resident);
        if self.residents.remove_if(&resident.client_id, is_same).is_some() {
            resident.retire(reason);
        }
    }

    /// Forgets every client of a network and closes their transports. Looks through the whole map: for the rare
    /// case that all tokens of a network die.
    pub fn remove_network(&self, network_id: NetworkId, reason: EndReason) {
        let mut removed = Vec::new();
        self.residents.retain(|_, resident| {
            let stays = resident.network_id != network_id;
            if !stays {
                removed.push(Arc::clone(resident));
            }
            stays
        });
        for resident in removed {
            resident.retire(reason);
        }
    }

    /// Every resident at this moment.
    pub fn all(&self) -> Vec<Arc<Resident>> {
        self.residents.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Residents, with and without transports.
    pub fn len(&self) -> usize {
        self.residents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.residents.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::outbox::Bounds;

    const LIMIT: usize = 16;

    fn identity(client: u8, network: u8) -> Identity {
        Identity { client_id: ClientId::new([client; 16]), network_id: NetworkId::new([network; 16]) }
    }

    fn outbox() -> Arc<Outbox> {
        Arc::new(Outbox::new(Bounds { frames: 10, bytes: 1000 }))
    }

    #[test]
    fn transports_of_one_instance_share_a_resident() {
        let registry = Registry::default();
        let first = registry.join(identity(1, 1), InstanceId::new([1; 16]), &outbox(), LIMIT);
        let second = registry.join(identity(1, 1), InstanceId::new([1; 16]), &outbox(), LIMIT);
        assert!(first.is_new && !second.is_new);
        assert!(Arc::ptr_eq(&first.resident, &second.resident));
    }

    #[test]
    fn the_newest_instance_wins() {
        let registry = Registry::default();
        let (old, new) = (outbox(), outbox());
        registry.join(identity(1, 1), InstanceId::new([1; 16]), &old, LIMIT);
        let joined = registry.join(identity(1, 1), InstanceId::new([2; 16]), &new, LIMIT);
        assert!(joined.is_new);
        assert_eq!((old.closed(), new.closed()), (Some(EndReason::Replaced), None));
        assert!(Arc::ptr_eq(&registry.get(ClientId::new([1; 16])).unwrap(), &joined.resident));
    }

    #[test]
    fn a_resident_is_forgotten_only_without_transports_and_if_it_is_still_the_one() {
        let registry = Registry::default();
        let open = outbox();
        let old = registry.join(identity(1, 1), InstanceId::new([1; 16]), &open, LIMIT).resident;
        assert!(!registry.forget_detached(&old));
        let new = registry.join(identity(1, 1), InstanceId::new([2; 16]), &open, LIMIT).resident;
        new.detach(&open);
        assert!(!registry.forget_detached(&old));
        assert!(registry.forget_detached(&new));
        assert!(registry.is_empty());
    }

    #[test]
    fn a_removed_network_loses_all_its_transports_and_no_others() {
        let registry = Registry::default();
        let boxes = [outbox(), outbox(), outbox()];
        for (at, (client, network)) in [(1, 1), (2, 1), (3, 2)].into_iter().enumerate() {
            registry.join(identity(client, network), InstanceId::default(), &boxes[at], LIMIT);
        }
        registry.remove_network(NetworkId::new([1; 16]), EndReason::Removed);
        let closed: Vec<_> = boxes.iter().map(|outbox| outbox.closed()).collect();
        assert_eq!(closed, [Some(EndReason::Removed), Some(EndReason::Removed), None]);
        assert_eq!(registry.len(), 1);
    }
}
