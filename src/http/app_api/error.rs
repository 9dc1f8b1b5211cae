//! The only place where an error of the client API gets a status and a body: `{"message": …}`, with `errors` for fields.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::words::{self, Language, Phrase};
use crate::domain::error::DomainError;

/// What handlers return.
pub type AppResult<T> = Result<Json<T>, AppError>;

/// The body of an error.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AppMessage {
    /// What went wrong, for people.
    pub message: String,
}

/// The body of an answer to fields that are missing or malformed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AppInvalid {
    /// The first complaint, and how many there are besides.
    pub message: String,
    /// Every complaint, by field.
    #[schema(value_type = std::collections::HashMap<String, Vec<String>>)]
    pub errors: BTreeMap<&'static str, Vec<String>>,
}

/// The body of a refused login.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AppLoginRefused {
    /// Why, for people.
    pub error: String,
}

/// A refused request.
#[derive(Debug, Clone, PartialEq)]
pub enum AppError {
    /// A status and what to say.
    Refused(StatusCode, AppMessage),
    /// 422.
    Invalid(AppInvalid),
    /// 401 of the login.
    WrongLogin(AppLoginRefused),
    /// 429.
    TooMany(AppMessage, Duration),
}

impl AppError {
    /// A refusal with this status.
    pub fn new(status: StatusCode, language: Language, text: &Phrase) -> Self {
        Self::Refused(status, AppMessage { message: language.say(text).into() })
    }

    /// The login is wrong.
    pub fn wrong_login(language: Language) -> Self {
        Self::WrongLogin(AppLoginRefused { error: language.say(&words::WRONG_LOGIN).into() })
    }

    /// No such path.
    pub fn no_route(language: Language) -> Self {
        Self::new(StatusCode::NOT_FOUND, language, &words::NO_ROUTE)
    }

    /// The path takes another method.
    pub fn wrong_method(language: Language, method: &Method) -> Self {
        let message = language.say(&words::WRONG_METHOD).replace("{}", method.as_str());
        Self::Refused(StatusCode::METHOD_NOT_ALLOWED, AppMessage { message })
    }

    /// What went wrong below.
    pub fn of(error: DomainError, language: Language) -> Self {
        let (status, text) = match error {
            DomainError::Unauthorized => (StatusCode::UNAUTHORIZED, &words::UNAUTHENTICATED),
            DomainError::TooMany { retry_after } => {
                return Self::TooMany(AppMessage { message: language.say(&words::TOO_MANY).into() }, retry_after);
            }
            DomainError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, &words::BUSY),
            error => {
                // Nothing else is expected of the operations behind these routes.
                tracing::error!(%error, "a request of the client API failed");
                (StatusCode::INTERNAL_SERVER_ERROR, &words::INTERNAL)
            }
        };
        Self::new(status, language, text)
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(status, body) => (status, Json(body)).into_response(),
            Self::Invalid(body) => (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response(),
            Self::WrongLogin(body) => (StatusCode::UNAUTHORIZED, Json(body)).into_response(),
            Self::TooMany(body, wait) => {
                let mut response = (StatusCode::TOO_MANY_REQUESTS, Json(body)).into_response();
                // Rounded up: a client that obeys must not come a moment too early.
                let seconds = wait.as_millis().div_ceil(1000).max(1) as u64;
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                response
            }
        }
    }
}
