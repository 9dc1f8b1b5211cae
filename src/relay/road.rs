//! The road of a frame from the moment it is read to the receiver's outbox. Nothing on it decodes, copies, allocates,
//! awaits or looks up a metric; `benches/relay_path` and `tests/allocation` hold that.
//!
//! Neighbouring frames for one destination travel as a *run*, which costs one look-up and one push; those of one read are
//! one piece of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::admission::Flows;
use super::drop_reason::{DropReason, EndReason};
use super::frames::{Frames, Walk};
use super::resident::Resident;
use super::route::{Route, route};
use super::tally::Tally;
use crate::ids::ClientId;
use crate::telemetry::relay_metrics::RelayMetrics;
use crate::time::Timestamp;
use crate::wire::path::{PathBytes, peek_path};

/// Frames in another client's name, within [`ABUSE_WINDOW`], that end a connection. Clients in a mixed state send a
/// few, so it is far above that.
const ABUSE_FRAMES: u32 = 1000;
/// See [`ABUSE_FRAMES`].
const ABUSE_WINDOW: Duration = Duration::from_secs(60);

/// What one read loop needs to route frames; shared with nobody.
pub struct Road {
    source: Arc<Resident>,
    flows: Flows,
    run: Vec<Frames>,
    /// The way of the run, or of the last one; in memory of its own, which an idle client does not have.
    run_path: Option<Box<PathBytes>>,
    tally: Tally,
    has_control: bool,
    spoofed: u32,
    spoofed_since: Instant,
}

impl Road {
    /// The road of the frames that `source` sends over one transport.
    pub fn new(source: Arc<Resident>, flows: Flows) -> Self {
        Self {
            source,
            flows,
            run: Vec::new(),
            run_path: None,
            tally: Tally::default(),
            has_control: false,
            spoofed: 0,
            spoofed_since: Instant::now(),
        }
    }

    /// Routes the walk's current frame; an error ends the connection. One for another client stays in the walk until its
    /// neighbours are known: see [`Road::gather`].
    #[inline]
    pub fn take(&mut self, walk: &mut Walk, now: Timestamp) -> Result<(), EndReason> {
        let frame = walk.message();
        self.tally.received(frame.len());
        if self.run_path.as_ref().is_some_and(|path| path.are_in(frame)) {
            return Ok(());
        }
        let way = match peek_path(frame) {
            Ok(path) => route(&path, self.source.client_id),
            Err(error) => Route::Drop(error.into()),
        };
        match way {
            Route::Client(destination) => {
                if self.run_destination() != Some(destination) {
                    self.gather(walk);
                    self.send_run(now);
                    let path = PathBytes::new(self.source.client_id, destination);
                    match &mut self.run_path {
                        Some(run_path) => **run_path = path,
                        none => *none = Some(Box::new(path)),
                    }
                }
            }
            Route::Control => {
                self.gather(walk);
                self.has_control = true;
                if !self.source.control.queue.push_frame(walk.take()) {
                    self.tally.dropped(DropReason::ControlQueueFull, 1);
                }
            }
            Route::Drop(reason) => {
                self.gather(walk);
                drop(walk.take());
                self.tally.dropped(reason, 1);
                if reason == DropReason::Spoofed {
                    return self.count_spoofed();
                }
            }
        }
        Ok(())
    }

    /// Adds the frames that the walk has kept to the run: at its end, and before a message is taken out of it. They may
    /// wait for their neighbours of the next walk until [`Road::finish`].
    #[inline]
    pub fn gather(&mut self, walk: &mut Walk) {
        self.run.extend(walk.cut());
    }

    /// Sends the frames that still wait, and reports what was counted; says how many bytes that was. After every read.
    #[inline]
    pub fn finish(&mut self, now: Timestamp, metrics: &RelayMetrics) -> u64 {
        self.send_run(now);
        self.tally.report(metrics)
    }

    /// Whether there was a frame for the control id since the last call: its conversation must be served.
    #[inline]
    pub fn take_control(&mut self) -> bool {
        std::mem::take(&mut self.has_control)
    }

    /// Forgets idle flows and gives back the memory of a past burst. Now and then.
    pub fn tidy(&mut self, now: Timestamp) {
        self.flows.expire(now);
        self.run = Vec::new();
        self.run_path = None;
    }

    #[inline]
    fn run_destination(&self) -> Option<ClientId> {
        self.run_path.as_deref().and_then(PathBytes::destination)
    }

    #[inline]
    fn send_run(&mut self, now: Timestamp) {
        let Some(destination) = self.run_destination().filter(|_| !self.run.is_empty()) else { return };
        let (delivered, refusal) = self.flows.forward(destination, &mut self.run, now);
        self.tally.relayed(delivered);
        if let Some(reason) = refusal {
            self.tally.dropped(reason, self.run.iter().map(Frames::count).sum());
            self.run.clear();
        }
    }

