//! How fast real traffic is on one transport in one direction, a few operations for each read or write.

use std::time::Duration;

use tokio::time::Instant;

/// Time over which bytes are added up.
const WINDOW: Duration = Duration::from_secs(5);

/// Bytes in a window below which it says nothing.
const MIN_BYTES: u64 = 512 * 1024;

/// Adds bytes up.
#[derive(Debug)]
pub struct Meter {
    began: Instant,
    bytes: u64,
}

impl Meter {
    /// Nothing was carried yet.
    pub fn new(now: Instant) -> Self {
        Self { began: now, bytes: 0 }
    }

    /// Adds bytes. When that ends a window with enough of them, says how many there were in a second.
    #[inline]
    pub fn add(&mut self, bytes: u64, now: Instant) -> Option<u64> {
        if now.duration_since(self.began) < WINDOW {
            self.bytes += bytes;
            return None;
        }
        self.began = now;
        let before = std::mem::replace(&mut self.bytes, bytes);
        (before >= MIN_BYTES).then(|| before / WINDOW.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_with_enough_bytes_shows_a_speed() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut meter = Meter::new(start);
        assert_eq!(meter.add(MIN_BYTES - 1, at(10)), None);
        assert_eq!(meter.add(7, at(5000)), None, "one byte too few");
        assert_eq!(meter.add(10 << 20, at(6000)), None);
        assert_eq!(meter.add(1, at(10_000)), Some(((10 << 20) + 7) / 5));
        assert_eq!(meter.add(1, at(90_000)), None);
    }
}
