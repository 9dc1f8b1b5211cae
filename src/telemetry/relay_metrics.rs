//! The relay's series. Every counter exists from the start and is reached by its position, so that the frame road
//! only adds.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Labels = [(&'static str, &'static str); 1];

/// Counters and gauges of the relay.
#[derive(Debug)]
pub struct RelayMetrics {
    /// Frames read from clients.
    pub frames_received: Counter,
    /// Bytes of them.
    pub bytes_received: Counter,
    /// Frames put into the outbox of another client.
    pub frames_relayed: Counter,
    /// Bytes of them.
    pub bytes_relayed: Counter,
    /// Frames written to clients.
    pub frames_sent: Counter,
    /// Frames of those received that came in QUIC datagrams.
    pub datagrams_received: Counter,
    /// Frames of those sent that went in QUIC datagrams.
    pub datagrams_sent: Counter,
    /// Frames dropped, by the position of the reason.
    pub frames_dropped: Vec<Counter>,
    /// Connections ended, by the position of the reason.
    pub connections_ended: Vec<Counter>,
    /// Open WebSocket connections, authenticated or not.
    pub websocket_connections: Gauge,
    /// Open QUIC connections, authenticated or not.
    pub quic_connections: Gauge,
    /// Bytes of frames waiting for clients or being written.
    pub outbox_bytes: Gauge,
    /// Clients with state on this node.
    pub residents: Gauge,
    /// Packs of the control id delivered to its handler.
    pub control_packs: Counter,
    /// Packs pushed to clients by the control id.
    pub pushes: Counter,
    /// Pushes given up, after which the client gets full lists.
    pub pushes_lost: Counter,
}

impl RelayMetrics {
    /// Creates the series and registers them; the labels are the reasons in the order of their positions.
    pub fn new(registry: &mut Registry, drop_labels: &[&'static str], end_labels: &[&'static str]) -> Self {
        let relay = registry.sub_registry_with_prefix("relay");
        Self {
            frames_received: counter(relay, "frames_received", "Frames read from clients"),
            bytes_received: counter(relay, "bytes_received", "Bytes of frames read from clients"),
            frames_relayed: counter(relay, "frames_relayed", "Frames queued for another client"),
            bytes_relayed: counter(relay, "bytes_relayed", "Bytes of frames queued for another client"),
            frames_sent: counter(relay, "frames_sent", "Frames written to clients"),
            datagrams_received: counter(relay, "datagrams_received", "Frames read from QUIC datagrams"),
            datagrams_sent: counter(relay, "datagrams_sent", "Frames written in QUIC datagrams"),
            frames_dropped: by_reason(relay, "frames_dropped", "Frames dropped", drop_labels),
            connections_ended: by_reason(relay, "connections_ended", "Connections ended", end_labels),
            websocket_connections: gauge(relay, "websocket_connections", "Open WebSocket connections"),
            quic_connections: gauge(relay, "quic_connections", "Open QUIC connections"),
            outbox_bytes: gauge(relay, "outbox_bytes", "Bytes of frames waiting for clients or being written"),
            residents: gauge(relay, "residents", "Clients with state on this node"),
            control_packs: counter(relay, "control_packs", "Packs delivered to the control id"),
            pushes: counter(relay, "pushes", "Packs the control id sent to clients"),
            pushes_lost: counter(relay, "pushes_lost", "Pushes given up and replaced by full lists"),
        }
    }

    /// Counts one dropped frame, for the reason at this position.
    pub fn frame_dropped(&self, reason: usize) {
        if let Some(counter) = self.frames_dropped.get(reason) {
            counter.inc();
        }
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn by_reason(registry: &mut Registry, name: &str, help: &str, labels: &[&'static str]) -> Vec<Counter> {
    let family = Family::<Labels, Counter<u64, AtomicU64>>::default();
    registry.register(name, help, family.clone());
    labels.iter().map(|label| family.get_or_create(&[("reason", *label)]).clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_before_anything_happens() {
        let mut registry = Registry::default();
        let metrics = RelayMetrics::new(&mut registry, &["spoofed", "offline"], &["peer_closed"]);
        metrics.frames_dropped[1].inc_by(3);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "relay_frames_dropped_total{reason=\"spoofed\"} 0",
            "relay_frames_dropped_total{reason=\"offline\"} 3",
            "relay_connections_ended_total{reason=\"peer_closed\"} 0",
            "relay_frames_relayed_total 0",
            "relay_residents 0",
        ] {
            assert!(text.lines().any(|candidate| candidate == line), "{line} in\n{text}");
        }
    }
}
