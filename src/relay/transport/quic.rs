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
use super::{FrameReader, FrameWriter, MAX_WRITE_BYTES, Message, pool};
use crate::relay::drop_reason::EndReason;
use crate::relay::frames::Frames;
use crate::wire::framer;

/// A piece of the batch of this size or more goes to quinn as it is. Smaller ones are copied: until they are acknowledged
/// they would keep the whole buffer that they were read into. So a client that acknowledges slowly keeps at most four times
/// its send window.
const WHOLE_BYTES: usize = pool::BUFFER_BYTES / 4;

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
    fn next(&mut self, at_most: u32) -> Result<Option<Message>, EndReason> {
        if let Some(message) = self.lane().and_then(ReadLane::pop) {
            return Ok(Some(Message::Frames(Frames::alone(message))));
        }
        let found = framer::scan(&mut self.buffer.bytes, at_most).map_err(|framer::TooLarge(_)| EndReason::Oversize)?;
        if found.count == 0 {
            return Ok(None);
        }
        let bytes = self.buffer.bytes.split_to(found.bytes).freeze();
        Ok(Some(Message::Frames(Frames::packed(bytes, found.count, found.payload_bytes))))
    }

    async fn fill(&mut self) -> Result<(), EndReason> {
        let Some(lane) = self.lane.as_mut().filter(|_| self.is_lane_open) else {
            return self.buffer.fill(&mut self.io).await;
        };
        // Boxed, for a client that does not use the lane would keep room for this all the same.
        let (mut lane, mut stream) = (Box::pin(lane.fill()), pin!(self.buffer.fill(&mut self.io)));
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

/// Takes messages off the front of `batch`, up to [`MAX_WRITE_BYTES`] or one piece of it. Those that the burst does not
/// send are framed for the stream as one piece of memory, unless the first is large and framed already: quinn keeps it until acknowledged and searches its pieces one
/// by one when it fills a packet.
pub(super) fn write_batch(batch: &mut VecDeque<Frames>, mut burst: Option<Burst<'_>>) -> Bytes {
    let has_burst = burst.is_some();
    let whole =
        |frames: &Frames| frames.as_packed().filter(|packed| !has_burst && packed.len() >= WHOLE_BYTES).cloned();
    if let Some(whole) = batch.front().and_then(whole) {
        batch.pop_front();
        return whole;
    }
    let mut bytes = 0;
    let fits = |frames: &&Frames| {
        bytes += framed_bytes(frames);
        bytes <= MAX_WRITE_BYTES && whole(frames).is_none()
    };
    let pieces = batch.iter().take_while(fits).count().max(1).min(batch.len());
    let on_stream = |frames: &Frames| match &burst {
        None => framed_bytes(frames),
        Some(burst) => {
            let large = frames.iter().filter(|message| !burst.fits(message.len()));
            large.map(|message| framer::HEADER_BYTES + message.len()).sum()
        }
    };
    let mut out = BytesMut::with_capacity(batch.iter().take(pieces).map(on_stream).sum());
    for frames in batch.drain(..pieces) {
        match (&mut burst, frames.as_packed()) {
            (None, Some(packed)) => out.extend_from_slice(packed),
            (None, None) => frames.iter().for_each(|message| framer::encode(message, &mut out)),
            (Some(burst), _) => frames.iter().for_each(|message| {
                if !burst.send(message) {
                    framer::encode(message, &mut out);
                }
            }),
        }
    }
    out.freeze()
}

fn framed_bytes(frames: &Frames) -> usize {
    framer::HEADER_BYTES * frames.count() + frames.payload_bytes()
}

impl FrameWriter for QuicWriter {
    async fn write(&mut self, batch: &mut VecDeque<Frames>) -> Result<(), EndReason> {
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

    fn alone(message: impl Into<Bytes>) -> Frames {
        Frames::alone(message.into())
    }

    #[test]
    fn a_batch_is_framed_as_one_piece_of_bounded_size() {
        let packed = Frames::packed(Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 0, b'c']), 2, 1);
        let padded = Frames::padded(Bytes::from_static(&[0, 1, 0, 2, 9, 9, b'd']), 1, 1);
        let mut batch = [alone(""), alone("ab"), packed, padded].into();
        let framed = [0, 0, 0, 0, 0, 2, 0, 0, b'a', b'b', 0, 0, 0, 0, 0, 1, 0, 0, b'c', 0, 1, 0, 0, b'd'];
        assert_eq!(write_batch(&mut batch, None)[..], framed);
        let mut batch: VecDeque<Frames> = (0..20).map(|_| alone(vec![1; 4096])).collect();
        assert_eq!(write_batch(&mut batch, None).len(), 15 * 4100);
        assert_eq!(batch.len(), 5);
        assert!(write_batch(&mut VecDeque::new(), None).is_empty());
    }

    #[test]
    fn a_large_piece_stays_where_it_is() {
        let bytes = [&[0x3f, 0xfc, 0, 0][..], &vec![1; WHOLE_BYTES - framer::HEADER_BYTES]].concat();
        let large = Frames::packed(bytes.into(), 1, (WHOLE_BYTES - framer::HEADER_BYTES) as u32);
        let small = Frames::packed(Bytes::from_static(&[0, 1, 0, 0, b'a']), 1, 1);
        let address = large.as_packed().unwrap().as_ptr();
        let mut batch = [small.clone(), small.clone(), large, small].into();
        let mut written = || write_batch(&mut batch, None);
        assert_eq!(written()[..], [0, 1, 0, 0, b'a', 0, 1, 0, 0, b'a']);
        assert_eq!(written().as_ptr(), address);
        assert_eq!(written()[..], [0, 1, 0, 0, b'a']);
        assert!(written().is_empty());
    }

    #[tokio::test]
    async fn messages_are_read_until_one_is_too_large() {
        let mut stream = BytesMut::new();
        for message in [&b""[..], b"frame", b"another"] {
            framer::encode(message, &mut stream);
        }
        stream.extend_from_slice(&[0x10, 0x01, 0, 0]);
        let mut reader = QuicReader::new(std::io::Cursor::new(stream), None);
        reader.fill().await.unwrap();
        assert_eq!(reader.next(1), Ok(Some(Message::Frames(alone("")))));
        let Some(Message::Frames(frames)) = reader.next(u32::MAX).unwrap() else { panic!("two are left") };
        assert!(frames.iter().eq([&b"frame"[..], b"another"]));
        assert_eq!(reader.next(u32::MAX), Err(EndReason::Oversize));
    }
}
