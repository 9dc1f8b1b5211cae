//! One authenticated transport: its read loop, its write loop, and why it ended.
//!
//! The loops are two tasks, so that a flood in one direction cannot starve the other. The read loop never waits for
//! anybody but its own client: frames are routed where they are read, and neighbours for one destination travel as a
//! run, which costs one look-up and one push.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::Relay;
use super::admission::Flows;
use super::drop_reason::{DropReason, EndReason};
use super::keepalive::IdleTimer;
use super::outbox::{Outbox, Taken};
use super::resident::Resident;
use super::route::{Route, route};
use super::tally::Tally;
use super::transport::{FrameReader, FrameWriter, Message};
use crate::ids::ClientId;
use crate::telemetry::relay_metrics::RelayMetrics;
use crate::time::Timestamp;
use crate::wire::path::peek_path;

/// Frames of one run at most.
const MAX_RUN: usize = 64;
/// Time to say goodbye.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// Frames in another client's name, within [`ABUSE_WINDOW`], that end a connection. Clients in a mixed state send a
/// few, so it is far above that.
const ABUSE_FRAMES: u32 = 1000;
/// See [`ABUSE_FRAMES`].
const ABUSE_WINDOW: Duration = Duration::from_secs(60);

/// Serves an attached transport until it ends. The caller detaches it.
pub async fn run<R: FrameReader, W: FrameWriter>(
    relay: &Arc<Relay>,
    resident: &Arc<Resident>,
    outbox: &Arc<Outbox>,
    mut reader: R,
    writer: W,
) -> EndReason {
    let settings = &relay.config.relay;
    let write_loop =
        write_loop(Arc::clone(outbox), writer, settings.keepalive, settings.write_timeout, Arc::clone(&relay.metrics));
    let mut writing = AbortOnDropHandle::new(tokio::spawn(write_loop));
    let mut reading = Reading::new(relay, resident, outbox);
    let reason = tokio::select! {
        biased;
        reason = &mut writing => return reason.unwrap_or(EndReason::PeerClosed),
        reason = reading.run(&mut reader) => reason,
    };
    outbox.close(reason);
    // The first reason counts: the read loop may have ended because the connection was being closed.
    timeout(CLOSE_GRACE, writing).await.ok().and_then(Result::ok).unwrap_or(reason)
}

/// The read loop's own state; shared with nobody.
struct Reading {
    relay: Arc<Relay>,
    resident: Arc<Resident>,
    outbox: Arc<Outbox>,
    flows: Flows,
    run: Vec<Bytes>,
    run_destination: ClientId,
    tally: Tally,
    spoofed: u32,
    spoofed_since: Instant,
}

impl Reading {
    fn new(relay: &Arc<Relay>, resident: &Arc<Resident>, outbox: &Arc<Outbox>) -> Self {
        Self {
            relay: Arc::clone(relay),
            resident: Arc::clone(resident),
            outbox: Arc::clone(outbox),
            flows: relay.flows(resident),
            run: Vec::new(),
            run_destination: ClientId::CONTROL,
            tally: Tally::default(),
            spoofed: 0,
            spoofed_since: Instant::now(),
        }
    }

    async fn run<R: FrameReader>(&mut self, reader: &mut R) -> EndReason {
        let mut idle = IdleTimer::new(self.relay.config.relay.read_timeout);
        loop {
            match self.route_all(reader) {
                Ok(true) => idle.touch(),
                Ok(false) => {}
                Err(reason) => return reason,
            }
            tokio::select! {
                biased;
                filled = reader.fill() => if let Err(reason) = filled {
                    return reason;
                },
                is_silent = idle.tick() => {
                    if is_silent {
                        return EndReason::ReadTimeout;
                    }
                    self.flows.expire(self.relay.clock.now());
                    self.run = Vec::new();
                }
            }
        }
    }

    /// Routes every message that is complete; true when there was one that counts as a sign of life.
    fn route_all<R: FrameReader>(&mut self, reader: &mut R) -> Result<bool, EndReason> {
        let now = self.relay.clock.now();
        let result = self.route_messages(reader, now);
        // What came before an offence still goes out.
        self.send_run(now);
        self.tally.report(&self.relay.metrics);
        result
    }

