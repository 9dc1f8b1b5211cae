//! Reads ahead of TLS, whose library asks for 4 KiB at a time: under load one large read takes the place of many.
//!
//! The buffer comes from the relay's pool of the thread and goes back once it is empty, so a silent connection holds
//! none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::relay::transport::pool;

/// A stream that is read ahead once a read has taken all that was asked for.
pub struct ReadAhead<IO> {
    io: IO,
    /// What was read and not yet asked for is `ahead[start..end]`.
    ahead: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether the last read found as much as it asked for, so that there is likely more.
    is_busy: bool,
}

impl<IO> ReadAhead<IO> {
    /// Nothing was read yet.
    pub fn new(io: IO) -> Self {
        Self { io, ahead: Vec::new(), start: 0, end: 0, is_busy: false }
    }

    /// Hands out what was read ahead.
    fn hand_out(&mut self, wanted: &mut ReadBuf<'_>) {
        let length = wanted.remaining().min(self.end - self.start);
        wanted.put_slice(&self.ahead[self.start..self.start + length]);
        self.start += length;
        if self.start == self.end {
            pool::give_full(std::mem::take(&mut self.ahead));
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for ReadAhead<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        wanted: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.start < this.end {
            this.hand_out(wanted);
            return Poll::Ready(Ok(()));
        }
        if !this.is_busy {
            let asked = wanted.remaining();
            ready!(Pin::new(&mut this.io).poll_read(context, wanted))?;
            this.is_busy = wanted.remaining() == 0 && asked < pool::BUFFER_BYTES;
            return Poll::Ready(Ok(()));
        }
        let mut ahead = pool::take_full();
        let mut buffer = ReadBuf::new(&mut ahead);
        let read = Pin::new(&mut this.io).poll_read(context, &mut buffer);
        (this.start, this.end) = (0, buffer.filled().len());
        this.ahead = ahead;
        // Also gives the buffer back when there is nothing in it.
        this.is_busy = read.is_pending() || this.end > wanted.remaining();
        this.hand_out(wanted);
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for ReadAhead<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncReadExt;

    use super::*;

    /// A stream that counts its reads and gives what the script says, then waits.
    struct Scripted {
        script: Vec<io::Result<Vec<u8>>>,
        reads: usize,
    }

    impl AsyncRead for Scripted {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, wanted: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.reads += 1;
            if self.script.is_empty() {
                return Poll::Pending;
            }
            let mut bytes = self.script.remove(0)?;
            let rest = bytes.split_off(bytes.len().min(wanted.remaining()));
            wanted.put_slice(&bytes);
            if !rest.is_empty() {
                self.script.insert(0, Ok(rest));
            }
            Poll::Ready(Ok(()))
        }
    }

    fn read(stream: &mut ReadAhead<Scripted>, asked: usize) -> Poll<io::Result<Vec<u8>>> {
        let mut bytes = vec![0; asked];
        let read = std::pin::pin!(stream.read(&mut bytes)).poll(&mut Context::from_waker(Waker::noop()));
        read.map_ok(|length| bytes[..length].to_vec())
    }

    fn stream(script: Vec<io::Result<Vec<u8>>>) -> ReadAhead<Scripted> {
        ReadAhead::new(Scripted { script, reads: 0 })
    }

    #[test]
    fn a_burst_is_read_at_once_and_comes_out_in_order() {
        let burst: Vec<u8> = (0..50_000).map(|at| (at / 7) as u8).collect();
        let mut stream = stream(vec![Ok(burst.clone())]);
        let mut out = Vec::new();
        while let Poll::Ready(bytes) = read(&mut stream, 4096) {
            out.extend(bytes.unwrap());
        }
        assert!(out == burst);
        // One that asks for little, one that takes the rest, one that finds nothing.
        assert_eq!(stream.io.reads, 3);
        assert_eq!(stream.ahead.capacity(), 0, "a silent connection holds no buffer");
    }

    #[test]
    fn small_messages_are_read_where_they_are_wanted() {
        let mut stream = stream(vec![Ok(vec![1; 100]), Ok(vec![2; 4095])]);
        assert_eq!(read(&mut stream, 4096).map(Result::unwrap), Poll::Ready(vec![1; 100]));
        assert_eq!(read(&mut stream, 4096).map(Result::unwrap), Poll::Ready(vec![2; 4095]));
        assert!(!stream.is_busy);
    }

    #[test]
    fn the_end_and_an_error_come_behind_what_was_read() {
        let broken = Err(io::ErrorKind::ConnectionReset.into());
        let mut stream = stream(vec![Ok(vec![1; 4096]), Ok(vec![2; 5000]), Ok(vec![]), broken]);
        for expected in [vec![1; 4096], vec![2; 4096], vec![2; 904], vec![]] {
            assert_eq!(read(&mut stream, 4096).map(Result::unwrap), Poll::Ready(expected));
        }
        assert!(
            matches!(read(&mut stream, 4096), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset)
        );
    }
}
