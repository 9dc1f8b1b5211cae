//! When a silent transport gets a keepalive, and when it is given up.
//!
//! | silence of | for               | then                                   |
//! |------------|-------------------|----------------------------------------|
//! | the server | `relay.keepalive` | write an empty message                 |
//! | the client | `relay.read_timeout` | close; pings and pongs do not count |
//!
//! Clients give a transport up after 30 s without a message, those before 2025 after 15 s, and WebSocket pings do not
//! count there either (`connect/transport.go`). An [`IdleTimer`] is armed once and re-armed only when it fires, and
//! while there is traffic its task does not look at it, so traffic costs it one store.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

/// Fires once nothing has been heard for its limit.
#[derive(Debug)]
pub struct IdleTimer {
    limit: Duration,
    last: Instant,
    sleep: Pin<Box<Sleep>>,
    /// When it wakes the task, if it does.
    armed_for: Option<Instant>,
    /// Touched since the last look.
    is_touched: bool,
}

impl IdleTimer {
    /// A timer whose silence begins now.
    pub fn new(limit: Duration) -> Self {
        let last = Instant::now();
        let sleep = Box::pin(sleep_until(last + limit));
        Self { limit, last, sleep, armed_for: None, is_touched: false }
    }

    /// Silence begins anew; says when that is.
    #[inline]
    pub fn touch(&mut self) -> Instant {
        self.is_touched = true;
        self.last = Instant::now();
        self.last
    }

    /// Whether the task may wait without a look at the timer, which stands in memory of its own: there was traffic before
    /// the timer could fire, and it wakes the task when it does. Once for each touch, since the next run of the task may
    /// be the timer's.
    #[inline]
    pub fn may_wait(&mut self) -> bool {
        std::mem::take(&mut self.is_touched) && self.armed_for.is_some_and(|at| self.last < at)
    }

    /// Ready when the timer is due for a look; true when the silence has reached the limit, which also begins a new one.
    /// False: traffic has moved the end, wait again.
    pub fn poll_tick(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let fired = self.sleep.as_mut().poll(context);
        // Without a budget the poll has looked at nothing.
        self.armed_for = (fired.is_pending() && has_budget_remaining()).then(|| self.sleep.deadline());
        ready!(fired);
        let now = Instant::now();
        let is_silent = now >= self.last + self.limit;
        if is_silent {
            self.last = now;
        }
        self.reset(self.last + self.limit);
        Poll::Ready(is_silent)
    }

    /// Waits for [`IdleTimer::poll_tick`], without a look while there is traffic. May be dropped at any time.
    pub async fn tick(&mut self) -> bool {
        poll_fn(|context| if self.may_wait() { Poll::Pending } else { self.poll_tick(context) }).await
    }

    fn reset(&mut self, at: Instant) {
        self.armed_for = None;
        self.sleep.as_mut().reset(at);
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
                self.reset(Instant::now() + limit);
            }
            self.sleep.as_mut().poll(context).map(|()| None)
        })
        .await;
        if is_moved {
            self.reset(self.last + self.limit);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

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

    /// A look as a task takes it that has looked at everything else.
    fn look(timer: &mut IdleTimer) -> Poll<bool> {
        timer.poll_tick(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_waits_without_a_look_after_traffic_only() {
        let mut timer = IdleTimer::new(Duration::from_secs(5));
        timer.touch();
        assert!(!timer.may_wait(), "the timer wakes nobody yet");
        assert_eq!(look(&mut timer), Poll::Pending);
        assert!(!timer.may_wait(), "no traffic");
        timer.touch();
        assert!(timer.may_wait() && !timer.may_wait(), "once for each");
        tokio::time::advance(Duration::from_secs(4)).await;
        timer.touch();
        assert!(timer.may_wait());
        tokio::time::advance(Duration::from_secs(1)).await;
        timer.touch();
        assert!(!timer.may_wait(), "it fires now, and its task runs perhaps for that");
        assert_eq!(look(&mut timer), Poll::Ready(false));
        timer.touch();
        assert!(!timer.may_wait(), "it was set anew");
        assert_eq!(look(&mut timer), Poll::Pending);
        timer.within(Duration::from_secs(1), Box::pin(std::future::pending::<()>()).as_mut()).await;
        timer.touch();
        assert!(!timer.may_wait(), "it was lent");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_without_a_budget_is_none() {
        let mut timer = IdleTimer::new(Duration::from_secs(5));
        poll_fn(|context| {
            while has_budget_remaining() {
                let _ = std::pin::pin!(tokio::task::coop::consume_budget()).poll(context);
            }
            assert_eq!(timer.poll_tick(context), Poll::Pending);
            Poll::Ready(())
        })
        .await;
        timer.touch();
        assert!(!timer.may_wait());
    }

    #[tokio::test(start_paused = true)]
    async fn the_timer_wakes_a_task_that_has_not_looked_since_there_was_traffic() {
        let (started, mut timer) = (Instant::now(), IdleTimer::new(Duration::from_secs(5)));
        let (traffic, mut arriving) = tokio::sync::mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut ticks = Vec::new();
            while ticks.last() != Some(&(true, 8)) {
                tokio::select! {
                    biased;
                    Some(()) = arriving.recv() => drop(timer.touch()),
                    is_silent = timer.tick() => ticks.push((is_silent, started.elapsed().as_secs())),
                }
            }
            ticks
        });
        tokio::time::sleep(Duration::from_secs(3)).await;
        traffic.send(()).unwrap();
        assert_eq!(task.await.unwrap(), [(false, 5), (true, 8)]);
    }
}
