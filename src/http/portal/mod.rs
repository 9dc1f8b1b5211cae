//! The account website: people sign up, pay and manage their account in a browser or a webview.
//!
//! It stands on the same state as the JSON API: one user, one network, one balance, whichever door they came by. A
//! request passes [`passage`], which knows who reads and how; a handler of one of the route files runs an operation and
//! answers with a page, a redirect or JSON. Errors have the codes of their own table ([`error`]). Templates, texts and
//! the stylesheet are in the binary and can be replaced by files.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use parking_lot::Mutex;
use tower::ServiceExt;

use super::api::hello;
use super::layers;
use super::state::ApiState;
use crate::config::Config;
use crate::time::{MINUTE, Timestamp};

pub mod account;
pub mod change_email;
pub mod error;
pub mod fields;
pub mod flash;
pub mod opt_out;
pub mod page;
pub mod passage;
pub mod password;
pub mod place;
pub mod plan;
pub mod rate;
pub mod reader;
pub mod receipt;
pub mod session;
pub mod signin;
pub mod signup;
pub mod texts;

mod checks;
mod cookies;
mod csrf;
mod go;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// Largest body of a request.
const BODY_BYTES: usize = 1 << 20;

/// The parts of the website that live as long as the server.
#[derive(Debug)]
pub struct Portal {
    /// The templates.
    pub pages: page::Pages,
    /// What they say.
    pub texts: Arc<texts::Texts>,
    /// Failed requests of the last minute.
    pub windows: rate::Windows,
    /// Signs messages for the next page.
    pub flash_key: flash::FlashKey,
    reported: Mutex<Option<Timestamp>>,
}

/// Why the website cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A template or the stylesheet.
    #[error("portal.templates: {0}")]
    Template(String),
    /// A file of texts.
    #[error("portal.texts: {0}: {1}")]
    Text(String, String),
    /// The default language.
    #[error("portal.language is '{0}', for which there are no texts")]
    Language(String),
}

impl Portal {
    /// The website of these settings.
    ///
    /// # Errors
    /// A template or a text of the operator that cannot be used.
    pub fn open(config: &Config) -> Result<Self, SetupError> {
        let settings = &config.portal;
        Ok(Self {
            pages: page::Pages::open(&settings.templates, &config.mail.product)?,
            texts: Arc::new(texts::Texts::open(&settings.texts, &settings.language)?),
            windows: rate::Windows::default(),
            flash_key: flash::FlashKey::new(),
            reported: Mutex::new(None),
        })
    }

    /// Whether a failure may be mailed now: one a minute may.
    fn may_report(&self, now: Timestamp) -> bool {
        let mut reported = self.reported.lock();
        let is_due = reported.is_none_or(|last| now.since(last) >= MINUTE);
        if is_due {
            *reported = Some(now);
        }
        is_due
    }
}

/// A path of the website and what answers it.
pub type Route = (&'static str, MethodRouter<ApiState>);

/// Every path of the website. A new file of routes is named here.
fn routes(state: &ApiState) -> Vec<Route> {
    let mut routes = vec![("/portal.css", get(stylesheet))];
    routes.extend(place::routes(state));
    routes.extend(signin::routes(state));
    routes.extend(signup::routes(state));
    routes.extend(account::routes(state));
    routes.extend(change_email::routes(state));
    routes.extend(password::routes(state));
    routes.extend(opt_out::routes(state));
    routes
}

async fn stylesheet(State(state): State<ApiState>) -> Response {
    state.portal.pages.stylesheet()
}

/// The website, and when requests are for it.
struct Door {
    router: Router,
    paths: HashSet<&'static str>,
    host: String,
}

impl Door {
    fn new(state: &ApiState) -> Self {
        let routes = routes(state);
        let paths = routes.iter().map(|(path, _)| *path).collect();
        let router = routes.into_iter().fold(Router::new(), |router, (path, route)| router.route(path, route));
        let router = router
            .fallback(passage::not_found)
            .method_not_allowed_fallback(passage::method_not_allowed)
            .layer(DefaultBodyLimit::max(BODY_BYTES))
            .layer(from_fn_with_state(state.clone(), passage::pass))
            .with_state(state.clone());
        Self { router, paths, host: state.config().portal.host.to_ascii_lowercase() }
    }

    /// Whether a path that the API does not know is for the website, which stands beside it.
    fn takes(&self, request: &Request) -> bool {
        let path = request.uri().path();
        self.host.is_empty() && (reader::wants_html(request.headers()) || path != "/" && self.paths.contains(path))
    }

    /// Whether a request came by the website's own name.
    fn is_named(&self, request: &Request) -> bool {
        let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = header.or_else(|| request.uri().host()).unwrap_or_default();
        // A name has no colon, so what stands behind one is the port.
        host.split(':').next().unwrap_or_default().trim_end_matches('.').eq_ignore_ascii_case(&self.host)
    }

    async fn answer(&self, request: Request) -> Response {
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// The API, and the website beside it or under its own name.
pub fn join(api: Router<ApiState>, state: &ApiState) -> Router<ApiState> {
    let door = state.config().portal.enabled.then(|| Arc::new(Door::new(state)));
    let beside = door.clone();
    let api = api.fallback(move |request: Request| answer_unknown(beside.clone(), request));
    match door {
        Some(door) if !door.host.is_empty() => api.layer(from_fn_with_state(door, by_name)),
        _ => api,
    }
}

async fn answer_unknown(door: Option<Arc<Door>>, request: Request) -> Response {
    match door {
        Some(door) if door.takes(&request) => door.answer(request).await,
        _ => unknown(request.uri().path(), request.method()).await,
    }
}

async fn by_name(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    match door.is_named(&request) {
        true => door.answer(request).await,
        false => next.run(request).await,
    }
}

/// The API's answer to a path that it does not know.
async fn unknown(path: &str, method: &Method) -> Response {
    match (path, method) {
        ("/", &Method::GET | &Method::HEAD) => hello::root(),
        ("/", _) => {
            let refusal = layers::method_not_allowed().await;
            ([(header::ALLOW, HeaderValue::from_static("GET, HEAD"))], refusal).into_response()
        }
        _ => layers::not_found().await.into_response(),
    }
}
