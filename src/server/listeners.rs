//! The TCP listeners: accept, TLS, HTTP/1.1 and HTTP/2, with every step bounded in number and time.
//!
//! A connection holds its permit until its socket is closed, also after an upgrade to WebSocket. One that has not
//! sent a complete first request within `http.header_timeout`, TLS included, is closed.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, join};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::front::{Front, RemoteEnd};
use super::tls::handshake;
use super::upgrade::{HttpWriter, Next};
use crate::config::http::Http;
use crate::relay::turns::Turns;
use crate::telemetry::metrics::{GaugeGuard, ListenerMetrics};

/// Connections that wait in the system between two accepts.
const BACKLOG: u32 = 4096;

/// Newcomers that are accepted before whoever is ready goes first. One at a time, each would cost a look at all sockets,
/// an eighth of a connect.
const LET_IN: u64 = 4;

/// Rest after a failed accept; the usual cause is a lack of file descriptors, which takes a moment to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Requests at once on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 128;

/// Largest head of an HTTP/1 request; the longest token plus the longest path stay far below.
const HEAD_BYTES: usize = 64 * 1024;

/// Opens a TCP listener that may take over an address in TIME_WAIT.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// One TCP listener and what answers on it.
pub struct Listener {
    /// The open socket.
    pub socket: TcpListener,
    /// TLS, when it is on.
    pub tls: Option<Arc<ServerConfig>>,
    /// What answers.
    pub front: Arc<Front>,
    /// Limits and times.
    pub limits: Http,
    /// Counters.
    pub metrics: ListenerMetrics,
}

impl Listener {
    /// Accepts until `stop`, then tells open connections to end after their current request. Connections run as tasks
    /// of `tasks`.
    pub async fn run(self, stop: CancellationToken, tasks: TaskTracker) {
        let permits = Arc::new(Semaphore::new(self.limits.max_connections.min(Semaphore::MAX_PERMITS)));
        let most = self.limits.max_handshakes.min(Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            tls: self.tls,
            front: self.front,
            limits: self.limits,
            metrics: self.metrics,
            handshakes: Semaphore::new(most),
            turns: Turns::default(),
            stop: stop.clone(),
        });
        let mut let_in = 0;
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    shared.metrics.accept_errors.inc();
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            shared.metrics.accepted.inc();
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                // Closed at once: a client that is told tries elsewhere or later, one left waiting does not.
                shared.metrics.refused.inc();
                continue;
            };
            let place = Place { _permit: permit, _open: GaugeGuard::new(&shared.metrics.open) };
            tasks.spawn(Arc::clone(&shared).connection(stream, peer, place));
            let_in += 1;
            if let_in % LET_IN == 0 {
                // Newcomers wait in the system, where they cost nothing, while somebody is ready: accepted all at once
                // they would be ready all at once.
                yield_now().await;
            }
        }
    }
}

struct Shared {
    tls: Option<Arc<ServerConfig>>,
    front: Arc<Front>,
    limits: Http,
    metrics: ListenerMetrics,
    /// TLS handshakes under way.
    handshakes: Semaphore,
    turns: Turns,
    stop: CancellationToken,
}

