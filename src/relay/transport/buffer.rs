//! A read buffer that is small while a client is idle and large while it sends.
//!
//! Messages are split off it without copying and keep its memory alive until they are written. Once all of them
//! are, the memory is used again, so a steady flow allocates nothing.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::relay::drop_reason::EndReason;

/// Size while idle: holds a few keepalives.
const MIN_BYTES: usize = 512;
/// Size under load: one read then takes what many small ones would.
const MAX_BYTES: usize = 64 * 1024;
/// Small reads in a row after which the buffer shrinks one step.
const SMALL_READS: u8 = 8;

/// Bytes read and not yet split into messages.
#[derive(Debug)]
pub struct ReadBuffer {
    /// The bytes not yet split off.
    pub bytes: BytesMut,
    /// Room wanted for the next read.
    size: usize,
    small_reads: u8,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self { bytes: BytesMut::new(), size: MIN_BYTES, small_reads: 0 }
    }
}

impl ReadBuffer {
    /// Reads once from `io`; the end of the stream, or an error of it, is [`EndReason::PeerClosed`]. Cancel-safe.
    pub async fn fill<R: AsyncRead + Unpin>(&mut self, io: &mut R) -> Result<(), EndReason> {
        self.make_room();
        match io.read_buf(&mut self.bytes).await {
            Ok(0) | Err(_) => Err(EndReason::PeerClosed),
            Ok(read) => {
                self.adapt(read);
                Ok(())
            }
        }
    }

    /// Makes sure that a read has at least a quarter of the wanted size to fill: from what is left of the present
    /// memory, else by taking it back from messages that are gone, else from fresh memory.
    fn make_room(&mut self) {
        let is_oversized = self.bytes.is_empty() && self.bytes.capacity() > 2 * self.size;
        if is_oversized || (!self.has_room() && !self.bytes.try_reclaim(self.size)) {
            let mut fresh = BytesMut::with_capacity(self.bytes.len() + self.size);
            fresh.extend_from_slice(&self.bytes);
            self.bytes = fresh;
        }
    }

    fn has_room(&self) -> bool {
        self.bytes.capacity() - self.bytes.len() >= self.size / 4
    }

    fn adapt(&mut self, read: usize) {
        if self.bytes.len() == self.bytes.capacity() {
            self.size = (self.size * 4).min(MAX_BYTES);
            self.small_reads = 0;
        } else if read > self.size / 8 {
            self.small_reads = 0;
        } else if self.size > MIN_BYTES {
            self.small_reads += 1;
            if self.small_reads == SMALL_READS {
                self.size /= 4;
                self.small_reads = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `chunks` of the given sizes, splitting everything off after each; returns the sizes of the memory.
    async fn sizes(chunks: &[usize]) -> Vec<usize> {
        let mut buffer = ReadBuffer::default();
        let mut sizes = Vec::new();
        for chunk in chunks {
            let data = vec![7; *chunk];
            let mut rest = &data[..];
            while !rest.is_empty() {
                buffer.fill(&mut rest).await.unwrap();
                sizes.push(buffer.bytes.capacity());
                assert!(buffer.bytes.split().iter().all(|byte| *byte == 7));
            }
        }
        sizes
    }

    #[tokio::test]
    async fn an_idle_client_keeps_little_memory() {
        assert!(sizes(&[6; 1000]).await.into_iter().all(|size| size <= MIN_BYTES));
    }

    #[tokio::test]
    async fn the_buffer_grows_under_load_and_shrinks_after_it() {
        let mut chunks = vec![1 << 20];
        chunks.extend([6; 64]);
        let sizes = sizes(&chunks).await;
        assert!(sizes.iter().any(|size| *size >= MAX_BYTES));
        assert!(*sizes.last().unwrap() <= 2 * MIN_BYTES, "{:?}", sizes.last());
    }

    #[tokio::test]
    async fn the_end_of_the_stream_is_reported() {
        let mut buffer = ReadBuffer::default();
        assert_eq!(buffer.fill(&mut &b""[..]).await, Err(EndReason::PeerClosed));
    }
}
