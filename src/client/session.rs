//! The client as its user sees it: send to a client id, receive from any, provide, close.
//!
//! A [`Client`] is a handle to one task (`drive`) that owns the transfer endpoint, the links and the contracts. What
//! may wait is bounded per destination, so that a slow peer holds up its own messages and nobody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use prost::Message as _;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};

use super::api::{Api, ApiError};
use super::dial::{Credentials, DialError, Dialer, Route};
use super::drive::{self, Command, Drive, Outgoing};
use super::link::Backoff;
use super::tls::Trust;
use crate::ids::{ClientId, ContractId, IdGenerator, InstanceId};
use crate::time::Clock;
use crate::transfer::lane::Lane;
use crate::transfer::output::{Delivery, SendOptions};
use crate::wire::control_message::Request;
use crate::wire::messages::{Frame, Provide, ProvideKey, ProvideMode};

/// Bytes waiting for acknowledgement towards one destination, by default.
const QUEUE_BYTES: usize = 1024 * 1024;

/// Least share of the queue that a message takes, however small it is; bounds the count.
const LEAST_SHARE: usize = 512;

/// Largest message: the frames of one pack as they are encoded.
pub const MAX_MESSAGE_BYTES: usize = 3000;

/// Destinations whose queues are remembered; idle ones are forgotten beyond it.
const MAX_DESTINATIONS: usize = 8192;

/// Commands on their way to the task.
const COMMANDS: usize = 256;

/// Received messages that wait for their reader.
const INBOX_MESSAGES: usize = 1024;

/// Pushes of the platform kept for slow readers.
const PUSHES: usize = 64;

/// Length of a provide secret.
const SECRET_BYTES: usize = 32;

/// How a client is started.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The API with the client's token.
    pub api: Api,
    /// The client.
    pub id: ClientId,
    /// Routes to the relay, all kept alive; frames take the first that is up and has room.
    pub routes: Vec<Route>,
    /// Whom the transports trust.
    pub trust: Trust,
    /// When lost transports are dialed again.
    pub backoff: Backoff,
    /// Bytes that may wait for acknowledgement towards one destination.
    pub queue_bytes: usize,
    /// Size of every contract asked for; `None` for the growing sizes of the apps.
    pub contract_bytes: Option<u64>,
    /// Whether the next contract is asked for before the current one is used up.
    pub asks_ahead: bool,
}

impl ClientOptions {
    /// The defaults, without a route.
    pub fn new(api: Api, id: ClientId) -> Self {
        Self {
            api,
            id,
            routes: Vec::new(),
            trust: Trust::default(),
            backoff: Backoff::default(),
            queue_bytes: QUEUE_BYTES,
            contract_bytes: None,
            asks_ahead: true,
        }
    }
}

/// Why the client did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A route that cannot be dialed at all.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The API refused.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The API has no token, or there is no route.
    #[error("a client needs a token and at least one route")]
    Incomplete,
    /// The message is empty, or larger than [`MAX_MESSAGE_BYTES`].
    #[error("a message of {0} encoded bytes does not fit a pack")]
    BadSize(usize),
    /// The message was given up: no contract, or no acknowledgement, for too long.
    #[error("{0} messages were lost: no contract, or no acknowledgement in time")]
    Lost(u64),
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
    /// The platform did not take a control message.
    #[error("the platform answers: {0}")]
    Refused(String),
}

/// What a client has done under contracts, both as sender and as receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Contracts that carried bytes and were reported closed.
    pub contracts: u64,
    /// Bytes reported as carried, checkpoints included.
    pub bytes: u64,
    /// Contracts that were granted and never used, reported closed.
    pub unused: Vec<ContractId>,
    /// Frames that had no effect: duplicates, late acks, contracts that do not verify.
    pub dropped_frames: u64,
}

/// Messages of a peer.
pub type Received = Delivery;

/// What waits for one destination.
#[derive(Debug)]
pub(super) struct DestinationQueue {
    room: Arc<Semaphore>,
    lost: AtomicU64,
}

impl DestinationQueue {
    pub(super) fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// A running client. Cheap to clone; it ends when all clones are dropped, or with [`Client::close`].
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    id: ClientId,
    api: Api,
    commands: mpsc::Sender<Command>,
    queues: DashMap<ClientId, Arc<DestinationQueue>>,
    queue_bytes: usize,
    links_up: watch::Receiver<usize>,
    pushes: broadcast::Sender<Frame>,
}

