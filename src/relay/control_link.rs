//! One client's conversation with the control id, and the life of its resident.
//!
//! A task per resident joins three parts: the resident's queue (what the client sent, what is to be pushed), the
//! transfer endpoint in its control role (order, acks, resends), and the handler of control messages. A pack is
//! acknowledged only once its effects are durable. The task ends once the resident is replaced or removed, or has been
//! without transports for `relay.resident_linger`.
//!
//! ```text
//!   queue --frames--> endpoint --Deliver--> handler --done--> endpoint.confirm --Transmit(ack)--> resident
//!         --packs---> endpoint.send ------------------------------------Transmit(pack)----------> resident
//! ```

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until};

use super::control_queue::Work;
use super::drop_reason::{DropReason, EndReason};
use super::resident::Resident;
use super::{Relay, announce};
use crate::control::ControlCaller;
use crate::telemetry::metrics::GaugeGuard;
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

/// Packs on their way through the handler; false in the end when they could not be handled now.
type Handling = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Runs until the resident is given up, or the relay stops. Every client has one of these, which mostly waits: what is
/// in use only while something happens, timers among it, is boxed, and gone when nothing does.
pub fn run(relay: Arc<Relay>, resident: Arc<Resident>) -> impl Future<Output = ()> {
    let mut link = Link::new(relay, resident);
    let mut has_ended = false;
    poll_fn(move |context| {
        while !has_ended && link.is_wanted() {
            link.follow_transports();
            link.carry_out();
            if !link.poll_event(context) {
                return Poll::Pending;
            }
        }
        has_ended = true;
        // What has begun is finished: its effects are wanted, though nobody is left to be told.
        match &mut link.handling {
            Some(handling) => handling.as_mut().poll(context).map(drop),
            None => Poll::Ready(()),
        }
    })
}

struct Link {
    relay: Arc<Relay>,
    resident: Arc<Resident>,
    endpoint: Endpoint,
    /// Packs that are not handled; bounded by the endpoint, which takes no more than it may leave unacked.
    deliveries: VecDeque<Delivery>,
    /// As many of them, from the front, are with the handler.
    begun: usize,
    handling: Option<Handling>,
    pace: Pace,
    /// Transports ever attached, as far as the endpoint knows.
    attach_count: u64,
    /// When the resident is given up, if no transport comes.
    expires: Option<Instant>,
    /// The first lists come with the announcement of the first transport.
    is_announced: bool,
    /// Wakes the link when something is due; none while nothing is.
    alarm: Option<Pin<Box<Sleep>>>,
    _counted: GaugeGuard,
}

impl Link {
    fn new(relay: Arc<Relay>, resident: Arc<Resident>) -> Self {
        let config = EndpointConfig::control(resident.client_id, Arc::clone(&relay.ids));
        Self {
            _counted: GaugeGuard::new(&relay.metrics.residents),
            relay,
            resident,
            endpoint: Endpoint::new(config),
            deliveries: VecDeque::new(),
            begun: 0,
            handling: None,
            pace: Pace { spent_until: Instant::now() },
            attach_count: 0,
            expires: None,
            is_announced: false,
            alarm: None,
        }
    }

    fn is_wanted(&self) -> bool {
        let is_expired = self.expires.is_some_and(|expires| Instant::now() >= expires);
        let is_over = self.relay.stopping.is_cancelled() || self.resident.is_retired();
        !(is_over || (is_expired && self.relay.registry.forget_detached(&self.resident)))
    }

    /// Takes the next thing that has happened; false when nothing has, and the task is woken once something does.
    fn poll_event(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(handling) = &mut self.handling
            && let Poll::Ready(done) = handling.as_mut().poll(context)
        {
            self.handling = None;
            if done {
                self.confirm();
            } else {
                // Without an acknowledgement the client sends the packs again, over a transport and to a state anew.
                self.relay.registry.give_up(&self.resident, EndReason::Unstored);
            }
            return true;
        }
        if let Poll::Ready(work) = self.resident.control.poll_take(context) {
            self.take(work);
            return true;
        }
        let Some(deadline) = self.next_deadline() else {
            self.alarm = None;
            self.shrink();
            return false;
        };
        // An alarm set to this moment rings a little later, and would be set anew then, again and again.
        let is_due = deadline <= Instant::now() || self.poll_alarm(deadline, context);
        if is_due {
            self.alarm = None;
            self.handle_timeout();
        } else {
            self.shrink();
        }
        is_due
    }

    fn poll_alarm(&mut self, deadline: Instant, context: &mut Context<'_>) -> bool {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(context).is_ready()
    }

