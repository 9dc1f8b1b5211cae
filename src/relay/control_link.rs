//! One client's conversation with the control id, and the life of its resident.
//!
//! It joins three parts: the resident's queue (what the client sent, what is to be pushed), the transfer endpoint in its
//! control role (order, acks, resends), and the handler of control messages. A pack is acknowledged only once its effects
//! are durable. The conversation ends once the resident is replaced or removed, or has been without transports for
//! `relay.resident_linger`.
//!
//! ```text
//!   queue --frames--> endpoint --Deliver--> handler --done--> endpoint.confirm --Transmit(ack)--> resident
//!         --packs---> endpoint.send ------------------------------------Transmit(pack)----------> resident
//! ```
//!
//! It has no task of its own: whoever has work for it also does it. A pushed message wakes the write loop alone, and an
//! acknowledgement the read loop alone, as relayed frames do.
//!
//! | what happens | who serves |
//! |---|---|
//! | a frame of the client | the read loop, after what it has read at once |
//! | a message for the client | whoever pushes it |
//! | a transport comes, or goes | the task that joins it, or one made for the moment |
//! | the handler has finished | the task that waited for it |
//! | something is due | the task of [`Alarms`](super::alarms::Alarms) |

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use super::alarms::Alarm;
use super::control_queue::{ControlQueue, Work};
use super::drop_reason::{DropReason, EndReason};
use super::resident::Resident;
use super::{Relay, announce};
use crate::control::ControlCaller;
use crate::telemetry::metrics::GaugeGuard;
use crate::time::Timestamp;
use crate::transfer::endpoint::Endpoint;
use crate::transfer::output::{Delivery, Output, SendOptions, SendRefused, TransferDrop};
use crate::transfer::settings::EndpointConfig;
use crate::wire::control_message::Push;
use crate::wire::messages::{Frame, MessageType};

/// What a client may send at once before it is paced. What it says on connecting is needed at once: others ask for its
/// keys within milliseconds.
const BURST: u32 = 16;

/// Pause between two packs beyond the burst, so that a flood of control packs cannot take the store from the others.
/// Packs that close contracts and wait together count as one, for they share a commit.
const PACE: Duration = Duration::from_millis(5);

/// Passes after which the others on the thread have a turn, for a client that always says more meanwhile.
const MAX_PASSES: usize = 8;

/// Packs on their way through the handler; false in the end when they could not be handled now.
type Handling = Pin<Box<dyn Future<Output = bool> + Send>>;

/// The conversation of one resident, which exists from the first work for it until the resident is given up.
#[derive(Debug, Default)]
pub struct ControlLink {
    /// What waits for it.
    pub queue: ControlQueue,
    /// Held by whoever serves the queue; nobody waits for it. It stands here, not in memory of its own: when nearly all
    /// clients are idle, each place that is looked at costs a wait for memory.
    link: Mutex<Option<Link>>,
}

impl ControlLink {
    /// Ends the conversation of a resident that is retired. If somebody serves it, they do.
    pub fn end(&self) {
        self.queue.transports_changed();
        let mut work = self.queue.begin();
        while work.is_some() {
            *self.link.lock() = None;
            work = self.queue.next();
        }
    }
}

/// Does all there is to do, unless somebody is at it, who then also does what has come since. For every task that has
/// added work; it must hold no lock.
pub fn serve(relay: &Relay, resident: &Arc<Resident>) {
    let queue = &resident.control.queue;
    let mut work = queue.begin();
    let mut passes = 0;
    while let Some(taken) = work {
        pass(relay, resident, taken);
        passes += 1;
        if passes == MAX_PASSES {
            return leave(relay, resident);
        }
        work = queue.next();
    }
}

/// Ends the serving; what waits is served later.
fn leave(relay: &Relay, resident: &Arc<Resident>) {
    if resident.control.queue.leave() {
        serve_later(relay, resident);
    }
}

/// Does what was taken from the queue. Those who serve also serve others: a conversation that panics costs its own client
/// the connection, and nobody else.
fn pass(relay: &Relay, resident: &Arc<Resident>, work: Work) {
    let pass = Pass { relay, resident, now: relay.clock.now() };
    let mut link = resident.control.link.lock();
    let serving = AssertUnwindSafe(|| {
        if link.is_none() && pass.is_wanted() {
            *link = Some(Link::new(relay, resident));
        }
        link.as_mut().is_some_and(|link| link.serve(&pass, work))
    });
    let served = catch_unwind(serving);
    if !matches!(served, Ok(true)) {
        *link = None;
    }
    if served.is_err() {
        relay.registry.give_up(resident, EndReason::Unstored);
    }
}

/// As [`serve`], in a task of its own: for those who may hold a lock, or be no task.
pub fn serve_later(relay: &Relay, resident: &Arc<Resident>) {
    let (weak, resident) = (Weak::clone(&relay.this), Arc::clone(resident));
    let serving = async move { weak.upgrade().iter().for_each(|relay| serve(relay, &resident)) };
    relay.tasks.spawn_on(serving, &relay.runtime);
}

