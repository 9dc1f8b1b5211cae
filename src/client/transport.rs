//! One live transport as a reader and a writer of messages, over WebSocket or over a QUIC stream, with datagrams beside
//! it where both ends agreed on that.
//!
//! Owns the framing, the probes of the server and the deadlines; knows nothing of what the messages mean.
//! Reading and writing are two halves for two tasks, so that neither waits for the other.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_websockets::{Message, WebSocketStream};

use crate::wire::envelope::{EnvelopeReader, EnvelopeWriter, HEADER_BYTES, MAX_MESSAGE_BYTES};
use crate::wire::framer::{self, TooLarge};
use crate::wire::{MAX_FRAME_BYTES, MAX_TRANSPORT_CONTROL_BYTES};

/// Silence after which a keepalive is written.
pub const KEEPALIVE: Duration = Duration::from_secs(5);

/// Silence of the server after which the transport counts as dead.
pub const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A write that makes no progress for this long ends the transport.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages written between two flushes.
pub const WRITE_BATCH: usize = 64;

/// Bytes asked of the QUIC stream at once.
const READ_BYTES: usize = 64 * 1024;

/// A byte stream under a WebSocket: TCP, or TLS over it.
pub(super) trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// A WebSocket over any byte stream.
pub(super) type Socket = WebSocketStream<Pin<Box<dyn Io>>>;

/// Why a transport ended.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The server closed it.
    #[error("closed by the server")]
    Closed,
    /// Nothing came for [`READ_TIMEOUT`].
    #[error("the server was silent for too long")]
    Silent,
    /// A write made no progress for [`WRITE_TIMEOUT`].
    #[error("the server takes no more bytes")]
    Stalled,
    /// The WebSocket failed.
    #[error("websocket: {0}")]
    WebSocket(#[from] tokio_websockets::Error),
    /// The QUIC stream failed to be read.
    #[error("quic: {0}")]
    QuicRead(#[from] quinn::ReadError),
    /// The QUIC stream failed to be written.
    #[error("quic: {0}")]
    QuicWrite(#[from] quinn::WriteError),
    /// A message above the limit of the protocol.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// What a transport yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// An encoded TransferFrame.
    Frame(Bytes),
    /// A probe of the server, to be written back as it is.
    Echo(Bytes),
}

/// The reading half.
#[derive(Debug)]
pub struct Reader(ReaderKind);

enum ReaderKind {
    WebSocket { socket: SplitStream<Socket>, in_speed_test: bool },
    Quic { stream: quinn::RecvStream, buffer: BytesMut, lane: Option<Box<EnvelopeReader>>, guard: QuicGuard },
}

/// The writing half.
#[derive(Debug)]
pub struct Writer(WriterKind);

enum WriterKind {
    WebSocket(SplitSink<Socket, Message>),
    Quic { stream: quinn::SendStream, buffer: BytesMut, lane: Option<(quinn::Connection, EnvelopeWriter)> },
}

impl std::fmt::Debug for ReaderKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::WebSocket { .. } => "WebSocket",
            Self::Quic { .. } => "Quic",
        })
    }
}

impl std::fmt::Debug for WriterKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::WebSocket(_) => "WebSocket",
            Self::Quic { .. } => "Quic",
        })
    }
}

/// Keeps a QUIC connection and its socket, and says goodbye when dropped.
pub(super) struct QuicGuard {
    pub(super) connection: quinn::Connection,
    pub(super) _endpoint: quinn::Endpoint,
}

impl Drop for QuicGuard {
    fn drop(&mut self) {
        self.connection.close(0u32.into(), b"");
    }
}

/// Splits an upgraded WebSocket.
pub(super) fn over_websocket(socket: Socket) -> (Reader, Writer) {
    let (sink, stream) = socket.split();
    (Reader(ReaderKind::WebSocket { socket: stream, in_speed_test: false }), Writer(WriterKind::WebSocket(sink)))
}

/// Joins the two halves of a QUIC stream with what keeps them open.
pub(super) fn over_quic(send: quinn::SendStream, receive: quinn::RecvStream, guard: QuicGuard) -> (Reader, Writer) {
    let reader = ReaderKind::Quic { stream: receive, buffer: BytesMut::new(), lane: None, guard };
    (Reader(reader), Writer(WriterKind::Quic { stream: send, buffer: BytesMut::new(), lane: None }))
}

/// The server takes and sends datagrams of this connection too.
pub(super) fn use_datagrams(reader: &mut Reader, writer: &mut Writer, connection: &quinn::Connection) {
    if let (ReaderKind::Quic { lane: incoming, .. }, WriterKind::Quic { lane: outgoing, .. }) =
        (&mut reader.0, &mut writer.0)
    {
        *incoming = Some(Box::default());
        *outgoing = Some((connection.clone(), EnvelopeWriter::default()));
    }
}

/// Sends a message as a datagram; false when it belongs on the stream.
async fn send_datagram(
    (connection, envelopes): &mut (quinn::Connection, EnvelopeWriter),
    message: &[u8],
) -> Result<bool, TransportError> {
    let fits = connection.max_datagram_size().is_some_and(|most| HEADER_BYTES + message.len() <= most);
    if message.is_empty() || message.len() > MAX_MESSAGE_BYTES || !fits {
        return Ok(false);
    }
    let mut envelope = BytesMut::new();
    envelopes.wrap(message, &mut envelope);
    match connection.send_datagram_wait(envelope.freeze()).await {
        Ok(()) => Ok(true),
        Err(quinn::SendDatagramError::TooLarge) => Ok(false),
        Err(_) => Err(TransportError::Closed),
    }
}

