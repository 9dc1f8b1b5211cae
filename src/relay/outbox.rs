//! The bounded queue of one transport: many senders push, its write loop takes everything at once.
//!
//! ```text
//!            push                     poll_take              written
//!   sender ---------> queue (waiting) ----------> in flight ---------> next poll_take
//! ```
//!
//! What waits and what is being written count against the same two bounds, and against the [`Budget`] of all outboxes.
//! A full outbox refuses the newest frames; the sender counts them and goes on. Only the newest transport of a client is
//! `Current`; the others are `Superseded`, which sends cached flows back to the resident for a fresh choice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use super::budget::{Budget, SPENT_BYTES};
use super::drop_reason::EndReason;
use super::frames::Frames;

/// Room beyond the bounds for the control id's own frames, so that a flood of relayed frames cannot starve them.
const CONTROL_RESERVE_FRAMES: usize = 64;
/// See [`CONTROL_RESERVE_FRAMES`].
const CONTROL_RESERVE_BYTES: usize = CONTROL_RESERVE_FRAMES * crate::wire::MAX_FRAME_BYTES;

/// Frames waiting from which on an outbox holds copies. A frame shares the buffer that it was read into with others, and
/// keeps the whole of it alive; one client that does not read must not hold a buffer for each of its frames.
const LAG_FRAMES: usize = 256;

/// What an outbox holds at most.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Frames, waiting and in flight.
    pub frames: usize,
    /// Bytes, waiting and in flight.
    pub bytes: usize,
}

/// Why frames were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No room for the rest.
    Full,
    /// No room for the rest, because all outboxes together hold too much.
    Spent,
    /// A newer transport of the client is open; ask the resident.
    Superseded,
    /// The connection is gone or going.
    Closed,
}

/// What the write loop got.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The batch holds frames, or a pong is due.
    Frames {
        /// How many.
        count: usize,
        /// Their bytes; none for what was sent ahead of held frames.
        bytes: usize,
        /// Payload of the newest ping not yet answered.
        pong: Option<Bytes>,
    },
    /// The connection must end.
    Closed(EndReason),
}

/// Queue of frames to one transport.
#[derive(Debug)]
pub struct Outbox {
    bounds: Bounds,
    budget: Arc<Budget>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Frames>,
    waiting_frames: usize,
    waiting_bytes: usize,
    in_flight_frames: usize,
    in_flight_bytes: usize,
    pong: Option<Bytes>,
    /// Frames wait until they are released; `ahead` is sent meanwhile.
    is_held: bool,
    ahead: VecDeque<Frames>,
    is_superseded: bool,
    closed: Option<EndReason>,
    waker: Option<Waker>,
}

impl State {
    fn has_room(&self, bounds: Bounds, length: usize) -> bool {
        self.waiting_frames + self.in_flight_frames < bounds.frames
            && self.waiting_bytes + self.in_flight_bytes + length <= bounds.bytes
    }

    fn add(&mut self, frames: Frames) {
        self.waiting_frames += frames.count();
        self.waiting_bytes += frames.payload_bytes();
        self.waiting.push_back(frames);
    }
}

impl Outbox {
    /// An empty outbox that nothing but its own bounds limits.
    pub fn new(bounds: Bounds) -> Self {
        Self::within(bounds, Arc::default())
    }

    /// An empty outbox that shares a budget with others.
    pub fn within(bounds: Bounds, budget: Arc<Budget>) -> Self {
        Self { bounds, budget, state: Mutex::default() }
    }

    /// Takes frames off the front of `run` while they fit; what is refused stays in `run`.
    #[inline]
    pub fn push(&self, run: &mut Vec<Frames>) -> Result<(), Refusal> {
        self.push_to(run, false)
    }

    /// As [`Outbox::push`], also into a superseded outbox: for what the newest transport has no room for.
    pub fn spill(&self, run: &mut Vec<Frames>) -> Result<(), Refusal> {
        self.push_to(run, true)
    }

