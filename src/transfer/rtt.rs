//! Round trip times measured from the send times that acks echo.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// Samples that count, at most (`connect/transfer_rtt.go`).
const MAX_SAMPLES: usize = 128;
/// Age after which a sample no longer counts.
const SAMPLE_AGE: Duration = Duration::from_secs(60);

/// The recent samples and their running sum.
#[derive(Debug, Default)]
pub(crate) struct RttWindow {
    samples: VecDeque<(Timestamp, u64)>,
    sum_millis: u64,
}

impl RttWindow {
    /// Takes the echo of a send time, both on the sender's own clock. An echo from the future is no measurement, and
    /// neither is one older than a sample may become.
    pub(crate) fn echo(&mut self, now: Timestamp, wall: Timestamp, sent_millis: u64) {
        let Some(millis) = wall.as_millis().checked_sub(sent_millis) else { return };
        if millis > SAMPLE_AGE.as_millis() as u64 {
            return;
        }
        if self.samples.len() == MAX_SAMPLES {
            self.drop_oldest();
        }
        self.samples.push_back((now, millis));
        self.sum_millis += millis;
    }

    /// The mean of the samples that still count.
    pub(crate) fn mean(&mut self, now: Timestamp) -> Option<Duration> {
        while self.samples.front().is_some_and(|(at, _)| now.since(*at) > SAMPLE_AGE) {
            self.drop_oldest();
        }
        self.sum_millis.checked_div(self.samples.len() as u64).map(Duration::from_millis)
    }

    fn drop_oldest(&mut self) {
        if let Some((_, millis)) = self.samples.pop_front() {
            self.sum_millis -= millis;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_covers_the_last_samples_of_a_minute() {
        let mut rtt = RttWindow::default();
        let at = Timestamp::from_secs(1000);
        assert_eq!(rtt.mean(at), None);
        rtt.echo(at, at, at.as_millis() - 100);
        rtt.echo(at + Duration::from_secs(30), at, at.as_millis() - 300);
        assert_eq!(rtt.mean(at), Some(Duration::from_millis(200)));
        assert_eq!(rtt.mean(at + Duration::from_secs(61)), Some(Duration::from_millis(300)));
        assert_eq!(rtt.mean(at + Duration::from_secs(100)), None);
        for _ in 0..1000 {
            rtt.echo(at, at, at.as_millis() - 50);
        }
        assert_eq!(rtt.mean(at), Some(Duration::from_millis(50)));
        assert!(rtt.samples.len() <= MAX_SAMPLES);
    }

    #[test]
    fn an_echo_from_the_future_or_from_long_ago_is_no_sample() {
        let mut rtt = RttWindow::default();
        let at = Timestamp::from_secs(1000);
        rtt.echo(at, at, at.as_millis() + 1);
        rtt.echo(at, at, 0);
        rtt.echo(at, at, u64::MAX);
        assert_eq!(rtt.mean(at), None);
    }
}
