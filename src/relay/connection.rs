//! One authenticated transport: its read loop, its write loop, and why it ended.
//!
//! The loops are two tasks, so that a flood in one direction cannot starve the other. The read loop never waits for
//! anybody but its own client: frames are routed where they are read.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::yield_now;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::address_limit::AddressPermit;
use super::drop_reason::EndReason;
use super::frames::{Frames, Walk};
use super::keepalive::IdleTimer;
use super::meter::Meter;
use super::outbox::{Outbox, Taken};
use super::probe::{ProbeStep, Prober, Situation};
use super::resident::Resident;
use super::road::Road;
use super::transport::{FrameReader, FrameWriter, Message};
use super::{Relay, control_link};
use crate::domain::presence::PresenceGuard;
use crate::domain::vitals::Vitals;
use crate::telemetry::metrics::GaugeGuard;
use crate::time::Timestamp;

/// Bytes that one client may send before the others on its thread have a turn, among them those that write what it
/// sent: a client that sends without pause would otherwise overfill their outboxes.
const MAX_TURN_BYTES: u64 = 64 * 1024;

/// How exact it is known when a client has last sent something: what others read stands in memory of its own.
const HEARD_STEP: Duration = Duration::from_secs(1);

/// Time to say goodbye.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// What a transport shows of its client's health, and how it is asked for more.
struct Pulse {
    /// Where it is noted.
    vitals: Arc<Vitals>,
    /// When it was noted last that the client has sent something.
    heard: Timestamp,
    /// Measures; none for a transport whose client sends nothing back.
    prober: Option<Box<Prober>>,
}

/// An attached transport; its drop detaches it.
pub struct Attached {
    /// Where it is attached.
    pub relay: Arc<Relay>,
    /// Its client.
    pub resident: Arc<Resident>,
    /// What is to be written to it.
    pub outbox: Arc<Outbox>,
    /// That others see it.
    pub present: Option<PresenceGuard>,
    /// Its place among those of its address.
    pub place: AddressPermit,
    /// Its place among those that are open.
    pub open: GaugeGuard,
    /// What a drain waits for.
    pub running: TaskTrackerToken,
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Also ends the write loop if the read loop went away in an unusual manner.
        self.outbox.end(EndReason::PeerClosed);
        self.resident.detach(&self.outbox);
        // Later: a connection also ends where no task can run, with the runtime.
        control_link::serve_later(&self.relay, &self.resident);
    }
}

/// Serves an attached transport until it ends.
///
/// What the loops keep stands in [`ReadLoop`] and [`WriteLoop`], once: the arguments of an async function, and what it
/// moves into others, take their room twice for as long as it runs.
pub fn run<R: FrameReader, W: FrameWriter>(
    attached: Attached,
    reader: R,
    writer: W,
    prober: Option<Box<Prober>>,
) -> impl Future<Output = EndReason> + Send + use<R, W> {
    let (relay, resident) = (&attached.relay, &attached.resident);
    let vitals = attached.present.as_ref().map(|guard| Arc::clone(guard.vitals())).unwrap_or_default();
    let mut write_loop = WriteLoop {
        relay: Arc::clone(relay),
        outbox: Arc::clone(&attached.outbox),
        vitals: Arc::clone(&vitals),
        writer,
        batch: VecDeque::new(),
        meter: Meter::new(Instant::now()),
        idle: IdleTimer::new(relay.config.relay.keepalive),
    };
    let mut read_loop = ReadLoop {
        writing: AbortOnDropHandle::new(tokio::spawn(async move { write_loop.run().await })),
        road: Road::new(Arc::clone(resident), relay.flows(resident)),
        reader,
        pulse: Pulse { vitals, heard: Timestamp::ZERO, prober },
        meter: Meter::new(Instant::now()),
        idle: IdleTimer::new(relay.config.relay.read_timeout),
        attached,
    };
    async move {
        let reason = match read_loop.run().await {
            End::Writing(reason) => reason,
            End::Reading(reason) => {
                read_loop.attached.outbox.close(reason);
                // The first reason counts: the read loop may have ended because the connection was being closed.
                let written = Box::pin(read_loop.idle.within(CLOSE_GRACE, pin!(&mut read_loop.writing))).await;
                written.and_then(Result::ok).unwrap_or(reason)
            }
        };
        let client_id = read_loop.attached.resident.client_id;
        tracing::debug!(client = %client_id, reason = reason.label(), "connection ended");
        reason
    }
}

/// What has ended a connection.
enum End {
    Reading(EndReason),
    Writing(EndReason),
}

/// What a read loop waits for.
enum Event {
    /// Bytes, or the end of them.
    Filled(Result<(), EndReason>),
    /// The write loop has ended.
    Written(EndReason),
    /// See [`IdleTimer::poll_tick`].
    Tick(bool),
}

struct ReadLoop<R> {
    writing: AbortOnDropHandle<EndReason>,
    road: Road,
    reader: R,
    pulse: Pulse,
    meter: Meter,
    idle: IdleTimer,
    attached: Attached,
}

