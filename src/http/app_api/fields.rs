//! The fields of a request body, and the complaints about them.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde_json::{Map, Value};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema};

use super::error::{AppError, AppInvalid};
use super::words::{self, Language, Phrase};
use crate::domain::auth::method::MethodKind;
use crate::domain::auth::user_auth::UserAuth;
use crate::http::state::ApiState;

/// Longest text of a field, in characters.
const MAX_CHARS: usize = 255;

/// The members of the body, whatever its content type says. Phrase is trimmed, and an empty one counts as absent.
pub struct AppFields {
    members: Map<String, Value>,
    language: Language,
    errors: BTreeMap<&'static str, Vec<String>>,
    /// In the order in which they were found.
    first: Option<String>,
}

impl FromRequest<ApiState> for AppFields {
    type Rejection = AppError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, AppError> {
        let language = Language::of(request.headers());
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                AppError::new(StatusCode::PAYLOAD_TOO_LARGE, language, &words::TOO_LARGE)
            }
            _ => AppError::new(StatusCode::BAD_REQUEST, language, &words::BAD_REQUEST),
        })?;
        let members = match serde_json::from_slice(&bytes) {
            Ok(Value::Object(members)) => members,
            // A body that is none has no fields; those that are needed are then missed by name.
            _ => Map::new(),
        };
        Ok(Self::new(members, language))
    }
}

impl AppFields {
    fn new(members: Map<String, Value>, language: Language) -> Self {
        Self { members, language, errors: BTreeMap::new(), first: None }
    }

    fn complain(&mut self, field: &'static str, text: &Phrase) {
        let complaint = self.language.say(text).replace("{}", field);
        self.first.get_or_insert_with(|| complaint.clone());
        self.errors.entry(field).or_default().push(complaint);
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        let value = self.members.remove(field)?;
        let is_empty = value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
        (!is_empty).then_some(value)
    }

    /// A text that may be left out.
    pub fn text(&mut self, field: &'static str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) if text.trim().chars().nth(MAX_CHARS).is_none() => Some(text.trim().to_owned()),
            Value::String(_) => {
                self.complain(field, &words::TOO_LONG);
                None
            }
            _ => {
                self.complain(field, &words::NOT_TEXT);
                None
            }
        }
    }

    /// A text that is needed.
    pub fn needed_text(&mut self, field: &'static str) -> String {
        self.needed(field, Self::text).unwrap_or_default()
    }

    /// A secret that is needed: as it was sent, spaces and all, and of any length.
    pub fn needed_secret(&mut self, field: &'static str) -> String {
        let secret = |fields: &mut Self, field: &'static str| match fields.members.remove(field)? {
            Value::String(text) if !text.is_empty() => Some(text),
            Value::Null | Value::String(_) => None,
            _ => {
                fields.complain(field, &words::NOT_TEXT);
                None
            }
        };
        self.needed(field, secret).unwrap_or_default()
    }

    /// A mail address that is needed.
    pub fn needed_email(&mut self, field: &'static str) -> Option<UserAuth> {
        let text = self.needed(field, Self::text)?;
        let email = UserAuth::parse(&text).filter(|email| email.kind() == MethodKind::Email);
        if email.is_none() {
            self.complain(field, &words::NOT_EMAIL);
        }
        email
    }

    /// A whole number that is needed, as a number or as text.
    pub fn needed_number(&mut self, field: &'static str) -> i64 {
        let number = |fields: &mut Self, field: &'static str| {
            let number = match fields.take(field)? {
                Value::Number(number) => number.as_i64(),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            if number.is_none() {
                fields.complain(field, &words::NOT_NUMBER);
            }
            number
        };
        self.needed(field, number).unwrap_or_default()
    }

    fn needed<T>(&mut self, field: &'static str, read: impl FnOnce(&mut Self, &'static str) -> Option<T>) -> Option<T> {
        let value = read(self, field);
        if value.is_none() && !self.errors.contains_key(field) {
            self.complain(field, &words::REQUIRED);
        }
        value
    }

    /// The end of reading.
    ///
    /// # Errors
    /// 422 when there was something to complain of; what was read is then of no use.
    pub fn finish(self) -> Result<(), AppError> {
        let Some(mut message) = self.first else { return Ok(()) };
        let more = self.errors.values().map(Vec::len).sum::<usize>() - 1;
        if more > 0 {
            message = format!("{message} {}", self.language.say(&words::AND_MORE).replace("{}", &more.to_string()));
        }
        Err(AppError::Invalid(AppInvalid { message, errors: self.errors }))
    }
}

/// The description of [`AppFields::needed_number`].
pub fn number() -> RefOr<Schema> {
    let integer = ObjectBuilder::new().schema_type(Type::Integer);
    let text = ObjectBuilder::new().schema_type(Type::String);
    OneOfBuilder::new().item(integer).item(text).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(body: Value) -> AppFields {
        AppFields::new(body.as_object().unwrap().clone(), Language::English)
    }

    fn complaints(fields: AppFields) -> Value {
        match fields.finish() {
            Err(AppError::Invalid(body)) => serde_json::to_value(body).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_come_as_numbers_or_as_text() {
        for value in [json!(7), json!("7"), json!(" 7 ")] {
            let mut fields = fields(json!({"device_id": value}));
            assert_eq!(fields.needed_number("device_id"), 7);
            assert!(fields.finish().is_ok());
        }
        for wrong in [json!(1.5), json!("x"), json!([]), json!(true), json!(1e300), json!("9".repeat(40))] {
            let mut fields = fields(json!({"device_id": wrong}));
            fields.needed_number("device_id");
            assert_eq!(complaints(fields)["errors"]["device_id"], json!(["The device_id field must be an integer."]));
        }
    }

    #[test]
    fn every_field_that_is_wrong_is_named_once() {
        let mut wrong =
            fields(json!({"email": "nobody", "password": 5, "device_id": " ", "device_name": "x".repeat(256)}));
        assert_eq!(wrong.needed_email("email"), None);
        wrong.needed_secret("password");
        wrong.needed_text("device_id");
        assert_eq!(wrong.text("device_name"), None);
        let found = complaints(wrong);
        assert_eq!(found["message"], "The email field must be a valid email address. (and 3 more)");
        assert_eq!(found["errors"]["password"], json!(["The password field must be a string."]));
        assert_eq!(found["errors"]["device_id"], json!(["The device_id field is required."]));
        assert_eq!(
            found["errors"]["device_name"],
            json!(["The device_name field must not be greater than 255 characters."])
        );
    }

    #[test]
    fn secrets_are_taken_as_they_are_and_other_text_is_trimmed() {
        let mut read = fields(json!({"password": " a b ", "device_id": " x "}));
        assert_eq!((read.needed_secret("password"), read.needed_text("device_id")), (" a b ".into(), "x".into()));
        assert_eq!(read.text("device_name"), None);
        assert!(read.finish().is_ok());
        let mut phone = fields(json!({"email": "4155550142"}));
        assert_eq!(phone.needed_email("email"), None);
        assert_eq!(complaints(phone)["message"], "The email field must be a valid email address.");
    }
}
