//! A time that never steps back, whatever the caller's clock does.

use crate::time::Timestamp;

/// Follows the caller's clock forward and stands still while it steps back, so that no timer is pushed out of reach by
/// a corrected clock.
#[derive(Debug, Default)]
pub(crate) struct SteadyTime {
    caller: Timestamp,
    steady: Timestamp,
}

impl SteadyTime {
    /// The steady time at the caller's `now`.
    pub(crate) fn at(&mut self, now: Timestamp) -> Timestamp {
        if self.steady == Timestamp::ZERO {
            self.steady = now;
        } else {
            self.steady = self.steady + now.since(self.caller);
        }
        self.caller = now;
        self.steady
    }

    /// A steady instant on the caller's clock.
    pub(crate) fn to_caller(&self, steady: Timestamp) -> Timestamp {
        self.caller + steady.since(self.steady)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_steps_back_does_not_push_timers_away() {
        let mut time = SteadyTime::default();
        let start = time.at(Timestamp::from_secs(1000));
        let due = start + Duration::from_secs(2);
        assert_eq!(time.at(Timestamp::from_secs(10)), start);
        assert_eq!(time.to_caller(due), Timestamp::from_secs(12));
        assert_eq!(time.at(Timestamp::from_secs(12)), due);
        assert_eq!(time.to_caller(due), Timestamp::from_secs(12));
    }
}
