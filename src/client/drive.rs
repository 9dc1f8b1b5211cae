//! The task behind a client: carries bytes, times and contracts between the transfer endpoint and the world.
//!
//! All protocol decisions are the endpoint's; here is only who is asked, where bytes go, and what waits where:
//! frames for a transport with room, messages for their reader, contracts for the platform.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::api::Api;
use super::contracts::{ContractFailure, ContractRequest, ContractRequests};
use super::dial::Dialer;
use super::link::Link;
use super::session::{ClientError, ClientOptions, DestinationQueue, Received, Totals};
use crate::ids::{ClientId, IdGenerator};
use crate::time::{Clock, Timestamp};
use crate::transfer::endpoint::Endpoint;
use crate::transfer::output::{ContractUse, Ending, MessageHandle, Output, SendOptions};
use crate::transfer::settings::EndpointConfig;
use crate::wire::control_message::Request;
use crate::wire::messages::{CloseContract, Contract, Frame, Provide, TransferFrame};

/// Frames from the links, handled between two looks at everything else.
const FRAME_BATCH: usize = 64;

/// Frames from the links that wait.
const INCOMING_FRAMES: usize = 256;

/// Frames that wait for a transport with room; more are dropped, as the protocol repairs that.
const MAX_UNSENT: usize = 4096;

/// Time for the last reports to be acknowledged in band; what is left goes over HTTP.
const IN_BAND_TIMEOUT: Duration = Duration::from_secs(3);

/// What the client asks of its task.
#[derive(Debug)]
pub(super) enum Command {
    /// Send a message.
    Send(Outgoing),
    /// Verify contracts with these secrets from now on.
    Provide(Provide),
    /// Drop the transport of one route, or of all; they are dialed again.
    Cut(Option<usize>),
    /// Report every contract as closed and end.
    Close(oneshot::Sender<Result<Totals, ClientError>>),
}

/// A message with the room it holds in its queue.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) to: ClientId,
    pub(super) frames: Vec<Frame>,
    pub(super) options: SendOptions,
    pub(super) queue: Arc<DestinationQueue>,
    pub(super) room: OwnedSemaphorePermit,
    pub(super) acked: Option<oneshot::Sender<()>>,
}

/// Where the task's results go.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) inbox: mpsc::Sender<Received>,
    pub(super) pushes: broadcast::Sender<Frame>,
    pub(super) links_up: watch::Sender<usize>,
}

/// What is known of a message until it is acknowledged.
enum Pending {
    /// A message of the user.
    Message { queue: Arc<DestinationQueue>, _room: OwnedSemaphorePermit, acked: Option<oneshot::Sender<()>> },
    /// A contract reported closed.
    Close(ContractUse),
}

/// What the task has to do next.
enum Event {
    /// Frames came; they are in the batch.
    Frames,
    /// The user wants something, or is gone.
    Command(Option<Command>),
    /// The platform answered a request for a contract.
    Contract(ContractRequest, Result<Contract, ContractFailure>),
    /// A link went up or down.
    LinkChanged,
    /// A link has room for what waits.
    LinkRoom,
    /// The inbox has room for what waits.
    InboxRoom,
    /// A report over HTTP ended.
    Reported,
    /// The endpoint wanted to be woken.
    Timer,
}

/// The task.
pub(super) struct Drive {
    endpoint: Endpoint,
    clock: Clock,
    api: Api,
    commands: mpsc::Receiver<Command>,
    outlets: Outlets,
    links: Vec<Link>,
    link_changed: Arc<Notify>,
    frames: mpsc::Receiver<Bytes>,
    is_attached: bool,
    /// No more commands are taken.
    is_ending: bool,
    /// Frames that found no transport with room.
    unsent: VecDeque<Bytes>,
    /// Messages that found the inbox full. While there are any, further packs are not looked at.
    undelivered: VecDeque<Received>,
    pending: HashMap<MessageHandle, Pending>,
    requests: ContractRequests,
    contract_bytes: Option<u64>,
    /// Reports of closed contracts that went over HTTP, because the control sequence did not take or deliver them.
    reports: JoinSet<()>,
    /// Contracts not yet known to be reported; filled only at the end.
    unreported: Vec<ContractUse>,
    totals: Totals,
}

