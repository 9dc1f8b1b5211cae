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
use crate::wire::path::peek_path;

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
    run_destination: ClientId,
    tally: Tally,
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
            run_destination: ClientId::CONTROL,
            tally: Tally::default(),
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
        let way = match peek_path(frame) {
            Ok(path) => route(&path, self.source.client_id),
            Err(error) => Route::Drop(error.into()),
        };
        match way {
            Route::Client(destination) => {
                if destination != self.run_destination {
                    self.gather(walk);
                    self.send_run(now);
                    self.run_destination = destination;
                }
            }
            Route::Control => {
                self.gather(walk);
                if !self.source.control.push_frame(walk.take()) {
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

    /// Forgets idle flows and gives back the memory of a past burst. Now and then.
    pub fn tidy(&mut self, now: Timestamp) {
        self.flows.expire(now);
        self.run = Vec::new();
    }

    #[inline]
    fn send_run(&mut self, now: Timestamp) {
        if self.run.is_empty() {
            return;
        }
        let (delivered, refusal) = self.flows.forward(self.run_destination, &mut self.run, now);
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
