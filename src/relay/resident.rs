//! The server's side of one client id: its instance and its transports. It outlives the last transport for a
//! while, so that a reconnecting client finds its control conversation as it left it.
//!
//! ```text
//!   join -> attached <-> detached -> (linger) -> retired
//!               \___ replaced, removed ____________/
//! ```

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::admission::Admitted;
use super::control_link::ControlLink;
use super::drop_reason::EndReason;
use super::frames::Frames;
use super::outbox::{Outbox, Refusal};
use crate::ids::{ClientId, InstanceId, NetworkId};

/// One connected, or lately connected, client.
#[derive(Debug)]
pub struct Resident {
    /// The client.
    pub client_id: ClientId,
    /// Its network.
    pub network_id: NetworkId,
    /// The process run that owns the client id.
    pub instance_id: InstanceId,
    /// The client's conversation with the control id.
    pub control: ControlLink,
    /// Destinations its flows were admitted to.
    pub admitted: Admitted,
    transports: Mutex<Transports>,
}

#[derive(Debug, Default)]
struct Transports {
    /// Oldest first; frames go to the last one. Nearly all clients have one.
    open: SmallVec<[Arc<Outbox>; 1]>,
    attach_count: u32,
    is_retired: bool,
}

impl Resident {
    /// A resident without transports.
    pub fn new(client_id: ClientId, network_id: NetworkId, instance_id: InstanceId) -> Self {
        Self {
            client_id,
            network_id,
            instance_id,
            control: ControlLink::default(),
            admitted: Admitted::default(),
            transports: Mutex::default(),
        }
    }

    /// Adds a transport, which becomes the one that frames go to. Above `limit` the oldest is closed. False when
    /// the resident is retired: the caller needs a new one. Otherwise the caller then has the control conversation
    /// served, as after [`Resident::detach`].
    pub fn attach(&self, outbox: &Arc<Outbox>, limit: usize) -> bool {
        let mut transports = self.transports.lock();
        if transports.is_retired {
            return false;
        }
        if let Some(newest) = transports.open.last() {
            newest.set_superseded(true);
        }
        transports.open.push(Arc::clone(outbox));
        transports.attach_count += 1;
        while transports.open.len() > limit.max(1) {
            transports.open.remove(0).close(EndReason::Surplus);
        }
        drop(transports);
        self.control.queue.transports_changed();
        true
    }

    /// Takes a transport away; the newest of the others serves again.
    pub fn detach(&self, outbox: &Arc<Outbox>) {
        let mut transports = self.transports.lock();
        transports.open.retain(|open| !Arc::ptr_eq(open, outbox));
        if let Some(newest) = transports.open.last() {
            newest.set_superseded(false);
        }
        drop(transports);
        self.control.queue.transports_changed();
    }

    /// Whether any transport is open.
    pub fn is_attached(&self) -> bool {
        !self.transports.lock().open.is_empty()
    }

    /// How many transports are open, and how many ever were.
    pub fn transport_counts(&self) -> (usize, u32) {
        let transports = self.transports.lock();
        (transports.open.len(), transports.attach_count)
    }

    /// Whether the resident has been given up.
    pub fn is_retired(&self) -> bool {
        self.transports.lock().is_retired
    }

    /// The transport that frames go to.
    pub fn newest(&self) -> Option<Arc<Outbox>> {
        self.transports.lock().open.last().cloned()
    }

    /// Pushes what the newest transport refused to the older ones, newest first; what is left fits nowhere.
    pub fn spill(&self, run: &mut Vec<Frames>) {
        let transports = self.transports.lock();
        for outbox in transports.open.iter().rev() {
            if outbox.spill(run).is_ok() {
                return;
            }
        }
    }

    /// Sends a frame of the control id on any transport.
    pub fn send_control(&self, frame: Bytes) -> Result<(), Refusal> {
        let transports = self.transports.lock();
        let (mut frame, mut refusal) = (frame, Refusal::Closed);
        let mut open = transports.open.iter().rev().peekable();
        while let Some(outbox) = open.next() {
            // A copy only where another transport may need it.
            let offered = if open.peek().is_some() { frame.clone() } else { std::mem::take(&mut frame) };
            match outbox.push_control(offered) {
                Ok(()) => return Ok(()),
                Err(other) => refusal = other,
            }
        }
        Err(refusal)
    }

