//! Redirects, with a message for the page they lead to.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::flash::{Kind, NextFlash};
use super::texts::Text;

/// A redirect (302).
pub fn to(path: &str) -> Response {
    match HeaderValue::from_str(path) {
        Ok(path) => (StatusCode::FOUND, [(header::LOCATION, path)]).into_response(),
        Err(_) => super::error::PortalError::internal("a redirect leads nowhere".into()).into_response(),
    }
}

/// A redirect to a page that says that something was done.
pub fn saying(path: &str, text: impl Into<Text>) -> Response {
    let mut response = to(path);
    response.extensions_mut().insert(NextFlash(Kind::Good, text.into()));
    response
}
