//! Transports: bytes of a socket to whole messages and back.
//!
//! Both carriers are byte streams that differ in their framing only, so they share [`buffer::ReadBuffer`]; a QUIC
//! connection may have a datagram [`lane`] beside its stream. The rest of the relay sees the two traits, which tests
//! also implement over in-memory pipes.

use std::collections::VecDeque;
use std::future::Future;

use bytes::Bytes;

use super::drop_reason::EndReason;
use super::frames::Frames;

pub mod buffer;
pub mod lane;
pub mod pool;
pub mod quic;
pub mod websocket;

/// Bytes gathered for one write at most; a batch beyond it becomes several writes. Sealed by TLS it still fits a buffer.
pub const MAX_WRITE_BYTES: usize = pool::BUFFER_BYTES - 1024;

/// What a transport is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// WebSocket over HTTP/1.1 ("H1").
    WebSocket,
    /// One stream of a raw QUIC connection ("H3"), and datagrams where the client takes them.
    Quic,
}

/// What came from a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// Binary messages, sharing the memory they were read into. An empty one is a keepalive.
    Frames(Frames),
    /// A text message, which means nothing here.
    Text,
    /// A ping of the WebSocket layer, to be answered with the same bytes.
    Ping(Bytes),
}

/// The reading half of a transport.
pub trait FrameReader: Send + 'static {
    /// Messages up to this length are transport control, not frames.
    const MAX_CONTROL_BYTES: usize;

    /// The next complete messages among the bytes already read, `at_most` so many.
    fn next(&mut self, at_most: u32) -> Result<Option<Message>, EndReason>;

    /// Waits for more bytes, which need not complete a message. May be dropped at any time without losing any.
    fn fill(&mut self) -> impl Future<Output = Result<(), EndReason>> + Send;

    /// Gives back the memory of a past burst.
    fn shrink(&mut self);

    /// Reads the datagram lane too from now on; of a transport whose writer has one.
    fn open_lane(&mut self) {}

    /// Whether the transport itself finds out that its client is gone; then silence alone does not end it.
    fn notices_absence(&self) -> bool {
        false
    }
}

/// The writing half of a transport.
pub trait FrameWriter: Send + 'static {
    /// Writes messages off the front of `batch`, up to [`MAX_WRITE_BYTES`] of them, and flushes once.
    fn write(&mut self, batch: &mut VecDeque<Frames>) -> impl Future<Output = Result<(), EndReason>> + Send;

    /// Whether something waits here that the client needs, and goes out with the next write.
    fn owes(&self) -> bool {
        false
    }

    /// Answers a ping.
    fn write_pong(&mut self, payload: Bytes) -> impl Future<Output = Result<(), EndReason>> + Send;

    /// Whether the client may be told that messages can also come and go in datagrams.
    fn has_lane(&self) -> bool {
        false
    }

    /// The client was told: uses the datagram lane too from now on.
    fn open_lane(&mut self) {}

    /// Says goodbye as far as the transport can.
    fn close(&mut self, reason: EndReason) -> impl Future<Output = ()> + Send;
}
