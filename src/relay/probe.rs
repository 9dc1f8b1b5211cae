//! How far and how fast a provider is: a state machine over the messages that a WebSocket client sends back
//! (`transport` section 2.6).
//!
//! ```text
//!   latency:  16 random bytes -> the same back, a few times; the shortest time counts
//!   speed:    hold traffic, 01‖id -> chunks, WINDOW at a time, each sent when one came back -> 02‖id -> release
//! ```
//!
//! From start to stop a client sends everything back that is longer than 16 bytes, so relayed frames wait meanwhile. A
//! frame that has to wait ends the probe early: no more than a window of chunks is ahead of it.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use rand::{Rng, RngExt};
use tokio::time::Instant;

/// Bytes of a latency probe, and of the id in a speed probe.
const ID_BYTES: usize = 16;

/// Times a latency is taken for one measurement.
const LATENCY_SAMPLES: u8 = 8;

/// Time after which an answer is not coming.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two measurements; up to twice as long, so that they do not come all at once.
const RETEST: Duration = Duration::from_secs(12 * 3600);

/// Time that real traffic has to show how fast a transport is.
const TRAFFIC_FIRST: Duration = Duration::from_secs(60);

/// Bytes per second of real traffic that make a speed probe needless.
const FAST: f64 = 4.0 * 1024.0 * 1024.0;

const CHUNKS: u32 = 512;
const CHUNK_BYTES: usize = 1024;

/// Chunks below which a speed says nothing.
const MIN_CHUNKS: u32 = 64;

/// Messages not yet sent back at once; a client closes its transport above 32.
const WINDOW: u32 = 16;

/// From this part of what the window allows over the distance, a speed is a lower bound only.
const WINDOW_BOUND: f64 = 0.8;

const START: u8 = 1;
const STOP: u8 = 2;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The distance.
    pub latency: bool,
    /// The speed.
    pub speed: bool,
}

/// What the transport is doing.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Whether the client is worth measuring.
    pub is_provider: bool,
    /// Whether frames wait to be written.
    pub has_waiting: bool,
    /// Bytes per second that real traffic has reached.
    pub reached: f64,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub enum ProbeStep {
    /// Send this, in its turn.
    Send(Bytes),
    /// Hold frames back, and send these.
    Hold(Vec<Bytes>),
    /// Send this; frames are held back.
    Next(Bytes),
    /// Frames may pass again.
    Release,
    /// A latency was measured.
    Latency(Duration),
    /// A speed was measured, in bytes per second.
    Speed(f64),
    /// The speed is at least so many bytes per second.
    SpeedFloor(f64),
}

/// The probes of one transport.
#[derive(Debug)]
pub struct Prober {
    wanted: Wanted,
    latency_due: Instant,
    speed_due: Instant,
    latency: Option<LatencyProbe>,
    speed: Option<SpeedProbe>,
    shortest: Option<Duration>,
}

#[derive(Debug)]
struct LatencyProbe {
    id: [u8; ID_BYTES],
    sent: Instant,
    samples: u8,
    shortest: Duration,
}

#[derive(Debug)]
struct SpeedProbe {
    id: [u8; ID_BYTES],
    /// What every chunk ends with; compressing it gains nothing.
    noise: Bytes,
    began: Instant,
    sent: u32,
    returned: u32,
    is_stopped: bool,
}

impl Prober {
    /// Measures from now on.
    pub fn new(wanted: Wanted, now: Instant) -> Self {
        Self { wanted, latency_due: now, speed_due: now + TRAFFIC_FIRST, latency: None, speed: None, shortest: None }
    }

    /// Whether long messages must be shown to [`Prober::handle_long`] first.
    #[inline]
    pub fn is_echoing(&self) -> bool {
        self.speed.is_some()
    }

    /// Begins what is due and gives up what was never answered. Now and then.
    pub fn poll(&mut self, now: Instant, situation: Situation, rng: &mut impl Rng) -> Vec<ProbeStep> {
        if self.latency.as_ref().is_some_and(|probe| now >= probe.sent + PATIENCE) {
            self.latency = None;
            self.latency_due = later(now, rng);
        }
        if let Some(probe) = &mut self.speed {
            if now < probe.began + PATIENCE {
                return Vec::new();
            }
            // Nobody knows what this client does; it is not asked again.
            self.speed = None;
            self.wanted.speed = false;
            return vec![ProbeStep::Release];
        }
        if !situation.is_provider {
            return Vec::new();
        }
        if self.wanted.latency && self.latency.is_none() && now >= self.latency_due {
            return vec![self.send_latency(now, 0, Duration::MAX, rng)];
        }
        let is_idle = self.latency.is_none() && !situation.has_waiting;
        if self.wanted.speed && is_idle && now >= self.speed_due {
            self.speed_due = later(now, rng);
            if situation.reached < FAST {
                return vec![self.start_speed(now, rng)];
            }
        }
        Vec::new()
    }