    fn count_spoofed(&mut self) -> Result<(), EndReason> {
        if self.spoofed_since.elapsed() > ABUSE_WINDOW {
            self.spoofed = 0;
            self.spoofed_since = Instant::now();
        }
        self.spoofed += 1;
        if self.spoofed > ABUSE_FRAMES { Err(EndReason::Abuse) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::{Context, Waker};

    use bytes::{Bytes, BytesMut};
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{InstanceId, NetworkId};
    use crate::relay::outbox::{Bounds, Outbox};
    use crate::relay::ports::Identity;
    use crate::relay::registry::Registry;
    use crate::relay::testing::{frame, id};
    use crate::wire::framer;

    const NOW: Timestamp = Timestamp::from_secs(1000);
    const ME: u8 = 1;

    /// What a client may send: to others, to the control id, and what goes nowhere.
    #[derive(Clone, Copy, Debug)]
    enum Sent {
        To(u8),
        ToUnusual(u8),
        Control,
        Spoofed,
        Damaged(u8),
    }

    fn sent() -> impl Strategy<Value = Sent> {
        prop_oneof![
            8 => (2..4u8).prop_map(Sent::To),
            1 => (2..4u8).prop_map(Sent::ToUnusual),
            1 => Just(Sent::Control),
            1 => Just(Sent::Spoofed),
            1 => (2..4u8).prop_map(Sent::Damaged),
        ]
    }

    fn encode(sent: Sent, number: u8) -> Bytes {
        let payload = vec![number; usize::from(number % 9)];
        match sent {
            Sent::To(client) => frame(ME, client, &payload),
            // The ids in the other order.
            Sent::ToUnusual(client) => {
                let mut bytes = frame(ME, client, &payload).to_vec();
                bytes[2..38].rotate_left(18);
                bytes.into()
            }
            Sent::Control => frame(ME, 0, &payload),
            Sent::Spoofed => frame(9, 2, &payload),
            // It ends within a field.
            Sent::Damaged(client) => {
                let mut bytes = frame(ME, client, &payload).to_vec();
                bytes.push(0x32);
                bytes.into()
            }
        }
    }

    proptest! {
        #[test]
        fn frames_arrive_in_order_however_they_were_read(
            sent in prop::collection::vec(sent(), 1..60),
            reads in prop::collection::vec(1..12usize, 60),
        ) {
            let registry = Arc::new(Registry::default());
            let join = |client: u8| {
                let outbox = Arc::new(Outbox::new(Bounds { frames: 100, bytes: 1 << 20 }));
                let identity = Identity { client_id: id(client), network_id: NetworkId::default() };
                (registry.join(identity, InstanceId::default(), &outbox, 16).resident, outbox)
            };
            let (source, _mine) = join(ME);
            let receivers = [join(2).1, join(3).1];
            let flows = Flows::new(Arc::clone(&source), Arc::clone(&registry), None, 10);
            let mut road = Road::new(Arc::clone(&source), flows);
            let metrics = crate::relay::metrics(&mut prometheus_client::registry::Registry::default());

            let messages: Vec<Bytes> = sent.iter().zip(0..).map(|(sent, number)| encode(*sent, number)).collect();
            let (mut rest, mut reads) = (&messages[..], reads.into_iter());
            while !rest.is_empty() {
                let (read, behind) = rest.split_at(reads.next().unwrap().min(rest.len()));
                rest = behind;
                let mut packed = BytesMut::new();
                read.iter().for_each(|message| framer::encode(message, &mut packed));
                let bytes = read.iter().map(Bytes::len).sum::<usize>();
                let mut walk = Walk::new(Frames::packed(packed.freeze(), read.len() as u32, bytes as u32));
                while walk.step() {
                    road.take(&mut walk, NOW).unwrap();
                }
                road.gather(&mut walk);
                prop_assert_eq!(road.finish(NOW, &metrics), bytes as u64);
            }

            for (receiver, outbox) in (2..).zip(&receivers) {
                let expected: Vec<&[u8]> = sent
                    .iter()
                    .zip(&messages)
                    .filter(|(sent, _)| matches!(sent, Sent::To(to) | Sent::ToUnusual(to) if *to == receiver))
                    .map(|(_, message)| &message[..])
                    .collect();
                let mut batch = VecDeque::new();
                let _ = outbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
                let got: Vec<&[u8]> = batch.iter().flat_map(Frames::iter).collect();
                prop_assert_eq!(got, expected);
            }
            let count = |which: fn(&Sent) -> bool| sent.iter().filter(|sent| which(sent)).count() as u64;
            let relayed = count(|sent| matches!(sent, Sent::To(_) | Sent::ToUnusual(_)));
            prop_assert_eq!(metrics.frames_relayed.get(), relayed);
            let dropped = |reason: DropReason| metrics.frames_dropped[reason.index()].get();
            prop_assert_eq!(dropped(DropReason::Spoofed), count(|sent| matches!(sent, Sent::Spoofed)));
            prop_assert_eq!(dropped(DropReason::Malformed), count(|sent| matches!(sent, Sent::Damaged(_))));
            let mut control = 0;
            while let Some(work) = source.control.queue.begin() {
                control += work.frames.len() as u64;
                assert!(!source.control.queue.leave());
            }
            prop_assert_eq!(control, count(|sent| matches!(sent, Sent::Control)));
        }
    }
}
