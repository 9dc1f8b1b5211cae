//! Turns for newcomers: their handshakes and checks are all computing, so only as many are at it as there are cores.
//!
//! Without turns a storm of connects makes thousands of tasks ready at once, and whoever is connected already waits behind
//! all of them. With them it waits behind a few.

use std::thread;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;

/// Hands out turns, to whoever has waited longest.
#[derive(Debug)]
pub struct Turns(Semaphore);

/// A turn, which ends when it is dropped. Nobody should wait for a client meanwhile.
#[derive(Debug)]
pub struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
}

impl Default for Turns {
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, usize::from))
    }
}

impl Turns {
    /// So many turns at once.
    pub const fn new(at_once: usize) -> Self {
        Self(Semaphore::const_new(at_once))
    }

    /// Waits for a turn, and until whoever is ready already has gone first: who computes without a pause would otherwise
    /// give its turn back before the next asks for one, and all that are ready at once would have theirs in a row.
    pub async fn take(&self) -> Turn<'_> {
        let permit = self.0.acquire().await.expect("the semaphore is never closed");
        yield_now().await;
        Turn { _permit: permit }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// On one thread whoever is ready runs in the order of becoming so.
    #[tokio::test]
    async fn somebody_ready_waits_behind_as_many_newcomers_as_there_are_turns() {
        const NEWCOMERS: usize = 1000;
        let (turns, done) = (Arc::new(Turns::new(2)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..NEWCOMERS {
            let (turns, done) = (Arc::clone(&turns), Arc::clone(&done));
            tokio::spawn(async move {
                // Nothing waits in the turn.
                let _turn = turns.take().await;
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        // All ask for their turn.
        yield_now().await;
        assert_eq!(done.load(Ordering::Relaxed), 0);
        while done.load(Ordering::Relaxed) < NEWCOMERS {
            let before = done.load(Ordering::Relaxed);
            yield_now().await;
            assert!(done.load(Ordering::Relaxed) - before <= 2);
        }
    }
}
