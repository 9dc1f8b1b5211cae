//! `/openapi.json`, and `/docs`: a page that renders it. Everything the page needs is in the binary.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::OpenApi;

use super::state::ApiState;

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The routes that show `document`.
pub fn routes(document: OpenApi) -> Router<ApiState> {
    let json = Bytes::from(serde_json::to_vec(&document).expect("a document of plain values serializes"));
    Router::new()
        .route("/openapi.json", get(move || async move { asset("application/json", json) }))
        .route("/docs", get(|| async { text("text/html; charset=utf-8", include_str!("page.html")) }))
        .route("/docs/page.css", get(|| async { text("text/css; charset=utf-8", include_str!("page.css")) }))
        .route("/docs/page.js", get(|| async { text("text/javascript; charset=utf-8", include_str!("page.js")) }))
}

fn text(content_type: &'static str, body: &'static str) -> impl IntoResponse {
    asset(content_type, Bytes::from_static(body.as_bytes()))
}

fn asset(content_type: &'static str, body: Bytes) -> impl IntoResponse {
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, body)
}
