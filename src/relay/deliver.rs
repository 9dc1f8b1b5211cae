//! Carries frames out: to the outbox of a client on this node.
//!
//! A [`Flow`] remembers where the last frames went. It asks the resident only when a newer transport has opened or
//! the remembered one is gone, and the registry only when the resident is gone.

use std::sync::Arc;

use super::drop_reason::DropReason;
use super::frames::Frames;
use super::outbox::{Outbox, Refusal};
use super::ports::Traffic;
use super::registry::Registry;
use super::resident::Resident;
use crate::ids::ClientId;
use crate::time::Timestamp;

/// Frames that reached an outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// How many.
    pub frames: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl Delivered {
    #[inline]
    fn of(run: &[Frames]) -> Self {
        run.iter().fold(Self::default(), |sum, piece| Self {
            frames: sum.frames + piece.count(),
            bytes: sum.bytes + piece.payload_bytes(),
        })
    }
}

/// The way from one connection to one destination.
pub struct Flow {
    resident: Arc<Resident>,
    outbox: Arc<Outbox>,
    traffic: Option<Arc<dyn Traffic>>,
    last_used: Timestamp,
}

impl Flow {
    /// The way to a resident's newest transport; `None` when it has none.
    pub fn new(resident: Arc<Resident>, traffic: Option<Arc<dyn Traffic>>, now: Timestamp) -> Option<Self> {
        let outbox = resident.newest()?;
        Some(Self { resident, outbox, traffic, last_used: now })
    }

    /// Whether the pair may exchange frames now.
    #[inline]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.traffic.as_ref().is_none_or(|traffic| traffic.is_live(now))
    }

    /// When frames last went this way.
    pub fn last_used(&self) -> Timestamp {
        self.last_used
    }

    /// Pushes a run of frames; those left in `run` are dropped for the reason given.
    #[inline]
    pub fn deliver(
        &mut self,
        registry: &Registry,
        destination: ClientId,
        run: &mut Vec<Frames>,
        now: Timestamp,
    ) -> (Delivered, Option<DropReason>) {
        let before = Delivered::of(run);
        let refusal = match self.outbox.push(run) {
            Ok(()) => None,
            Err(refusal) => self.deliver_elsewhere(registry, destination, run, refusal),
        };
        let left = Delivered::of(run);
        let delivered = Delivered { frames: before.frames - left.frames, bytes: before.bytes - left.bytes };
        if delivered.frames > 0 {
            self.last_used = now;
            if let Some(traffic) = &self.traffic {
                traffic.record(delivered.bytes, now);
            }
        }
        (delivered, refusal)
    }

    #[cold]
    fn deliver_elsewhere(
        &mut self,
        registry: &Registry,
        destination: ClientId,
        run: &mut Vec<Frames>,
        refusal: Refusal,
    ) -> Option<DropReason> {
        if !matches!(refusal, Refusal::Full | Refusal::Spent) {
            if self.resident.is_retired() {
                match registry.get(destination) {
                    Some(resident) => self.resident = resident,
                    None => return Some(DropReason::Offline),
                }
            }
            match self.resident.newest() {
                Some(outbox) => self.outbox = outbox,
                None => return Some(DropReason::Offline),
            }
        }
        self.resident.spill(run);
        match (run.is_empty(), self.resident.is_attached()) {
            (true, _) => None,
            (false, true) if refusal == Refusal::Spent => Some(DropReason::MemoryFull),
            (false, true) => Some(DropReason::QueueFull),
            (false, false) => Some(DropReason::Offline),
        }
    }
}