    /// Gives the resident up and closes its transports.
    pub fn retire(&self, reason: EndReason) {
        let mut transports = self.transports.lock();
        transports.is_retired = true;
        let open = std::mem::take(&mut transports.open);
        drop(transports);
        for outbox in open {
            outbox.close(reason);
        }
        self.control.end();
    }

    /// Closes the transports but keeps the resident: the client comes back.
    pub fn close_transports(&self, reason: EndReason) {
        let open = self.transports.lock().open.clone();
        for outbox in open {
            outbox.close(reason);
        }
    }

    /// Gives the resident up if no transport is open.
    pub fn retire_if_detached(&self) -> bool {
        let mut transports = self.transports.lock();
        transports.is_retired |= transports.open.is_empty();
        transports.is_retired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::outbox::Bounds;

    fn resident() -> Resident {
        Resident::new(ClientId::new([1; 16]), NetworkId::default(), InstanceId::default())
    }

    fn outbox(frames: usize) -> Arc<Outbox> {
        Arc::new(Outbox::new(Bounds { frames, bytes: 1 << 20 }))
    }

    fn run(count: usize) -> Vec<Frames> {
        vec![Frames::alone(Bytes::from_static(b"frame")); count]
    }

    #[test]
    fn the_newest_transport_serves_and_the_older_takes_over_when_it_goes() {
        let resident = resident();
        let (old, new) = (outbox(10), outbox(10));
        assert!(resident.attach(&old, 16) && resident.attach(&new, 16));
        assert!(Arc::ptr_eq(&resident.newest().unwrap(), &new));
        assert_eq!(old.push(&mut run(1)), Err(Refusal::Superseded));
        resident.detach(&new);
        assert!(Arc::ptr_eq(&resident.newest().unwrap(), &old));
        assert_eq!(old.push(&mut run(1)), Ok(()));
    }

    #[test]
    fn the_oldest_transport_goes_above_the_limit() {
        let resident = resident();
        let transports = [outbox(1), outbox(1), outbox(1)];
        for outbox in &transports {
            assert!(resident.attach(outbox, 2));
        }
        let closed: Vec<_> = transports.iter().map(|outbox| outbox.closed()).collect();
        assert_eq!(closed, [Some(EndReason::Surplus), None, None]);
    }

    #[test]
    fn what_the_newest_has_no_room_for_spills_to_older_ones() {
        let resident = resident();
        let (old, new) = (outbox(2), outbox(2));
        assert!(resident.attach(&old, 16) && resident.attach(&new, 16));
        let mut frames = run(5);
        resident.spill(&mut frames);
        assert_eq!((old.len(), new.len(), frames.len()), (2, 2, 1));
    }

    #[test]
    fn a_frame_of_the_control_id_goes_to_the_newest_transport_that_takes_it() {
        let resident = resident();
        let transports = [outbox(10), outbox(10), outbox(10)];
        assert!(transports.iter().all(|outbox| resident.attach(outbox, 16)));
        let lengths = |transports: &[Arc<Outbox>]| transports.iter().map(|outbox| outbox.len()).collect::<Vec<_>>();
        assert_eq!(resident.send_control(Bytes::from_static(b"frame")), Ok(()));
        assert_eq!(lengths(&transports), [0, 0, 1]);
        transports[1].close(EndReason::PeerClosed);
        transports[2].close(EndReason::PeerClosed);
        assert_eq!(resident.send_control(Bytes::from_static(b"frame")), Ok(()));
        let mut batch = std::collections::VecDeque::new();
        assert!(
            transports[0]
                .poll_take(&mut std::task::Context::from_waker(std::task::Waker::noop()), &mut batch)
                .is_ready()
        );
        assert_eq!(batch, run(1), "all of it, after two have refused it");
        transports[0].close(EndReason::PeerClosed);
        assert_eq!(resident.send_control(Bytes::from_static(b"frame")), Err(Refusal::Closed));
    }

    #[test]
    fn a_retired_resident_takes_no_transport() {
        let resident = resident();
        let open = outbox(1);
        assert!(resident.attach(&open, 16));
        assert!(!resident.retire_if_detached());
        resident.detach(&open);
        assert!(resident.retire_if_detached());
        assert!(!resident.attach(&open, 16));
    }
}