impl Drive {
    pub(super) fn new(
        options: &ClientOptions,
        dialers: Vec<Dialer>,
        ids: Arc<IdGenerator>,
        clock: Clock,
        commands: mpsc::Receiver<Command>,
        outlets: Outlets,
    ) -> Self {
        let (inbox, frames) = mpsc::channel(INCOMING_FRAMES);
        let link_changed = Arc::new(Notify::new());
        let start = |dialer| Link::start(dialer, options.backoff, inbox.clone(), link_changed.clone());
        let links = dialers.into_iter().map(start).collect();
        let mut config = EndpointConfig::client(options.id, ids);
        Arc::make_mut(&mut config.send).asks_ahead = options.asks_ahead;
        Self {
            endpoint: Endpoint::new(config),
            clock,
            api: options.api.clone(),
            commands,
            outlets,
            links,
            link_changed,
            frames,
            is_attached: false,
            is_ending: false,
            unsent: VecDeque::new(),
            undelivered: VecDeque::new(),
            pending: HashMap::new(),
            requests: ContractRequests::new(options.api.clone()),
            contract_bytes: options.contract_bytes,
            reports: JoinSet::new(),
            unreported: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Runs until the client is closed, or nobody holds a handle to it any more.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(FRAME_BATCH);
        let done = loop {
            match self.next_event(&mut batch).await {
                Event::Command(Some(Command::Close(done))) => break Some(done),
                Event::Command(None) => break None,
                event => self.handle(event, &mut batch),
            }
        };
        self.commands.close();
        self.is_ending = true;
        let ending = if done.is_some() { Ending::Final } else { Ending::Pause };
        let outcome = self.finish(ending, &mut batch).await;
        if let Some(done) = done {
            // Whoever asked may be gone.
            drop(done.send(outcome));
        }
    }

    /// Waits for the next thing to do. Cancelling loses nothing but frames in `batch`.
    async fn next_event(&mut self, batch: &mut Vec<Bytes>) -> Event {
        let wake = self.endpoint.poll_timeout();
        let takes_commands = !self.is_ending && self.unsent.is_empty();
        tokio::select! {
            _ = self.frames.recv_many(batch, FRAME_BATCH) => Event::Frames,
            command = self.commands.recv(), if takes_commands => Event::Command(command),
            (request, outcome) = self.requests.next() => Event::Contract(request, outcome),
            () = self.link_changed.notified() => Event::LinkChanged,
            () = room(&self.links), if !self.unsent.is_empty() => Event::LinkRoom,
            _ = self.outlets.inbox.reserve(), if !self.undelivered.is_empty() => Event::InboxRoom,
            _ = self.reports.join_next(), if !self.reports.is_empty() => Event::Reported,
            () = until(&self.clock, wake), if wake.is_some() => Event::Timer,
        }
    }

    fn handle(&mut self, event: Event, batch: &mut Vec<Bytes>) {
        match event {
            Event::Frames => self.handle_frames(batch),
            Event::Command(Some(command)) => self.handle_command(command),
            Event::Contract(request, outcome) => self.handle_contract(request, outcome),
            Event::LinkChanged => self.look_at_links(),
            Event::LinkRoom => self.send_waiting(),
            Event::InboxRoom => self.deliver_waiting(),
            Event::Timer => self.endpoint.handle_timeout(self.clock.now()),
            Event::Reported | Event::Command(None) => {}
        }
        self.take_outputs();
    }

    fn handle_frames(&mut self, batch: &mut Vec<Bytes>) {
        let now = self.clock.now();
        for frame in batch.drain(..) {
            if !self.undelivered.is_empty() && is_message(&frame) {
                // Not acknowledged, so it comes again.
                self.totals.dropped_frames += 1;
                continue;
            }
            if let Err(reason) = self.endpoint.handle_frame(now, frame) {
                tracing::trace!(%reason, "frame without effect");
                self.totals.dropped_frames += 1;
            }
            self.take_outputs();
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Send(message) => self.send(message),
            Command::Provide(provide) => self.endpoint.set_provide(&provide),
            Command::Cut(Some(nth)) => self.links.get(nth).into_iter().for_each(Link::cut),
            Command::Cut(None) => self.links.iter().for_each(Link::cut),
            Command::Close(_) => {}
        }
    }

    fn send(&mut self, message: Outgoing) {
        let Outgoing { to, frames, options, queue, room, acked } = message;
        match self.endpoint.send(self.clock.now(), to, frames, options) {
            Ok(handle) => {
                self.pending.insert(handle, Pending::Message { queue, _room: room, acked });
            }
            Err(refused) => {
                tracing::debug!(%to, %refused, "message not taken");
                queue.count_lost();
            }
        }
    }

    fn handle_contract(&mut self, request: ContractRequest, outcome: Result<Contract, ContractFailure>) {
        match outcome {
            Ok(contract) => {
                let added = self.endpoint.add_contract(self.clock.now(), request.to, request.lane, &contract);
                if let Err(refused) = added {
                    tracing::debug!(to = %request.to, %refused, "contract not taken");
                }
            }
            // The endpoint asks again, or gives the messages up.
            Err(failure) => tracing::debug!(to = %request.to, %failure, "no contract"),
        }
    }

    fn look_at_links(&mut self) {
        let up = self.links.iter().filter(|link| link.is_up()).count();
        self.outlets.links_up.send_if_modified(|seen| std::mem::replace(seen, up) != up);
        if self.is_attached == (up > 0) {
            return;
        }
        self.is_attached = up > 0;
        // What waits here is sent anew by the endpoint, with its head marked.
        self.unsent.clear();
        if self.is_attached {
            self.endpoint.attach(self.clock.now());
        } else {
            self.endpoint.detach(self.clock.now());
        }
    }

    /// Does what the endpoint wants.
    fn take_outputs(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit(frame) => self.transmit(frame),
                Output::Deliver(delivery) if delivery.from.is_control() => {
                    for frame in delivery.frames {
                        // Nobody may be listening.
                        drop(self.outlets.pushes.send(frame));
                    }
                }
                Output::Deliver(delivery) => self.deliver(delivery),
                Output::Acked { message, .. } => self.settle(message, true),
                Output::Expired { message, .. } => self.settle(message, false),
                Output::NeedsContract { to, lane, transfer_byte_count } => {
                    let bytes = self.contract_bytes.unwrap_or(transfer_byte_count);
                    self.requests.begin(ContractRequest { to, lane, bytes });
                }
                Output::CloseContract(used) => self.report(used),
                // Only the platform's side owes snapshots.
                Output::NeedsSnapshot => {}
            }
        }
    }

    fn transmit(&mut self, frame: Bytes) {
        let waits = if self.unsent.is_empty() { try_send(&self.links, frame) } else { Some(frame) };
        if let Some(frame) = waits {
            if self.unsent.len() < MAX_UNSENT {
                self.unsent.push_back(frame);
            } else {
                self.totals.dropped_frames += 1;
            }
        }
    }

    fn send_waiting(&mut self) {
        while let Some(frame) = self.unsent.pop_front() {
            if let Some(frame) = try_send(&self.links, frame) {
                self.unsent.push_front(frame);
                return;
            }
        }
    }

    fn deliver(&mut self, received: Received) {
        self.undelivered.push_back(received);
        if self.undelivered.len() == 1 {
            self.deliver_waiting();
        }
    }

    fn deliver_waiting(&mut self) {
        while let Some(received) = self.undelivered.pop_front() {
            match self.outlets.inbox.try_send(received) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(received)) => return self.undelivered.push_front(received),
                // Nobody reads: messages end here, acknowledged.
                Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
    }

    fn settle(&mut self, message: MessageHandle, is_acked: bool) {
        match self.pending.remove(&message) {
            Some(Pending::Message { queue, acked, .. }) => match acked {
                Some(acked) if is_acked => drop(acked.send(())),
                // Dropping the other end tells its waiter.
                Some(_) => {}
                None if is_acked => {}
                None => queue.count_lost(),
            },
            Some(Pending::Close(used)) if !is_acked => self.report_over_http(used),
            _ => {}
        }
    }

    /// Reports a closed contract to the platform, in band.
    fn report(&mut self, used: ContractUse) {
        self.totals.bytes += used.acked_byte_count;
        match (used.checkpoint, used.acked_byte_count + used.unacked_byte_count) {
            (false, 0) => self.totals.unused.push(used.contract_id),
            (false, _) => self.totals.contracts += 1,
            (true, _) => {}
        }
        let sent =
            self.endpoint.send(self.clock.now(), ClientId::CONTROL, vec![close_frame(used)], SendOptions::default());
        match sent {
            Ok(handle) => {
                self.pending.insert(handle, Pending::Close(used));
            }
            Err(_) => self.report_over_http(used),
        }
    }

    /// Ends all conversations and makes sure that the platform knows what was used of every contract.
    async fn finish(&mut self, ending: Ending, batch: &mut Vec<Bytes>) -> Result<Totals, ClientError> {
        self.endpoint.close(self.clock.now(), ending);
        self.take_outputs();
        // In band first: acks of the last packs leave the same way, in front.
        if self.is_attached {
            drop(tokio::time::timeout(IN_BAND_TIMEOUT, self.until_reported(batch)).await);
        }
        let waiting = self.pending.drain().filter_map(|(_, pending)| match pending {
            Pending::Close(used) => Some(used),
            Pending::Message { .. } => None,
        });
        self.unreported.extend(waiting);
        for link in self.links.drain(..) {
            link.close().await;
        }
        while self.reports.join_next().await.is_some() {}
        if !self.unreported.is_empty() {
            // Errors of single frames say that the contract is closed already, by an answer that was lost.
            self.api.connect_control(self.unreported.drain(..).map(close_frame).collect()).await?;
        }
        Ok(std::mem::take(&mut self.totals))
    }

    /// Carries frames until every contract is reported in band.
    async fn until_reported(&mut self, batch: &mut Vec<Bytes>) {
        while self.pending.values().any(|pending| matches!(pending, Pending::Close(_))) {
            let event = self.next_event(batch).await;
            self.handle(event, batch);
        }
    }

    fn report_over_http(&mut self, used: ContractUse) {
        if self.is_ending {
            self.unreported.push(used);
            return;
        }
        let api = self.api.clone();
        self.reports.spawn(async move {
            if let Err(error) = api.connect_control(vec![close_frame(used)]).await {
                // The platform closes it by itself, a few minutes later.
                tracing::debug!(contract = %used.contract_id, %error, "contract not reported");
            }
        });
    }
}

