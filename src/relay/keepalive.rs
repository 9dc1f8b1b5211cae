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

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
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

    /// Waits for something that may take `limit` at most; none when it takes longer. The silence goes on meanwhile, but
    /// nobody looks at it. The timer is moved only when there is something to wait for.
    pub async fn within<T>(&mut self, limit: Duration, mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut is_moved = false;
        let result = poll_fn(|context| {
            if let Poll::Ready(result) = future.as_mut().poll(context) {
                return Poll::Ready(Some(result));
            }
            if !is_moved {
                is_moved = true;
                self.sleep.as_mut().reset(Instant::now() + limit);
            }
            self.sleep.as_mut().poll(context).map(|()| None)
        })
        .await;
        if is_moved {
            self.sleep.as_mut().reset(self.last + self.limit);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_given_up_and_the_silence_ends_when_it_would_have() {
        let started = Instant::now();
        let mut timer = IdleTimer::new(Duration::from_secs(5));
        let slow = |secs| Box::pin(tokio::time::sleep(Duration::from_secs(secs)));
        assert_eq!(timer.within(Duration::from_secs(2), slow(3).as_mut()).await, None);
        assert_eq!(started.elapsed().as_secs(), 2);
        assert_eq!(timer.within(Duration::from_secs(2), slow(1).as_mut()).await, Some(()));
        assert_eq!(timer.within(Duration::ZERO, std::pin::pin!(async { 7 })).await, Some(7));
        assert!(timer.tick().await);
        assert_eq!(started.elapsed().as_secs(), 5);
    }

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
