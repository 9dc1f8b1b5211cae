//! What load balancers and operators ask: alive, ready, and the metrics. On a listener of its own.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::domain::contract::Ledger;
use crate::http::state::{Quic, ServerStatus};
use crate::store::sled::SledStore;
use crate::telemetry::metrics::{self, Metrics};

/// How often the store is asked whether it still works.
const STORE_CHECK: Duration = Duration::from_secs(1);

/// What decides whether the server takes work.
pub struct Health {
    /// What `/status` tells; this listener says the same.
    pub status: Arc<ServerStatus>,
    /// The store, whose failure ends the server.
    pub store: Arc<SledStore>,
    /// The ledger, likewise.
    pub ledger: Arc<Ledger>,
    /// What `/metrics` answers.
    pub metrics: Arc<Metrics>,
}

impl Health {
    /// Resolves with the reason once a commit has failed: nothing more is taken, so the process must stop.
    pub async fn failed(&self) -> &'static str {
        while !self.store.has_failed() && !self.ledger.has_failed() {
            tokio::time::sleep(STORE_CHECK).await;
        }
        let reason = "the store has failed";
        self.status.set_failure(Some(reason.into()));
        reason
    }

    /// Why no work should be sent here; `None` when it should.
    fn obstacle(&self) -> Option<String> {
        match (self.status.word(), self.status.quic()) {
            (word, _) if word != "ok" => Some(word),
            (_, Some(Quic::Down(reason))) => Some(reason),
            _ => None,
        }
    }
}

/// The routes of the telemetry listener.
pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(|| async { "ok\n" }))
        .route("/health/ready", get(ready))
        .with_state(health)
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    match health.obstacle() {
        None => "ok\n".into_response(),
        Some(obstacle) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {obstacle}\n")).into_response(),
    }
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    match health.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