impl Reader {
    /// The next frame or probe. Keepalives are taken as signs of life. Cancelling loses nothing.
    pub async fn next(&mut self) -> Result<Incoming, TransportError> {
        loop {
            let message = self.next_message(READ_TIMEOUT).await?;
            match &mut self.0 {
                ReaderKind::WebSocket { in_speed_test, .. } => {
                    if let Some(incoming) = sort(message, in_speed_test) {
                        return Ok(incoming);
                    }
                }
                ReaderKind::Quic { .. } if message.is_empty() => {}
                ReaderKind::Quic { .. } => return Ok(Incoming::Frame(message)),
            }
        }
    }

    /// The next message of any length, within `limit`.
    pub(super) async fn next_message(&mut self, limit: Duration) -> Result<Bytes, TransportError> {
        let message = async {
            match &mut self.0 {
                ReaderKind::WebSocket { socket, .. } => loop {
                    let message = socket.next().await.ok_or(TransportError::Closed)??;
                    if message.is_binary() {
                        return Ok(message.into_payload().into());
                    }
                    if message.is_close() {
                        return Err(TransportError::Closed);
                    }
                },
                ReaderKind::Quic { stream, buffer, lane, guard } => loop {
                    if let Some(message) = framer::decode(buffer)? {
                        return Ok(message);
                    }
                    let datagram = async {
                        match lane {
                            Some(lane) => guard.connection.read_datagram().await.map(|datagram| lane.open(datagram)),
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        opened = datagram => if let Ok(message) = opened.map_err(|_| TransportError::Closed)? {
                            return Ok(message);
                        },
                        chunk = stream.read_chunk(READ_BYTES, true) => {
                            buffer.extend_from_slice(&chunk?.ok_or(TransportError::Closed)?.bytes);
                        }
                    }
                },
            }
        };
        tokio::time::timeout(limit, message).await.map_err(|_| TransportError::Silent)?
    }
}

/// The meaning of a WebSocket message by its length (transport.md §2.4, §2.6); `None` for keepalives and noise.
fn sort(message: Bytes, in_speed_test: &mut bool) -> Option<Incoming> {
    match (message.len(), message.first()) {
        (5, Some(1)) => *in_speed_test = true,
        (5, Some(2)) => *in_speed_test = false,
        (MAX_TRANSPORT_CONTROL_BYTES, _) => {}
        (0..=MAX_TRANSPORT_CONTROL_BYTES, _) => return None,
        _ if *in_speed_test => {}
        _ => return Some(Incoming::Frame(message)),
    }
    Some(Incoming::Echo(message))
}

impl Writer {
    /// Writes the messages in order and flushes once; takes them out of `messages`. An empty message is a keepalive.
    pub async fn write(&mut self, messages: &mut Vec<Bytes>) -> Result<(), TransportError> {
        let written = async {
            match &mut self.0 {
                WriterKind::WebSocket(sink) => {
                    for message in messages.drain(..) {
                        sink.feed(Message::binary(message)).await?;
                    }
                    sink.flush().await?;
                }
                WriterKind::Quic { stream, buffer, lane } => {
                    buffer.clear();
                    for message in messages.drain(..) {
                        let is_sent = match lane {
                            Some(lane) => send_datagram(lane, &message).await?,
                            None => false,
                        };
                        if !is_sent {
                            framer::encode(&message, buffer);
                        }
                    }
                    stream.write_all(buffer).await?;
                }
            }
            Ok(())
        };
        tokio::time::timeout(WRITE_TIMEOUT, written).await.map_err(|_| TransportError::Stalled)?
    }

    /// Ends the writing side; the server sees a normal end.
    pub async fn close(mut self) {
        let closed = async {
            match &mut self.0 {
                WriterKind::WebSocket(sink) => drop(sink.close().await),
                WriterKind::Quic { stream, .. } => {
                    drop(stream.finish());
                    drop(stream.stopped().await);
                }
            }
        };
        // The server may not answer; it sees the socket close all the same.
        drop(tokio::time::timeout(Duration::from_secs(1), closed).await);
    }
}

/// Limits and buffers of the WebSocket: the protocol's largest message, and few large writes.
pub(super) fn websocket_limits() -> (tokio_websockets::Config, tokio_websockets::Limits) {
    let config = tokio_websockets::Config::default().flush_threshold(128 * 1024);
    (config, tokio_websockets::Limits::default().max_payload_len(Some(MAX_FRAME_BYTES)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(message: &'static [u8], in_speed_test: &mut bool) -> Option<Incoming> {
        sort(Bytes::from_static(message), in_speed_test)
    }

    #[test]
    fn short_messages_are_control_and_longer_ones_frames() {
        let off = &mut false;
        for length in [0usize, 1, 4, 5, 15] {
            assert_eq!(sort(Bytes::from(vec![9; length]), off), None, "{length}");
        }
        assert_eq!(sorted(&[7; 16], off), Some(Incoming::Echo(Bytes::from_static(&[7; 16]))));
        assert_eq!(sorted(&[7; 17], off), Some(Incoming::Frame(Bytes::from_static(&[7; 17]))));
    }

    #[test]
    fn everything_between_speed_start_and_stop_is_echoed() {
        let test = &mut false;
        assert!(matches!(sorted(&[1, 0, 0, 0, 9], test), Some(Incoming::Echo(_))));
        assert!(matches!(sorted(&[5; 1024], test), Some(Incoming::Echo(_))));
        assert!(matches!(sorted(&[2, 0, 0, 0, 9], test), Some(Incoming::Echo(_))));
        assert!(matches!(sorted(&[5; 1024], test), Some(Incoming::Frame(_))));
    }
}
