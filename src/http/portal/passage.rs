//! What every request of the portal passes on its way in, and every answer on its way out.
//!
//! In: who reads and how ([`Reader`]), the session and its renewal, no posts from other sites. Out: errors become JSON or
//! pages, messages and sessions become cookies, and every answer gets the headers that keep a page from being misused.
//! A panic or a request that takes too long is a failure like any other.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use serde::Serialize;

use super::error::PortalError;
use super::fields::Fields;
use super::flash::{Flash, FlashKey, Kind, NextFlash};
use super::page::Page;
use super::reader::{self, LANGUAGE_FIELD, Reader, ReaderParts};
use super::session::SessionChange;
use super::texts::Text;
use super::{cookies, csrf, go};
use crate::domain::auth::web_session::{Find, Renew, WebUser, key_of};
use crate::domain::portal::report::Report;
use crate::http::address::{PeerAddr, client_address};
use crate::http::layers::{OwnTime, WithoutCors};
use crate::http::state::ApiState;

/// Longest cookie of a session that is looked at.
const MAX_COOKIE_BYTES: usize = 128;
/// How long the choice of a language is kept.
const LANGUAGE_LIFE: Duration = Duration::from_secs(365 * 86_400);

/// Forms may lead to the apps, which open addresses of this scheme.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self' tunnels:; base-uri 'none'; \
     frame-ancestors 'none'",
);
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Answers a request of the portal.
pub async fn pass(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let is_post = parts.method == Method::POST;
    let cookie = session_cookie(&state, &parts.headers).map(str::to_owned);
    let (user, is_due, failure) = match find_user(&state, cookie.as_deref()) {
        Ok(found) => (found.map(|(user, _)| user), found.is_some_and(|(_, is_due)| is_due), None),
        Err(error) => (None, false, Some(error)),
    };
    let query = Fields::of_form(parts.uri.query().unwrap_or_default().as_bytes());
    let wish = state.portal.texts.known(query.text(LANGUAGE_FIELD)).map(str::to_owned);
    let address = parts.extensions.get::<PeerAddr>().copied();
    let trusted = &state.config().http.trusted_proxies;
    let address = address.map(|PeerAddr(peer)| client_address(&parts.headers, peer, trusted));
    let reader = Reader::from(ReaderParts {
        language: language(&state, wish.as_deref(), &parts.headers),
        wants_html: reader::wants_html(&parts.headers),
        path: parts.uri.path().to_owned(),
        query,
        address: match &address {
            Some(Ok(address)) => address.ip(),
            _ => std::net::Ipv4Addr::UNSPECIFIED.into(),
        },
        user,
        csrf: user.and(cookie.as_deref()).map(csrf::token).unwrap_or_default(),
        flash: state.portal.flash_key.read(&parts.headers),
        is_cross_site: is_cross_site(&parts.headers),
    });

    let mut response = if let Some(error) = failure {
        error.into_response()
    } else if let Some(Err(error)) = address {
        PortalError::status(StatusCode::BAD_REQUEST, Text::from("error.plain").with("text", error)).into_response()
    } else if is_post && reader.is_cross_site() {
        PortalError::status(StatusCode::FORBIDDEN, "error.forged_form").into_response()
    } else {
        let Ok(own_time) = OwnTime::from_request_parts(&mut parts, &state).await;
        own_time.take();
        parts.extensions.insert(reader.clone());
        run(&state, Request::from_parts(parts, body), next).await
    };

    if let Some(error) = response.extensions_mut().remove::<PortalError>() {
        let changes = response.extensions_mut().remove::<SessionChange>();
        response = show(&state, &reader, error).await;
        changes.map(|change| response.extensions_mut().insert(change));
    }
    let is_page = response.status() != StatusCode::FOUND && is_html(&response);
    settle_session(&state, &mut response, user.filter(|_| is_due), cookie.as_deref()).await;
    let is_secure = state.config().portal_is_secure();
    if let Some(NextFlash(kind, text)) = response.extensions_mut().remove::<NextFlash>() {
        let text = state.portal.texts.say(reader.language(), &text);
        state.portal.flash_key.write(&mut response, &Flash { kind, text }, is_secure);
    } else if is_page && !is_head && reader.flash().is_some() {
        FlashKey::clear(&mut response, is_secure);
    }
    if let Some(wish) = wish {
        cookies::write(&mut response, LANGUAGE_FIELD, &wish, LANGUAGE_LIFE, is_secure);
    }
    guard(&mut response, is_secure);
    response
}

/// The handler's answer, unless it panics or takes longer than `http.request_timeout`.
async fn run(state: &ApiState, request: Request, next: Next) -> Response {
    let limit = state.config().http.request_timeout;
    // Nothing behind the catch is used again after a panic.
    let running = pin!(AssertUnwindSafe(next.run(request)).catch_unwind());
    match tokio::time::timeout(limit, running).await {
        Ok(Ok(response)) => response,
        Ok(Err(cause)) => {
            let text = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
            PortalError::internal(format!("a handler panicked: {}", text.unwrap_or("unknown"))).into_response()
        }
        Err(_) => PortalError::internal(format!("a request took longer than {limit:?}")).into_response(),
    }
}

