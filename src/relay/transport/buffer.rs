//! What was read and not yet split into messages. It holds memory only while there is something in it.
//!
//! Messages are split off a buffer of the [`pool`] without copying and keep it alive until they are written; the next
//! read, of whichever connection, goes behind them or reuses the whole once they are gone. A steady flow allocates
//! nothing. The beginning of a message whose rest has not come is kept in memory of its own, so that a client that
//! stops in the middle of one holds no large buffer.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::pool;
use crate::relay::drop_reason::EndReason;

/// A buffer with less room is not read into any more. More than a TLS record holds, which comes in one piece.
const MIN_ROOM_BYTES: usize = 20 * 1024;

/// Bytes read and not yet split into messages.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    /// The bytes not yet split off.
    pub bytes: BytesMut,
    /// Holds them while nothing more comes; then `bytes` has no memory.
    rest: BytesMut,
}

impl ReadBuffer {
    /// A buffer with something in it.
    pub fn with(bytes: &[u8]) -> Self {
        let mut buffer = Self::default();
        if !bytes.is_empty() {
            buffer.bytes = pool::take_shared(bytes.len());
            buffer.bytes.extend_from_slice(bytes);
        }
        buffer
    }

    /// Reads all that has come, up to a buffer full, and waits when nothing has. To be called when no message in
    /// `bytes` is complete. The end of the stream, or an error of it, is [`EndReason::PeerClosed`]. Cancel-safe.
    pub async fn fill<R: AsyncRead + Unpin>(&mut self, io: &mut R) -> Result<(), EndReason> {
        poll_fn(|context| {
            self.make_room();
            let mut has_read = false;
            while self.room() >= MIN_ROOM_BYTES {
                match pin!(io.read_buf(&mut self.bytes)).poll(context) {
                    Poll::Ready(Ok(1..)) => has_read = true,
                    // What came before is routed first; the end is found again.
                    Poll::Ready(Ok(0) | Err(_)) | Poll::Pending if has_read => break,
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(EndReason::PeerClosed)),
                    Poll::Pending => {
                        self.put_away();
                        return Poll::Pending;
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Gives back the memory of a past burst.
    pub fn shrink(&mut self) {
        if self.rest.is_empty() {
            self.rest = BytesMut::new();
        }
    }

    fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    fn make_room(&mut self) {
        if self.room() >= MIN_ROOM_BYTES {
            return;
        }
        // Room behind what is kept: with less, nothing would be read and nobody would wait.
        let mut fresh = pool::take_shared(self.rest.len() + self.bytes.len() + MIN_ROOM_BYTES);
        // One of the two is empty.
        fresh.extend_from_slice(&self.rest);
        fresh.extend_from_slice(&self.bytes);
        self.rest.clear();
        let before = std::mem::replace(&mut self.bytes, fresh);
        if before.capacity() > 0 {
            pool::give_shared(before);
        }
    }

    fn put_away(&mut self) {
        self.rest.extend_from_slice(&self.bytes);
        pool::give_shared(std::mem::take(&mut self.bytes));
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        if self.bytes.capacity() > 0 {
            pool::give_shared(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use tokio::io::AsyncWriteExt;

    use super::*;

    fn poll(buffer: &mut ReadBuffer, io: &mut (impl AsyncRead + Unpin)) -> Poll<Result<(), EndReason>> {
        pin!(buffer.fill(io)).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn the_beginning_of_a_message_waits_for_the_rest_also_in_a_buffer_that_is_nearly_full() {
        let lend = |_| {
            let mut buffer = BytesMut::zeroed(pool::BUFFER_BYTES);
            let message = buffer.split_to(pool::BUFFER_BYTES - MIN_ROOM_BYTES);
            pool::give_shared(buffer);
            message
        };
        let _on_their_way: Vec<BytesMut> = (0..2).map(lend).collect();
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        let mut buffer = ReadBuffer::default();
        client.write_all(b"begin").await.unwrap();
        assert_eq!(poll(&mut buffer, &mut server), Poll::Ready(Ok(())));
        assert_eq!(poll(&mut buffer, &mut server), Poll::Pending);
        client.write_all(b"ning").await.unwrap();
        assert_eq!(poll(&mut buffer, &mut server), Poll::Ready(Ok(())));
        assert_eq!(buffer.bytes, &b"beginning"[..]);
    }

    #[tokio::test]
    async fn all_that_came_is_read_at_once_and_an_idle_client_holds_no_memory() {
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        let mut buffer = ReadBuffer::default();
        for length in [1, 700, 30_000] {
            client.write_all(&vec![7; length]).await.unwrap();
            client.write_all(b"end").await.unwrap();
            assert_eq!(poll(&mut buffer, &mut server), Poll::Ready(Ok(())));
            assert_eq!(buffer.bytes.split().len(), length + 3);
            assert_eq!(poll(&mut buffer, &mut server), Poll::Pending);
            assert_eq!(buffer.bytes.capacity() + buffer.rest.capacity(), 0);
        }
    }

    #[tokio::test]
    async fn a_flood_is_read_a_buffer_at_a_time() {
        let mut flood = &vec![7; 1 << 20][..];
        let mut buffer = ReadBuffer::default();
        let mut reads = 0;
        while !flood.is_empty() {
            buffer.fill(&mut flood).await.unwrap();
            assert!(buffer.bytes.split().len() <= pool::BUFFER_BYTES);
            reads += 1;
        }
        assert!((16..=24).contains(&reads), "{reads}");
    }

    #[tokio::test]
    async fn half_a_message_waits_in_little_memory_and_comes_out_whole() {
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        let mut buffer = ReadBuffer::default();
        client.write_all(b"half a mes").await.unwrap();
        assert_eq!(poll(&mut buffer, &mut server), Poll::Ready(Ok(())));
        for _ in 0..3 {
            assert_eq!(poll(&mut buffer, &mut server), Poll::Pending);
            assert!(buffer.bytes.capacity() == 0 && buffer.rest.capacity() < 100);
        }
        client.write_all(b"sage").await.unwrap();
        assert_eq!(poll(&mut buffer, &mut server), Poll::Ready(Ok(())));
        assert_eq!(&buffer.bytes[..], b"half a message");
        drop(buffer.bytes.split());
        assert_eq!(poll(&mut buffer, &mut server), Poll::Pending);
        buffer.shrink();
        assert_eq!(buffer.rest.capacity(), 0);
    }

    #[tokio::test]
    async fn the_end_of_the_stream_is_reported_behind_the_last_bytes() {
        let mut stream = &b"last"[..];
        let mut buffer = ReadBuffer::default();
        assert_eq!(buffer.fill(&mut stream).await, Ok(()));
        assert_eq!(&buffer.bytes.split()[..], b"last");
        assert_eq!(buffer.fill(&mut stream).await, Err(EndReason::PeerClosed));
    }
}