/// Where a client's messages arrive.
#[derive(Debug)]
pub struct Inbox(mpsc::Receiver<Received>);

impl Inbox {
    /// The next message; `None` when the client has ended. Cancelling loses nothing.
    ///
    /// While messages wait unread beyond a bound, further ones are not acknowledged and come again later.
    pub async fn recv(&mut self) -> Option<Received> {
        self.0.recv().await
    }
}

/// A message with room in its destination's queue.
#[derive(Debug)]
pub struct Slot {
    message: Outgoing,
    command: mpsc::OwnedPermit<Command>,
}

impl Slot {
    /// Hands the message over; it is sent, and sent again, until it is acknowledged or lost.
    pub fn send(self) {
        drop(self.command.send(Command::Send(self.message)));
    }

    /// Hands the message over; the receiver hears when the peer has it, or that it was lost.
    fn send_acked(mut self) -> oneshot::Receiver<()> {
        let (acked, is_acked) = oneshot::channel();
        self.message.acked = Some(acked);
        self.send();
        is_acked
    }
}

impl Client {
    /// Starts to dial all routes. Must be called within a tokio runtime.
    pub fn start(options: ClientOptions) -> Result<(Self, Inbox), ClientError> {
        let token = options.api.token().map(str::to_owned).ok_or(ClientError::Incomplete)?;
        if options.routes.is_empty() {
            return Err(ClientError::Incomplete);
        }
        let clock = Clock::system();
        let ids = Arc::new(IdGenerator::new());
        let instance: InstanceId = ids.next_random(clock.now());
        let credentials = Credentials::of_token(token, instance);
        let dialers =
            options.routes.iter().map(|route| Dialer::new(route.clone(), credentials.clone(), &options.trust));
        let dialers = dialers.collect::<Result<Vec<_>, _>>()?;

        let (commands, command_receiver) = mpsc::channel(COMMANDS);
        let (inbox, received) = mpsc::channel(INBOX_MESSAGES);
        let (links_up, links_up_receiver) = watch::channel(0);
        let (pushes, _) = broadcast::channel(PUSHES);
        let outlets = drive::Outlets { inbox, pushes: pushes.clone(), links_up };
        let shared = Shared {
            id: options.id,
            api: options.api.clone(),
            commands,
            queues: DashMap::new(),
            queue_bytes: options.queue_bytes.max(MAX_MESSAGE_BYTES),
            links_up: links_up_receiver,
            pushes,
        };
        tokio::spawn(Drive::new(&options, dialers, ids, clock, command_receiver, outlets).run());
        Ok((Self(Arc::new(shared)), Inbox(received)))
    }

    /// The client's id.
    pub fn id(&self) -> ClientId {
        self.0.id
    }

    /// Waits until a transport is up.
    pub async fn connected(&self) -> Result<(), ClientError> {
        self.0.links_up.clone().wait_for(|up| *up > 0).await.map(drop).map_err(|_| ClientError::Closed)
    }

    /// Number of transports that are up, and its changes.
    pub fn links_up(&self) -> watch::Receiver<usize> {
        self.0.links_up.clone()
    }

    /// Control messages that the platform sends, from now on. A slow reader misses the oldest.
    pub fn pushes(&self) -> broadcast::Receiver<Frame> {
        self.0.pushes.subscribe()
    }

    /// Tells the platform, durably, in which modes this client receives; nobody needs to know the secrets but the two.
    pub async fn provide(&self, modes: &[ProvideMode]) -> Result<(), ClientError> {
        let mut keys = Vec::with_capacity(modes.len());
        for mode in modes {
            let mut secret = vec![0; SECRET_BYTES];
            aws_lc_rs::rand::fill(&mut secret).expect("the system random generator works");
            keys.push(ProvideKey { mode: (*mode).into(), provide_secret_key: secret.into() });
        }
        let provide = Provide { keys };
        // The endpoint first: a contract may arrive before the answer does.
        self.command(Command::Provide(provide.clone())).await?;
        let answer = self.0.api.connect_control(vec![Request::Provide(provide).to_frame()]).await?;
        answer.error.map_or(Ok(()), |message| Err(ClientError::Refused(message)))
    }

