//! The one script of a stop: take nothing new, end what is open, close the store.

use tokio::time::timeout;

use super::Server;

impl Server {
    /// Ends the server. New requests and transports are refused; transports are closed over a moment, so that clients
    /// do not all come back at once; requests get `http.drain_timeout` to end; the ledger finishes what it was asked,
    /// the statistics count it, and what is known of providers is written; then the store closes. Health answers until
    /// the end.
    pub async fn shutdown(self) {
        let Self { parts, health, stop, stop_health, tasks, health_tasks, drain_timeout, .. } = self;
        health.status.drain();
        parts.relay.start_drain();
        stop.cancel();
        parts.relay.drain().await;
        tasks.close();
        if timeout(drain_timeout, tasks.wait()).await.is_err() {
            tracing::warn!(tasks = tasks.len(), "http.drain_timeout has passed; the rest is cut off");
        }
        parts.ledger.shutdown().await;
        parts.stats.shutdown().await;
        parts.api.providers.save().await;
        stop_health.cancel();
        health_tasks.close();
        if timeout(drain_timeout, health_tasks.wait()).await.is_err() {
            tracing::debug!("a health check was still open");
        }
        drop(health);
        parts.close(drain_timeout).await;
    }
}
