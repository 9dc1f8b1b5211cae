//! Which destinations a client may send to: the contract gate, the limit of destinations, and the flows already
//! admitted.
//!
//! [`Flows`] belongs to one read loop, so the steady state takes no lock: one hash lookup per run of frames.
//! [`Admitted`] belongs to the resident: a flow that was admitted goes on over the client's next transport, though the
//! gate would not let it begin again (`control-and-routing` section 3.6: a contract with votes opens no pair).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::deliver::{Delivered, Flow};
use super::drop_reason::DropReason;
use super::frames::Frames;
use super::id_hash::IdHash;
use super::ports::{ContractGate, Traffic};
use super::registry::Registry;
use super::resident::Resident;
use crate::ids::ClientId;
use crate::time::Timestamp;

/// A flow unused for so long is forgotten.
const FLOW_IDLE: Duration = Duration::from_secs(15 * 60);

/// What the gate has admitted for one client, over all its transports.
#[derive(Default)]
pub struct Admitted {
    pairs: Mutex<HashMap<ClientId, Admission, IdHash>>,
}

/// The traffic of a pair, and since when it is known.
type Admission = (Arc<dyn Traffic>, Timestamp);

impl std::fmt::Debug for Admitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Admitted({})", self.pairs.lock().len())
    }
}

impl Admitted {
    /// The permission to send to `destination`: a live one of before, else a new one of the gate, for at most `limit`
    /// destinations not idle.
    fn admit(
        &self,
        gate: &dyn ContractGate,
        source: ClientId,
        destination: ClientId,
        limit: usize,
        now: Timestamp,
    ) -> Result<Arc<dyn Traffic>, DropReason> {
        let granted = gate.admit(source, destination, now);
        let mut pairs = self.pairs.lock();
        let known = pairs.remove(&destination).map(|(traffic, _)| traffic).filter(|traffic| traffic.is_live(now));
        let traffic = granted.or(known).ok_or(DropReason::NoContract)?;
        if pairs.len() >= limit {
            pairs.retain(|_, (traffic, since)| {
                traffic.is_live(now) && now.since(traffic.last_frame().max(*since)) < FLOW_IDLE
            });
            if pairs.len() >= limit {
                return Err(DropReason::FlowLimit);
            }
        }
        pairs.insert(destination, (Arc::clone(&traffic), now));
        Ok(traffic)
    }
}

/// The destinations of one connection.
pub struct Flows {
    source: Arc<Resident>,
    registry: Arc<Registry>,
    /// `None`: every pair may exchange frames.
    gate: Option<Arc<dyn ContractGate>>,
    limit: usize,
    flows: HashMap<ClientId, Flow, IdHash>,
}

impl Flows {
    /// No destinations yet; at most `limit` of them later, together with the client's other transports when there is
    /// a gate.
    pub fn new(
        source: Arc<Resident>,
        registry: Arc<Registry>,
        gate: Option<Arc<dyn ContractGate>>,
        limit: usize,
    ) -> Self {
        Self { source, registry, gate, limit, flows: HashMap::default() }
    }

    /// Sends a run of frames to one destination, or says why what is left in `run` goes nowhere.
    #[inline]
    pub fn forward(
        &mut self,
        destination: ClientId,
        run: &mut Vec<Frames>,
        now: Timestamp,
    ) -> (Delivered, Option<DropReason>) {
        if let Some(flow) = self.flows.get_mut(&destination)
            && flow.is_live(now)
        {
            return flow.deliver(&self.registry, destination, run, now);
        }
        let mut flow = match self.admit(destination, now) {
            Ok(flow) => flow,
            Err(reason) => return (Delivered::default(), Some(reason)),
        };
        let outcome = flow.deliver(&self.registry, destination, run, now);
        self.flows.insert(destination, flow);
        outcome
    }

