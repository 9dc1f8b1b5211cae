//! Every series of the server, in the OpenMetrics text form. Counters end in `_total` by themselves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The series of one server. Each part registers its own and keeps the handles; a counter is an atomic.
pub struct Metrics {
    registry: Mutex<Registry>,
}

impl Metrics {
    /// A registry that holds the version only; every name in it starts with `warren_`.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("warren");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The release that runs", build);
        Self { registry: Mutex::new(registry) }
    }

    /// Lets a part register its series, once per server.
    pub fn register<T>(&self, build: impl FnOnce(&mut Registry) -> T) -> T {
        build(&mut self.registry.lock())
    }

    /// Adds a series whose value is asked for at each look: for counts that a part keeps for itself. `read` must not
    /// wait.
    pub fn observe(
        &self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let observed = Observed { kind, name, help, read: Box::new(read) };
        self.registry.lock().register_collector(Box::new(observed));
    }

    /// The text that `/metrics` answers.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock())?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// How an observed value moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up.
    Counter,
    /// Up and down.
    Gauge,
}

/// A series that is read when it is asked for.
struct Observed {
    kind: Kind,
    name: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let value = (self.read)();
        match self.kind {
            Kind::Counter => {
                let counter = ConstCounter::new(value);
                let metric = encoder.encode_descriptor(self.name, self.help, None, counter.metric_type())?;
                counter.encode(metric)
            }
            Kind::Gauge => {
                let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
                let metric = encoder.encode_descriptor(self.name, self.help, None, gauge.metric_type())?;
                gauge.encode(metric)
            }
        }
    }
}

/// One up, and one down again when it is dropped.
#[derive(Debug)]
pub struct GaugeGuard(Gauge);

impl GaugeGuard {
    /// Counts up until dropped.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The TCP listeners.
#[derive(Clone, Debug, Default)]
pub struct ListenerMetrics {
    /// Connections open now, WebSocket sessions included.
    pub open: Gauge,
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections closed because `http.max_connections` were open, or `http.max_handshakes` under way.
    pub refused: Counter,
    /// Connections that did not finish their handshake or first request in time, or broke it off.
    pub unfinished: Counter,
    /// Times the system would not hand over a connection, e.g. for want of file descriptors.
    pub accept_errors: Counter,
    /// Answers by the first digit of their status.
    pub answers: Arc<Answers>,
}

/// Answers and how long they took.
#[derive(Debug)]
pub struct Answers {
    /// `1xx` to `5xx`; `1xx` are WebSocket sessions.
    by_class: [Counter; 5],
    /// Seconds from the head of a request to the head of its answer.
    seconds: Histogram,
}

impl Default for Answers {
    fn default() -> Self {
        // From 0.5 ms to 16 s, past the longest that a request may take.
        Self { by_class: Default::default(), seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 16)) }
    }
}

impl Answers {
    /// Counts one answer.
    pub fn count(&self, status: u16, after: Duration) {
        let class = usize::from(status / 100).clamp(1, self.by_class.len());
        self.by_class[class - 1].inc();
        self.seconds.observe(after.as_secs_f64());
    }

    fn register(registry: &mut Registry) -> Self {
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        registry.register("http_answers", "HTTP answers by status", family.clone());
        let by_class =
            ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| family.get_or_create_owned(&[("status", class)]));
        let answers = Self { by_class, ..Self::default() };
        registry.register("http_answer_seconds", "Time to the head of an HTTP answer", answers.seconds.clone());
        answers
    }
}

impl ListenerMetrics {
    /// Registers the series.
    pub fn new(registry: &mut Registry) -> Self {
        let series = Self { answers: Arc::new(Answers::register(registry)), ..Self::default() };
        registry.register("http_connections_open", "TCP connections open now", series.open.clone());
        registry.register("http_connections_accepted", "TCP connections accepted", series.accepted.clone());
        registry.register("http_connections_refused", "TCP connections above a limit", series.refused.clone());
        registry.register(
            "http_connections_unfinished",
            "TCP connections without a complete first request",
            series.unfinished.clone(),
        );
        registry.register("http_accept_errors", "Failed accepts", series.accept_errors.clone());
        series
    }
}

/// The QUIC listener.
#[derive(Clone, Debug, Default)]
pub struct QuicMetrics {
    /// Connection attempts seen.
    pub incoming: Counter,
    /// Times the listener broke down and was opened again.
    pub rebound: Counter,
}

impl QuicMetrics {
    /// Registers the series.
    pub fn new(registry: &mut Registry) -> Self {
        let series = Self::default();
        registry.register("quic_incoming", "QUIC connection attempts", series.incoming.clone());
        registry.register("quic_rebound", "Times the QUIC listener was opened again", series.rebound.clone());
        series
    }
}

/// Messages to people.
#[derive(Clone, Debug, Default)]
pub struct MailMetrics {
    /// Messages that left.
    pub sent: Counter,
    /// Messages given up after all attempts.
    pub failed: Counter,
    /// Messages dropped because `mail.queue` were waiting.
    pub dropped: Counter,
}

impl MailMetrics {
    /// Registers the series.
    pub fn new(registry: &mut Registry) -> Self {
        let series = Self::default();
        registry.register("mail_sent", "Messages that left", series.sent.clone());
        registry.register("mail_failed", "Messages given up", series.failed.clone());
        registry.register("mail_dropped", "Messages dropped from a full queue", series.dropped.clone());
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_prefixed_and_the_text_ends_as_openmetrics_asks() {
        let metrics = Metrics::new();
        let series = metrics.register(ListenerMetrics::new);
        series.accepted.inc();
        let open = GaugeGuard::new(&series.open);
        series.answers.count(404, Duration::from_millis(3));
        let text = metrics.encode().unwrap();
        assert!(text.contains("warren_http_connections_accepted_total 1"), "{text}");
        assert!(text.contains("warren_http_connections_open 1"), "{text}");
        assert!(text.contains("warren_http_answers_total{status=\"4xx\"} 1"), "{text}");
        assert!(text.contains("warren_http_answer_seconds_count 1"), "{text}");
        assert!(text.ends_with("# EOF\n"));
        drop(open);
        metrics.observe(Kind::Counter, "things_done", "Things", || 7);
        metrics.observe(Kind::Gauge, "things_left", "Things", || 3);
        let text = metrics.encode().unwrap();
        assert!(text.contains("warren_things_done_total 7") && text.contains("warren_things_left 3"), "{text}");
        assert!(metrics.encode().unwrap().contains("warren_http_connections_open 0"));
    }
}
