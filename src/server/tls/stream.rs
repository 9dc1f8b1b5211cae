//! The two directions of a TLS connection after its handshake, each on its own, without a lock between them.
//!
//! Between turns an idle connection holds two keys and no buffers: ciphertext is read into a buffer of the thread's
//! [`pool`] and opened straight into the memory of whoever reads; what is written is sealed straight into another.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use rustls::{AlertDescription, Error, ExtractedSecrets, InvalidMessage, ProtocolVersion, SupportedCipherSuite};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::handshake::broken;
use super::record::{
    ALERT, APPLICATION_DATA, HANDSHAKE, MAX_OVERHEAD_BYTES, MAX_PLAIN_BYTES, Opened, Opener, Sealer, record_length,
};
use super::secret::{TrafficSecret, TrafficSecrets};
use crate::relay::transport::pool;

/// Reads without content after which others have a turn.
const MAX_EMPTY_READS: usize = 8;

/// KeyUpdate that asks for none in return, and one that does (RFC 8446 section 4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
/// See [`KEY_UPDATE`].
const KEY_UPDATE_REQUEST: [u8; 5] = [24, 0, 0, 1, 1];

const ALERT_WARNING: u8 = 1;
const ALERT_FATAL: u8 = 2;
/// The end without a fault.
const CLOSE: u8 = 0;
const CLOSE_NOTIFY: [u8; 2] = [ALERT_WARNING, CLOSE];
const USER_CANCELED: u8 = 90;

/// What a handshake agreed on.
pub struct Agreed {
    /// TLS 1.2 or 1.3.
    pub version: ProtocolVersion,
    /// The cipher.
    pub suite: SupportedCipherSuite,
    /// Keys of both directions.
    pub keys: ExtractedSecrets,
    /// What the next keys are made of; none in TLS 1.2, which has no next keys.
    pub secrets: TrafficSecrets,
}

/// Both directions of a connection, whose reader has read `ahead` of the handshake, and whose writer has `unsent` bytes of
/// it for the client.
pub fn after_handshake<R, W>(
    agreed: Agreed,
    (read, ahead): (R, &[u8]),
    (write, unsent): (W, Vec<u8>),
) -> Result<(TlsReader<R>, TlsWriter<W>), Error> {
    let Agreed { version, suite, keys, secrets } = agreed;
    let wishes = Arc::new(Wishes { owes_keys: AtomicBool::new(false), last_words: AtomicU8::new(CLOSE) });
    let reader = TlsReader {
        io: read,
        opener: Opener::new((keys.rx.0, &keys.rx.1), version)?,
        secret: secrets.client,
        wishes: Arc::clone(&wishes),
        input: if ahead.is_empty() { Span::default() } else { Span::take(ahead) },
        rest: Box::default(),
        opened: Span::default(),
        is_closed: false,
    };
    let writer = TlsWriter {
        io: write,
        sealer: Sealer::new((keys.tx.0, &keys.tx.1), version, suite)?,
        secret: secrets.server,
        wishes,
        unsent: unsent.into(),
        sealed: Span::default(),
        is_closed: false,
    };
    Ok((reader, writer))
}

/// What the reader wants the writer to say.
struct Wishes {
    /// The client asked for new keys of ours.
    owes_keys: AtomicBool,
    /// Why the connection ends, as an alert.
    last_words: AtomicU8,
}

/// Bytes `start..end` of a buffer.
#[derive(Default)]
struct Span {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Span {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// A buffer of the thread, with `rest` in it.
    fn take(rest: &[u8]) -> Self {
        let mut buffer = pool::take_full();
        buffer[..rest.len()].copy_from_slice(rest);
        Self { buffer, start: 0, end: rest.len() }
    }

    /// Gives the buffer back.
    fn give(&mut self) {
        if !self.buffer.is_empty() {
            pool::give_full(std::mem::take(&mut self.buffer));
        }
        (self.start, self.end) = (0, 0);
    }