    #[inline]
    fn route_messages<R: FrameReader>(&mut self, reader: &mut R, now: Timestamp) -> Result<bool, EndReason> {
        let mut is_alive = false;
        while let Some(message) = reader.next()? {
            match message {
                Message::Data(frame) => {
                    is_alive = true;
                    if frame.len() > R::MAX_CONTROL_BYTES {
                        self.route_frame(frame, now)?;
                    }
                }
                Message::Text => is_alive = true,
                Message::Ping(payload) => self.outbox.pong(payload),
            }
        }
        Ok(is_alive)
    }

    #[inline]
    fn route_frame(&mut self, frame: Bytes, now: Timestamp) -> Result<(), EndReason> {
        self.tally.received(frame.len());
        let way = match peek_path(&frame) {
            Ok(path) => route(&path, self.resident.client_id),
            Err(error) => Route::Drop(error.into()),
        };
        match way {
            Route::Client(destination) => {
                if destination != self.run_destination || self.run.len() >= MAX_RUN {
                    self.send_run(now);
                    self.run_destination = destination;
                }
                self.run.push(frame);
            }
            Route::Control => {
                if !self.resident.control.push_frame(frame) {
                    self.tally.dropped(DropReason::ControlQueueFull, 1);
                }
            }
            Route::Drop(reason) => {
                self.tally.dropped(reason, 1);
                if reason == DropReason::Spoofed {
                    return self.count_spoofed();
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn send_run(&mut self, now: Timestamp) {
        if self.run.is_empty() {
            return;
        }
        let (delivered, refusal) = self.flows.forward(self.run_destination, &mut self.run, now);
        self.tally.relayed(delivered);
        if let Some(reason) = refusal {
            self.tally.dropped(reason, self.run.len());
            self.run.clear();
        }
    }

    fn count_spoofed(&mut self) -> Result<(), EndReason> {
        if self.spoofed_since.elapsed() > ABUSE_WINDOW {
            self.spoofed = 0;
            self.spoofed_since = Instant::now();
        }
        self.spoofed += 1;
        if self.spoofed > ABUSE_FRAMES { Err(EndReason::Abuse) } else { Ok(()) }
    }
}

/// Writes what the outbox holds, a batch at a time, and a keepalive after silence.
async fn write_loop<W: FrameWriter>(
    outbox: Arc<Outbox>,
    mut writer: W,
    keepalive: Duration,
    write_timeout: Duration,
    metrics: Arc<RelayMetrics>,
) -> EndReason {
    let mut batch = VecDeque::new();
    let mut idle = IdleTimer::new(keepalive);
    loop {
        let taken = tokio::select! {
            biased;
            taken = poll_fn(|context| outbox.poll_take(context, &mut batch)) => taken,
            is_silent = idle.tick() => {
                if !is_silent {
                    continue;
                }
                let mut empty = VecDeque::from([Bytes::new()]);
                if let Err(reason) = write_all(&mut writer, &mut empty, write_timeout).await {
                    outbox.close(reason);
                    return reason;
                }
                batch = VecDeque::new();
                outbox.shrink();
                writer.shrink();
                continue;
            }
        };
        let result = match taken {
            Taken::Closed(reason) => {
                // A peer that does not read gets no goodbye.
                let _ = timeout(CLOSE_GRACE, writer.close(reason)).await;
                return reason;
            }
            Taken::Frames { pong } => {
                metrics.frames_sent.inc_by(batch.len() as u64);
                let pong = match pong {
                    Some(payload) => within(write_timeout, writer.write_pong(payload)).await,
                    None => Ok(()),
                };
                match pong {
                    Ok(()) => write_all(&mut writer, &mut batch, write_timeout).await,
                    failed => failed,
                }
            }
        };
        if let Err(reason) = result {
            outbox.close(reason);
            return reason;
        }
        idle.touch();
    }
}

async fn write_all<W: FrameWriter>(
    writer: &mut W,
    batch: &mut VecDeque<Bytes>,
    write_timeout: Duration,
) -> Result<(), EndReason> {
    while !batch.is_empty() {
        within(write_timeout, writer.write(batch)).await?;
    }
    Ok(())
}

async fn within(write_timeout: Duration, write: impl Future<Output = Result<(), EndReason>>) -> Result<(), EndReason> {
    timeout(write_timeout, write).await.unwrap_or(Err(EndReason::WriteTimeout))
}