    /// Gives back the memory of a past burst.
    fn shrink(&mut self) {
        self.endpoint.shrink();
        if self.deliveries.is_empty() {
            self.deliveries = VecDeque::new();
        }
    }

    /// Tells the endpoint of transports that came or went.
    fn follow_transports(&mut self) {
        let now = self.relay.clock.now();
        let (open_count, attach_count) = self.resident.transport_counts();
        if open_count == 0 {
            if self.endpoint.is_attached() || self.attach_count != attach_count {
                self.endpoint.detach(now);
                self.expires = Some(Instant::now() + self.relay.config.relay.resident_linger);
            }
        } else {
            self.expires = None;
            if self.attach_count != attach_count {
                self.endpoint.attach(now);
            }
        }
        self.attach_count = attach_count;
    }

    fn take(&mut self, work: Work) {
        let now = self.relay.clock.now();
        for frame in work.frames {
            if let Err(reason) = self.endpoint.handle_frame(now, frame) {
                self.count(reason);
            }
        }
        if work.needs_resync {
            self.relay.metrics.pushes_lost.inc();
            self.endpoint.lose_view(now);
        }
        for pack in work.packs {
            self.push(&pack);
        }
    }

    fn push(&mut self, pack: &[Push]) {
        let frames = pack.iter().map(Push::to_frame).collect();
        let sent = self.endpoint.send(self.relay.clock.now(), self.resident.client_id, frames, SendOptions::default());
        match sent {
            Ok(_) => drop(self.relay.metrics.pushes.inc()),
            // Full lists follow, with what this pack would have said, be it the announcement itself.
            Err(SendRefused::SnapshotOwed | SendRefused::QueueFull) => {
                self.relay.metrics.pushes_lost.inc();
                self.is_announced = true;
            }
            Err(error) => {
                self.relay.metrics.pushes_lost.inc();
                tracing::error!(client = %self.resident.client_id, %error, "a message to a client cannot be sent");
            }
        }
    }

    /// Does what the endpoint asks for, and gives the handler its next packs.
    fn carry_out(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit(frame) => self.transmit(frame),
                Output::Deliver(delivery) => self.deliveries.push_back(delivery),
                Output::NeedsSnapshot => self.send_lists(),
                Output::Acked { .. } => {}
                Output::Expired { .. } => drop(self.relay.metrics.pushes_lost.inc()),
                // Conversations with the control id have no contracts.
                Output::NeedsContract { .. } | Output::CloseContract(_) => {}
            }
        }
        if self.handling.is_none() && !self.deliveries.is_empty() {
            self.handling = Some(self.handle_next());
        }
    }

    fn transmit(&self, frame: Bytes) {
        // A frame that finds no room is sent again by the protocol, like one that is lost on the way.
        let _ = self.resident.send_control(frame);
    }

    /// The client's view is unknown. The lists arrive through the queue.
    fn send_lists(&mut self) {
        if std::mem::replace(&mut self.is_announced, true) {
            announce::send_lists(&self.relay, self.resident.client_id);
        }
    }

    /// Begins with the next pack, or with all next ones that only close contracts.
    fn handle_next(&mut self) -> Handling {
        let closes = self.deliveries.iter().take_while(|delivery| only_closes(&delivery.frames)).count();
        self.begun = closes.max(1);
        let mut frames = Vec::new();
        for delivery in self.deliveries.iter_mut().take(self.begun) {
            frames.append(&mut delivery.frames);
        }
        self.relay.metrics.control_packs.inc_by(self.begun as u64);
        let control = Arc::clone(&self.relay.control);
        let caller = ControlCaller { client_id: self.resident.client_id, network_id: self.resident.network_id };
        let begins = self.pace.next(Instant::now());
        Box::pin(async move {
            // Sleeping takes a millisecond at least, and keys are asked for sooner.
            if begins > Instant::now() {
                sleep_until(begins).await;
            }
            control.handle(caller, &frames).await
        })
    }

    /// What was begun is done.
    fn confirm(&mut self) {
        let now = self.relay.clock.now();
        for delivery in self.deliveries.drain(..std::mem::take(&mut self.begun)) {
            self.endpoint.confirm(now, delivery.id);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let due = self.endpoint.poll_timeout().map(|due| Instant::now() + due.since(self.relay.clock.now()));
        [due, self.expires].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self) {
        let now = self.relay.clock.now();
        if self.endpoint.poll_timeout().is_some_and(|due| due <= now) {
            self.endpoint.handle_timeout(now);
        }
    }

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

fn only_closes(frames: &[Frame]) -> bool {
    frames.iter().all(|frame| frame.message_type == i32::from(MessageType::TransferCloseContract))
}

/// Which packs may begin: [`BURST`] at once, then one in each [`PACE`]. The burst grows again at that rate.
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
