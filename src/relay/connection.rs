//! One authenticated transport: its read loop, its write loop, and why it ended.
//!
//! The loops are two tasks, so that a flood in one direction cannot starve the other. The read loop never waits for
//! anybody but its own client: frames are routed where they are read.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::Relay;
use super::drop_reason::EndReason;
use super::keepalive::IdleTimer;
use super::meter::Meter;
use super::outbox::{Outbox, Taken};
use super::probe::{ProbeStep, Prober, Situation};
use super::resident::Resident;
use super::road::Road;
use super::transport::{FrameReader, FrameWriter, Message};
use crate::domain::vitals::Vitals;
use crate::telemetry::relay_metrics::RelayMetrics;
use crate::time::Timestamp;

/// Bytes that one client may send before the others on its thread have a turn, among them those that write what it
/// sent: a client that sends without pause would otherwise overfill their outboxes.
const MAX_TURN_BYTES: u64 = 64 * 1024;

/// Time to say goodbye.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// What a transport shows of its client's health, and how it is asked for more.
pub struct Pulse {
    /// Where it is noted.
    pub vitals: Arc<Vitals>,
    /// Measures; none for a transport whose client sends nothing back.
    pub prober: Option<Box<Prober>>,
}

/// Serves an attached transport until it ends. The caller detaches it.
pub async fn run<R: FrameReader, W: FrameWriter>(
    relay: &Arc<Relay>,
    resident: &Arc<Resident>,
    outbox: &Arc<Outbox>,
    mut reader: R,
    writer: W,
    pulse: Pulse,
) -> EndReason {
    let settings = &relay.config.relay;
    let written = Written { metrics: Arc::clone(&relay.metrics), vitals: Arc::clone(&pulse.vitals) };
    let write_loop = write_loop(Arc::clone(outbox), writer, settings.keepalive, settings.write_timeout, written);
    let mut writing = AbortOnDropHandle::new(tokio::spawn(write_loop));
    let road = Road::new(Arc::clone(resident), relay.flows(resident));
    let reason = tokio::select! {
        biased;
        reason = &mut writing => return reason.unwrap_or(EndReason::PeerClosed),
        reason = read_loop(relay, outbox, road, &mut reader, pulse) => reason,
    };
    outbox.close(reason);
    // The first reason counts: the read loop may have ended because the connection was being closed.
    timeout(CLOSE_GRACE, writing).await.ok().and_then(Result::ok).unwrap_or(reason)
}

