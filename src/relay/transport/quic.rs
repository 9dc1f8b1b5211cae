//! Raw QUIC: one bidirectional stream opened by the client, messages behind the 4-byte header of
//! [`crate::wire::framer`]; and the datagram [`lane`](super::lane), once it was agreed on in the handshake. Messages of
//! either come as they come: between the two there is no order.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use quinn::VarInt;
use tokio::io::AsyncRead;

use super::buffer::ReadBuffer;
use super::lane::{Burst, ReadLane, WriteLane};
use super::{FrameReader, FrameWriter, MAX_WRITE_BYTES, Message};
use crate::relay::drop_reason::EndReason;
use crate::wire::framer;

/// Reads messages.
#[derive(Debug)]
pub struct QuicReader<R> {
    io: R,
    buffer: ReadBuffer,
    lane: Option<ReadLane>,
    is_lane_open: bool,
}

impl<R: AsyncRead + Unpin + Send + 'static> QuicReader<R> {
    /// Reads from the client's stream, and from the lane when it is opened.
    pub fn new(io: R, lane: Option<ReadLane>) -> Self {
        Self { io, buffer: ReadBuffer::default(), lane, is_lane_open: false }
    }

    #[inline]
    fn lane(&mut self) -> Option<&mut ReadLane> {
        self.lane.as_mut().filter(|_| self.is_lane_open)
    }
}

impl<R: AsyncRead + Unpin + Send + 'static> FrameReader for QuicReader<R> {
    // Only an empty message is not a frame here.
    const MAX_CONTROL_BYTES: usize = 0;

    #[inline]
    fn next(&mut self) -> Result<Option<Message>, EndReason> {
        if let Some(message) = self.lane().and_then(ReadLane::pop) {
            return Ok(Some(Message::Data(message)));
        }
        match framer::decode(&mut self.buffer.bytes) {
            Ok(message) => Ok(message.map(Message::Data)),
            Err(framer::TooLarge(_)) => Err(EndReason::Oversize),
        }
    }

    async fn fill(&mut self) -> Result<(), EndReason> {
        let Some(lane) = self.lane.as_mut().filter(|_| self.is_lane_open) else {
            return self.buffer.fill(&mut self.io).await;
        };
        let (mut lane, mut stream) = (pin!(lane.fill()), pin!(self.buffer.fill(&mut self.io)));
        // Each is read up to its bound every time, so that a flood on one leaves the other its share.
        poll_fn(|context| match (lane.as_mut().poll(context), stream.as_mut().poll(context)) {
            (Poll::Pending, other) | (other, Poll::Pending) => other,
            // What came is routed before an end of the other, which is found again.
            (Poll::Ready(lane), Poll::Ready(stream)) => Poll::Ready(lane.or(stream)),
        })
        .await
    }

    fn shrink(&mut self) {
        self.buffer.shrink();
        if let Some(lane) = self.lane() {
            lane.shrink();
        }
    }

    fn open_lane(&mut self) {
        self.is_lane_open = true;
    }

    /// A client that uses the lane may leave its stream silent; QUIC ends the connection of one that is gone.
    fn notices_absence(&self) -> bool {
        self.is_lane_open
    }
}

/// Writes messages.
#[derive(Debug)]
pub struct QuicWriter {
    stream: quinn::SendStream,
    connection: quinn::Connection,
    lane: Option<WriteLane>,
    is_lane_open: bool,
}

impl QuicWriter {
    /// Writes to the client's stream, and to the lane when it is opened.
    pub fn new(stream: quinn::SendStream, connection: quinn::Connection, lane: Option<WriteLane>) -> Self {
        Self { stream, connection, lane, is_lane_open: false }
    }
}

/// Takes messages off the front of `batch`, up to [`MAX_WRITE_BYTES`]. Those that the burst does not send are framed for
/// the stream as one piece of memory: quinn keeps it until acknowledged and searches its pieces one by one when it
/// fills a packet.
pub(super) fn write_batch(batch: &mut VecDeque<Bytes>, mut burst: Option<Burst<'_>>) -> Bytes {
    let is_small = |message: &Bytes| burst.as_ref().is_some_and(|burst| burst.fits(message.len()));
    let large = batch.iter().filter(|message| !is_small(message));
    let bytes: usize = large.map(|message| framer::HEADER_BYTES + message.len()).sum();
    let mut out = BytesMut::with_capacity(bytes.min(MAX_WRITE_BYTES));
    let mut written = 0;
    while let Some(message) = batch.front() {
        let bytes = framer::HEADER_BYTES + message.len();
        if written > 0 && written + bytes > MAX_WRITE_BYTES {
            break;
        }
        written += bytes;
        if !burst.as_mut().is_some_and(|burst| burst.send(message)) {
            framer::encode(message, &mut out);
        }
        batch.pop_front();
    }
    out.freeze()
}

impl FrameWriter for QuicWriter {
    async fn write(&mut self, batch: &mut VecDeque<Bytes>) -> Result<(), EndReason> {
        let burst = self.lane.as_mut().filter(|_| self.is_lane_open).map(WriteLane::burst);
        let rest = write_batch(batch, burst);
        if rest.is_empty() {
            return Ok(());
        }
        self.stream.write_chunk(rest).await.map_err(|_| EndReason::PeerClosed)
    }

    async fn write_pong(&mut self, _payload: Bytes) -> Result<(), EndReason> {
        Ok(())
    }

    fn has_lane(&self) -> bool {
        self.lane.is_some()
    }

    fn open_lane(&mut self) {
        self.is_lane_open = true;
    }

    /// Sends CONNECTION_CLOSE with code 0, the only one clients know.
    async fn close(&mut self, _reason: EndReason) {
        self.connection.close(VarInt::from_u32(0), b"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_framed_as_one_piece_of_bounded_size() {
        let mut batch: VecDeque<Bytes> = [Bytes::new(), Bytes::from_static(b"ab")].into();
        assert_eq!(&write_batch(&mut batch, None)[..], [0, 0, 0, 0, 0, 2, 0, 0, b'a', b'b']);
        let mut batch: VecDeque<Bytes> = (0..20).map(|_| vec![1; 4096].into()).collect();
        assert_eq!(write_batch(&mut batch, None).len(), 15 * 4100);
        assert_eq!(batch.len(), 5);
    }

    #[tokio::test]
    async fn messages_are_read_until_one_is_too_large() {
        let mut stream = BytesMut::new();
        framer::encode(b"", &mut stream);
        framer::encode(b"frame", &mut stream);
        stream.extend_from_slice(&[0x10, 0x01, 0, 0]);
        let mut reader = QuicReader::new(std::io::Cursor::new(stream), None);
        reader.fill().await.unwrap();
        assert_eq!(reader.next(), Ok(Some(Message::Data(Bytes::new()))));
        assert_eq!(reader.next(), Ok(Some(Message::Data(Bytes::from_static(b"frame")))));
        assert_eq!(reader.next(), Err(EndReason::Oversize));
    }
}
