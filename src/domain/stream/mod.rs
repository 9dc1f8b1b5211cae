//! Streams: pairs of clients, with intermediaries or without, that try to reach each other directly.
//!
//! The platform hands out a stream id inside contracts and tells every node its neighbours; what the clients then do
//! with it is relayed like any other frame. A stream lives as long as one of its contracts is open.
//!
//! Two state machines share the work. [`members`] decides, inside the ledger and together with each contract, which
//! stream a contract belongs to. What it decided reaches [`hops`] once it is durable: the neighbours of every client,
//! and the messages that tell them.

use super::push::{PushSink, PushSource, Pusher};
use crate::ids::{ClientId, StreamId};
use crate::wire::control_message::Push;

pub mod hops;
pub mod key;
pub mod members;

use self::hops::Hops;
use self::key::StreamKey;
use std::sync::Weak;

/// A stream as its contracts know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Names it; never used again.
    pub id: StreamId,
    /// Its nodes.
    pub key: StreamKey,
}

/// What happened to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// Its first contract was made.
    Opened(Stream),
    /// Its last contract is no longer open.
    Closed(Stream),
}

/// The neighbours of every client, kept up to date and delivered. Knows durable streams only.
pub struct StreamPushes(Pusher<Hops>);

impl Default for StreamPushes {
    fn default() -> Self {
        Self(Pusher::new(Hops::default()))
    }
}

impl StreamPushes {
    /// Names the way out, once; messages before that are dropped.
    pub fn deliver_to(&self, sink: Weak<dyn PushSink>) {
        self.0.deliver_to(sink);
    }

    /// Tells the nodes of streams that were opened or closed, in that order.
    pub fn publish(&self, events: Vec<StreamEvent>) {
        if !events.is_empty() {
            self.0.feed(|hops| hops.handle_events(events));
        }
    }

    /// Sends a client all its hops: it is new, or its control conversation has lost what was said.
    pub fn resync(&self, client_id: ClientId) {
        self.0.feed(|hops| hops.handle_resync(client_id));
    }

    /// Streams that are open.
    pub fn stream_count(&self) -> u64 {
        self.0.read(Hops::stream_count)
    }

    /// Messages about streams that went to clients.
    pub fn pushed_count(&self) -> u64 {
        self.0.pushed_count()
    }
}

impl PushSource for Hops {
    fn poll_output(&mut self) -> Option<(ClientId, Vec<Push>)> {
        self.pop_output()
    }
}

#[cfg(test)]
mod tests;