impl Shared {
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Place) {
        let deadline = Instant::now() + self.limits.header_timeout;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone before it was served");
            return;
        }
        let (io, write) = stream.into_split();
        let read = Held { io, _place: place };
        let Some(config) = &self.tls else {
            return self.serve((read, write), RemoteEnd { address: peer, certificate: None }, deadline).await;
        };
        let Ok(underway) = self.handshakes.try_acquire() else {
            // Would wait for longer than clients do.
            self.metrics.refused.inc();
            return;
        };
        // Boxed, so that its memory goes with it.
        let handshake = Box::pin(handshake::accept(config, &self.turns, read, write));
        let accepted = timeout(self.limits.header_timeout, handshake).await;
        drop(underway);
        match accepted {
            Ok(Ok(accepted)) => {
                let end = RemoteEnd { address: peer, certificate: accepted.certificate };
                self.serve((accepted.reader, accepted.writer), end, deadline).await;
            }
            Ok(Err(error)) => {
                self.metrics.unfinished.inc();
                tracing::debug!(%error, "a TLS handshake failed");
            }
            Err(_) => {
                self.metrics.unfinished.inc();
                tracing::debug!("a TLS handshake took too long");
            }
        }
    }

    /// Serves HTTP until it is upgraded, the peer ends it, it stays silent for too long, or the server stops.
    async fn serve<R, W>(&self, (read, write): (R, W), peer: RemoteEnd, first_request_by: Instant)
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (activity, next, peer) = (Arc::new(Activity::new()), Arc::<Next>::default(), Arc::new(peer));
        let io = join(read, HttpWriter::new(write, Arc::clone(&next)));
        let service = service_fn(|request| {
            let (front, activity, peer) = (Arc::clone(&self.front), Arc::clone(&activity), Arc::clone(&peer));
            let (answers, next) = (Arc::clone(&self.metrics.answers), Arc::clone(&next));
            async move {
                let _busy = activity.begin();
                let began = Instant::now();
                let answer = front.answer(request, &peer, &next).await;
                answers.count(answer.status().as_u16(), began.elapsed());
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        let builder = self.builder();
        let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), service));
        let mut wake = first_request_by;
        let mut is_ending = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection broke");
                    }
                    if !activity.has_begun() {
                        self.metrics.unfinished.inc();
                    }
                    if let Some(upgrade) = next.take() {
                        self.front.go_on(upgrade).await;
                    }
                    return;
                }
                () = self.stop.cancelled(), if !is_ending => {
                    connection.as_mut().graceful_shutdown();
                    is_ending = true;
                }
                () = sleep_until(wake) => {
                    if !activity.has_begun() {
                        self.metrics.unfinished.inc();
                        return;
                    }
                    match activity.silent_until(self.limits.idle_timeout) {
                        Some(later) => wake = later,
                        None if is_ending => return,
                        None => {
                            connection.as_mut().graceful_shutdown();
                            is_ending = true;
                            wake = Instant::now() + self.limits.idle_timeout;
                        }
                    }
                }
            }
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(HEAD_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS)
            .keep_alive_interval(self.limits.header_timeout)
            .keep_alive_timeout(self.limits.header_timeout);
        builder
    }
}

/// Whether a connection is being used.
struct Activity {
    opened: Instant,
    in_flight: AtomicUsize,
    has_begun: AtomicBool,
    /// Milliseconds from `opened` to the last answer.
    last: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self {
            opened: Instant::now(),
            in_flight: AtomicUsize::new(0),
            has_begun: AtomicBool::new(false),
            last: AtomicU64::new(0),
        }
    }

    fn begin(&self) -> Busy<'_> {
        self.has_begun.store(true, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Busy(self)
    }

    fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }

    /// When to look again; `None` when nothing has happened for `patience`.
    fn silent_until(&self, patience: Duration) -> Option<Instant> {
        let now = Instant::now();
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return Some(now + patience);
        }
        let end = self.opened + Duration::from_millis(self.last.load(Ordering::Relaxed)) + patience;
        (end > now).then_some(end)
    }
}

/// A request being answered.
struct Busy<'a>(&'a Activity);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let since = self.0.opened.elapsed().as_millis() as u64;
        self.0.last.store(since, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place among the open connections.
struct Place {
    _permit: OwnedSemaphorePermit,
    _open: GaugeGuard,
}

/// What a client says, and its place, which it keeps until its socket is closed.
pub struct Held {
    io: OwnedReadHalf,
    _place: Place,
}

/// What a client is told.
pub type WriteHalf = OwnedWriteHalf;

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On one thread whoever is ready runs in the order of becoming so.
    #[tokio::test]
    async fn somebody_ready_waits_behind_a_few_newcomers_at_a_time() {
        const NEWCOMERS: usize = 200;
        let (metrics, stop) = (ListenerMetrics::default(), CancellationToken::new());
        let accepted = metrics.accepted.clone();
        let listener = Listener {
            socket: bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap(),
            tls: None,
            front: Arc::new(Front::to_router(axum::Router::new())),
            limits: Http::default(),
            metrics,
        };
        let address = listener.socket.local_addr().unwrap();
        // The system connects them without us.
        let _newcomers: Vec<_> = (0..NEWCOMERS).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let running = tokio::spawn(listener.run(stop.clone(), TaskTracker::new()));
        while accepted.get() < NEWCOMERS as u64 {
            let before = accepted.get();
            yield_now().await;
            assert!(accepted.get() - before <= LET_IN);
        }
        stop.cancel();
        running.await.unwrap();
    }
}
