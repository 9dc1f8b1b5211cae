//! One authenticated transport: its read loop, its write loop, and why it ended.
//!
//! The loops are two tasks, so that a flood in one direction cannot starve the other. The read loop never waits for
//! anybody but its own client: frames are routed where they are read.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::Relay;
use super::drop_reason::EndReason;
use super::keepalive::IdleTimer;
use super::outbox::{Outbox, Taken};
use super::resident::Resident;
use super::road::Road;
use super::transport::{FrameReader, FrameWriter, Message};
use crate::telemetry::relay_metrics::RelayMetrics;
use crate::time::Timestamp;

/// Time to say goodbye.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
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
    let road = Road::new(Arc::clone(resident), relay.flows(resident));
    let reason = tokio::select! {
        biased;
        reason = &mut writing => return reason.unwrap_or(EndReason::PeerClosed),
        reason = read_loop(relay, outbox, road, &mut reader) => reason,
    };
    outbox.close(reason);
    // The first reason counts: the read loop may have ended because the connection was being closed.
    timeout(CLOSE_GRACE, writing).await.ok().and_then(Result::ok).unwrap_or(reason)
}

/// Reads until the connection ends.
async fn read_loop<R: FrameReader>(relay: &Relay, outbox: &Outbox, mut road: Road, reader: &mut R) -> EndReason {
    let mut idle = IdleTimer::new(relay.config.relay.read_timeout);
    loop {
        let now = relay.clock.now();
        let routed = route_all(outbox, &mut road, reader, now);
        // What came before an offence still goes out.
        road.finish(now, &relay.metrics);
        match routed {
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
                road.tidy(relay.clock.now());
            }
        }
    }
}

/// Routes every message that is complete; true when there was one that counts as a sign of life.
#[inline]
fn route_all<R: FrameReader>(
    outbox: &Outbox,
    road: &mut Road,
    reader: &mut R,
    now: Timestamp,
) -> Result<bool, EndReason> {
    let mut is_alive = false;
    while let Some(message) = reader.next()? {
        match message {
            Message::Data(frame) => {
                is_alive = true;
                if frame.len() > R::MAX_CONTROL_BYTES {
                    road.take(frame, now)?;
                }
            }
            Message::Text => is_alive = true,
            Message::Ping(payload) => outbox.pong(payload),
        }
    }
    Ok(is_alive)
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
