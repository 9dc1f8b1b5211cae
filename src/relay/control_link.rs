//! One client's conversation with the control id, and the life of its resident.
//!
//! A task per resident: it takes what waits in the resident's queue, and ends once the resident is replaced, removed,
//! or has been without transports for `relay.resident_linger`.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::Relay;
use super::resident::Resident;
use crate::telemetry::metrics::GaugeGuard;

/// Runs until the resident is given up.
pub async fn run(relay: Arc<Relay>, resident: Arc<Resident>) {
    let _counted = GaugeGuard::new(&relay.metrics.residents);
    let linger = relay.config.relay.resident_linger;
    let mut detached_since = None;
    loop {
        if resident.is_retired() {
            return;
        }
        detached_since = match resident.is_attached() {
            true => None,
            false => detached_since.or_else(|| Some(Instant::now())),
        };
        tokio::select! {
            biased;
            () = relay.stopping.cancelled() => return,
            _work = poll_fn(|context| resident.control.poll_take(context)) => {}
            () = sleep_until(detached_since.unwrap_or_else(Instant::now) + linger), if detached_since.is_some() => {
                if relay.registry.forget_detached(&resident) {
                    return;
                }
            }
        }
    }
}
