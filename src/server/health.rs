//! What load balancers and operators ask: alive, ready, and the metrics. On a listener of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::store::sled::SledStore;
use crate::telemetry::metrics::{self, Metrics};

/// How often the store is asked whether it still works.
const STORE_CHECK: Duration = Duration::from_secs(1);

const STORE_FAILED: &str = "the store has failed";

/// What decides whether the server takes work.
pub struct Health {
    store: Arc<SledStore>,
    metrics: Arc<Metrics>,
    is_draining: AtomicBool,
    is_quic_down: AtomicBool,
}

impl Health {
    /// A server that takes work.
    pub fn new(store: Arc<SledStore>, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics, is_draining: AtomicBool::new(false), is_quic_down: AtomicBool::new(false) }
    }

    /// The server has begun to stop.
    pub fn set_draining(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// The QUIC listener broke down, or came back.
    pub fn set_quic_down(&self, is_down: bool) {
        self.is_quic_down.store(is_down, Ordering::Relaxed);
    }

    /// Resolves when the store has failed: it takes nothing more, so the process must stop.
    pub async fn failed(&self) -> &'static str {
        while !self.store.has_failed() {
            tokio::time::sleep(STORE_CHECK).await;
        }
        STORE_FAILED
    }

    /// Why no work should be sent here; `None` when it should.
    pub fn obstacle(&self) -> Option<&'static str> {
        if self.is_draining.load(Ordering::Relaxed) {
            Some("draining")
        } else if self.store.has_failed() {
            Some(STORE_FAILED)
        } else if self.is_quic_down.load(Ordering::Relaxed) {
            Some("the QUIC listener is down")
        } else {
            None
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
