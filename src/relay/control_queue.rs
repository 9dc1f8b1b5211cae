//! What waits for one client's control conversation: frames it sent to the control id, messages the platform has for
//! it, and word that its transports have changed, that packs were handled, or that something is due. Bounded; those who
//! add never wait.
//!
//! Nobody is appointed to take what waits. One of those who add does, and meanwhile also takes what others add:
//!
//! ```text
//!   idle --begin--> served --next: more--> served
//!     ^                \--next: nothing--> idle
//! ```

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
    pub frames: Vec<Bytes>,
    /// Messages for the client; those of one element travel in one pack.
    pub packs: Vec<Vec<Push>>,
    /// What else there is.
    pub signals: Signals,
}

/// What a conversation is told besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signals {
    /// Messages were lost: the client needs full lists.
    pub needs_resync: bool,
    /// A transport came or went, the resident is retired, or the relay stops.
    pub has_new_state: bool,
    /// The packs that were with the handler have been handled; false when they could not be.
    pub handled: Option<bool>,
}

/// The queue. Any may add; one at a time serves.
#[derive(Debug, Default)]
pub struct ControlQueue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    // Not a `Work`, which would be rounded up: every client has one of these.
    frames: Vec<Bytes>,
    packs: Vec<Vec<Push>>,
    signals: Signals,
    is_changed: bool,
    is_served: bool,
}

impl State {
    fn take(&mut self) -> Option<Work> {
        std::mem::take(&mut self.is_changed).then(|| Work {
            frames: std::mem::take(&mut self.frames),
            packs: std::mem::take(&mut self.packs),
            signals: std::mem::take(&mut self.signals),
        })
    }
}

impl ControlQueue {
    /// Adds a frame the client sent; false when there is no room.
    pub fn push_frame(&self, frame: Bytes) -> bool {
        let mut state = self.change();
        let has_room = state.frames.len() < MAX_FRAMES;
        if has_room {
            state.frames.push(frame);
        }
        has_room
    }

    /// Adds messages for the client that travel in one pack, and begins to serve with them if nothing else waits and
    /// nobody serves. Otherwise somebody does, or is about to: whoever has added what else there is.
    pub fn push_pack(&self, pack: Vec<Push>) -> Option<Work> {
        let mut state = self.state.lock();
        let is_alone = !state.is_changed && !state.is_served;
        state.is_changed = true;
        if state.packs.len() < MAX_PACKS {
            state.packs.push(pack);
        } else {
            state.packs = Vec::new();
            state.signals.needs_resync = true;
        }
        if !is_alone {
            return None;
        }
        state.is_served = true;
        state.take()
    }

    /// Says that a transport came or went, or that the resident is retired.
    pub fn transports_changed(&self) {
        self.change().signals.has_new_state = true;
    }

    /// Says that the handler has finished, and whether it could handle what it got.
    pub fn handled(&self, is_done: bool) {
        self.change().signals.handled = Some(is_done);
    }

    /// Says that something is due.
    pub fn ring(&self) {
        drop(self.change());
    }

    /// Begins to serve with everything that waits; `None` when nothing does, or when somebody serves already, who then
    /// also takes what waits now. Whoever has begun goes on until [`ControlQueue::next`] has nothing, or leaves.
    pub fn begin(&self) -> Option<Work> {
        let mut state = self.state.lock();
        if state.is_served {
            return None;
        }
        let work = state.take();
        state.is_served = work.is_some();
        work
    }

    /// What has come meanwhile; with `None` the serving has ended.
    pub fn next(&self) -> Option<Work> {
        let mut state = self.state.lock();
        let work = state.take();
        state.is_served = work.is_some();
        work
    }

    /// Ends the serving; true when something waits, and the caller must see to it that somebody begins again.
    pub fn leave(&self) -> bool {
        let mut state = self.state.lock();
        state.is_served = false;
        state.is_changed
    }

    fn change(&self) -> parking_lot::MutexGuard<'_, State> {
        let mut state = self.state.lock();
        state.is_changed = true;
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_waits_is_taken_at_once() {
        let queue = ControlQueue::default();
        assert!(queue.begin().is_none());
        assert!(queue.push_frame(Bytes::from_static(b"one")) && queue.push_frame(Bytes::from_static(b"two")));
        assert!(queue.push_pack(vec![Push::NetworkPeersReset]).is_none());
        let work = queue.begin().unwrap();
        assert_eq!((work.frames.len(), work.packs.len(), work.signals.needs_resync), (2, 1, false));
        assert!(!work.signals.has_new_state && work.signals.handled.is_none() && queue.next().is_none());
        queue.transports_changed();
        queue.handled(false);
        let work = queue.begin().unwrap();
        assert!(work.signals.has_new_state && work.signals.handled == Some(false));
    }

    #[test]
    fn who_serves_takes_what_others_add_and_nobody_else_begins() {
        let queue = ControlQueue::default();
        queue.ring();
        assert!(queue.begin().is_some());
        for _ in 0..3 {
            queue.push_frame(Bytes::new());
            assert!(queue.begin().is_none(), "it is served");
            assert_eq!(queue.next().unwrap().frames.len(), 1);
        }
        assert!(queue.next().is_none());
        queue.push_frame(Bytes::new());
        assert_eq!(queue.begin().unwrap().frames.len(), 1, "nobody serves any more");
        queue.push_frame(Bytes::new());
        assert!(queue.leave());
        assert_eq!(queue.begin().unwrap().frames.len(), 1, "the next one goes on");
        assert!(!queue.leave());
    }

    #[test]
    fn who_pushes_serves_if_there_is_nothing_else() {
        let queue = ControlQueue::default();
        let push = || queue.push_pack(vec![Push::NetworkPeersReset]);
        assert_eq!(push().unwrap().packs.len(), 1);
        assert!(push().is_none(), "it serves already");
        assert!(queue.leave());
        assert!(push().is_none(), "who has left sees to it");
        assert_eq!(queue.begin().unwrap().packs.len(), 2);
        assert!(queue.next().is_none());
        queue.push_frame(Bytes::new());
        assert!(push().is_none(), "who has read the frame serves");
        let work = queue.begin().unwrap();
        assert_eq!((work.frames.len(), work.packs.len()), (1, 1));
    }

    #[test]
    fn too_many_frames_are_refused_and_too_many_packs_become_a_resync() {
        let queue = ControlQueue::default();
        let accepted = (0..MAX_FRAMES + 5).filter(|_| queue.push_frame(Bytes::new())).count();
        assert_eq!(accepted, MAX_FRAMES);
        for _ in 0..=MAX_PACKS {
            assert!(queue.push_pack(vec![Push::NetworkPeersReset]).is_none());
        }
        let work = queue.begin().unwrap();
        assert!(work.signals.needs_resync && work.packs.is_empty());
    }
}
