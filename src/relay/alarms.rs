//! When control conversations are due: one queue in the order of time for all of them, and one task that waits for its
//! front. A client that nothing is due for has nothing here.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::resident::Resident;

/// An alarm that is set anew for less than so much earlier stays: timers are no more exact than that.
const SLACK: Duration = Duration::from_millis(1);

/// Conversations rung before others on the thread have a turn.
const TURN: usize = 64;

/// The queue.
#[derive(Debug, Default)]
pub struct Alarms {
    /// By time, and by the resident's place in memory, which it keeps as long as it stands here.
    due: Mutex<BTreeMap<(Instant, usize), Weak<Resident>>>,
    has_earlier: Notify,
}

impl Alarms {
    /// Rings what is due when it is, until `stopping`.
    pub async fn run(&self, stopping: &CancellationToken, ring: impl Fn(Arc<Resident>)) {
        let mut stopped = std::pin::pin!(stopping.cancelled());
        loop {
            let first = self.due.lock().keys().next().map(|(at, _)| *at);
            let is_due = async {
                match first {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut stopped => return,
                () = self.has_earlier.notified() => continue,
                () = is_due => {}
            }
            let now = Instant::now();
            while let turn = self.take_due(now)
                && !turn.is_empty()
            {
                turn.iter().filter_map(Weak::upgrade).for_each(&ring);
                yield_now().await;
            }
        }
    }

    /// The next few that are due.
    fn take_due(&self, now: Instant) -> Vec<Weak<Resident>> {
        let mut due = self.due.lock();
        let mut turn = Vec::new();
        while turn.len() < TURN
            && let Some(first) = due.first_entry()
            && first.key().0 <= now
        {
            turn.push(first.remove());
        }
        turn
    }

    fn insert(&self, at: Instant, resident: &Weak<Resident>) {
        let key = (at, resident.as_ptr() as usize);
        let mut due = self.due.lock();
        let is_first = due.keys().next().is_none_or(|first| key < *first);
        due.insert(key, Weak::clone(resident));
        drop(due);
        if is_first {
            self.has_earlier.notify_one();
        }
    }

    fn remove(&self, at: Instant, resident: &Weak<Resident>) {
        self.due.lock().remove(&(at, resident.as_ptr() as usize));
    }
}

/// What one conversation has in the queue; its drop takes it out. It has two places, so that what is due soon, often to
/// be sent again, comes and goes while what is due late, often an end, stays where it is.
#[derive(Debug)]
pub struct Alarm {
    alarms: Arc<Alarms>,
    resident: Weak<Resident>,
    /// Earlier than `late`.
    soon: Option<Instant>,
    late: Option<Instant>,
}

impl Alarm {
    /// An alarm that is not set.
    pub fn new(alarms: &Arc<Alarms>, resident: &Arc<Resident>) -> Self {
        Self { alarms: Arc::clone(alarms), resident: Arc::downgrade(resident), soon: None, late: None }
    }

    /// Has it ring at this time at the latest. What was due late before may also ring; what was due sooner does not, for
    /// a client is looked at for less while it is in the cache than when an alarm rings for nothing.
    pub fn set(&mut self, at: Instant, now: Instant) {
        for place in [&mut self.soon, &mut self.late] {
            place.take_if(|at| *at <= now);
        }
        if let Some(soon) = self.soon.take_if(|soon| *soon + SLACK < at) {
            self.alarms.remove(soon, &self.resident);
        }
        if self.soon.or(self.late).is_some_and(|first| first <= at + SLACK) {
            return;
        }
        let place = if self.late.is_none() { &mut self.late } else { &mut self.soon };
        if let Some(moved) = place.replace(at) {
            self.alarms.remove(moved, &self.resident);
        }
        self.alarms.insert(at, &self.resident);
    }

