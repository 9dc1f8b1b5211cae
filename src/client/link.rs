//! Keeps one route to the relay alive: dials, reads and writes, dials again when the transport ends.
//!
//! ```text
//! dialing ──ok──► up ──transport ended──► waiting ──backoff over──► dialing
//!    └──failed──────────────────────────────▲
//! ```
//!
//! It owns the task, the queue of frames to write and the backoff. What to do with a frame that no transport takes
//! is for the session to say: while the link is down its queue simply does not move.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::dial::Dialer;
use super::transport::{Incoming, KEEPALIVE, Reader, TransportError, WRITE_BATCH, Writer};

/// Frames waiting for one transport; small, because what waits here is late.
const OUTBOX_FRAMES: usize = 256;

/// Probes waiting to be written back; the apps hold no more.
const ECHO_MESSAGES: usize = 32;

/// When to dial again: at once after a transport that lived, then after doubling pauses, each of random length
/// between half and the whole.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// First pause.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(5) }
    }
}

impl Backoff {
    /// Pause after so many failures in a row; `random` lies in 0..1.
    fn pause(&self, failures: u32, random: f64) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let doubled = self.first.saturating_mul(1u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
        doubled.min(self.longest).mul_f64(0.5 + random / 2.0)
    }
}

/// What a link is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// No transport yet, or none any more; with the last reason.
    Down(String),
    /// A transport carries frames.
    Up,
}

/// One route kept alive. Dropping it ends its task and its transport.
#[derive(Debug)]
pub struct Link {
    outbox: mpsc::Sender<Bytes>,
    state: watch::Receiver<LinkState>,
    cut: watch::Sender<u64>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Link {
    /// Starts to dial. Frames that arrive go to `inbox`; when that is full, reading waits.
    /// `changed` is told of every change of state.
    pub fn start(dialer: Dialer, backoff: Backoff, inbox: mpsc::Sender<Bytes>, changed: Arc<Notify>) -> Self {
        let (outbox, frames) = mpsc::channel(OUTBOX_FRAMES);
        let (report, state) = watch::channel(LinkState::Down("not yet connected".into()));
        let (cut, cuts) = watch::channel(0);
        let stop = CancellationToken::new();
        let run = Run { dialer, backoff, inbox, frames, report, changed, cuts };
        let task = tokio::spawn(run.until(stop.clone()));
        Self { outbox, state, cut, stop, task: Some(task) }
    }

    /// Whether a transport carries frames now.
    pub fn is_up(&self) -> bool {
        *self.state.borrow() == LinkState::Up
    }

    /// State and its changes.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// The queue to the transport.
    pub fn outbox(&self) -> &mpsc::Sender<Bytes> {
        &self.outbox
    }

    /// Drops the transport without a word, as a lost network does; the link dials again.
    pub fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }

    /// Writes what is queued, closes the transport and waits for it.
    pub async fn close(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            drop(task.await);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

struct Run {
    dialer: Dialer,
    backoff: Backoff,
    inbox: mpsc::Sender<Bytes>,
    frames: mpsc::Receiver<Bytes>,
    report: watch::Sender<LinkState>,
    changed: Arc<Notify>,
    cuts: watch::Receiver<u64>,
}

impl Run {
    async fn until(mut self, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let dialed = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                dialed = self.dialer.dial() => dialed,
            };
            let reason = match dialed {
                Ok((reader, writer)) => {
                    let since = Instant::now();
                    self.report(LinkState::Up);
                    let Some(end) = self.carry(reader, writer, &stop).await else { return };
                    // With header authentication a rejected client is let in and dropped: that is a failure too.
                    failures = if since.elapsed() >= KEEPALIVE { 0 } else { failures + 1 };
                    end.to_string()
                }
                Err(error) => {
                    failures += 1;
                    error.to_string()
                }
            };
            tracing::debug!(route = %self.dialer.route(), reason, failures, "transport is down");
            self.report(LinkState::Down(reason));
            // What waits here is late by now; whoever sent it sends it anew when the link is up.
            while self.frames.try_recv().is_ok() {}
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(self.backoff.pause(failures, rand::random())) => {}
            }
        }
    }

    fn report(&self, state: LinkState) {
        self.report.send_replace(state);
        self.changed.notify_one();
    }

    /// Carries frames both ways until the transport ends; `None` when it was stopped from here.
    async fn carry(
        &mut self,
        mut reader: Reader,
        mut writer: Writer,
        stop: &CancellationToken,
    ) -> Option<TransportError> {
        self.cuts.mark_unchanged();
        let (echo, echoes) = mpsc::channel(ECHO_MESSAGES);
        let inbox = self.inbox.clone();
        let reading = async move {
            loop {
                match reader.next().await? {
                    Incoming::Frame(frame) => {
                        if inbox.send(frame).await.is_err() {
                            return Err::<(), _>(TransportError::Closed);
                        }
                    }
                    // A probe above the bound is not answered: the server measures nothing, and nothing is lost.
                    Incoming::Echo(message) => drop(echo.try_send(message)),
                }
            }
        };
        let ended = tokio::select! {
            // The branches are two loops, each a state machine of its own: neither waits for the other.
            ended = reading => ended.err(),
            ended = write(&mut self.frames, echoes, &mut writer, stop) => ended.err(),
            _ = self.cuts.changed() => return Some(TransportError::Closed),
        };
        if ended.is_none() {
            writer.close().await;
        }
        ended
    }
}

/// Writes queued frames in batches and a keepalive into silence, until told to stop and the queue is empty.
async fn write(
    frames: &mut mpsc::Receiver<Bytes>,
    mut echoes: mpsc::Receiver<Bytes>,
    writer: &mut Writer,
    stop: &CancellationToken,
) -> Result<(), TransportError> {
    let mut batch = Vec::with_capacity(WRITE_BATCH);
    let mut quiet_until = Instant::now() + KEEPALIVE;
    loop {
        tokio::select! {
            biased;
            Some(message) = echoes.recv() => batch.push(message),
            _ = frames.recv_many(&mut batch, WRITE_BATCH) => {}
            () = stop.cancelled() => return Ok(()),
            () = sleep_until(quiet_until) => batch.push(Bytes::new()),
        }
        if batch.is_empty() {
            // The session is gone and nothing more will come.
            return Ok(());
        }
        writer.write(&mut batch).await?;
        quiet_until = Instant::now() + KEEPALIVE;
    }
}

#[cfg(test)]
mod tests;
