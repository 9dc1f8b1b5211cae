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
use crate::transfer::output::{Delivery, DeliveryId, Output, SendOptions, SendRefused, TransferDrop};
use crate::transfer::settings::EndpointConfig;
use crate::wire::control_message::Push;

/// What a client may send at once before it is paced. What it says on connecting is needed at once: others ask for its
/// keys within milliseconds.
const BURST: u32 = 16;

/// Pause between two packs beyond the burst, so that a flood of control packs cannot take the store from the others.
const PACE: Duration = Duration::from_millis(5);

/// A pack on its way through the handler; `None` in the end when it could not be handled now.
type Handling = Pin<Box<dyn Future<Output = Option<DeliveryId>> + Send>>;

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
    /// Packs the handler has not begun with; bounded by the endpoint, which takes no more than it may leave unacked.
    deliveries: VecDeque<Delivery>,
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
            match done {
                Some(id) => self.confirm(id),
                // Without an acknowledgement the client sends the pack again, over a transport and to a state anew.
                None => self.relay.registry.give_up(&self.resident, EndReason::Unstored),
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
        // Not left to the alarm: one that is set to this moment rings a millisecond later, when it is that moment again.
        let is_due = deadline <= Instant::now() || self.set_alarm(deadline, context);
        if is_due {
            self.alarm = None;
            self.handle_timeout();
        } else {
            self.shrink();
        }
        is_due
    }

    /// Lets the alarm ring at a moment; true when that has come.
    fn set_alarm(&mut self, deadline: Instant, context: &mut Context<'_>) -> bool {
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

    /// Does what the endpoint asks for, and gives the handler its next pack.
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
        if self.handling.is_none()
            && let Some(delivery) = self.deliveries.pop_front()
        {
            self.handling = Some(self.handle(delivery));
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

    fn handle(&mut self, delivery: Delivery) -> Handling {
        self.relay.metrics.control_packs.inc();
        let control = Arc::clone(&self.relay.control);
        let caller = ControlCaller { client_id: self.resident.client_id, network_id: self.resident.network_id };
        let begins = self.pace.next(Instant::now());
        Box::pin(async move {
            // Sleeping takes a millisecond at least, and keys are asked for sooner.
            if begins > Instant::now() {
                sleep_until(begins).await;
            }
            control.handle(caller, &delivery.frames).await.then_some(delivery.id)
        })
    }

    fn confirm(&mut self, done: DeliveryId) {
        self.endpoint.confirm(self.relay.clock.now(), done);
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
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::relay::testing::{TestClient, TestRelay, id};
    use crate::wire::control_message::Request;
    use crate::wire::messages::{MessageType, NetworkPeersUpdate, Pack, TransferFrame, TransferPath};

    fn relay() -> TestRelay {
        TestRelay::new(|_| ())
    }

    async fn send_pack(client: &mut TestClient, number: u64, head: bool, requests: &[Request]) {
        let pack = Pack {
            message_id: Bytes::from(vec![number as u8; 16]),
            sequence_id: Bytes::from_static(&[0xb0; 16]),
            sequence_number: number,
            head,
            frames: requests.iter().map(Request::to_frame).collect(),
            ..Pack::default()
        };
        let path = TransferPath { source_id: Some(id(1).into()), ..TransferPath::default() };
        let frame = TransferFrame { transfer_path: Some(path), pack: Some(pack), ..TransferFrame::default() };
        client.send(frame.encode_to_vec()).await;
    }

    async fn receive_ack(client: &mut TestClient) -> u8 {
        loop {
            if let Some(ack) = client.receive_control().await.ack {
                assert_eq!(ack.sequence_id, Bytes::from_static(&[0xb0; 16]));
                assert!(!ack.selective);
                return ack.message_id[0];
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pack_is_acked_once_its_effects_are_durable_and_a_repeated_one_is_not_handled_again() {
        let relay = relay();
        *relay.control.delay.lock() = Duration::from_millis(700);
        let mut client = relay.connect(1, 1).await;
        let sent = Instant::now();
        send_pack(&mut client, 0, true, &[Request::ControlPing, Request::ProvidePing]).await;
        assert_eq!(receive_ack(&mut client).await, 0);
        assert!(sent.elapsed() >= Duration::from_millis(700));
        send_pack(&mut client, 0, true, &[Request::ControlPing, Request::ProvidePing]).await;
        assert_eq!(receive_ack(&mut client).await, 0);
        let handled = relay.control.handled.lock().clone();
        assert_eq!(handled.len(), 1);
        assert_eq!((handled[0].0, handled[0].1.len()), (id(1), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pack_that_cannot_be_stored_is_not_acked_and_its_client_comes_back_to_send_it_again() {
        let relay = relay();
        *relay.control.is_failing.lock() = true;
        let mut client = relay.connect(1, 1).await;
        send_pack(&mut client, 0, true, &[Request::ControlPing]).await;
        assert_eq!(client.served.await.unwrap(), EndReason::Unstored);
        *relay.control.is_failing.lock() = false;
        let mut client = relay.connect(1, 1).await;
        send_pack(&mut client, 0, true, &[Request::ControlPing]).await;
        assert_eq!(receive_ack(&mut client).await, 0);
        assert_eq!(relay.control.handled.lock().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_resident_joins_a_running_sequence_at_its_head() {
        let relay = relay();
        let mut client = relay.connect(1, 1).await;
        send_pack(&mut client, 7, true, &[Request::ControlPing]).await;
        assert_eq!(receive_ack(&mut client).await, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_process_run_gets_its_lists_until_it_acks_them() {
        let relay = relay();
        let mut client = relay.connect(1, 1).await;
        let started = Instant::now();
        let first = client.receive_pack().await;
        assert!(first.head);
        let types: Vec<i32> = first.frames.iter().map(|frame| frame.message_type).collect();
        assert_eq!(types, [i32::from(MessageType::TransferStreamReset)]);
        assert_eq!(*relay.peers.resynced.lock(), [id(1)], "the list of peers is asked for");
        let again = client.receive_pack().await;
        assert_eq!((again.sequence_number, started.elapsed().as_secs()), (0, 2));
        client.ack(1, &again).await;
        relay.relay.push(id(1), vec![Push::NetworkPeersUpdate(NetworkPeersUpdate::default())]);
        let next = client.receive_pack().await;
        assert_eq!((next.sequence_number, next.head), (1, true));
        assert_eq!(next.sequence_id, first.sequence_id);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_within_a_millisecond_is_done_and_not_put_off() {
        // Timers count whole milliseconds, and the clock of a test stands at one unless it is moved.
        tokio::time::advance(Duration::from_micros(300)).await;
        let relay = relay();
        let mut client = relay.connect(1, 1).await;
        let first = client.receive_pack().await;
        let again = tokio::time::timeout(Duration::from_secs(3), client.receive_pack()).await;
        assert_eq!(again.expect("it was not acked").message_id, first.message_id);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_acked_comes_again_over_the_next_transport() {
        let relay = relay();
        let mut client = relay.connect(1, 1).await;
        let first = client.receive_pack().await;
        drop(client.socket);
        client.served.await.unwrap();
        relay.relay.push(id(1), vec![Push::NetworkPeersReset]);
        tokio::time::sleep(Duration::from_secs(90)).await;
        let mut client = relay.connect(1, 1).await;
        let (again, pushed) = (client.receive_pack().await, client.receive_pack().await);
        assert_eq!((again.message_id, again.head), (first.message_id, true));
        assert_eq!((pushed.sequence_number, pushed.sequence_id), (1, first.sequence_id));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_acks_gets_full_lists_with_its_next_frame() {
        let relay = relay();
        let mut client = relay.connect(1, 1).await;
        let first = client.receive_pack().await;
        for _ in 0..7 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            client.send(Bytes::new()).await;
        }
        relay.peers.resynced.lock().clear();
        send_pack(&mut client, 0, true, &[Request::ControlPing]).await;
        let fresh = loop {
            let pack = client.receive_pack().await;
            if pack.sequence_id != first.sequence_id {
                break pack;
            }
        };
        assert!(fresh.head && fresh.sequence_id > first.sequence_id);
        assert_eq!(*relay.peers.resynced.lock(), [id(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_packs_goes_at_once_and_a_flood_is_paced() {
        let now = Instant::now();
        let mut pace = Pace { spent_until: now };
        for number in 0..60_u32 {
            let begins = pace.next(now);
            assert_eq!(begins - now, PACE * (number + 1).saturating_sub(BURST), "{number}");
        }
        let rested = now + PACE * 60;
        let delays: Vec<_> = (0..=BURST).map(|_| pace.next(rested) - rested).collect();
        assert_eq!(delays.last(), Some(&PACE), "no more than the burst gathers");
        assert!(delays.iter().rev().skip(1).all(Duration::is_zero));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_client_says_on_connecting_is_handled_at_once() {
        let relay = relay();
        let mut client = relay.connect(1, 1).await;
        let started = Instant::now();
        for number in 0..u64::from(BURST) {
            send_pack(&mut client, number, number == 0, &[Request::ControlPing]).await;
        }
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!((relay.control.handled.lock().len(), started.elapsed()), (BURST as usize, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_packs_is_paced_and_nothing_is_acked_that_was_not_handled() {
        let relay = relay();
        let mut client = relay.connect(1, 1).await;
        let started = Instant::now();
        for number in 0..60 {
            send_pack(&mut client, number, number == 0, &[Request::ControlPing]).await;
        }
        while receive_ack(&mut client).await != 59 {}
        assert!(started.elapsed() >= PACE * (60 - BURST));
        assert_eq!(relay.control.handled.lock().len(), 60);
    }
}