    /// The slow road: the first frame to a destination, or the first after its permission ended. A destination that is
    /// not there takes no place.
    fn admit(&mut self, destination: ClientId, now: Timestamp) -> Result<Flow, DropReason> {
        let traffic = match &self.gate {
            Some(gate) => {
                let client_id = self.source.client_id;
                Some(self.source.admitted.admit(&**gate, client_id, destination, self.limit, now)?)
            }
            None => None,
        };
        if self.flows.len() >= self.limit && !self.flows.contains_key(&destination) {
            self.expire(now);
            if self.flows.len() >= self.limit {
                return Err(DropReason::FlowLimit);
            }
        }
        let resident = self.registry.get(destination).ok_or(DropReason::Offline)?;
        Flow::new(resident, traffic, now).ok_or(DropReason::Offline)
    }

    /// Forgets flows unused for a while, and the memory they took.
    pub fn expire(&mut self, now: Timestamp) {
        self.flows.retain(|_, flow| now.since(flow.last_used()) < FLOW_IDLE);
        if self.flows.len() < self.flows.capacity() / 4 {
            self.flows.shrink_to_fit();
        }
    }

    /// Destinations at present.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{InstanceId, NetworkId};
    use crate::relay::outbox::{Bounds, Outbox};
    use crate::relay::ports::Identity;
    use crate::relay::testing::TestGate;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    fn id(byte: u8) -> ClientId {
        ClientId::new([byte; 16])
    }

    fn flows(registry: Arc<Registry>, gate: Option<Arc<dyn ContractGate>>, limit: usize) -> Flows {
        let source = Arc::new(Resident::new(id(1), NetworkId::default(), InstanceId::default()));
        Flows::new(source, registry, gate, limit)
    }

    fn join(registry: &Registry, client: u8, instance: u8, frames: usize) -> Arc<Outbox> {
        let outbox = Arc::new(Outbox::new(Bounds { frames, bytes: 1 << 20 }));
        let identity = Identity { client_id: id(client), network_id: NetworkId::default() };
        registry.join(identity, InstanceId::new([instance; 16]), &outbox, 16);
        outbox
    }

    fn send(flows: &mut Flows, destination: u8, count: usize, now: Timestamp) -> (usize, Option<DropReason>) {
        let mut run = vec![Frames::alone("a frame".into()); count];
        let (delivered, refusal) = flows.forward(id(destination), &mut run, now);
        assert_eq!(delivered.frames + run.len(), count);
        assert_eq!(delivered.bytes, 7 * delivered.frames);
        (delivered.frames, refusal)
    }

    #[test]
    fn without_a_contract_nothing_passes_and_with_one_the_next_frame_does() {
        let registry = Arc::new(Registry::default());
        let outbox = join(&registry, 2, 1, 10);
        let gate = TestGate::default();
        let mut flows = flows(registry, Some(Arc::new(gate.clone())), 10);
        assert_eq!(send(&mut flows, 2, 1, NOW), (0, Some(DropReason::NoContract)));
        gate.open(id(1), id(2));
        assert_eq!(send(&mut flows, 2, 3, NOW), (3, None));
        assert_eq!((outbox.len(), gate.bytes(id(1), id(2))), (3, 21));
        gate.close(id(1), id(2));
        assert_eq!(send(&mut flows, 2, 1, NOW), (0, Some(DropReason::NoContract)));
    }

    #[test]
    fn a_destination_that_is_not_there_takes_no_place() {
        let mut flows = flows(Arc::default(), None, 10);
        assert_eq!(send(&mut flows, 2, 1, NOW), (0, Some(DropReason::Offline)));
        assert!(flows.is_empty());
    }

