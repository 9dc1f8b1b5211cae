//! Watching providers: what their transports show, sampled every 30 s, becomes their health.

use std::time::Duration;

use super::index::ProviderIndex;
use super::rank::{Health, Reliability, Speed};
use super::reliability::Sighting;
use super::reports::WriteBuckets;
use crate::domain::location::geoip::Located;
use crate::domain::location::place::Coordinates;
use crate::domain::presence::Connection;
use crate::ids::ClientId;

/// Time between two samples.
pub const SAMPLE: Duration = Duration::from_secs(30);

/// Providers looked at before others get a turn.
const AT_ONCE: usize = 512;

/// Networks whose reports are written in one transaction.
const WRITTEN_AT_ONCE: usize = 64;

/// Kilometres that light travels in a vacuum in a millisecond.
const LIGHT_KM_PER_MS: f64 = 299.792_458;

/// How much longer than light a packet takes there and back, at the least to expect.
const DETOUR: f64 = 2.5;

const EARTH_RADIUS_KM: f64 = 6371.0;

impl ProviderIndex {
    /// Samples, until dropped.
    pub async fn drive(&self) {
        loop {
            tokio::time::sleep(SAMPLE).await;
            self.sample().await;
        }
    }

    /// Looks at every provider once.
    pub async fn sample(&self) {
        let mut buckets = Vec::new();
        {
            let mut watch = self.watch.lock();
            watch.advance(self.now(), &mut buckets);
            watch.watched();
        }
        let client_ids: Vec<ClientId> = self.candidates.read().iter().map(|candidate| candidate.client_id).collect();
        for client_ids in client_ids.chunks(AT_ONCE) {
            self.sample_some(client_ids);
            tokio::task::yield_now().await;
        }
        for buckets in buckets.chunks(WRITTEN_AT_ONCE) {
            if let Err(error) = self.service.run(&WriteBuckets(buckets)).await {
                tracing::warn!(%error, "the reliability of networks could not be written");
            }
        }
        self.save_if_due().await;
    }

    fn sample_some(&self, client_ids: &[ClientId]) {
        let mut seen: Vec<(ClientId, Vec<Connection>)> = Vec::with_capacity(client_ids.len());
        self.presence.look_at(client_ids, |client_id, connections| seen.push((client_id, connections.to_vec())));
        let geography = self.geography();
        let mut changed = Vec::new();
        {
            let candidates = self.candidates.read();
            let mut watch = self.watch.lock();
            for (client_id, connections) in &seen {
                let Some(candidate) = candidates.get(*client_id) else { continue };
                if candidate.is_public {
                    let last = connections.iter().map(|connection| connection.vitals.last_message()).max();
                    watch.seen(&Sighting {
                        client_id: *client_id,
                        network_id: candidate.network_id,
                        bucket: candidate.bucket,
                        last_message: last.unwrap_or_default(),
                    });
                }
                let located = candidate.located.as_deref();
                let health = health(connections, located, geography.server(), watch.reliability(*client_id));
                if health != candidate.health {
                    changed.push((*client_id, health));
                }
            }
        }
        if !changed.is_empty() {
            let mut candidates = self.candidates.write();
            changed.into_iter().for_each(|(client_id, health)| candidates.set_health(client_id, health));
        }
    }
}

/// What a provider's transports, its place and its past say of its health. Of several transports the newest that was
/// measured counts.
pub fn health(
    connections: &[Connection],
    located: Option<&Located>,
    server: Option<Coordinates>,
    reliability: Reliability,
) -> Health {
    let newest = || connections.iter().rev().map(|connection| &connection.vitals);
    let latency = newest().find_map(|vitals| vitals.latency());
    let measured = newest().find_map(|vitals| vitals.speed());
    let reached = newest().map(|vitals| vitals.most_reached()).fold(0.0, f64::max);
    let speed = match measured {
        Some(measured) => Some(Speed { bytes_per_second: measured.max(reached), is_floor: false }),
        None if reached > 0.0 => Some(Speed { bytes_per_second: reached, is_floor: true }),
        None => None,
    };
    let place = located.and_then(|located| located.place.coordinates);
    let expected = server.zip(place).map_or(Duration::ZERO, |(server, place)| expected_latency(server, place));
    Health {
        network: located.map(|located| located.network).unwrap_or_default(),
        latency: latency.map(|latency| latency.saturating_sub(expected)),
        speed,
        reliability,
    }
}

/// The time that the distance alone explains, to whole milliseconds.
fn expected_latency(a: Coordinates, b: Coordinates) -> Duration {
    Duration::from_millis((DETOUR * distance_km(a, b) / LIGHT_KM_PER_MS).round() as u64)
}

/// Along a great circle (the haversine formula).
fn distance_km(a: Coordinates, b: Coordinates) -> f64 {
    let (from, to) = (a.latitude.to_radians(), b.latitude.to_radians());
    let half = |angle: f64| (angle / 2.0).sin().powi(2);
    let chord = half(to - from) + from.cos() * to.cos() * half((b.longitude - a.longitude).to_radians());
    2.0 * EARTH_RADIUS_KM * chord.clamp(0.0, 1.0).sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(latitude: f64, longitude: f64) -> Coordinates {
        Coordinates { latitude, longitude }
    }

    #[test]
    fn distance_explains_latency() {
        let (berlin, sydney) = (at(52.52, 13.405), at(-33.8688, 151.2093));
        assert!((distance_km(berlin, sydney) - 16_090.0).abs() < 30.0);
        assert_eq!(expected_latency(berlin, sydney).as_millis(), 134);
        assert_eq!(expected_latency(berlin, berlin), Duration::ZERO);
        assert!((distance_km(at(0.0, 0.0), at(0.0, 180.0)) - 20_015.0).abs() < 1.0);
    }
}