fn session_cookie<'h>(state: &ApiState, headers: &'h axum::http::HeaderMap) -> Option<&'h str> {
    let cookie = cookies::read(headers, &state.config().portal.cookie_name)?;
    (!cookie.is_empty() && cookie.len() <= MAX_COOKIE_BYTES).then_some(cookie)
}

fn find_user(state: &ApiState, cookie: Option<&str>) -> Result<Option<(WebUser, bool)>, PortalError> {
    let Some(cookie) = cookie else { return Ok(None) };
    Ok(state.service.read(&Find { key: key_of(cookie) })?)
}

fn language(state: &ApiState, wish: Option<&str>, headers: &axum::http::HeaderMap) -> String {
    let texts = &state.portal.texts;
    let kept = || texts.known(cookies::read(headers, LANGUAGE_FIELD)?);
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    wish.or_else(kept).unwrap_or_else(|| texts.choose(accepted)).to_owned()
}

/// Whether a browser says that another site, or a sibling of this one, sent the request.
fn is_cross_site(headers: &axum::http::HeaderMap) -> bool {
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    matches!(site, Some(b"cross-site" | b"same-site"))
}

fn is_html(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// Sends the cookie of a session that begins, is over, or goes on.
async fn settle_session(state: &ApiState, response: &mut Response, due: Option<WebUser>, cookie: Option<&str>) {
    let portal = &state.config().portal;
    let is_secure = state.config().portal_is_secure();
    let (value, life) = match (response.extensions_mut().remove::<SessionChange>(), due, cookie) {
        (Some(SessionChange::Begin(secret)), ..) => (secret.as_str().to_owned(), portal.session_idle),
        (Some(SessionChange::End), ..) => (String::new(), Duration::ZERO),
        (None, Some(user), Some(cookie)) => {
            if let Err(error) = state.service.run(&Renew { key: user.session }).await {
                tracing::warn!(%error, "a session could not be renewed");
                return;
            }
            (cookie.to_owned(), portal.session_idle)
        }
        _ => return,
    };
    cookies::write(response, &portal.cookie_name, &value, life, is_secure);
}

/// The headers that keep an answer from being misused.
fn guard(response: &mut Response, is_secure: bool) {
    response.extensions_mut().insert(WithoutCors);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if is_secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
    }
}

/// A page that says what happened, where there is no form to go back to.
#[derive(Debug, Default, Serialize)]
pub struct NoticePage {
    /// The status.
    pub status: u16,
    /// What happened.
    pub message: String,
    /// When the next request may succeed, in words; none when that does not matter.
    pub next: Option<String>,
}

impl Page for NoticePage {
    const TEMPLATE: &'static str = "notice.html";
}

/// Makes an error JSON or a page, and tells the operator of failures.
async fn show(state: &ApiState, reader: &Reader, mut error: PortalError) -> Response {
    if let Some(cause) = error.cause.take() {
        report(state, reader, &cause).await;
    }
    error.next = error.next.or_else(|| error.wait.map(|wait| state.now() + wait));
    let mut response = match reader.wants_html() {
        true => page(state, reader, &error),
        false => (error.status, axum::Json(error.json(&state.portal.texts))).into_response(),
    };
    if let Some(next) = error.next {
        let seconds = next.since(state.now()).as_millis().div_ceil(1000).max(1) as u64;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn page(state: &ApiState, reader: &Reader, error: &PortalError) -> Response {
    let flash = |path: &str| {
        let mut response = go::to(path);
        response.extensions_mut().insert(NextFlash(Kind::Bad, error.text.clone()));
        response
    };
    match (error.status, error.form.as_deref()) {
        // Whoever failed to sign in goes back to that form, all others go to it.
        (StatusCode::UNAUTHORIZED, Some(form)) if form.starts_with("/signin") => return flash(form),
        (StatusCode::UNAUTHORIZED, _) => return flash("/signin"),
        (StatusCode::OK, Some(form)) => return flash(form),
        (status, Some(form)) if status.is_client_error() => return flash(form),
        _ => {}
    }
    let notice = NoticePage {
        status: error.status.as_u16(),
        message: state.portal.texts.say(reader.language(), &error.text),
        next: error.next.map(|next| next.to_words()),
    };
    match reader.page(state, &notice) {
        Ok(page) => (error.status, page).into_response(),
        Err(broken) => {
            tracing::error!(cause = broken.cause, "the page for errors cannot be made");
            let text = state.portal.texts.say_on_the_wire(&error.text);
            (error.status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
        }
    }
}

async fn report(state: &ApiState, reader: &Reader, cause: &str) {
    tracing::error!(path = reader.path(), cause, "the portal failed a request");
    if !state.config().portal.admin_mail.is_empty() && state.portal.may_report(state.now()) {
        let report = Report { path: reader.path().to_owned(), cause: cause.to_owned() };
        if let Err(error) = state.service.run(&report).await {
            tracing::error!(%error, "a failure could not be mailed");
        }
    }
}

/// The answer to a path that nobody knows.
pub async fn not_found() -> PortalError {
    PortalError::not_found()
}

/// The answer to a method that a path does not take.
pub async fn method_not_allowed() -> PortalError {
    PortalError::status(StatusCode::METHOD_NOT_ALLOWED, "error.method")
}