    /// Nothing is due.
    pub fn clear(&mut self) {
        for at in [self.soon.take(), self.late.take()].into_iter().flatten() {
            self.alarms.remove(at, &self.resident);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{InstanceId, NetworkId};
    use crate::relay::testing::id;

    /// Alarms of clients, and when each has rung, in milliseconds.
    struct Script {
        began: Instant,
        alarms: Arc<Alarms>,
        residents: Vec<Arc<Resident>>,
        set: Vec<Option<Alarm>>,
        rung: Arc<Mutex<Vec<(u8, u64)>>>,
        stopping: CancellationToken,
    }

    impl Script {
        fn new(clients: u8) -> Self {
            let (began, alarms) = (Instant::now(), Arc::<Alarms>::default());
            let rung = Arc::<Mutex<Vec<_>>>::default();
            let stopping = CancellationToken::new();
            let (run, noted, stop) = (Arc::clone(&alarms), Arc::clone(&rung), stopping.clone());
            tokio::spawn(async move {
                let ring = |resident: Arc<Resident>| {
                    let at = began.elapsed().as_millis() as u64;
                    noted.lock().push((resident.client_id.as_bytes()[0], at));
                };
                run.run(&stop, ring).await;
            });
            let new = |client| Arc::new(Resident::new(id(client), NetworkId::default(), InstanceId::default()));
            let residents: Vec<_> = (0..clients).map(new).collect();
            let set = residents.iter().map(|resident| Some(Alarm::new(&alarms, resident))).collect();
            Self { began, alarms, residents, set, rung, stopping }
        }

        fn set(&mut self, client: u8, millis: u64) {
            let at = self.began + Duration::from_millis(millis);
            self.set[usize::from(client)].as_mut().unwrap().set(at, Instant::now());
        }

        /// What rings until then.
        async fn rung_until(&self, millis: u64) -> Vec<(u8, u64)> {
            sleep_until(self.began + Duration::from_millis(millis)).await;
            std::mem::take(&mut self.rung.lock())
        }

        fn waiting(&self) -> usize {
            self.alarms.due.lock().len()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_rings_when_it_is_due_also_one_that_is_set_before_all_others() {
        let mut script = Script::new(3);
        script.set(0, 100);
        script.set(1, 50);
        assert_eq!(script.rung_until(20).await, []);
        script.set(2, 30);
        assert_eq!(script.rung_until(1000).await, [(2, 30), (1, 50), (0, 100)]);
        assert_eq!(script.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_soon_comes_and_goes_beside_what_is_due_late() {
        let mut script = Script::new(1);
        script.set(0, 120_000);
        for round in 1..=5 {
            script.set(0, round * 1000 + 10);
            assert_eq!(script.waiting(), 2);
            assert_eq!(script.rung_until(round * 1000 + 100).await, [(0, round * 1000 + 10)]);
            script.set(0, round * 1000 + 200);
            script.set(0, round * 1000 + 120_000);
            assert_eq!(script.waiting(), 1, "nothing is due soon any more, and what is due late may stay");
            assert_eq!(script.rung_until(round * 1000 + 900).await, []);
        }
        script.set(0, 8000);
        script.set(0, 7000);
        assert_eq!(script.waiting(), 2, "the one of 8 s has moved");
        script.set(0, 7000);
        assert_eq!(script.rung_until(200_000).await, [(0, 7000), (0, 120_000)]);
        script.set(0, 300_000);
        script.set[0].as_mut().unwrap().clear();
        assert_eq!(script.rung_until(400_000).await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_that_is_gone_does_not_ring() {
        let mut script = Script::new(2);
        script.set(0, 50);
        script.set(0, 40);
        script.set(1, 60);
        script.set[0] = None;
        assert_eq!(script.waiting(), 1);
        script.set[1].take().into_iter().for_each(std::mem::forget);
        script.residents.clear();
        assert_eq!(script.rung_until(100).await, [], "the client is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn many_that_are_due_at_once_all_ring_and_nothing_rings_once_it_is_stopped() {
        let mut script = Script::new(255);
        (0..255).for_each(|client| script.set(client, 10));
        let mut rung = script.rung_until(11).await;
        rung.sort_unstable();
        assert_eq!(rung, (0..255).map(|client| (client, 10)).collect::<Vec<_>>());
        script.set(0, 100);
        script.stopping.cancel();
        assert_eq!(script.rung_until(200).await, []);
    }
}