    /// Takes a message of at most 16 bytes.
    pub fn handle_short(&mut self, message: &[u8], now: Instant, rng: &mut impl Rng) -> Option<ProbeStep> {
        let probe = self.latency.take_if(|probe| probe.id == message)?;
        let (shortest, samples) = (probe.shortest.min(now - probe.sent), probe.samples + 1);
        if samples < LATENCY_SAMPLES {
            return Some(self.send_latency(now, samples, shortest, rng));
        }
        self.latency_due = later(now, rng);
        self.shortest = Some(shortest);
        Some(ProbeStep::Latency(shortest))
    }

    /// Takes a longer message while [`Prober::is_echoing`]; none when it is the client's own.
    pub fn handle_long(&mut self, message: &[u8], now: Instant, has_waiting: bool) -> Option<Vec<ProbeStep>> {
        let probe = self.speed.as_mut()?;
        if message.len() == 1 + ID_BYTES && message[1..] == probe.id {
            return match message[0] {
                START => Some(probe.next(has_waiting)),
                STOP => Some(self.finish_speed(now)),
                _ => None,
            };
        }
        if message.len() != CHUNK_BYTES || !message.starts_with(&probe.id) {
            return None;
        }
        probe.returned += 1;
        Some(probe.next(has_waiting))
    }

    /// Takes back a speed probe that could not begin.
    pub fn cancel_speed(&mut self) {
        self.speed = None;
    }

    fn send_latency(&mut self, now: Instant, samples: u8, shortest: Duration, rng: &mut impl Rng) -> ProbeStep {
        let id: [u8; ID_BYTES] = rng.random();
        self.latency = Some(LatencyProbe { id, sent: now, samples, shortest });
        ProbeStep::Send(Bytes::copy_from_slice(&id))
    }

    fn start_speed(&mut self, now: Instant, rng: &mut impl Rng) -> ProbeStep {
        let mut noise = vec![0; CHUNK_BYTES - ID_BYTES];
        rng.fill(&mut noise[..]);
        let probe =
            SpeedProbe { id: rng.random(), noise: noise.into(), began: now, sent: 0, returned: 0, is_stopped: false };
        let probe = self.speed.insert(probe);
        let mut messages = vec![probe.mark(START)];
        messages.extend((1..WINDOW).map(|_| probe.chunk()));
        ProbeStep::Hold(messages)
    }

    fn finish_speed(&mut self, now: Instant) -> Vec<ProbeStep> {
        let mut actions = vec![ProbeStep::Release];
        let Some(probe) = self.speed.take().filter(|probe| probe.returned >= MIN_CHUNKS) else { return actions };
        let elapsed = (now - probe.began).as_secs_f64().max(1e-6);
        let speed = f64::from(probe.returned) * CHUNK_BYTES as f64 / elapsed;
        let window = f64::from(WINDOW) * CHUNK_BYTES as f64;
        // Without a known distance the window may have been the limit.
        let limit = self.shortest.map_or(0.0, |shortest| window / shortest.as_secs_f64().max(1e-6));
        actions.push(match speed >= WINDOW_BOUND * limit {
            true => ProbeStep::SpeedFloor(speed),
            false => ProbeStep::Speed(speed),
        });
        actions
    }
}

impl SpeedProbe {
    /// What follows a message that came back.
    fn next(&mut self, has_waiting: bool) -> Vec<ProbeStep> {
        if self.is_stopped {
            return Vec::new();
        }
        if has_waiting || self.sent == CHUNKS {
            self.is_stopped = true;
            return vec![ProbeStep::Next(self.mark(STOP))];
        }
        vec![ProbeStep::Next(self.chunk())]
    }

    fn mark(&self, kind: u8) -> Bytes {
        [&[kind][..], &self.id].concat().into()
    }

    fn chunk(&mut self) -> Bytes {
        self.sent += 1;
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        chunk.put_slice(&self.id);
        chunk.put_slice(&self.noise);
        chunk.freeze()
    }
}

/// Twelve to twenty-four hours from now.
fn later(now: Instant, rng: &mut impl Rng) -> Instant {
    now + RETEST + RETEST.mul_f64(rng.random::<f64>())
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