/// Gives the client messages that travel in one pack. Those who push may hold locks: only messages are served here,
/// which nobody is called back for.
pub fn push(relay: &Relay, resident: &Arc<Resident>, pack: Vec<Push>) {
    if let Some(work) = resident.control.queue.push_pack(pack) {
        pass(relay, resident, work);
        leave(relay, resident);
    }
}

/// What one look at the queue has around it.
struct Pass<'a> {
    relay: &'a Relay,
    resident: &'a Arc<Resident>,
    now: Timestamp,
}

impl Pass<'_> {
    /// Whether the resident still stands.
    fn is_wanted(&self) -> bool {
        !self.relay.stopping.is_cancelled() && !self.resident.is_retired()
    }
}

#[derive(Debug)]
struct Link {
    endpoint: Endpoint,
    /// Packs that are not handled; bounded by the endpoint, which takes no more than it may leave unacked.
    deliveries: VecDeque<Delivery>,
    /// As many of them, from the front, are with the handler.
    begun: u16,
    pace: Pace,
    /// Transports ever attached, as far as the endpoint knows.
    attach_count: u32,
    /// When the resident is given up, if no transport comes.
    expires: Option<Instant>,
    /// The first lists come with the announcement of the first transport.
    is_announced: bool,
    alarm: Alarm,
    _counted: GaugeGuard,
}

impl Link {
    fn new(relay: &Relay, resident: &Arc<Resident>) -> Self {
        let config = EndpointConfig::control(resident.client_id, Arc::clone(&relay.ids));
        Self {
            endpoint: Endpoint::new(config),
            deliveries: VecDeque::new(),
            begun: 0,
            pace: Pace { spent_until: Instant::now() },
            attach_count: 0,
            expires: None,
            is_announced: false,
            alarm: Alarm::new(&relay.alarms, resident),
            _counted: GaugeGuard::new(&relay.metrics.residents),
        }
    }

    /// Does what there is to do now; false when the resident is given up. What has begun with the handler is finished
    /// in either case: its effects are wanted, though nobody is left to be told.
    fn serve(&mut self, pass: &Pass<'_>, work: Work) -> bool {
        if work.signals.has_new_state && !self.follow_transports(pass) {
            return false;
        }
        let mut handled = work.signals.handled;
        self.take(pass, work);
        if self.is_expired(pass) {
            return false;
        }
        if self.endpoint.poll_timeout().is_some_and(|due| due <= pass.now) {
            self.endpoint.handle_timeout(pass.now);
        }
        loop {
            match handled {
                Some(true) => self.confirm(pass.now),
                Some(false) => {
                    // Without an acknowledgement the client sends the packs again, over a transport and to a state anew.
                    pass.relay.registry.give_up(pass.resident, EndReason::Unstored);
                    return false;
                }
                None => {}
            }
            self.carry_out(pass);
            if self.begun > 0 || self.deliveries.is_empty() {
                break;
            }
            handled = handle(pass, self.next_handling(pass));
        }
        self.shrink();
        self.set_alarm(pass.now);
        true
    }

    fn set_alarm(&mut self, now: Timestamp) {
        let due = self.endpoint.poll_timeout();
        if due.is_none() && self.expires.is_none() {
            return self.alarm.clear();
        }
        let moment = Instant::now();
        let due = due.map(|due| moment + due.since(now));
        if let Some(first) = due.into_iter().chain(self.expires).min() {
            self.alarm.set(first, moment);
        }
    }

    /// Gives back the memory of a past burst.
    fn shrink(&mut self) {
        self.endpoint.shrink();
        if self.deliveries.is_empty() {
            self.deliveries = VecDeque::new();
        }
    }

    /// Tells the endpoint of transports that came or went; false when the resident is given up, or the relay stops.
    fn follow_transports(&mut self, pass: &Pass<'_>) -> bool {
        if !pass.is_wanted() {
            return false;
        }
        let (open_count, attach_count) = pass.resident.transport_counts();
        if open_count == 0 {
            if self.endpoint.is_attached() || self.attach_count != attach_count {
                self.endpoint.detach(pass.now);
                self.expires = Some(Instant::now() + pass.relay.config.relay.resident_linger);
            }
        } else {
            self.expires = None;
            if self.attach_count != attach_count {
                self.endpoint.attach(pass.now);
            }
        }
        self.attach_count = attach_count;
        true
    }

    /// Gives the resident up when no transport has come for too long.
    fn is_expired(&mut self, pass: &Pass<'_>) -> bool {
        let is_due = self.expires.is_some_and(|expires| Instant::now() >= expires);
        // One that has a transport again, or was replaced, says so through the queue.
        is_due && {
            self.expires = None;
            pass.relay.registry.forget_detached(pass.resident)
        }
    }

    fn take(&mut self, pass: &Pass<'_>, work: Work) {
        for frame in work.frames {
            if let Err(reason) = self.endpoint.handle_frame(pass.now, frame) {
                pass.count(reason);
            }
        }
        if work.signals.needs_resync {
            pass.relay.metrics.pushes_lost.inc();
            self.endpoint.lose_view(pass.now);
        }
        for pack in work.packs {
            self.push(pass, &pack);
        }
    }