/// Resolves when any link that is up has room, for ever waiting while none is up.
async fn room(links: &[Link]) {
    let rooms = links.iter().filter(|link| link.is_up()).map(|link| Box::pin(link.outbox().reserve()));
    let rooms: Vec<_> = rooms.collect();
    if rooms.is_empty() {
        return std::future::pending().await;
    }
    // The permit goes back at once: only this task sends, so the room stays.
    drop(futures_util::future::select_all(rooms).await);
}

/// Sleeps until `wake`, which may have passed.
async fn until(clock: &Clock, wake: Option<Timestamp>) {
    match wake {
        Some(wake) => tokio::time::sleep(wake.since(clock.now())).await,
        None => std::future::pending().await,
    }
}

/// Whether a frame carries messages of a peer: neither an ack nor from the platform.
fn is_message(frame: &Bytes) -> bool {
    let frame = TransferFrame::decode(frame.clone()).unwrap_or_default();
    frame.ack.is_none() && frame.transfer_path.is_some_and(|path| path.source_id.is_some())
}

/// The control message that reports a contract.
fn close_frame(used: ContractUse) -> Frame {
    let close = CloseContract {
        contract_id: used.contract_id.into(),
        acked_byte_count: used.acked_byte_count,
        unacked_byte_count: used.unacked_byte_count,
        checkpoint: used.checkpoint,
    };
    Request::CloseContract(close).to_frame()
}

/// The first link that takes the frame; gives it back when none does.
fn try_send(links: &[Link], mut frame: Bytes) -> Option<Bytes> {
    for link in links.iter().filter(|link| link.is_up()) {
        match link.outbox().try_send(frame) {
            Ok(()) => return None,
            Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) => frame = back,
        }
    }
    Some(frame)
}
