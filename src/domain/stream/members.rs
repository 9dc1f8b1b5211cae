//! Which contracts hold which stream open.
//!
//! ```text
//!              enter (first contract)            leave (last contract), or
//!              of these nodes                    8 h without a new one
//!   (unknown) ───────────────────────► live ────────────────────────────► (dead: its id never comes back)
//!                                      │  ▲
//!                                      └──┘ enter: refreshes the 8 h
//! ```
//!
//! Part of the ledger's state: a contract is made and enters its stream in one step, so that a stream which just died
//! is never joined. What opens and closes is noted for those who tell the nodes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::key::{StreamKey, pair};
use super::{Stream, StreamEvent};
use crate::ids::{ClientId, ContractId, StreamId};
use crate::time::Timestamp;

/// How long a stream lives after its newest contract was made, whatever its contracts do.
pub const LIFETIME: Duration = Duration::from_secs(8 * 3600);

/// Intermediaries that one request may name.
pub const MAX_INTERMEDIARIES: usize = 8;

/// Streams in which one client may be an intermediary. Anyone may name it, and all its hops must fit its list.
const MAX_BETWEEN: usize = 1024;

/// Streams in which one client may be an end.
const MAX_ENDS: usize = 4096;

/// What a request says about streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamWish {
    /// A stream is wanted even without intermediaries.
    pub is_forced: bool,
    /// The nodes between source and destination, in the order of the way.
    pub intermediary_ids: Vec<ClientId>,
}

/// What a contract is, as far as streams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContractKind {
    /// Within a network.
    Network,
    /// Paid by the source's network.
    Public,
    /// A reply to a contract that is or was in this stream.
    Companion(Option<StreamId>),
}

/// The stream that a contract is to enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// None.
    Apart,
    /// One that lives.
    Join(StreamId),
    /// A new one of these nodes.
    Open(StreamKey),
}

/// A node is part of too many streams already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyStreams;

/// Live streams and their contracts.
#[derive(Debug, Default)]
pub struct Members {
    live: HashMap<StreamId, Live>,
    by_key: HashMap<StreamKey, StreamId>,
    /// Streams by their ends: fewest nodes first, then the oldest.
    by_ends: HashMap<(ClientId, ClientId), BTreeSet<(usize, StreamId)>>,
    expiry: BTreeSet<(Timestamp, StreamId)>,
    /// Streams of each client: as an end, and as an intermediary.
    counts: HashMap<ClientId, [usize; 2]>,
    events: Vec<StreamEvent>,
}

#[derive(Debug)]
struct Live {
    key: StreamKey,
    contracts: HashSet<ContractId>,
    expires: Timestamp,
}

impl Members {
    /// The stream for a contract of `source` to `destination` (`control-and-routing` section 7.2). Whoever asks enters
    /// it before anything else happens.
    pub fn choose(
        &mut self,
        now: Timestamp,
        (source, destination): (ClientId, ClientId),
        kind: ContractKind,
        wish: &StreamWish,
    ) -> Result<Choice, TooManyStreams> {
        self.expire(now);
        let any_of_pair = || self.of_pair(source, destination).map_or(Choice::Apart, Choice::Join);
        let of_nodes = || self.of_nodes(StreamKey::new(source, &wish.intermediary_ids, destination));
        let is_direct = wish.intermediary_ids.is_empty();
        let choice = match kind {
            ContractKind::Companion(origin) => {
                origin.filter(|origin| self.live.contains_key(origin)).map_or_else(any_of_pair, Choice::Join)
            }
            ContractKind::Network if is_direct => match any_of_pair() {
                Choice::Apart if wish.is_forced => of_nodes(),
                choice => choice,
            },
            ContractKind::Public if is_direct && !wish.is_forced => Choice::Apart,
            ContractKind::Network | ContractKind::Public => of_nodes(),
        };
        match &choice {
            Choice::Open(key) if !self.has_room(key) => Err(TooManyStreams),
            _ => Ok(choice),
        }
    }

