//! Fields of a query or a body: a JSON object or a form, whatever the route, read alike.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::error::PortalError;
use crate::http::state::ApiState;

/// Most fields that are read.
const MAX_FIELDS: usize = 64;

/// Named texts. A field that is absent, `null` or empty is an empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(HashMap<String, String>);

impl Fields {
    /// A field, without space around it.
    pub fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// A field as it was sent: for passwords.
    pub fn raw(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Whether a field is `true` or `1`.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "1")
    }

    /// Whether a field was sent at all.
    pub fn has(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    /// Every field.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The fields of a query or a form.
    pub fn of_form(bytes: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(bytes).take(MAX_FIELDS);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The fields of a JSON object; none when it is no object or holds more than texts, numbers and booleans.
    fn of_json(bytes: &[u8]) -> Option<Self> {
        let Value::Object(members) = serde_json::from_slice(bytes).ok()? else { return None };
        let mut fields = HashMap::new();
        for (name, value) in members.into_iter().take(MAX_FIELDS) {
            match value {
                Value::Null => {}
                Value::String(text) => drop(fields.insert(name, text)),
                Value::Bool(flag) => drop(fields.insert(name, flag.to_string())),
                Value::Number(number) => drop(fields.insert(name, number.to_string())),
                Value::Array(_) | Value::Object(_) => return None,
            }
        }
        Some(Self(fields))
    }

    fn of_body(headers: &HeaderMap, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.trim_ascii();
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_json = kind.contains("json") || bytes.starts_with(b"{");
        match (bytes.is_empty(), is_json) {
            (true, _) => Some(Self::default()),
            (_, true) => Self::of_json(bytes),
            (_, false) => Some(Self::of_form(bytes)),
        }
    }
}

/// The fields of the query.
#[derive(Clone, Debug)]
pub struct Query(pub Fields);

impl FromRequestParts<ApiState> for Query {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Self::Rejection> {
        Ok(Self(Fields::of_form(parts.uri.query().unwrap_or_default().as_bytes())))
    }
}

/// The fields of the body. Routes of signed-in users take [`SignedPost`](super::session::SignedPost) instead.
#[derive(Clone, Debug)]
pub struct Post(pub Fields);

impl FromRequest<ApiState> for Post {
    type Rejection = PortalError;
    async fn from_request(request: Request, state: &ApiState) -> Result<Self, PortalError> {
        let headers = request.headers().clone();
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                PortalError::status(StatusCode::PAYLOAD_TOO_LARGE, "error.too_large")
            }
            _ => PortalError::field("error.unreadable"),
        })?;
        Fields::of_body(&headers, &bytes).map(Self).ok_or_else(|| PortalError::field("error.unreadable"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(kind: &str, text: &str) -> Option<Fields> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        Fields::of_body(&headers, text.as_bytes())
    }

    #[test]
    fn json_and_forms_give_the_same_fields() {
        let json = body("application/json", r#"{"a": " x ", "b": true, "c": 1, "d": null}"#).unwrap();
        let form = body("application/x-www-form-urlencoded", "a=+x+&b=true&c=1&d=").unwrap();
        for fields in [json, form] {
            assert_eq!((fields.text("a"), fields.raw("a")), ("x", " x "));
            assert!(fields.flag("b") && fields.flag("c") && !fields.flag("d") && !fields.flag("e"));
            assert!(!fields.has("d"));
        }
        assert!(body("text/plain", r#"{"b": "false"}"#).is_some_and(|fields| !fields.flag("b")));
        assert_eq!(body("application/json", " "), Some(Fields::default()));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for wrong in ["[1]", "{", r#"{"a": [1]}"#, "\"x\""] {
            assert_eq!(body("application/json", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_last_of_equal_names_counts() {
        assert_eq!(Fields::of_form(b"a=1&a=2").text("a"), "2");
    }
}