    fn push_to(&self, run: &mut Vec<Frames>, even_superseded: bool) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        if state.closed.is_some() {
            return Err(Refusal::Closed);
        }
        if state.is_superseded && !even_superseded {
            return Err(Refusal::Superseded);
        }
        let is_spent = self.budget.is_spent();
        let limit = if is_spent { self.bounds.bytes.min(SPENT_BYTES) } else { self.bounds.bytes };
        let before = state.waiting_bytes;
        let mut bytes = limit.saturating_sub(before + state.in_flight_bytes);
        let mut frames = self.bounds.frames.saturating_sub(state.waiting_frames + state.in_flight_frames);
        let has_room = |piece: &&Frames| {
            let has_room = piece.count() <= frames && piece.payload_bytes() <= bytes;
            frames -= if has_room { piece.count() } else { 0 };
            bytes -= if has_room { piece.payload_bytes() } else { 0 };
            has_room
        };
        let whole = run.iter().take_while(has_room).count();
        let part = run.get_mut(whole).and_then(|piece| piece.split_fitting(frames, bytes));
        let has_any = whole > 0 || part.is_some();
        let is_lagging = state.waiting_frames >= LAG_FRAMES;
        for piece in run.drain(..whole).chain(part) {
            state.add(if is_lagging { piece.copied() } else { piece });
        }
        let waker = if has_any { state.waker.take() } else { None };
        self.budget.spend(state.waiting_bytes - before);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        match (run.is_empty(), is_spent) {
            (true, _) => Ok(()),
            (false, true) => Err(Refusal::Spent),
            (false, false) => Err(Refusal::Full),
        }
    }

    /// Adds a frame of the control id, which may use a reserve beyond the bounds. Refused frames are sent again by
    /// the transfer protocol.
    pub fn push_control(&self, frame: Bytes) -> Result<(), Refusal> {
        let bounds = Bounds {
            frames: self.bounds.frames + CONTROL_RESERVE_FRAMES,
            bytes: self.bounds.bytes + CONTROL_RESERVE_BYTES,
        };
        let mut state = self.state.lock();
        if state.closed.is_some() {
            return Err(Refusal::Closed);
        }
        if !state.has_room(bounds, frame.len()) {
            return Err(Refusal::Full);
        }
        self.budget.spend(frame.len());
        state.add(Frames::alone(frame));
        wake(state);
        Ok(())
    }

    /// Answers a ping; only the newest is remembered, as RFC 6455 section 5.5.3 allows.
    pub fn pong(&self, payload: Bytes) {
        let mut state = self.state.lock();
        state.pong = Some(payload);
        wake(state);
    }

    /// Lets what waits wait until [`Outbox::release`]. False, and nothing happens, when something waits already.
    pub fn hold(&self) -> bool {
        let mut state = self.state.lock();
        let is_free = state.waiting.is_empty() && state.closed.is_none();
        state.is_held |= is_free;
        is_free
    }

    /// Sends a message ahead of what is held.
    pub fn push_ahead(&self, message: Bytes) {
        let mut state = self.state.lock();
        if state.is_held && state.closed.is_none() {
            state.ahead.push_back(Frames::alone(message));
            wake(state);
        }
    }

    /// Lets what was held go.
    pub fn release(&self) {
        let mut state = self.state.lock();
        state.is_held = false;
        state.ahead = VecDeque::new();
        wake(state);
    }

    /// Whether anything waits, held or not.
    pub fn has_waiting(&self) -> bool {
        !self.state.lock().waiting.is_empty()
    }

    /// Marks whether a newer transport of the client is open.
    pub fn set_superseded(&self, is_superseded: bool) {
        self.state.lock().is_superseded = is_superseded;
    }

    /// Ends the connection; the first reason stays. Waiting frames are forgotten.
    pub fn close(&self, reason: EndReason) {
        let mut state = self.state.lock();
        if state.closed.is_none() {
            state.closed = Some(reason);
            state.waiting = VecDeque::new();
            state.waiting_frames = 0;
            self.budget.give_back(std::mem::take(&mut state.waiting_bytes));
        }
        wake(state);
    }

    /// Ends it and forgets what was being written: for when the write loop is gone. Flows may remember the outbox for a
    /// while.
    pub fn end(&self, reason: EndReason) {
        self.close(reason);
        let mut state = self.state.lock();
        state.in_flight_frames = 0;
        self.budget.give_back(std::mem::take(&mut state.in_flight_bytes));
    }

    /// Why the connection must end, if it must.
    pub fn closed(&self) -> Option<EndReason> {
        self.state.lock().closed
    }

    /// Frames waiting or being written.
    pub fn len(&self) -> usize {
        let state = self.state.lock();
        state.waiting_frames + state.in_flight_frames
    }

    /// Whether nothing waits or is being written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Swaps everything that waits into `batch`, which must be empty; what it held before counts as written.
    pub fn poll_take(&self, context: &mut Context<'_>, batch: &mut VecDeque<Frames>) -> Poll<Taken> {
        debug_assert!(batch.is_empty(), "the batch before was not written");
        let mut state = self.state.lock();
        state.in_flight_frames = 0;
        self.budget.give_back(std::mem::take(&mut state.in_flight_bytes));
        if let Some(reason) = state.closed {
            return Poll::Ready(Taken::Closed(reason));
        }
        let pong = state.pong.take();
        let has_any = if state.is_held { !state.ahead.is_empty() } else { !state.waiting.is_empty() };
        if !has_any && pong.is_none() {
            match &mut state.waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        if state.is_held {
            std::mem::swap(&mut state.ahead, batch);
            state.in_flight_frames = batch.len();
        } else {
            std::mem::swap(&mut state.waiting, batch);
            state.in_flight_frames = std::mem::take(&mut state.waiting_frames);
            state.in_flight_bytes = std::mem::take(&mut state.waiting_bytes);
        }
        Poll::Ready(Taken::Frames { count: state.in_flight_frames, bytes: state.in_flight_bytes, pong })
    }

    /// Gives back the memory of a past burst.
    pub fn shrink(&self) {
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            state.waiting = VecDeque::new();
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        self.budget.give_back(state.waiting_bytes + state.in_flight_bytes);
    }
}