    /// Moves what there is to the front.
    fn compact(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.give();
    }
}

/// What the client says.
pub struct TlsReader<R> {
    io: R,
    opener: Opener,
    /// What `opener` was made of.
    secret: Option<TrafficSecret>,
    wishes: Arc<Wishes>,
    /// Read and not yet opened.
    input: Span,
    /// The beginning of a record while the rest of it has not come.
    rest: Box<[u8]>,
    /// Opened for a reader that had too little room for it.
    opened: Span,
    is_closed: bool,
}

impl<R: AsyncRead + Unpin> TlsReader<R> {
    /// Opens what was read, as far as there is room for it in `out`.
    fn open_all(&mut self, out: &mut ReadBuf<'_>) -> Result<(), Error> {
        let before = out.filled().len();
        while !self.is_closed
            && self.opened.is_empty()
            && let Some(length) = record_length(self.input.bytes())?
        {
            let room = self.opener.room(length);
            let record = &self.input.bytes()[..length];
            if out.remaining() >= room {
                let plain = out.initialize_unfilled_to(room);
                let opened = self.opener.open(record, plain)?;
                if opened.content == APPLICATION_DATA {
                    out.advance(opened.length);
                } else {
                    let message = Message::of(opened, plain)?;
                    self.handle(message)?;
                }
            } else if out.filled().len() == before {
                let mut buffer = vec![0; room];
                let opened = self.opener.open(record, &mut buffer)?;
                if opened.content == APPLICATION_DATA {
                    self.opened = Span { buffer, start: 0, end: opened.length };
                    self.hand_out(out);
                } else {
                    self.handle(Message::of(opened, &buffer)?)?;
                }
            } else {
                break;
            }
            self.input.start += length;
        }
        if self.input.is_empty() {
            self.input.give();
        }
        Ok(())
    }

    fn hand_out(&mut self, out: &mut ReadBuf<'_>) {
        let length = out.remaining().min(self.opened.bytes().len());
        out.put_slice(&self.opened.bytes()[..length]);
        self.opened.start += length;
        if self.opened.is_empty() {
            self.opened = Span::default();
        }
    }

