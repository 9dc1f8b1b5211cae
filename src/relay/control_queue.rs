//! What waits for one client's control conversation: frames it sent to the control id, messages the platform has for
//! it, and word that its transports have changed. Bounded; the read loops and the pushers never wait.

use std::collections::VecDeque;
use std::task::{Context, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::wire::control_message::Push;

/// Frames waiting at most. One refused is not acknowledged, so the client sends it again.
const MAX_FRAMES: usize = 256;
/// Packs of messages waiting at most. Beyond it all are dropped and the client gets full lists instead.
const MAX_PACKS: usize = 256;

/// Everything that waited, taken at once.
#[derive(Debug, Default)]
pub struct Work {
    /// Frames the client sent, in order.
    pub frames: VecDeque<Bytes>,
    /// Messages for the client; those of one element travel in one pack.
    pub packs: VecDeque<Vec<Push>>,
    /// Messages were lost: the client needs full lists.
    pub needs_resync: bool,
    /// A transport came or went, the resident is retired, or the relay stops.
    pub has_new_state: bool,
}

/// The queue. One task takes, any may add.
#[derive(Debug, Default)]
pub struct ControlQueue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    work: Work,
    is_changed: bool,
    waker: Option<Waker>,
}

impl ControlQueue {
    /// Adds a frame the client sent; false when there is no room.
    pub fn push_frame(&self, frame: Bytes) -> bool {
        self.change(|state| {
            let has_room = state.work.frames.len() < MAX_FRAMES;
            if has_room {
                state.work.frames.push_back(frame);
            }
            has_room
        })
    }

    /// Adds messages for the client that travel in one pack.
    pub fn push_pack(&self, pack: Vec<Push>) {
        self.change(|state| {
            if state.work.packs.len() < MAX_PACKS {
                state.work.packs.push_back(pack);
            } else {
                state.work.packs = VecDeque::new();
                state.work.needs_resync = true;
            }
        });
    }

    /// Says that a transport came or went, or that the resident is retired.
    pub fn transports_changed(&self) {
        self.change(|state| state.work.has_new_state = true);
    }

    /// Takes everything that waits, if anything does. The task is woken once there is more, in either case: it need not
    /// ask again before that.
    pub fn take(&self, context: &mut Context<'_>) -> Option<Work> {
        let mut state = self.state.lock();
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        std::mem::take(&mut state.is_changed).then(|| std::mem::take(&mut state.work))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state);
        state.is_changed = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn take(queue: &ControlQueue) -> Option<Work> {
        queue.take(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn everything_that_waits_is_taken_at_once() {
        let queue = ControlQueue::default();
        assert!(take(&queue).is_none());
        assert!(queue.push_frame(Bytes::from_static(b"one")) && queue.push_frame(Bytes::from_static(b"two")));
        queue.push_pack(vec![Push::NetworkPeersReset]);
        let work = take(&queue).unwrap();
        assert_eq!((work.frames.len(), work.packs.len(), work.needs_resync), (2, 1, false));
        assert!(!work.has_new_state && take(&queue).is_none());
        queue.transports_changed();
        assert!(take(&queue).unwrap().has_new_state);
    }

    #[test]
    fn one_take_is_enough_to_be_woken_by_what_comes_next() {
        #[derive(Default)]
        struct Wakes(AtomicUsize);
        impl std::task::Wake for Wakes {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (queue, wakes) = (ControlQueue::default(), Arc::<Wakes>::default());
        let waker = Waker::from(Arc::clone(&wakes));
        for round in 1..=3 {
            queue.push_frame(Bytes::new());
            queue.push_frame(Bytes::new());
            assert_eq!(wakes.0.load(Ordering::Relaxed), round - 1);
            assert_eq!(queue.take(&mut Context::from_waker(&waker)).unwrap().frames.len(), 2);
            queue.transports_changed();
            queue.transports_changed();
            assert_eq!(wakes.0.load(Ordering::Relaxed), round, "once for all that comes before it is taken");
            assert!(take(&queue).is_some());
        }
    }

    #[test]
    fn too_many_frames_are_refused_and_too_many_packs_become_a_resync() {
        let queue = ControlQueue::default();
        let accepted = (0..MAX_FRAMES + 5).filter(|_| queue.push_frame(Bytes::new())).count();
        assert_eq!(accepted, MAX_FRAMES);
        for _ in 0..=MAX_PACKS {
            queue.push_pack(vec![Push::NetworkPeersReset]);
        }
        let work = take(&queue).unwrap();
        assert!(work.needs_resync && work.packs.is_empty());
    }
}