fn wake(mut state: parking_lot::MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::BytesMut;

    use super::*;
    use crate::wire::framer;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn frames(count: usize, length: usize) -> Vec<Frames> {
        (0..count).map(|at| Frames::alone(vec![at as u8; length].into())).collect()
    }

    /// The same in one piece.
    fn together(count: usize, length: usize) -> Vec<Frames> {
        let mut packed = BytesMut::new();
        (0..count).for_each(|at| framer::encode(&vec![at as u8; length], &mut packed));
        vec![Frames::packed(packed.freeze(), count as u32, (count * length) as u32)]
    }

    fn messages(run: &[Frames]) -> Vec<Vec<u8>> {
        run.iter().flat_map(|frames| frames.iter().map(<[u8]>::to_vec)).collect()
    }

    fn take(outbox: &Outbox) -> Poll<(Taken, Vec<Frames>)> {
        let mut batch = VecDeque::new();
        let mut context = Context::from_waker(Waker::noop());
        outbox.poll_take(&mut context, &mut batch).map(|taken| (taken, batch.into()))
    }

    #[test]
    fn what_is_pushed_comes_out_in_order_as_one_batch() {
        let outbox = Outbox::new(Bounds { frames: 10, bytes: 100 });
        let mut run = frames(3, 5);
        assert_eq!(outbox.push(&mut run), Ok(()));
        assert!(run.is_empty());
        assert_eq!(take(&outbox), Poll::Ready((Taken::Frames { count: 3, bytes: 15, pong: None }, frames(3, 5))));
        assert_eq!(take(&outbox), Poll::Pending);
    }

    #[test]
    fn the_newest_frames_are_refused_at_either_bound() {
        for make in [frames, together] {
            let outbox = Outbox::new(Bounds { frames: 4, bytes: 100 });
            let mut run = make(6, 5);
            assert_eq!(outbox.push(&mut run), Err(Refusal::Full));
            assert_eq!(messages(&run), messages(&frames(6, 5)[4..]));
            assert_eq!(outbox.len(), 4);
            assert_eq!(outbox.push(&mut run), Err(Refusal::Full));
            assert_eq!(messages(&run).len(), 2, "a full one takes nothing");

            let outbox = Outbox::new(Bounds { frames: 100, bytes: 12 });
            let mut run = make(3, 5);
            assert_eq!(outbox.push(&mut run), Err(Refusal::Full));
            assert_eq!(messages(&run), messages(&frames(3, 5)[2..]));
            let Poll::Ready((taken, batch)) = take(&outbox) else { panic!("two wait") };
            assert_eq!(taken, Taken::Frames { count: 2, bytes: 10, pong: None });
            assert_eq!(messages(&batch), messages(&frames(2, 5)));
        }
    }

    #[test]
    fn a_client_that_does_not_read_holds_few_of_the_buffers_that_its_frames_came_in() {
        let outbox = Outbox::new(Bounds { frames: 1024, bytes: 1 << 20 });
        let sent = frames(LAG_FRAMES + 10, 5);
        for frame in &sent {
            outbox.push(&mut vec![frame.clone()]).unwrap();
        }
        let Poll::Ready((_, taken)) = take(&outbox) else { panic!("nothing waits") };
        assert_eq!(taken, sent);
        let address = |frames: &Frames| frames.first().map(<[u8]>::as_ptr);
        let shared = taken.iter().zip(&sent).filter(|(taken, sent)| address(taken) == address(sent)).count();
        assert_eq!(shared, LAG_FRAMES);
    }

    #[test]
    fn a_batch_being_written_still_counts() {
        let outbox = Outbox::new(Bounds { frames: 2, bytes: 100 });
        outbox.push(&mut frames(2, 5)).unwrap();
        assert!(take(&outbox).is_ready());
        assert_eq!(outbox.push(&mut frames(1, 5)), Err(Refusal::Full));
        assert!(take(&outbox).is_pending());
        assert_eq!(outbox.push(&mut frames(1, 5)), Ok(()));
    }

    #[test]
    fn a_spent_budget_sheds_what_lags_and_serves_what_keeps_up() {
        let used = prometheus_client::metrics::gauge::Gauge::default();
        let budget = Arc::new(Budget::new(300_000, used.clone()));
        let outbox = || Outbox::within(Bounds { frames: 1000, bytes: 1 << 20 }, Arc::clone(&budget));
        let (lagging, good) = (outbox(), outbox());
        assert_eq!(lagging.push(&mut frames(100, 3000)), Ok(()));
        assert_eq!(lagging.push(&mut frames(1, 3000)), Err(Refusal::Spent));
        for _ in 0..3 {
            assert_eq!(good.push(&mut frames(20, 3000)), Ok(()));
            assert_eq!(good.push(&mut frames(2, 3000)), Err(Refusal::Spent), "more than a turn");
            assert!(take(&good).is_ready());
            assert!(take(&good).is_ready() || used.get() == 300_000, "written");
        }
        assert!(take(&lagging).is_ready() && take(&lagging).is_pending());
        assert_eq!(lagging.push(&mut frames(100, 3000)), Ok(()), "there is a budget again");
        good.close(EndReason::PeerClosed);
        drop((lagging, good));
        assert_eq!(used.get(), 0, "every byte was given back");
    }

    #[test]
    fn control_frames_have_a_reserve() {
        let outbox = Outbox::new(Bounds { frames: 1, bytes: 100 });
        outbox.push(&mut frames(1, 5)).unwrap();
        for _ in 0..CONTROL_RESERVE_FRAMES {
            assert_eq!(outbox.push_control(Bytes::from_static(b"ack")), Ok(()));
        }
        assert_eq!(outbox.push_control(Bytes::from_static(b"ack")), Err(Refusal::Full));
    }

    #[test]
    fn a_superseded_outbox_takes_only_spills() {
        let outbox = Outbox::new(Bounds { frames: 10, bytes: 100 });
        outbox.set_superseded(true);
        assert_eq!(outbox.push(&mut frames(1, 1)), Err(Refusal::Superseded));
        assert_eq!(outbox.spill(&mut frames(1, 1)), Ok(()));
        outbox.set_superseded(false);
        assert_eq!(outbox.push(&mut frames(1, 1)), Ok(()));
    }

    #[test]
    fn the_first_reason_to_close_stays_and_frees_the_queue() {
        let outbox = Outbox::new(Bounds { frames: 10, bytes: 100 });
        outbox.push(&mut frames(2, 1)).unwrap();
        outbox.close(EndReason::Replaced);
        outbox.close(EndReason::Drained);
        assert_eq!(outbox.push(&mut frames(1, 1)), Err(Refusal::Closed));
        assert_eq!(take(&outbox), Poll::Ready((Taken::Closed(EndReason::Replaced), vec![])));
    }

    #[test]
    fn the_write_loop_is_woken_once_per_wait() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let outbox = Outbox::new(Bounds { frames: 10, bytes: 100 });
        let mut batch = VecDeque::new();
        assert!(outbox.poll_take(&mut Context::from_waker(&waker), &mut batch).is_pending());
        outbox.push(&mut frames(2, 1)).unwrap();
        outbox.push(&mut frames(2, 1)).unwrap();
        outbox.pong(Bytes::from_static(b"x"));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        let taken = outbox.poll_take(&mut Context::from_waker(&waker), &mut batch);
        assert_eq!(taken, Poll::Ready(Taken::Frames { count: 4, bytes: 4, pong: Some(Bytes::from_static(b"x")) }));
        assert_eq!(batch.len(), 4);
    }
}
