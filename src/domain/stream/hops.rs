//! The neighbours of every client, and the messages that tell them: driven by streams that open and close, and by
//! clients whose view is unknown.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::StreamEvent;
use super::key::Hop;
use crate::ids::{ClientId, StreamId};
use crate::wire::control_message::Push;
use crate::wire::messages::{StreamClose, StreamReset};

/// Hops in a full list; more follow one by one. A pack holds 3000 bytes, and a hop takes up to 56 of a list.
const RESET_HOPS: usize = 50;

/// Messages in one pack, of up to 60 bytes each.
const PACK_MESSAGES: usize = 48;

/// The hops of every client that is a node of a stream, connected or not.
#[derive(Debug, Default)]
pub struct Hops {
    /// Oldest stream first.
    by_client: HashMap<ClientId, BTreeMap<StreamId, Hop>>,
    stream_count: u64,
    outputs: VecDeque<(ClientId, Vec<Push>)>,
}

impl Hops {
    /// Streams were opened or closed, in this order; all is said to a client in as few packs as possible.
    pub fn handle_events(&mut self, events: Vec<StreamEvent>) {
        let mut said: BTreeMap<ClientId, Vec<Push>> = BTreeMap::new();
        for event in events {
            match event {
                StreamEvent::Opened(stream) => {
                    self.stream_count += 1;
                    for (node, hop) in stream.key.hops() {
                        self.by_client.entry(node).or_default().insert(stream.id, hop);
                        said.entry(node).or_default().push(Push::StreamOpen(hop.message(stream.id)));
                    }
                }
                StreamEvent::Closed(stream) => {
                    self.stream_count = self.stream_count.saturating_sub(1);
                    for node in stream.key.nodes() {
                        self.remove(*node, stream.id);
                        let close = StreamClose { stream_id: stream.id.into() };
                        said.entry(*node).or_default().push(Push::StreamClose(close));
                    }
                }
            }
        }
        for (client_id, pushes) in said {
            self.say(client_id, pushes);
        }
    }

    /// A client's view is unknown: it gets all its hops, which may be none.
    pub fn handle_resync(&mut self, client_id: ClientId) {
        let hops = self.by_client.get(&client_id).into_iter().flatten();
        let mut streams: Vec<_> = hops.map(|(stream_id, hop)| hop.message(*stream_id)).collect();
        let rest = streams.split_off(streams.len().min(RESET_HOPS));
        self.outputs.push_back((client_id, vec![Push::StreamReset(StreamReset { streams })]));
        self.say(client_id, rest.into_iter().map(Push::StreamOpen).collect());
    }

    /// Streams that are open.
    pub fn stream_count(&self) -> u64 {
        self.stream_count
    }

    /// The next messages of one pack, and to whom.
    pub fn pop_output(&mut self) -> Option<(ClientId, Vec<Push>)> {
        self.outputs.pop_front()
    }

    fn remove(&mut self, client_id: ClientId, stream_id: StreamId) {
        if let Some(hops) = self.by_client.get_mut(&client_id) {
            hops.remove(&stream_id);
            if hops.is_empty() {
                self.by_client.remove(&client_id);
            }
        }
    }

    fn say(&mut self, client_id: ClientId, pushes: Vec<Push>) {
        self.outputs.extend(pushes.chunks(PACK_MESSAGES).map(|pack| (client_id, pack.to_vec())));
    }

    /// The hops of a client.
    #[cfg(test)]
    pub(super) fn of(&self, client_id: ClientId) -> Vec<(StreamId, Hop)> {
        let hops = self.by_client.get(&client_id).into_iter().flatten();
        hops.map(|(stream_id, hop)| (*stream_id, *hop)).collect()
    }

    /// Every client with hops.
    #[cfg(test)]
    pub(super) fn clients(&self) -> Vec<ClientId> {
        self.by_client.keys().copied().collect()
    }
}