    /// Waits for room for a message towards `to`.
    pub async fn reserve(&self, to: ClientId, frames: Vec<Frame>, options: SendOptions) -> Result<Slot, ClientError> {
        let bytes = encoded_bytes(&frames);
        if frames.is_empty() || bytes > MAX_MESSAGE_BYTES {
            return Err(ClientError::BadSize(bytes));
        }
        let queue = self.queue(to);
        let share = bytes.max(LEAST_SHARE) as u32;
        let room = queue.room.clone().acquire_many_owned(share).await.map_err(|_| ClientError::Closed)?;
        let command = self.0.commands.clone().reserve_owned().await.map_err(|_| ClientError::Closed)?;
        Ok(Slot { message: Outgoing { to, frames, options, queue, room, acked: None }, command })
    }

    /// Sends a message in order, on the default lane; waits only for room in the queue.
    pub async fn send(&self, to: ClientId, frames: Vec<Frame>) -> Result<(), ClientError> {
        self.reserve(to, frames, SendOptions::default()).await.map(Slot::send)
    }

    /// Sends a message and waits until the peer has it.
    pub async fn send_acked(&self, to: ClientId, frames: Vec<Frame>) -> Result<(), ClientError> {
        let slot = self.reserve(to, frames, SendOptions::default()).await?;
        slot.send_acked().await.map_err(|_| ClientError::Lost(1))
    }

    /// Answers on the lane a message came on. A peer of another network pays for the answer.
    pub async fn reply(&self, received: &Received, frames: Vec<Frame>) -> Result<(), ClientError> {
        let options = SendOptions { lane: reply_lane(received), ..SendOptions::default() };
        self.reserve(received.from, frames, options).await.map(Slot::send)
    }

    /// Waits until everything sent to `to` is acknowledged; an error when some of it was lost since the last call.
    pub async fn flush(&self, to: ClientId) -> Result<(), ClientError> {
        let queue = self.queue(to);
        drop(queue.room.acquire_many(self.0.queue_bytes as u32).await.map_err(|_| ClientError::Closed)?);
        match queue.lost.swap(0, Ordering::Relaxed) {
            0 => Ok(()),
            count => Err(ClientError::Lost(count)),
        }
    }

    /// Drops all transports without a word, as a lost network does; they are dialed again.
    pub async fn cut(&self) -> Result<(), ClientError> {
        self.command(Command::Cut(None)).await
    }

    /// Drops the transport of one route, counted from 0, without a word.
    pub async fn cut_route(&self, nth: usize) -> Result<(), ClientError> {
        self.command(Command::Cut(Some(nth))).await
    }

    /// Ends the client: nothing is sent or received any more, every contract is reported as closed for good.
    pub async fn close(&self) -> Result<Totals, ClientError> {
        let (done, totals) = oneshot::channel();
        self.command(Command::Close(done)).await?;
        totals.await.map_err(|_| ClientError::Closed)?
    }

    async fn command(&self, command: Command) -> Result<(), ClientError> {
        self.0.commands.send(command).await.map_err(|_| ClientError::Closed)
    }

    fn queue(&self, to: ClientId) -> Arc<DestinationQueue> {
        let queues = &self.0.queues;
        if queues.len() >= MAX_DESTINATIONS && !queues.contains_key(&to) {
            queues.retain(|_, queue| Arc::strong_count(queue) > 1);
        }
        let fresh = || DestinationQueue { room: Arc::new(Semaphore::new(self.0.queue_bytes)), lost: AtomicU64::new(0) };
        queues.entry(to).or_insert_with(|| Arc::new(fresh())).clone()
    }
}

/// Bytes of the frames inside a pack: each has a tag and a length of up to three bytes.
fn encoded_bytes(frames: &[Frame]) -> usize {
    frames.iter().map(|frame| frame.encoded_len() + 4).sum()
}

/// The lane to answer on: free within a network, paid by the peer otherwise, and paid by us when the peer answered.
fn reply_lane(received: &Received) -> Lane {
    let is_same_network =
        received.contract.as_ref().is_some_and(|contract| contract.provide_mode == ProvideMode::Network);
    received.lane.reply(!received.lane.companion_contract && !is_same_network)
}

#[cfg(test)]
mod tests;
