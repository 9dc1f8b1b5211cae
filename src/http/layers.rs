//! What every request passes before its route and every answer on its way out.
//!
//! From the outside: CORS, what is left of the request's body, request id and trace, timeout, panic catch, path
//! clean-up, then the routes with their body limit. CORS stands outermost, because browsers must see every answer, a caught panic included. All up to the panic
//! catch is one layer: each layer of its own would box a future and clone its state for every request.

use std::borrow::Cow;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tower::Layer;
use tower::util::MapRequestLayer;
use tracing::Instrument;

use super::app_api;
use super::error::ApiError;
use super::state::ApiState;
use super::unread;
use crate::config::http::Http;
use crate::ids::{IdGenerator, RecordId};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, OPTIONS");
const ALLOWED_HEADERS: HeaderValue =
    HeaderValue::from_static("Authorization, Content-Type, Accept, X-Client-Version, X-PAYMENT");
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("86400");

/// Puts the layers around `routes`.
pub fn wrap(routes: Router<ApiState>, state: ApiState) -> Router {
    let http = &state.config().http;
    let body_limit = usize::try_from(http.body_limit.0).unwrap_or(usize::MAX);
    let prefix = http.path_prefix.clone();
    let routes = routes.layer(DefaultBodyLimit::max(body_limit)).with_state(state.clone());
    // Paths are cleaned before the routes are matched, so that router stands inside another without routes.
    let cleaned = MapRequestLayer::new(move |request| clean_request_path(request, &prefix)).layer(routes);
    let passage = Passage { state, ids: Arc::new(IdGenerator::new()) };
    Router::new().fallback_service(cleaned).layer(from_fn_with_state(passage, pass))
}

/// An answer that pages of other sites shall not read.
#[derive(Clone, Copy, Debug)]
pub struct WithoutCors;

/// What [`pass`] needs.
#[derive(Clone)]
struct Passage {
    state: ApiState,
    ids: Arc<IdGenerator>,
}

/// The path that routes are matched by: the configured prefix removed, `//` collapsed, one trailing slash dropped.
/// Clients put an environment secret in front of every path but `/hello`, and an API address may end in a slash.
pub fn clean_path<'p>(http_path: &'p str, prefix: &str) -> Cow<'p, str> {
    let prefix = prefix.trim_matches('/');
    let mut path = Cow::Borrowed(http_path);
    while path.contains("//") {
        path = Cow::Owned(path.replace("//", "/"));
    }
    if !prefix.is_empty()
        && let Some(rest) = path.strip_prefix('/').and_then(|path| path.strip_prefix(prefix))
        && (rest.is_empty() || rest.starts_with('/'))
    {
        path = Cow::Owned(if rest.is_empty() { "/".into() } else { rest.into() });
    }
    if path.len() > 1 && path.ends_with('/') {
        path = Cow::Owned(path[..path.len() - 1].into());
    }
    path
}

fn clean_request_path<B>(mut request: Request<B>, prefix: &str) -> Request<B> {
    let path = request.uri().path();
    if let Cow::Owned(cleaned) = clean_path(path, prefix) {
        let target = match request.uri().query() {
            Some(query) => format!("{cleaned}?{query}"),
            None => cleaned,
        };
        if let Ok(uri) = target.parse::<Uri>() {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// Takes a request through to the routes, and its answer back.
async fn pass(State(Passage { state, ids }): State<Passage>, request: Request, next: Next) -> Response {
    let Http { cors_origin, request_timeout, .. } = &state.config().http;
    // Apps of any origin may use the client API.
    let is_for_all = app_api::is_path(&clean_path(request.uri().path(), &state.config().http.path_prefix));
    let (request, unread) = unread::watch(request);
    let mut response = if request.method() == Method::OPTIONS {
        preflight()
    } else {
        let id: RecordId = ids.next_random(state.now());
        let span = tracing::debug_span!("request", %id, method = %request.method(), path = request.uri().path());
        let mut response = answer(*request_timeout, request, next).instrument(span).await;
        if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    };
    unread.settle(&mut response).await;
    let origin = if is_for_all { "*" } else { cors_origin };
    if response.extensions().get::<WithoutCors>().is_none()
        && let Ok(origin) = HeaderValue::from_str(origin)
    {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
    response
}

/// A request's way out of `http.request_timeout`: its handler takes it, and sets limits of its own.
#[derive(Clone, Debug, Default)]
pub struct OwnTime(Arc<AtomicBool>);

impl OwnTime {
    /// From now on the handler keeps the time.
    pub fn take(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl FromRequestParts<ApiState> for OwnTime {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// The routes' answer; 503 when it takes too long, which clients try again, unlike 408 or 504 (`connect/net_http.go`).
async fn answer(limit: Duration, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let own_time = OwnTime::default();
    request.extensions_mut().insert(own_time.clone());
    let mut running = pin!(catch_panic(next.run(request)));
    let response = match tokio::time::timeout(limit, &mut running).await {
        Ok(response) => response,
        Err(_) if own_time.0.load(Ordering::Relaxed) => running.await,
        Err(_) => {
            tracing::warn!(?limit, "a request took too long");
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "The server is busy. Try again.").into_response()
        }
    };
    tracing::debug!(status = response.status().as_u16(), elapsed = ?started.elapsed(), "answered");
    response
}

/// The answer, or an internal error when the handler panicked: one bug must not end the connection of others.
pub(super) async fn catch_panic(answer: impl Future<Output = Response>) -> Response {
    // Nothing behind the catch is used again after a panic.
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
        tracing::error!(cause = text.unwrap_or("unknown"), "a handler panicked");
        ApiError::internal().into_response()
    })
}

/// The answer to a path that nobody knows.
pub(super) async fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "No such route.")
}

/// The answer to a method that a path does not take. The `Allow` header is added by the router.
pub(super) async fn method_not_allowed() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "This route takes another method.")
}

#[cfg(test)]
mod tests;
