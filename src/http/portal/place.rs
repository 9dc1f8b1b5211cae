//! Pages about the place itself, and what programs ask of it: is it well, where am I, where are downloads.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rand::RngExt;
use serde::Serialize;
use serde_json::json;

use super::error::{PortalError, PortalResult};
use super::page::Page;
use super::rate::Limit;
use super::reader::Reader;
use super::{Route, go};
use crate::config::portal::{Downloads, Link};
use crate::http::address::{PeerAddr, leftmost_address};
use crate::http::state::ApiState;

/// The routes of this file.
pub fn routes(state: &ApiState) -> Vec<Route> {
    let download = |links: fn(&Downloads) -> &[Link]| {
        get(move |State(state): State<ApiState>| async move { download(links(&state.config().portal.downloads)) })
    };
    let app = Limit::new("download_app", |limits| limits.download_app);
    let update = Limit::new("download_update", |limits| limits.download_update);
    vec![
        ("/", get(home)),
        ("/privacy", get(|state, reader| text(state, reader, "privacy"))),
        ("/terms", get(|state, reader| text(state, reader, "terms"))),
        ("/support", get(|state, reader| text(state, reader, "support"))),
        ("/contact", get(|state, reader| text(state, reader, "contact"))),
        ("/notification", get(|state, reader| text(state, reader, "notification"))),
        ("/clients", get(clients)),
        ("/download-mac-app", app.on(state, download(|lists| &lists.mac_app))),
        ("/download-mac-update", update.on(state, download(|lists| &lists.mac_update))),
        ("/download-windows-app", app.on(state, download(|lists| &lists.windows_app))),
        ("/download-windows-update", update.on(state, download(|lists| &lists.windows_update))),
        ("/download-speed-test", get(speed_test)),
        ("/ip", get(ip)),
        ("/health", get(health)),
        ("/error-test", get(error_test)),
    ]
}

/// The first page.
#[derive(Debug, Default, Serialize)]
pub struct HomePage {}

impl Page for HomePage {
    const TEMPLATE: &'static str = "home.html";
}

async fn home(State(state): State<ApiState>, reader: Reader) -> PortalResult {
    reader.page(&state, &HomePage {})
}

/// A page of words: what they are is the operator's business.
#[derive(Debug, Default, Serialize)]
pub struct TextPage {
    /// The section of the texts that holds them.
    pub topic: &'static str,
    /// Whom to ask; empty for nobody.
    pub contact: String,
}

impl Page for TextPage {
    const TEMPLATE: &'static str = "text.html";
}

async fn text(State(state): State<ApiState>, reader: Reader, topic: &'static str) -> PortalResult {
    let contact = state.config().legal.contact.clone();
    reader.page(&state, &TextPage { topic, contact })
}

/// Where the apps are.
#[derive(Debug, Default, Serialize)]
pub struct ClientsPage {
    /// Whether there is an app for macOS.
    pub has_mac: bool,
    /// Whether there is one for Windows.
    pub has_windows: bool,
}

impl Page for ClientsPage {
    const TEMPLATE: &'static str = "clients.html";
}

async fn clients(State(state): State<ApiState>, reader: Reader) -> PortalResult {
    let lists = &state.config().portal.downloads;
    let page = ClientsPage { has_mac: !lists.mac_app.is_empty(), has_windows: !lists.windows_app.is_empty() };
    reader.page(&state, &page)
}

/// Leads to one of the links, each as often as its percent says.
fn download(links: &[Link]) -> PortalResult {
    let total: u64 = links.iter().map(|link| u64::from(link.percent)).sum();
    if total == 0 {
        return Err(PortalError::not_found());
    }
    let link = pick(links, rand::rng().random_range(0..total)).ok_or_else(PortalError::not_found)?;
    Ok(go::to(&link.url))
}

/// The link whose share holds `point`.
fn pick(links: &[Link], mut point: u64) -> Option<&Link> {
    for link in links {
        match point.checked_sub(u64::from(link.percent)) {
            Some(rest) => point = rest,
            None => return Some(link),
        }
    }
    None
}

async fn speed_test(State(state): State<ApiState>) -> Response {
    Json(json!({"bucket": state.config().portal.speed_test_bucket})).into_response()
}

async fn ip(
    State(state): State<ApiState>,
    axum::Extension(PeerAddr(peer)): axum::Extension<PeerAddr>,
    headers: HeaderMap,
) -> Response {
    let address = leftmost_address(&headers, peer, &state.config().http.trusted_proxies);
    Json(json!({"ip": address.to_string()})).into_response()
}

async fn health(State(state): State<ApiState>) -> Response {
    Json(json!({"message": format!("OK from www.{}", state.config().portal.domain)})).into_response()
}

async fn error_test() -> PortalError {
    PortalError::internal("somebody asked for it at /error-test".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_has_its_share() {
        let link = |url: &str, percent| Link { url: url.into(), percent };
        let links = [link("a", 1), link("b", 0), link("c", 3)];
        let picked: Vec<&str> = (0..4).map(|point| pick(&links, point).unwrap().url.as_str()).collect();
        assert_eq!(picked, ["a", "c", "c", "c"]);
        assert!(pick(&links, 4).is_none());
    }
}
