//! Takes packets off the QUIC socket before the connections that they are for run.
//!
//! quinn reads the socket in one task and runs each connection in one of its own. Among thousands that are busy the
//! first gets its turn as rarely as any other: the buffer of the socket overflows, and a connection woken by one packet
//! finds no second. Here connections let it read before they run, every so often. So packets wait where they belong, and
//! a connection handles all it has in one turn, with one acknowledgement and large writes (`docs/performance.md` has the
//! figures).

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use tokio::task::coop::unconstrained;

/// Turns of connections between two looks at the socket.
const TURNS_BETWEEN_LOOKS: u32 = 16;

/// Polls of the reading task in one look at most; quinn ends each after some 50 µs.
const POLLS: usize = 8;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A runtime for one endpoint, in which its socket goes first. Connections take nothing more off it once `limit` bytes
/// were taken since the reading task had its own turn: so much waits in them, and what one look takes.
pub fn runtime(limit: usize) -> Arc<dyn Runtime> {
    Arc::new(IntakeRuntime(Arc::new(Intake::new(limit))))
}

struct IntakeRuntime(Arc<Intake>);

impl Runtime for IntakeRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Task) {
        let intake = Arc::clone(&self.0);
        // An endpoint begins with its reading task; all others are connections.
        match intake.reader.get() {
            None => {
                intake.begin(task);
                tokio::spawn(poll_fn(move |context| intake.poll_own(context)));
            }
            Some(_) => drop(tokio::spawn(Connection { task, intake })),
        }
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(Socket { inner: TokioRuntime.wrap_udp_socket(socket)?, intake: Arc::clone(&self.0) }))
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

impl fmt::Debug for IntakeRuntime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("IntakeRuntime")
    }
}

/// What the reading task, the connections and the socket of an endpoint share.
struct Intake {
    /// None once it has ended.
    reader: OnceLock<Mutex<Option<Task>>>,
    /// Of the task that polls the reader when the socket becomes readable.
    waker: OnceLock<Waker>,
    /// Whether the last read found nothing.
    is_empty: AtomicBool,
    /// Bytes taken since the reader's own turn.
    taken: AtomicUsize,
    limit: usize,
    turns: AtomicU32,
}

impl Intake {
    fn new(limit: usize) -> Self {
        Self {
            reader: OnceLock::new(),
            waker: OnceLock::new(),
            is_empty: AtomicBool::new(true),
            taken: AtomicUsize::new(0),
            limit,
            turns: AtomicU32::new(0),
        }
    }

    fn begin(&self, task: Task) {
        self.reader.get_or_init(|| Mutex::new(Some(task)));
    }

    /// The reader's own turn, after which others have theirs, as among few connections. What it took before has been
    /// handled: on a worker thread those it woke had their turns before it has its next.
    fn poll_own(&self, context: &mut Context<'_>) -> Poll<()> {
        self.waker.get_or_init(|| context.waker().clone());
        self.taken.store(0, Ordering::Relaxed);
        let Some(reader) = self.reader.get() else { return Poll::Pending };
        poll_reader(&mut reader.lock(), context)
    }

    /// Before the turn of a connection: polls the reader until the socket is empty, or as often as one look may.
    fn look(&self) {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        if !turn.is_multiple_of(TURNS_BETWEEN_LOOKS) || self.taken.load(Ordering::Relaxed) >= self.limit {
            return;
        }
        // Nobody waits here for another thread that reads.
        let Some(mut reader) = self.reader.get().and_then(Mutex::try_lock) else { return };
        // The reader waits as the task that it has, and does not use up the connection's turn.
        let Some(waker) = self.waker.get() else { return };
        for _ in 0..POLLS {
            self.is_empty.store(false, Ordering::Relaxed);
            let reading = pin!(unconstrained(poll_fn(|context| poll_reader(&mut reader, context))));
            if reading.poll(&mut Context::from_waker(waker)).is_ready() {
                waker.wake_by_ref();
                return;
            }
            if self.is_empty.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn note(&self, read: &Poll<io::Result<usize>>, metas: &[RecvMeta]) {
        match read {
            Poll::Ready(Ok(count)) => {
                let bytes = metas[..*count].iter().map(|meta| meta.len).sum();
                self.taken.fetch_add(bytes, Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.is_empty.store(true, Ordering::Relaxed),
        }
    }
}

/// Ready once the reader has ended.
fn poll_reader(reader: &mut Option<Task>, context: &mut Context<'_>) -> Poll<()> {
    if let Some(task) = reader {
        ready!(task.as_mut().poll(context));
    }
    *reader = None;
    Poll::Ready(())
}

struct Connection {
    task: Task,
    intake: Arc<Intake>,
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.intake.look();
        self.task.as_mut().poll(context)
    }
}

/// tokio's socket, watched.
struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    intake: Arc<Intake>,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let read = self.inner.poll_recv(context, buffers, metas);
        self.intake.note(&read, metas);
        read
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(formatter)
    }
}

#[cfg(test)]
#[path = "quic_intake_tests.rs"]
mod tests;
