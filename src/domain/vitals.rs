//! What a transport shows of its client's health: when it last spoke, how fast and how far it is.
//!
//! The relay writes, at most once a second and once a measurement; discovery reads. Nothing here waits or is looked up on
//! the way of a frame: a transport holds its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::time::Timestamp;

/// Measurements that a running mean remembers.
const MEAN_SAMPLES: u32 = 4;

/// The health of one transport.
#[derive(Debug, Default)]
pub struct Vitals {
    last_message: AtomicU64,
    is_provider: AtomicBool,
    /// The most bytes per second that were certainly reached.
    reached: AtomicU64,
    measured: Mutex<Measured>,
}

#[derive(Debug, Default)]
struct Measured {
    latency_ms: Mean,
    speed: Mean,
}

/// A mean in which the newest of the last few values counts as much as each before it.
#[derive(Debug, Default)]
struct Mean {
    value: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.count = (self.count + 1).min(MEAN_SAMPLES);
        self.value += (value - self.value) / f64::from(self.count);
    }

    fn get(&self) -> Option<f64> {
        (self.count > 0).then_some(self.value)
    }
}

impl Vitals {
    /// Notes that the client has sent something.
    #[inline]
    pub fn heard(&self, now: Timestamp) {
        self.last_message.store(now.as_millis(), Ordering::Relaxed);
    }

    /// When the client last sent anything, keepalives included; up to a second too early, for the relay does not note
    /// each read.
    pub fn last_message(&self) -> Timestamp {
        Timestamp::from_millis(self.last_message.load(Ordering::Relaxed))
    }

    /// Says whether the client provides to everyone, so that its transport is worth measuring.
    pub fn set_provider(&self, is_provider: bool) {
        self.is_provider.store(is_provider, Ordering::Relaxed);
    }

    /// Whether the client provides to everyone.
    pub fn is_provider(&self) -> bool {
        self.is_provider.load(Ordering::Relaxed)
    }

    /// Notes how many bytes per second real traffic, or a measurement that could not show more, reached; the most counts.
    pub fn reached(&self, bytes_per_second: u64) {
        self.reached.fetch_max(bytes_per_second, Ordering::Relaxed);
    }

    /// Adds a measurement of the time to the client and back.
    pub fn measured_latency(&self, latency: Duration) {
        self.measured.lock().latency_ms.add(latency.as_secs_f64() * 1000.0);
    }

    /// Adds a measurement of the speed.
    pub fn measured_speed(&self, bytes_per_second: f64) {
        self.measured.lock().speed.add(bytes_per_second);
    }

    /// The mean time to the client and back.
    pub fn latency(&self) -> Option<Duration> {
        self.measured.lock().latency_ms.get().map(|ms| Duration::from_secs_f64(ms / 1000.0))
    }

    /// The mean of the speeds that were measured, in bytes per second.
    pub fn speed(&self) -> Option<f64> {
        self.measured.lock().speed.get()
    }

    /// The most bytes per second that were reached; 0 when it never was enough to tell.
    pub fn most_reached(&self) -> f64 {
        self.reached.load(Ordering::Relaxed) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_follow_the_last_few_measurements() {
        let vitals = Vitals::default();
        assert_eq!((vitals.latency(), vitals.speed(), vitals.most_reached()), (None, None, 0.0));
        vitals.measured_latency(Duration::from_millis(100));
        vitals.measured_latency(Duration::from_millis(50));
        assert_eq!(vitals.latency(), Some(Duration::from_millis(75)));
        for _ in 0..30 {
            vitals.measured_speed(1000.0);
        }
        vitals.measured_speed(2000.0);
        assert_eq!(vitals.speed(), Some(1250.0));
        vitals.reached(5);
        vitals.reached(3);
        assert_eq!(vitals.most_reached(), 5.0);
    }
}
