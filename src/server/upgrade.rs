//! From HTTP to a WebSocket: what a connection becomes, and the answer that says so.
//!
//! That answer is kept back from the client until the relay has its first words: both go out in one write.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;

use crate::relay::accept::WebSocketTicket;

/// An upgrade that was agreed on.
pub struct Upgrade {
    /// Waits for the end of HTTP.
    pub http: OnUpgrade,
    /// The right to what follows.
    pub ticket: WebSocketTicket,
}

/// What a connection of HTTP/1.1 becomes, once that is agreed on.
#[derive(Default)]
pub struct Next(Mutex<Option<Upgrade>>);

impl Next {
    /// The answer that is written now is the last.
    pub fn agree(&self, upgrade: Upgrade) {
        *self.0.lock() = Some(upgrade);
    }

    /// What follows, if anything does.
    pub fn take(&self) -> Option<Upgrade> {
        self.0.lock().take()
    }

    fn is_agreed(&self) -> bool {
        self.0.lock().is_some()
    }
}

/// What a client is told over HTTP.
pub struct HttpWriter<W> {
    io: W,
    next: Arc<Next>,
    /// The answer to the upgrade. A head without a body, so it is small.
    kept: Vec<u8>,
}

impl<W> HttpWriter<W> {
    /// Writes to `io` until `next` is agreed on.
    pub fn new(io: W, next: Arc<Next>) -> Self {
        Self { io, next, kept: Vec::new() }
    }

    /// What was written to, and the answer that was not.
    pub fn into_parts(self) -> (W, Vec<u8>) {
        (self.io, self.kept)
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for HttpWriter<W> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.next.is_agreed() {
            return Pin::new(&mut self.io).poll_write(context, bytes);
        }
        self.kept.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.next.is_agreed() {
            return Pin::new(&mut self.io).poll_write_vectored(context, slices);
        }
        slices.iter().for_each(|slice| self.kept.extend_from_slice(slice));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
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
    use hyper::Request;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::relay::testing::TestRelay;

    #[tokio::test]
    async fn the_last_answer_is_kept_back_and_what_was_said_before_is_not() {
        let next = Arc::<Next>::default();
        let mut writer = HttpWriter::new(Vec::new(), Arc::clone(&next));
        writer.write_all(b"before").await.unwrap();
        let request = TestRelay::upgrade(None, 0);
        let (_, ticket) =
            TestRelay::new(|_| ()).relay.websocket_response(&request, [127, 0, 0, 1].into(), None).unwrap();
        next.agree(Upgrade { http: hyper::upgrade::on(Request::new(())), ticket });
        writer.write_all(b"the answer").await.unwrap();
        let slices = [IoSlice::new(b" is"), IoSlice::new(b" kept")];
        assert_eq!(writer.write_vectored(&slices).await.unwrap(), 8);
        writer.flush().await.unwrap();
        assert_eq!(writer.into_parts(), (b"before".to_vec(), b"the answer is kept".to_vec()));
        assert!(next.take().is_some() && next.take().is_none());
    }
}
