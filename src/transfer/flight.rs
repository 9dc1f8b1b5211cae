//! How many packs may be unacked at once: grows while acks come, halves when packs are lost.

use super::settings::FlightLimits;

/// The current limit. With `initial` equal to `maximum` and `minimum` it is fixed.
#[derive(Debug)]
pub(crate) struct Flight {
    limits: FlightLimits,
    packs: usize,
    /// Below it every acked window adds a quarter, above it a pack.
    slow_start_end: usize,
    /// Packs acked since the limit last grew.
    acked: usize,
}

impl Flight {
    pub(crate) fn new(limits: FlightLimits) -> Self {
        Self { limits, packs: limits.initial_packs, slow_start_end: limits.maximum_packs, acked: 0 }
    }

    /// Whether a pack of `pack_bytes` may join what is in flight. One pack always may.
    pub(crate) fn admits(&self, packs: usize, bytes: usize, pack_bytes: usize) -> bool {
        packs == 0 || (packs < self.packs && bytes + pack_bytes <= self.limits.maximum_bytes)
    }

    /// Packs were acked in order.
    pub(crate) fn on_acked(&mut self, packs: usize) {
        self.acked += packs;
        let step = if self.packs < self.slow_start_end { 4 } else { self.packs };
        self.packs = (self.packs + self.acked / step).min(self.limits.maximum_packs);
        self.acked %= step;
    }

    /// Packs were lost. Counts once per loss event: the caller says when.
    pub(crate) fn on_lost(&mut self) {
        self.packs = (self.packs / 2).max(self.limits.minimum_packs);
        self.slow_start_end = self.packs;
        self.acked = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FlightLimits =
        FlightLimits { initial_packs: 8, minimum_packs: 4, maximum_packs: 64, maximum_bytes: 10_000 };

    #[test]
    fn grows_by_a_quarter_until_a_loss_and_by_one_a_window_after_it() {
        let mut flight = Flight::new(LIMITS);
        flight.on_acked(8);
        assert_eq!(flight.packs, 10);
        flight.on_lost();
        assert_eq!(flight.packs, 5);
        flight.on_acked(5);
        assert_eq!(flight.packs, 6);
        flight.on_lost();
        flight.on_lost();
        assert_eq!(flight.packs, 4);
        flight.on_acked(100_000);
        assert_eq!(flight.packs, 64);
    }

    #[test]
    fn one_pack_always_fits_and_bytes_are_bounded_too() {
        let flight = Flight::new(LIMITS);
        assert!(flight.admits(0, 0, 1_000_000));
        assert!(flight.admits(7, 9_000, 1_000));
        assert!(!flight.admits(7, 9_000, 1_001));
        assert!(!flight.admits(8, 0, 1));
    }
}
