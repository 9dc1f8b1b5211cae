//! What goes wrong at the portal: a status, a code of its table, and a text in the reader's language.
//!
//! A handler returns the error as it is; [`super::passage`] makes it JSON or a page once the limits have seen its
//! status. What lies behind a failure of the server goes to the log and to the operator, never into the answer.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::texts::{Text, Texts};
use crate::domain::error::DomainError;
use crate::time::Timestamp;

/// What handlers return.
pub type PortalResult = Result<Response, PortalError>;

/// The code of every failure of the server.
pub const INTERNAL: i32 = -1;
/// The code of a field that cannot be used.
pub const FIELD: i32 = 3;
/// The code of a session that is no more.
pub const SIGNED_OUT: i32 = 2;
/// The code of too many requests.
pub const TOO_MANY: i32 = 999;

/// A refusal or a failure.
#[derive(Clone, Debug)]
pub struct PortalError {
    /// The status.
    pub status: StatusCode,
    /// The code of the table.
    pub code: i32,
    /// What it says.
    pub text: Text,
    /// The form that a reader of pages is sent back to; none for a notice.
    pub form: Option<Cow<'static, str>>,
    /// When the next request may succeed.
    pub next: Option<Timestamp>,
    /// What lies behind it: for the log alone.
    pub cause: Option<Box<str>>,
    /// How long to wait; becomes [`PortalError::next`] where the time is known.
    pub wait: Option<std::time::Duration>,
}

impl PortalError {
    /// A refusal of the table.
    pub fn new(status: StatusCode, code: i32, text: impl Into<Text>) -> Self {
        Self { status, code, text: text.into(), form: None, next: None, cause: None, wait: None }
    }

    /// 400 with a code of the table.
    pub fn refused(code: i32, text: impl Into<Text>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, text)
    }

    /// 400 code 3: a field cannot be used.
    pub fn field(text: impl Into<Text>) -> Self {
        Self::refused(FIELD, text)
    }

    /// 200 with a code of the table: no failure, yet not what was asked for.
    pub fn said(code: i32, text: impl Into<Text>) -> Self {
        Self::new(StatusCode::OK, code, text)
    }

    /// A status that is its own code.
    pub fn status(status: StatusCode, text: impl Into<Text>) -> Self {
        Self::new(status, i32::from(status.as_u16()), text)
    }

    /// There is no such page.
    pub fn not_found() -> Self {
        Self::status(StatusCode::NOT_FOUND, "error.not_found")
    }

    /// Nobody is signed in, or not any more.
    pub fn session_expired() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, SIGNED_OUT, "error.session_expired")
    }

    /// A failure of the server, for this reason.
    pub fn internal(cause: String) -> Self {
        let error = Self::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, "error.unknown");
        Self { cause: Some(cause.into()), ..error }
    }

    /// The same, with the form that a reader of pages is sent back to, unless it has one.
    #[must_use]
    pub fn at(self, form: &'static str) -> Self {
        Self { form: self.form.or(Some(form.into())), ..self }
    }

    /// As [`PortalError::at`], for a form that stands at a path of its own.
    #[must_use]
    pub fn back_to(self, path: String) -> Self {
        Self { form: Some(path.into()), ..self }
    }

    /// The body that programs are told.
    pub fn json(&self, texts: &Texts) -> Value {
        let mut body = json!({"code": self.code, "message": texts.say_on_the_wire(&self.text)});
        if let Some(next) = self.next {
            body["nextValidRequestDate"] = next.to_iso8601().into();
            body["nextValidRequestDateHuman"] = next.to_words().into();
        }
        body
    }
}

impl From<DomainError> for PortalError {
    fn from(error: DomainError) -> Self {
        match error {
            DomainError::Unauthorized => Self::session_expired(),
            DomainError::Forbidden(text) => {
                Self::status(StatusCode::FORBIDDEN, Text::from("error.plain").with("text", text))
            }
            DomainError::BadRequest(text) => Self::field(Text::from("error.plain").with("text", text)),
            DomainError::NotFound(text) => {
                Self::status(StatusCode::NOT_FOUND, Text::from("error.plain").with("text", text))
            }
            DomainError::TooMany { retry_after } => {
                let error = Self::new(StatusCode::TOO_MANY_REQUESTS, TOO_MANY, "error.too_many");
                Self { wait: Some(retry_after), ..error }
            }
            DomainError::Unavailable => Self::new(StatusCode::SERVICE_UNAVAILABLE, INTERNAL, "error.unknown"),
            DomainError::Store(cause) => Self::internal(format!("the store failed a request: {cause}")),
        }
    }
}

impl IntoResponse for PortalError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
