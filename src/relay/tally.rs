//! Counts of one read, reported to the shared counters at its end: a busy connection touches them once per read
//! instead of once per frame.

use super::deliver::Delivered;
use super::drop_reason::DropReason;
use crate::telemetry::relay_metrics::RelayMetrics;

/// What happened since the last report.
#[derive(Debug, Default)]
pub struct Tally {
    received_frames: u64,
    received_bytes: u64,
    relayed: Delivered,
    /// In memory of its own, which a client whose frames all arrive does not have.
    dropped: Option<Box<[u32; DropReason::ALL.len()]>>,
}

impl Tally {
    /// Counts a frame read.
    #[inline]
    pub fn received(&mut self, bytes: usize) {
        self.received_frames += 1;
        self.received_bytes += bytes as u64;
    }

    /// Counts frames that reached an outbox.
    #[inline]
    pub fn relayed(&mut self, delivered: Delivered) {
        self.relayed.frames += delivered.frames;
        self.relayed.bytes += delivered.bytes;
    }

    /// Counts frames that went nowhere.
    #[inline]
    pub fn dropped(&mut self, reason: DropReason, frames: usize) {
        let dropped = self.dropped.get_or_insert_default();
        if let Some(count) = dropped.get_mut(reason.index()) {
            *count += frames as u32;
        }
    }

    /// Adds everything to the shared counters and begins anew. Says how many bytes were read.
    pub fn report(&mut self, metrics: &RelayMetrics) -> u64 {
        if self.received_frames == 0 {
            return 0;
        }
        let received_bytes = std::mem::take(&mut self.received_bytes);
        metrics.frames_received.inc_by(std::mem::take(&mut self.received_frames));
        metrics.bytes_received.inc_by(received_bytes);
        let relayed = std::mem::take(&mut self.relayed);
        if relayed.frames > 0 {
            metrics.frames_relayed.inc_by(relayed.frames as u64);
            metrics.bytes_relayed.inc_by(relayed.bytes as u64);
        }
        if let Some(dropped) = &mut self.dropped {
            for (count, counter) in dropped.iter_mut().zip(&metrics.frames_dropped) {
                if *count > 0 {
                    counter.inc_by(u64::from(std::mem::take(count)));
                }
            }
        }
        received_bytes
    }
}
