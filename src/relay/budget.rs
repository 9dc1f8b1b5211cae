//! What all outboxes together may hold. When it is spent, each may hold no more than a turn's worth: clients that keep
//! up go on as before, and those that lag behind lose what is sent to them.

use prometheus_client::metrics::gauge::Gauge;

/// What an outbox may always hold.
pub const SPENT_BYTES: usize = 64 * 1024;

/// The bytes that wait for all clients. The gauge of the metrics is the count itself.
#[derive(Debug, Default)]
pub struct Budget {
    /// None: nothing is shared, nothing limited.
    limit: Option<i64>,
    used: Gauge,
}

impl Budget {
    /// A budget of `limit` bytes, counted in `used`.
    pub fn new(limit: u64, used: Gauge) -> Self {
        Self { limit: Some(i64::try_from(limit).unwrap_or(i64::MAX)), used }
    }

    /// Whether nothing is left of it.
    #[inline]
    pub fn is_spent(&self) -> bool {
        self.limit.is_some_and(|limit| self.used.get() >= limit)
    }

    /// Counts bytes that wait now.
    #[inline]
    pub fn spend(&self, bytes: usize) {
        if bytes > 0 {
            self.used.inc_by(bytes as i64);
        }
    }

    /// Counts bytes that wait no more.
    #[inline]
    pub fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.used.dec_by(bytes as i64);
        }
    }
}