    fn push(&mut self, pass: &Pass<'_>, pack: &[Push]) {
        let (relay, client_id) = (pass.relay, pass.resident.client_id);
        let frames = pack.iter().map(Push::to_frame).collect();
        match self.endpoint.send(pass.now, client_id, frames, SendOptions::default()) {
            Ok(_) => drop(relay.metrics.pushes.inc()),
            // Full lists follow, with what this pack would have said, be it the announcement itself.
            Err(SendRefused::SnapshotOwed | SendRefused::QueueFull) => {
                relay.metrics.pushes_lost.inc();
                self.is_announced = true;
            }
            Err(error) => {
                relay.metrics.pushes_lost.inc();
                tracing::error!(client = %client_id, %error, "a message to a client cannot be sent");
            }
        }
    }

    /// Does what the endpoint asks for.
    fn carry_out(&mut self, pass: &Pass<'_>) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                // A frame that finds no room is sent again by the protocol, like one that is lost on the way.
                Output::Transmit(frame) => drop(pass.resident.send_control(frame)),
                Output::Deliver(delivery) => self.deliveries.push_back(delivery),
                Output::NeedsSnapshot => self.send_lists(pass),
                Output::Acked { .. } => {}
                Output::Expired { .. } => drop(pass.relay.metrics.pushes_lost.inc()),
                // Conversations with the control id have no contracts.
                Output::NeedsContract { .. } | Output::CloseContract(_) => {}
            }
        }
    }

    /// The client's view is unknown. The lists arrive through the queue.
    fn send_lists(&mut self, pass: &Pass<'_>) {
        if std::mem::replace(&mut self.is_announced, true) {
            announce::send_lists(pass.relay, pass.resident.client_id);
        }
    }

    /// Begins with the next pack, or with all next ones that only close contracts.
    fn next_handling(&mut self, pass: &Pass<'_>) -> Handling {
        let closes = self.deliveries.iter().take_while(|delivery| only_closes(&delivery.frames)).count();
        self.begun = u16::try_from(closes).unwrap_or(u16::MAX).max(1);
        let mut begun = self.deliveries.iter_mut().take(self.begun.into());
        let mut frames = begun.next().map(|delivery| std::mem::take(&mut delivery.frames)).unwrap_or_default();
        for delivery in begun {
            frames.append(&mut delivery.frames);
        }
        pass.relay.metrics.control_packs.inc_by(self.begun.into());
        let control = Arc::clone(&pass.relay.control);
        let caller = ControlCaller { client_id: pass.resident.client_id, network_id: pass.resident.network_id };
        let now = Instant::now();
        let begins = self.pace.next(now);
        let handling = async move {
            // Sleeping takes a millisecond at least, and keys are asked for sooner.
            if begins > now {
                sleep_until(begins).await;
            }
            control.handle(caller, &frames).await
        };
        // A handler that fails in an unusual manner has not handled its packs, and the client must not wait for ever.
        Box::pin(AssertUnwindSafe(handling).catch_unwind().map(|handled| handled.unwrap_or(false)))
    }

    /// What was begun is done.
    fn confirm(&mut self, now: Timestamp) {
        for delivery in self.deliveries.drain(..usize::from(std::mem::take(&mut self.begun))) {
            self.endpoint.confirm(now, delivery.id);
        }
    }
}

impl Pass<'_> {
    fn count(&self, reason: TransferDrop) {
        let reason = match reason {
            TransferDrop::Full => DropReason::ControlQueueFull,
            TransferDrop::Duplicate | TransferDrop::OlderSequence | TransferDrop::UnknownAck => return,
            _ => DropReason::ControlMalformed,
        };
        if let Some(counter) = self.relay.metrics.frames_dropped.get(reason.index()) {
            counter.inc();
        }
    }
}

/// Handles packs at once if nothing has to be waited for; otherwise a task does, and says so through the queue.
fn handle(pass: &Pass<'_>, mut handling: Handling) -> Option<bool> {
    if let Poll::Ready(is_done) = handling.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return Some(is_done);
    }
    let (relay, resident) = (Weak::clone(&pass.relay.this), Arc::clone(pass.resident));
    let waiting = async move {
        resident.control.queue.handled(handling.await);
        relay.upgrade().iter().for_each(|relay| serve(relay, &resident));
    };
    pass.relay.tasks.spawn_on(waiting, &pass.relay.runtime);
    None
}

fn only_closes(frames: &[Frame]) -> bool {
    frames.iter().all(|frame| frame.message_type == i32::from(MessageType::TransferCloseContract))
}

/// Which packs may begin: [`BURST`] at once, then one in each [`PACE`]. The burst grows again at that rate.
#[derive(Debug)]
struct Pace {
    /// When the whole burst is there again.
    spent_until: Instant,
}

impl Pace {
    /// When a pack may begin that is there now.
    fn next(&mut self, now: Instant) -> Instant {
        self.spent_until = self.spent_until.max(now) + PACE;
        now.max(self.spent_until - PACE * BURST)
    }
}

#[cfg(test)]
mod tests;