    #[test]
    fn a_flow_follows_its_destination_to_newer_transports_and_instances() {
        let registry = Arc::new(Registry::default());
        let first = join(&registry, 2, 1, 10);
        let mut flows = flows(Arc::clone(&registry), None, 10);
        assert_eq!(send(&mut flows, 2, 1, NOW), (1, None));
        let second = join(&registry, 2, 1, 10);
        assert_eq!(send(&mut flows, 2, 1, NOW), (1, None));
        let third = join(&registry, 2, 2, 10);
        assert_eq!(send(&mut flows, 2, 1, NOW), (1, None));
        assert_eq!((first.len(), second.len(), third.len()), (0, 0, 1), "replaced transports forget their queues");
        registry.remove(id(2), crate::relay::drop_reason::EndReason::Removed);
        assert_eq!(send(&mut flows, 2, 1, NOW), (0, Some(DropReason::Offline)));
    }

    #[test]
    fn a_full_destination_drops_the_newest_after_trying_its_other_transports() {
        let registry = Arc::new(Registry::default());
        let old = join(&registry, 2, 1, 2);
        let new = join(&registry, 2, 1, 2);
        let mut flows = flows(registry, None, 10);
        assert_eq!(send(&mut flows, 2, 5, NOW), (4, Some(DropReason::QueueFull)));
        assert_eq!((old.len(), new.len()), (2, 2));
    }

    #[test]
    fn the_limit_of_destinations_holds_until_one_is_idle() {
        let registry = Arc::new(Registry::default());
        for client in 2..=4 {
            join(&registry, client, 1, 10);
        }
        let mut flows = flows(registry, None, 2);
        assert_eq!(send(&mut flows, 2, 1, NOW), (1, None));
        assert_eq!(send(&mut flows, 3, 1, NOW), (1, None));
        assert_eq!(send(&mut flows, 4, 1, NOW), (0, Some(DropReason::FlowLimit)));
        assert_eq!(send(&mut flows, 3, 1, NOW + FLOW_IDLE), (1, None), "those known already go on");
        assert_eq!(send(&mut flows, 4, 1, NOW + FLOW_IDLE), (1, None));
        assert_eq!(flows.len(), 2);
    }

    #[test]
    fn an_admitted_pair_goes_on_over_the_next_transport_though_the_gate_admits_it_no_more() {
        let registry = Arc::new(Registry::default());
        join(&registry, 2, 1, 10);
        let gate = TestGate::default();
        gate.open(id(1), id(2));
        let first = flows(Arc::clone(&registry), Some(Arc::new(gate.clone())), 10);
        let source = Arc::clone(&first.source);
        let mut first = first;
        assert_eq!(send(&mut first, 2, 1, NOW), (1, None));
        gate.vote(id(1), id(2));
        let mut second = Flows::new(source, registry.clone(), Some(Arc::new(gate.clone())), 10);
        assert_eq!(send(&mut second, 2, 1, NOW), (1, None));
        let mut stranger = flows(registry, Some(Arc::new(gate.clone())), 10);
        assert_eq!(send(&mut stranger, 2, 1, NOW), (0, Some(DropReason::NoContract)));
        gate.close(id(1), id(2));
        assert_eq!(send(&mut second, 2, 1, NOW), (0, Some(DropReason::NoContract)));
    }

    #[test]
    fn the_limit_of_destinations_counts_all_transports_of_a_client() {
        let registry = Arc::new(Registry::default());
        let gate = TestGate::default();
        for client in 2..=4 {
            join(&registry, client, 1, 10);
            gate.open(id(1), id(client));
        }
        let mut first = flows(Arc::clone(&registry), Some(Arc::new(gate.clone())), 2);
        let mut second = Flows::new(Arc::clone(&first.source), registry, Some(Arc::new(gate)), 2);
        assert_eq!(send(&mut first, 2, 1, NOW), (1, None));
        assert_eq!(send(&mut second, 2, 1, NOW), (1, None));
        assert_eq!(send(&mut second, 3, 1, NOW), (1, None));
        assert_eq!(send(&mut first, 4, 1, NOW), (0, Some(DropReason::FlowLimit)));
        assert_eq!(send(&mut first, 4, 1, NOW + FLOW_IDLE), (1, None));
    }
}