    /// Adds a contract to the stream chosen for it; `id` names a new one.
    pub fn enter(
        &mut self,
        now: Timestamp,
        contract: ContractId,
        choice: Choice,
        id: impl FnOnce() -> StreamId,
    ) -> Option<Stream> {
        let stream = match choice {
            Choice::Apart => return None,
            Choice::Join(id) => Stream { id, key: self.live.get(&id)?.key.clone() },
            Choice::Open(key) => Stream { id: id(), key },
        };
        self.add(contract, &stream, now + LIFETIME);
        Some(stream)
    }

    /// Adds a contract of before a restart. Once all are back, [`Members::expire`] removes the streams that have died.
    pub fn restore(&mut self, contract: ContractId, stream: &Stream, create_time: Timestamp) {
        self.add(contract, stream, create_time + LIFETIME);
    }

    /// A contract is no longer open.
    pub fn leave(&mut self, contract: ContractId, stream: &Stream) {
        let Some(live) = self.live.get_mut(&stream.id) else { return };
        live.contracts.remove(&contract);
        if live.contracts.is_empty() {
            self.close(stream.id);
        }
    }

    /// Closes every stream whose time is up. Contracts that still held it go on without.
    pub fn expire(&mut self, now: Timestamp) {
        while let Some(&(expires, id)) = self.expiry.first()
            && expires <= now
        {
            self.close(id);
        }
    }

    /// Whether any stream of the pair lives, over whatever nodes.
    pub fn has_stream(&self, a: ClientId, b: ClientId) -> bool {
        self.of_pair(a, b).is_some()
    }

    /// What opened and closed since the last call, in order.
    pub fn take_events(&mut self) -> Vec<StreamEvent> {
        std::mem::take(&mut self.events)
    }

    fn of_pair(&self, a: ClientId, b: ClientId) -> Option<StreamId> {
        self.by_ends.get(&pair(a, b))?.first().map(|(_, id)| *id)
    }

    fn of_nodes(&self, key: StreamKey) -> Choice {
        self.by_key.get(&key).map_or_else(|| Choice::Open(key.clone()), |id| Choice::Join(*id))
    }

    fn has_room(&self, key: &StreamKey) -> bool {
        key.hops().all(|(node, _)| {
            let [ends, between] = self.counts.get(&node).copied().unwrap_or_default();
            if is_end(key, node) { ends < MAX_ENDS } else { between < MAX_BETWEEN }
        })
    }

    fn add(&mut self, contract: ContractId, stream: &Stream, expires: Timestamp) {
        let live = self.live.entry(stream.id).or_insert_with(|| {
            self.by_key.insert(stream.key.clone(), stream.id);
            self.by_ends.entry(stream.key.ends()).or_default().insert((stream.key.nodes().len(), stream.id));
            for node in stream.key.nodes() {
                self.counts.entry(*node).or_default()[usize::from(!is_end(&stream.key, *node))] += 1;
            }
            self.events.push(StreamEvent::Opened(stream.clone()));
            Live { key: stream.key.clone(), contracts: HashSet::new(), expires: Timestamp::ZERO }
        });
        live.contracts.insert(contract);
        self.expiry.remove(&(live.expires, stream.id));
        live.expires = live.expires.max(expires);
        self.expiry.insert((live.expires, stream.id));
    }

    fn close(&mut self, id: StreamId) {
        let Some(Live { key, expires, .. }) = self.live.remove(&id) else { return };
        self.expiry.remove(&(expires, id));
        // Contracts that outlived their stream may come back from the store beside its successor.
        if self.by_key.get(&key) == Some(&id) {
            self.by_key.remove(&key);
        }
        if let Some(streams) = self.by_ends.get_mut(&key.ends()) {
            streams.remove(&(key.nodes().len(), id));
            if streams.is_empty() {
                self.by_ends.remove(&key.ends());
            }
        }
        for node in key.nodes() {
            if let Some(counts) = self.counts.get_mut(node) {
                counts[usize::from(!is_end(&key, *node))] -= 1;
                if *counts == [0, 0] {
                    self.counts.remove(node);
                }
            }
        }
        self.events.push(StreamEvent::Closed(Stream { id, key }));
    }

    /// Every live stream with its contracts.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (StreamId, &StreamKey, &HashSet<ContractId>)> {
        self.live.iter().map(|(id, live)| (*id, &live.key, &live.contracts))
    }
}

fn is_end(key: &StreamKey, node: ClientId) -> bool {
    let (first, last) = key.ends();
    node == first || node == last
}
