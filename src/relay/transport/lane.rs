//! The datagram lane of a QUIC connection: small messages in a datagram each, beside the stream
//! ([`crate::wire::envelope`]). One that is lost holds no other up; who needs it sends it again, end to end.
//!
//! A message takes the lane when it fits and the lane has room, else the stream, so that nothing is dropped here.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::task::coop;

use super::pool;
use crate::relay::drop_reason::{DropReason, EndReason};
use crate::telemetry::relay_metrics::RelayMetrics;
use crate::wire::envelope::{EnvelopeReader, EnvelopeWriter, HEADER_BYTES};

/// Datagrams looked at in one read.
const MAX_READ: usize = 64;

/// Datagrams of one write at most. The QUIC library of the clients (quic-go) keeps 128 that the client has not taken
/// yet and drops the rest without a word, where the stream would make the sender wait.
const MAX_BURST: usize = 64;

/// Largest message sent in a datagram, however large the path lets datagrams be: what fits the smallest QUIC packet. The
/// clients keep to the same, so full IP packets, which are the bulk of what they carry, stay on the stream both ways.
const MAX_SENT_BYTES: usize = 1160 - HEADER_BYTES;

/// What quinn counts for a datagram that waits, beside its bytes; a little more than it is.
const OVERHEAD_BYTES: usize = 64;

/// The lane towards us.
#[derive(Debug)]
pub struct ReadLane {
    connection: quinn::Connection,
    /// In memory of its own, which a client that may use the lane and does not has not.
    received: Option<Box<Received>>,
    metrics: Arc<RelayMetrics>,
}

#[derive(Debug, Default)]
struct Received {
    envelopes: EnvelopeReader,
    /// Messages read and not yet taken.
    messages: VecDeque<Bytes>,
}

impl ReadLane {
    /// Reads the datagrams of a connection.
    pub fn new(connection: quinn::Connection, metrics: Arc<RelayMetrics>) -> Self {
        Self { connection, received: None, metrics }
    }

    /// The next message that was read.
    #[inline]
    pub fn pop(&mut self) -> Option<Bytes> {
        self.received.as_mut()?.messages.pop_front()
    }

    /// Waits for datagrams and reads those that have come, up to a bound. What is no message is counted and passed over,
    /// so there may be none. May be dropped at any time without losing any.
    pub async fn fill(&mut self) -> Result<(), EndReason> {
        let Self { connection, received, metrics } = self;
        let Received { envelopes, messages } = &mut **received.get_or_insert_default();
        let before = messages.len();
        // Kept while nothing comes: it is what wakes this task.
        let mut datagram = pin!(connection.read_datagram());
        let mut poll_read = |context: &mut Context<'_>| {
            // A flood leaves other connections their turn, also one of noise, which counts as no bytes.
            let turn = ready!(coop::poll_proceed(context));
            let read = ready!(datagram.as_mut().poll(context));
            turn.made_progress();
            datagram.set(connection.read_datagram());
            match envelopes.open(read.map_err(|_| EndReason::PeerClosed)?) {
                Ok(message) => messages.push_back(message),
                Err(error) => metrics.frame_dropped(DropReason::from(error).index()),
            }
            Poll::Ready(Ok(()))
        };
        let read = poll_fn(|context| {
            for count in 0..MAX_READ {
                match poll_read(context) {
                    Poll::Ready(Ok(())) => {}
                    // What came before is routed first; an end is found again.
                    Poll::Ready(Err(_)) | Poll::Pending if count > 0 => break,
                    other => return other,
                }
            }
            Poll::Ready(Ok(()))
        })
        .await;
        metrics.datagrams_received.inc_by((messages.len() - before) as u64);
        read
    }

    /// Gives back the memory of a past burst.
    pub fn shrink(&mut self) {
        if let Some(received) = &mut self.received {
            received.messages.shrink_to_fit();
        }
    }
}

/// The lane towards the client.
#[derive(Debug)]
pub struct WriteLane {
    connection: quinn::Connection,
    envelopes: EnvelopeWriter,
    metrics: Arc<RelayMetrics>,
}

impl WriteLane {
    /// Writes datagrams of a connection.
    pub fn new(connection: quinn::Connection, metrics: Arc<RelayMetrics>) -> Self {
        Self { connection, envelopes: EnvelopeWriter::default(), metrics }
    }

    /// Begins one write; what fits changes with the path and with what waits.
    pub fn burst(&mut self) -> Burst<'_> {
        let datagram_bytes = self.connection.max_datagram_size().unwrap_or(0);
        Burst {
            max_bytes: datagram_bytes.saturating_sub(HEADER_BYTES).min(MAX_SENT_BYTES),
            room: self.connection.datagram_send_buffer_space(),
            sent: 0,
            buffer: BytesMut::new(),
            lane: self,
        }
    }
}

/// The datagrams of one write.
#[derive(Debug)]
pub struct Burst<'a> {
    lane: &'a mut WriteLane,
    max_bytes: usize,
    room: usize,
    sent: usize,
    buffer: BytesMut,
}

impl Burst<'_> {
    /// Whether a message of this length fits a datagram; an empty one is a keepalive of the stream.
    pub fn fits(&self, bytes: usize) -> bool {
        (1..=self.max_bytes).contains(&bytes)
    }

    /// Sends a message; false when it belongs on the stream.
    pub fn send(&mut self, message: &[u8]) -> bool {
        let bytes = HEADER_BYTES + message.len();
        let is_possible = self.fits(message.len()) && self.sent < MAX_BURST && self.room >= bytes + OVERHEAD_BYTES;
        if !is_possible {
            return false;
        }
        if self.buffer.capacity() < bytes {
            self.give_back();
            self.buffer = pool::take_shared(HEADER_BYTES + MAX_SENT_BYTES);
        }
        self.lane.envelopes.wrap(message, &mut self.buffer);
        // Fails when the path has just become narrower; or the connection is gone, as the stream will tell.
        let is_sent = self.lane.connection.send_datagram(self.buffer.split().freeze()).is_ok();
        if is_sent {
            self.sent += 1;
            self.room -= bytes + OVERHEAD_BYTES;
        }
        is_sent
    }

    fn give_back(&mut self) {
        if self.buffer.capacity() > 0 {
            pool::give_shared(std::mem::take(&mut self.buffer));
        }
    }
}

impl Drop for Burst<'_> {
    fn drop(&mut self) {
        self.lane.metrics.datagrams_sent.inc_by(self.sent as u64);
        self.give_back();
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