    fn handle(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::CloseNotify => self.is_closed = true,
            Message::Nothing => {}
            Message::KeyUpdate { is_answer_wanted } => {
                let secret = self.secret.as_mut().ok_or(InvalidMessage::InvalidContentType)?;
                secret.advance()?;
                self.opener.renew(secret)?;
                if is_answer_wanted {
                    self.wishes.owes_keys.store(true, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    /// Lets the client know why the connection ends, once the writer closes it.
    fn fail(&self, error: Error) -> io::Error {
        self.wishes.last_words.store(alert_for(&error), Ordering::Relaxed);
        broken(error)
    }

    /// Reads into a buffer of the thread. When nothing has come it is given back, and what was in it is kept apart.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.buffer.is_empty() {
            self.input = Span::take(&std::mem::take(&mut self.rest));
        } else {
            self.input.compact();
        }
        let mut buffer = ReadBuf::new(&mut self.input.buffer[self.input.end..]);
        let read = Pin::new(&mut self.io).poll_read(context, &mut buffer);
        let length = buffer.filled().len();
        self.input.end += length;
        if length == 0 {
            self.rest = self.input.bytes().into();
            self.input.give();
        }
        read.map_ok(|()| length)
    }
}

/// What a client is told whose record was refused (RFC 8446 section 6.2).
fn alert_for(error: &Error) -> u8 {
    let alert = match error {
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => AlertDescription::DecodeError,
        Error::InvalidMessage(_) => AlertDescription::UnexpectedMessage,
        // It has ended the connection itself.
        Error::AlertReceived(_) => AlertDescription::CloseNotify,
        _ => AlertDescription::InternalError,
    };
    alert.into()
}

/// A record that carries no content.
enum Message {
    CloseNotify,
    KeyUpdate { is_answer_wanted: bool },
    Nothing,
}

impl Message {
    fn of(opened: Opened, plain: &[u8]) -> Result<Self, Error> {
        match (opened.content, &plain[..opened.length]) {
            (ALERT, bytes) if bytes == CLOSE_NOTIFY => Ok(Self::CloseNotify),
            (ALERT, [_, USER_CANCELED]) => Ok(Self::Nothing),
            (ALERT, [_, reason]) => Err(Error::AlertReceived(AlertDescription::from(*reason))),
            (HANDSHAKE, bytes) if bytes == KEY_UPDATE => Ok(Self::KeyUpdate { is_answer_wanted: false }),
            (HANDSHAKE, bytes) if bytes == KEY_UPDATE_REQUEST => Ok(Self::KeyUpdate { is_answer_wanted: true }),
            _ => Err(InvalidMessage::InvalidContentType.into()),
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for TlsReader<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !this.opened.is_empty() {
            this.hand_out(out);
            return Poll::Ready(Ok(()));
        }
        let before = out.filled().len();
        for _ in 0..MAX_EMPTY_READS {
            this.open_all(out).map_err(|error| this.fail(error))?;
            if out.filled().len() > before || this.is_closed {
                return Poll::Ready(Ok(()));
            }
            if ready!(this.poll_input(context))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// What the client is told.
pub struct TlsWriter<W> {
    io: W,
    sealer: Sealer,
    /// What `sealer` was made of.
    secret: Option<TrafficSecret>,
    wishes: Arc<Wishes>,
    /// The end of the handshake, which nobody waits for: it goes out with the first words, in one write.
    unsent: Box<[u8]>,
    /// Sealed and not yet written.
    sealed: Span,
    is_closed: bool,
}

impl<W: AsyncWrite + Unpin> TlsWriter<W> {
    /// Writes what is sealed.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.sealed.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(context, self.sealed.bytes()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.sealed.start += length,
            }
        }
        self.sealed.give();
        Poll::Ready(Ok(()))
    }

    /// Seals one record behind the others.
    fn seal(&mut self, content: u8, plain: &[u8]) -> Result<(), Error> {
        if self.sealed.buffer.is_empty() {
            self.sealed = Span::take(&std::mem::take(&mut self.unsent));
        }
        self.sealed.end += self.sealer.seal(content, plain, &mut self.sealed.buffer[self.sealed.end..])?;
        Ok(())
    }

    /// Takes new keys when the client asked for it, or the old ones have sealed enough.
    fn rekey(&mut self) -> Result<(), Error> {
        if !self.sealer.is_spent() && !self.wishes.owes_keys.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.wishes.owes_keys.store(false, Ordering::Relaxed);
        if self.secret.is_some() {
            self.seal(HANDSHAKE, &KEY_UPDATE)?;
        }
        let secret = self.secret.as_mut().ok_or(Error::EncryptError)?;
        secret.advance()?;
        self.sealer.renew(secret)
    }

    /// Seals as much as one buffer holds.
    fn seal_all(&mut self, plain: &[u8]) -> Result<usize, Error> {
        self.rekey()?;
        let mut taken = 0;
        while taken < plain.len() {
            let room = pool::BUFFER_BYTES.saturating_sub(self.sealed.end + MAX_OVERHEAD_BYTES);
            let length = MAX_PLAIN_BYTES.min(plain.len() - taken).min(room);
            if length == 0 {
                break;
            }
            self.seal(APPLICATION_DATA, &plain[taken..taken + length])?;
            taken += length;
        }
        Ok(taken)
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for TlsWriter<W> {
    /// Takes what one buffer holds once what was taken before is written.
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, plain: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_send(context))?;
        let taken = this.seal_all(plain).map_err(broken)?;
        // What does not go out now is written by the next call, or by a flush.
        if let Poll::Ready(Err(error)) = this.poll_send(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_send(context))?;
        if !std::mem::replace(&mut this.is_closed, true) {
            let last_words = match this.wishes.last_words.load(Ordering::Relaxed) {
                CLOSE => CLOSE_NOTIFY,
                reason => [ALERT_FATAL, reason],
            };
            this.seal(ALERT, &last_words).map_err(broken)?;
            ready!(this.poll_send(context))?;
        }
        Pin::new(&mut this.io).poll_shutdown(context)
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