impl<R: FrameReader> ReadLoop<R> {
    /// Reads until the connection ends.
    async fn run(&mut self) -> End {
        let Self { writing, road, reader, pulse, meter, idle, attached } = self;
        let (relay, outbox) = (&attached.relay, &*attached.outbox);
        pulse.poll(outbox);
        let mut turn_bytes = 0;
        loop {
            let now = relay.clock.now();
            let routed = route_all(outbox, road, reader, now, pulse);
            // What came before an offence still goes out.
            let bytes = road.finish(now, &relay.metrics);
            turn_bytes += bytes;
            if road.take_control() {
                control_link::serve(relay, &attached.resident);
            }
            match routed {
                Ok(true) => {
                    let at = idle.touch();
                    pulse.hear(now);
                    if let Some(speed) = meter.add(bytes, at) {
                        pulse.vitals.reached(speed);
                    }
                }
                Ok(false) => {}
                Err(reason) => return End::Reading(reason),
            }
            if turn_bytes >= MAX_TURN_BYTES {
                turn_bytes = 0;
                // Where there is always more to read, nothing else is waited for below.
                if writing.is_finished() {
                    return End::Writing((&mut *writing).await.unwrap_or(EndReason::PeerClosed));
                }
                yield_now().await;
            }
            let event = {
                let mut filling = pin!(reader.fill());
                poll_fn(|context| {
                    if let Poll::Ready(filled) = filling.as_mut().poll(context) {
                        return Poll::Ready(Event::Filled(filled));
                    }
                    // Both wake this task. The write loop may have just done so, together with what was read.
                    if idle.may_wait() && !writing.is_finished() {
                        return Poll::Pending;
                    }
                    match Pin::new(&mut *writing).poll(context) {
                        Poll::Ready(reason) => Poll::Ready(Event::Written(reason.unwrap_or(EndReason::PeerClosed))),
                        Poll::Pending => idle.poll_tick(context).map(Event::Tick),
                    }
                })
                .await
            };
            match event {
                Event::Filled(Ok(())) => {}
                Event::Filled(Err(reason)) => return End::Reading(reason),
                Event::Written(reason) => return End::Writing(reason),
                Event::Tick(is_silent) => {
                    if is_silent && !reader.notices_absence() {
                        return End::Reading(EndReason::ReadTimeout);
                    }
                    road.tidy(relay.clock.now());
                    reader.shrink();
                    pulse.poll(outbox);
                }
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
    while let Some(message) = reader.next(u32::MAX)? {
        match message {
            Message::Frames(frames) => {
                is_alive = true;
                let mut walk = Walk::new(frames);
                while walk.step() {
                    if walk.message().len() <= R::MAX_CONTROL_BYTES {
                        road.gather(&mut walk);
                        pulse.handle_short(&walk.take(), outbox);
                    } else if is_echoing && pulse.handle_long(walk.message(), outbox) {
                        road.gather(&mut walk);
                        drop(walk.take());
                    } else {
                        road.take(&mut walk, now)?;
                    }
                }
                road.gather(&mut walk);
            }
            Message::Text => is_alive = true,
            Message::Ping(payload) => outbox.pong(payload),
        }
    }
    Ok(is_alive)
}

impl Pulse {
    /// Notes that the client has sent something, at most once in [`HEARD_STEP`].
    #[inline]
    fn hear(&mut self, now: Timestamp) {
        if now.since(self.heard) >= HEARD_STEP || now < self.heard {
            self.heard = now;
            self.vitals.heard(now);
        }
    }

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

/// Writes what the outbox holds, a batch at a time, and a keepalive after silence.
struct WriteLoop<W> {
    relay: Arc<Relay>,
    outbox: Arc<Outbox>,
    /// Where it is noted how much was written.
    vitals: Arc<Vitals>,
    writer: W,
    batch: VecDeque<Frames>,
    meter: Meter,
    idle: IdleTimer,
}

impl<W: FrameWriter> WriteLoop<W> {
    /// Writes until the connection ends.
    async fn run(&mut self) -> EndReason {
        let Self { relay, outbox, vitals, writer, batch, meter, idle } = self;
        let write_timeout = relay.config.relay.write_timeout;
        let reason = loop {
            // One place that writes, for both: each has room of its own in what an idle client keeps.
            let (bytes, pong, is_keepalive) = tokio::select! {
                biased;
                taken = poll_fn(|context| outbox.poll_take(context, batch)) => match taken {
                    Taken::Closed(reason) => break reason,
                    Taken::Frames { count, bytes, pong } => {
                        relay.metrics.frames_sent.inc_by(count as u64);
                        (bytes as u64, pong, false)
                    }
                },
                is_silent = idle.tick() => {
                    if !is_silent {
                        continue;
                    }
                    batch.push_back(Frames::alone(Bytes::new()));
                    (0, None, true)
                }
            };
            if let Err(reason) = write_all(writer, pong, batch, idle, write_timeout).await {
                outbox.close(reason);
                return reason;
            }
            if is_keepalive {
                *batch = VecDeque::new();
                outbox.shrink();
            } else if let Some(speed) = meter.add(bytes, idle.touch()) {
                vitals.reached(speed);
            }
        };
        // A peer that does not read gets no goodbye.
        let _ = idle.within(CLOSE_GRACE, Box::pin(writer.close(reason)).as_mut()).await;
        reason
    }
}

async fn write_all<W: FrameWriter>(
    writer: &mut W,
    pong: Option<Bytes>,
    batch: &mut VecDeque<Frames>,
    timer: &mut IdleTimer,
    limit: Duration,
) -> Result<(), EndReason> {
    if let Some(payload) = pong {
        // No client of ours pings.
        let written = timer.within(limit, Box::pin(writer.write_pong(payload)).as_mut()).await;
        written.unwrap_or(Err(EndReason::WriteTimeout))?;
    }
    while !batch.is_empty() {
        let written = timer.within(limit, pin!(writer.write(batch))).await;
        written.unwrap_or(Err(EndReason::WriteTimeout))?;
    }
    Ok(())
}
