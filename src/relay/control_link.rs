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

/// Packs on their way through the handler; false in the end when they could not be handled now.
type Handling = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Runs until the resident is given up, or the relay stops. Every client has one of these, which mostly waits: what is
/// in use only while something happens, timers among it, is boxed, and gone when nothing does.
pub fn run(relay: Arc<Relay>, resident: Arc<Resident>) -> impl Future<Output = ()> {
    let mut link = Link::new(relay, resident);
    poll_fn(move |context| {
        link.is_wanted = link.is_wanted && link.serve(context);
        if link.is_wanted {
            return Poll::Pending;
        }
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
    /// Whether the resident still stands.
    is_wanted: bool,
    /// Wakes the link when something is due; none while nothing is.
    alarm: Option<Alarm>,
    _counted: GaugeGuard,
}

/// A timer, which is left alone until what it is set for changes.
struct Alarm {
    /// When the endpoint had something to do; with a transport coming or going the alarm begins anew.
    due: Option<Timestamp>,
    sleep: Pin<Box<Sleep>>,
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
            is_wanted: true,
            alarm: None,
        }
    }

    /// Does all there is to do in one go, and has the task woken once there is more; false when the resident is given up.
    fn serve(&mut self, context: &mut Context<'_>) -> bool {
        loop {
            let now = self.relay.clock.now();
            if let Some(work) = self.resident.control.take(context) {
                if work.has_new_state && !self.follow_transports(now) {
                    return false;
                }
                self.take(now, work);
            }
            if self.is_expired() {
                return false;
            }
            self.handle_timeout(now);
            self.carry_out();
            while let Some(handling) = &mut self.handling
                && let Poll::Ready(done) = handling.as_mut().poll(context)
            {
                self.handling = None;
                if !done {
                    // Without an acknowledgement the client sends the packs again, over a transport and to a state anew.
                    self.relay.registry.give_up(&self.resident, EndReason::Unstored);
                    return false;
                }
                self.confirm(now);
                self.carry_out();
            }
            if !self.poll_alarm(now, context) {
                self.shrink();
                return true;
            }
        }
    }

    /// Whether something is due; if not, the task is woken when it is.
    fn poll_alarm(&mut self, now: Timestamp, context: &mut Context<'_>) -> bool {
        let due = self.endpoint.poll_timeout();
        let rings = match (due, self.expires) {
            // An alarm set to this moment rings a little later, and would be set anew then, again and again.
            (Some(due), _) if due <= now => return true,
            (Some(due), expires) => {
                let due = Instant::now() + due.since(now);
                expires.map_or(due, |expires| expires.min(due))
            }
            (None, Some(expires)) => expires,
            (None, None) => {
                self.alarm = None;
                return false;
            }
        };
        let alarm = self.alarm.get_or_insert_with(|| Alarm { due, sleep: Box::pin(sleep_until(rings)) });
        if alarm.due != due {
            alarm.due = due;
            alarm.sleep.as_mut().reset(rings);
        }
        let has_rung = alarm.sleep.as_mut().poll(context).is_ready();
        if has_rung {
            // It may be due a little later by the clock, for which a new one is needed.
            self.alarm = None;
        }
        has_rung
    }

    /// Gives back the memory of a past burst.
    fn shrink(&mut self) {
        self.endpoint.shrink();
        if self.deliveries.is_empty() {
            self.deliveries = VecDeque::new();
        }
    }

    /// Tells the endpoint of transports that came or went; false when the resident is given up, or the relay stops.
    fn follow_transports(&mut self, now: Timestamp) -> bool {
        if self.relay.stopping.is_cancelled() || self.resident.is_retired() {
            return false;
        }
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
        self.alarm = None;
        true
    }

    /// Gives the resident up when no transport has come for too long.
    fn is_expired(&mut self) -> bool {
        let is_due = self.expires.is_some_and(|expires| Instant::now() >= expires);
        // One that has a transport again, or was replaced, says so through the queue.
        is_due && {
            self.expires = None;
            self.relay.registry.forget_detached(&self.resident)
        }
    }

    fn take(&mut self, now: Timestamp, work: Work) {
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
            self.push(now, &pack);
        }
    }

    fn push(&mut self, now: Timestamp, pack: &[Push]) {
        let frames = pack.iter().map(Push::to_frame).collect();
        let sent = self.endpoint.send(now, self.resident.client_id, frames, SendOptions::default());
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
        let mut begun = self.deliveries.iter_mut().take(self.begun);
        let mut frames = begun.next().map(|delivery| std::mem::take(&mut delivery.frames)).unwrap_or_default();
        for delivery in begun {
            frames.append(&mut delivery.frames);
        }
        self.relay.metrics.control_packs.inc_by(self.begun as u64);
        let control = Arc::clone(&self.relay.control);
        let caller = ControlCaller { client_id: self.resident.client_id, network_id: self.resident.network_id };
        let now = Instant::now();
        let begins = self.pace.next(now);
        Box::pin(async move {
            // Sleeping takes a millisecond at least, and keys are asked for sooner.
            if begins > now {
                sleep_until(begins).await;
            }
            control.handle(caller, &frames).await
        })
    }

    /// What was begun is done.
    fn confirm(&mut self, now: Timestamp) {
        for delivery in self.deliveries.drain(..std::mem::take(&mut self.begun)) {
            self.endpoint.confirm(now, delivery.id);
        }
    }

    fn handle_timeout(&mut self, now: Timestamp) {
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