/// Reads until the connection ends.
async fn read_loop<R: FrameReader>(
    relay: &Relay,
    outbox: &Outbox,
    mut road: Road,
    reader: &mut R,
    mut pulse: Pulse,
) -> EndReason {
    let mut idle = IdleTimer::new(relay.config.relay.read_timeout);
    let mut meter = Meter::new(Instant::now());
    pulse.poll(outbox);
    let mut turn_bytes = 0;
    loop {
        let now = relay.clock.now();
        let routed = route_all(outbox, &mut road, reader, now, &mut pulse);
        // What came before an offence still goes out.
        let bytes = road.finish(now, &relay.metrics);
        turn_bytes += bytes;
        match routed {
            Ok(true) => {
                let at = idle.touch();
                pulse.vitals.heard(now);
                if let Some(speed) = meter.add(bytes, at) {
                    pulse.vitals.reached(speed);
                }
            }
            Ok(false) => {}
            Err(reason) => return reason,
        }
        if turn_bytes >= MAX_TURN_BYTES {
            turn_bytes = 0;
            yield_now().await;
        }
        tokio::select! {
            biased;
            filled = reader.fill() => if let Err(reason) = filled {
                return reason;
            },
            is_silent = idle.tick() => {
                if is_silent && !reader.notices_absence() {
                    return EndReason::ReadTimeout;
                }
                road.tidy(relay.clock.now());
                reader.shrink();
                pulse.poll(outbox);
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
    pulse: &mut Pulse,
) -> Result<bool, EndReason> {
    let mut is_alive = false;
    // A probe begins between reads only.
    let is_echoing = pulse.prober.as_ref().is_some_and(|prober| prober.is_echoing());
    while let Some(message) = reader.next()? {
        match message {
            Message::Data(frame) => {
                is_alive = true;
                if frame.len() <= R::MAX_CONTROL_BYTES {
                    pulse.handle_short(&frame, outbox);
                } else if !is_echoing || !pulse.handle_long(&frame, outbox) {
                    road.take(frame, now)?;
                }
            }
            Message::Text => is_alive = true,
            Message::Ping(payload) => outbox.pong(payload),
        }
    }
    Ok(is_alive)
}

impl Pulse {
    /// Begins measurements that are due.
    fn poll(&mut self, outbox: &Outbox) {
        let Some(prober) = &mut self.prober else { return };
        let situation = Situation {
            is_provider: self.vitals.is_provider(),
            has_waiting: outbox.has_waiting(),
            reached: self.vitals.most_reached(),
        };
        let actions = prober.poll(Instant::now(), situation, &mut rand::rng());
        self.act(actions, outbox);
    }

    /// Takes a message too short to be a frame: a keepalive, or something sent back.
    fn handle_short(&mut self, message: &[u8], outbox: &Outbox) {
        if !message.is_empty()
            && let Some(prober) = &mut self.prober
        {
            let action = prober.handle_short(message, Instant::now(), &mut rand::rng());
            self.act(action, outbox);
        }
    }

    /// Takes a message that may have been sent back; false when it is the client's own.
    fn handle_long(&mut self, message: &[u8], outbox: &Outbox) -> bool {
        let Some(prober) = &mut self.prober else { return false };
        let Some(actions) = prober.handle_long(message, Instant::now(), outbox.has_waiting()) else { return false };
        self.act(actions, outbox);
        true
    }

    fn act(&mut self, actions: impl IntoIterator<Item = ProbeStep>, outbox: &Outbox) {
        for action in actions {
            match action {
                // A probe that finds no room is one that is not answered.
                ProbeStep::Send(message) => drop(outbox.push_control(message)),
                ProbeStep::Hold(messages) => {
                    if outbox.hold() {
                        messages.into_iter().for_each(|message| outbox.push_ahead(message));
                    } else if let Some(prober) = &mut self.prober {
                        prober.cancel_speed();
                    }
                }
                ProbeStep::Next(message) => outbox.push_ahead(message),
                ProbeStep::Release => outbox.release(),
                ProbeStep::Latency(latency) => self.vitals.measured_latency(latency),
                ProbeStep::Speed(speed) => self.vitals.measured_speed(speed),
                ProbeStep::SpeedFloor(speed) => self.vitals.reached(speed as u64),
            }
        }
    }
}

/// Where it is noted what was written.
struct Written {
    metrics: Arc<RelayMetrics>,
    vitals: Arc<Vitals>,
}

/// Writes what the outbox holds, a batch at a time, and a keepalive after silence.
async fn write_loop<W: FrameWriter>(
    outbox: Arc<Outbox>,
    mut writer: W,
    keepalive: Duration,
    write_timeout: Duration,
    written: Written,
) -> EndReason {
    let mut batch = VecDeque::new();
    let mut meter = Meter::new(Instant::now());
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
                continue;
            }
        };
        let (bytes, result) = match taken {
            Taken::Closed(reason) => {
                // A peer that does not read gets no goodbye.
                let _ = timeout(CLOSE_GRACE, writer.close(reason)).await;
                return reason;
            }
            Taken::Frames { bytes, pong } => {
                written.metrics.frames_sent.inc_by(batch.len() as u64);
                let pong = match pong {
                    Some(payload) => within(write_timeout, writer.write_pong(payload)).await,
                    None => Ok(()),
                };
                let result = match pong {
                    Ok(()) => write_all(&mut writer, &mut batch, write_timeout).await,
                    failed => failed,
                };
                (bytes as u64, result)
            }
        };
        if let Err(reason) = result {
            outbox.close(reason);
            return reason;
        }
        if let Some(speed) = meter.add(bytes, idle.touch()) {
            written.vitals.reached(speed);
        }
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
