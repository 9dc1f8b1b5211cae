//! When a silent transport gets a keepalive, and when it is given up.
//!
//! | silence of | for               | then                                   |
//! |------------|-------------------|----------------------------------------|
//! | the server | `relay.keepalive` | write an empty message                 |
//! | the client | `relay.read_timeout` | close; pings and pongs do not count |
//!
//! Clients give a transport up after 30 s without a message, those before 2025 after 15 s, and WebSocket pings do not
//! count there either (`connect/transport.go`). An [`IdleTimer`] is armed once and re-armed only when it fires, so
//! traffic costs it one store.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Fires once nothing has been heard for its limit.
#[derive(Debug)]
pub struct IdleTimer {
    limit: Duration,
    last: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl IdleTimer {
    /// A timer whose silence begins now.
    pub fn new(limit: Duration) -> Self {
        let last = Instant::now();
        Self { limit, last, sleep: Box::pin(sleep_until(last + limit)) }
    }

    /// Silence begins anew; says when that is.
    #[inline]
    pub fn touch(&mut self) -> Instant {
        self.last = Instant::now();
        self.last
    }

    /// Waits until the timer is due for a look; true when the silence has reached the limit, which also begins a new
    /// one. False: traffic has moved the end, wait again. May be dropped at any time.
    pub async fn tick(&mut self) -> bool {
        self.sleep.as_mut().await;
        let now = Instant::now();
        let is_silent = now >= self.last + self.limit;
        if is_silent {
            self.last = now;
        }
        self.sleep.as_mut().reset(self.last + self.limit);
        is_silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn traffic_moves_the_end_of_the_silence() {
        let started = Instant::now();
        let mut timer = IdleTimer::new(Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(3)).await;
        timer.touch();
        assert!(!timer.tick().await);
        assert!(timer.tick().await);
        assert_eq!(started.elapsed().as_secs(), 8);
        assert!(timer.tick().await, "silence that goes on is reported again");
        assert_eq!(started.elapsed().as_secs(), 13);
    }
}
