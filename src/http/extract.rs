//! What a handler's arguments stand for: who is calling, from where, and the body.
//!
//! The argument type is the access rule of a route. Credentials come first in the argument list, so that a stranger's
//! large body is never read.

use std::net::SocketAddr;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::address::{PeerAddr, client_address};
use super::answer::drop_nulls;
use super::error::ApiError;
use super::state::ApiState;
use crate::domain::auth::attempts::{Origin, Surface};
use crate::domain::auth::authenticate::Audience;
use crate::domain::caller::{Caller, CallerClient};
use crate::domain::error::DomainError;

/// Any valid token, of a user or of a client; else 401.
#[derive(Clone, Debug)]
pub struct Session(pub Caller);

/// A user token; else 401.
#[derive(Clone, Debug)]
pub struct UserCaller(pub Caller);

/// A client token; else 401.
#[derive(Clone, Debug)]
pub struct ClientCaller {
    /// The whole identity.
    pub caller: Caller,
    /// Its client part.
    pub client: CallerClient,
}

/// The caller when a valid token came along; a missing or bad one is ignored.
#[derive(Clone, Debug)]
pub struct MaybeCaller(pub Option<Caller>);

/// The client's address, forwarding headers of trusted proxies applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub SocketAddr);

/// Where a call came from, for the limits on attempts.
#[derive(Clone, Copy, Debug)]
pub struct ApiOrigin(pub Origin);

/// The one parameter of the path, percent-decoded.
#[derive(Clone, Debug)]
pub struct PathText(pub String);

/// The JSON body, whatever its content type says.
///
/// Upstream's Go client sends `text/json`, browsers `text/plain`, curl a form type. An empty body and `null` count as
/// `{}`; a `null` member counts as absent, so optional fields and lists only need a serde default; of equal keys the
/// last counts; unknown keys are ignored. Malformed JSON and wrong types are 400, a body above the route's limit 413.
#[derive(Clone, Debug)]
pub struct Body<T>(pub T);

/// The body as it was sent: for reports whose signature covers every byte.
#[derive(Clone, Debug)]
pub struct RawBody(pub Bytes);

/// The token of an `Authorization` header of that scheme.
pub(super) fn bearer(parts: &Parts) -> Option<&str> {
    let (scheme, token) = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn authenticate(parts: &Parts, state: &ApiState, audience: Audience) -> Result<Caller, DomainError> {
    let token = bearer(parts).ok_or(DomainError::Unauthorized)?;
    state.authenticator.authenticate(token, audience)
}

impl FromRequestParts<ApiState> for Session {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        Ok(Self(authenticate(parts, state, Audience::Any)?))
    }
}

impl FromRequestParts<ApiState> for UserCaller {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        Ok(Self(authenticate(parts, state, Audience::User)?))
    }
}

impl FromRequestParts<ApiState> for ClientCaller {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let caller = authenticate(parts, state, Audience::Client)?;
        let client = caller.client.ok_or(DomainError::Unauthorized)?;
        Ok(Self { caller, client })
    }
}

impl FromRequestParts<ApiState> for MaybeCaller {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        Ok(Self(authenticate(parts, state, Audience::Any).ok()))
    }
}

impl FromRequestParts<ApiState> for ClientAddress {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let Some(PeerAddr(peer)) = parts.extensions.get() else {
            tracing::error!("the listener did not say who is connected");
            return Err(ApiError::internal());
        };
        client_address(&parts.headers, *peer, &state.config().http.trusted_proxies)
            .map(Self)
            .map_err(|error| ApiError::bad_request(error.to_string()))
    }
}

impl FromRequestParts<ApiState> for ApiOrigin {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let ClientAddress(address) = ClientAddress::from_request_parts(parts, state).await?;
        Ok(Self(Origin { surface: Surface::Api, address: address.ip() }))
    }
}

impl FromRequestParts<ApiState> for PathText {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(_) => Err(ApiError::bad_request("The path is not UTF-8.")),
        }
    }
}

impl<T: DeserializeOwned> FromRequest<ApiState> for Body<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        parse(&bytes).map(Self).map_err(ApiError::bad_request)
    }
}

impl FromRequest<ApiState> for RawBody {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "The request body is too large.")
            }
            _ => ApiError::bad_request("The request body ended early."),
        })?;
        Ok(Self(bytes))
    }
}

/// Reads a body; the complaint never repeats what the caller sent, because clients search messages for words and
/// numbers (`connect/ip_remote_multi_client_outcome.go`), and an echoed id may hold one.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut body = if bytes.trim_ascii().is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(bytes).map_err(|_| "The request body is not valid JSON.".to_owned())?
    };
    if body.is_null() {
        body = Value::Object(Default::default());
    }
    if !body.is_object() {
        return Err("The request body must be a JSON object.".into());
    }
    drop_nulls(&mut body);
    serde_json::from_value(body).map_err(|error| complaint(&error.to_string()))
}

/// The part of serde's message that is its own: `missing field …` or what stands after the last `expected`.
fn complaint(serde: &str) -> String {
    if serde.starts_with("missing field") {
        format!("The request body has a {serde}.")
    } else if let Some((_, expected)) = serde.rsplit_once("expected ") {
        format!("A field of the request body has a wrong value: expected {expected}.")
    } else {
        "A field of the request body has a wrong value.".into()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::ids::ClientId;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Args {
        count: u32,
        fraction: f64,
        names: Vec<String>,
        client_id: Option<ClientId>,
        nested: Option<Nested>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Nested {
        flag: bool,
    }

    fn args(body: &str) -> Result<Args, String> {
        parse(body.as_bytes())
    }

    #[test]
    fn empty_bodies_and_null_count_as_an_empty_object() {
        for body in ["", "  \r\n", "null", "{}"] {
            assert_eq!(args(body), Ok(Args::default()), "{body:?}");
        }
    }

    #[test]
    fn null_members_count_as_absent_at_any_depth() {
        let body = r#"{"count": null, "names": null, "client_id": null, "nested": {"flag": null}, "extra": 1}"#;
        assert_eq!(args(body), Ok(Args { nested: Some(Nested::default()), ..Args::default() }));
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        assert_eq!(args(r#"{"count": 1, "count": 2}"#).map(|args| args.count), Ok(2));
    }

    #[test]
    fn integers_refuse_fractions_and_floats_take_integers() {
        assert!(args(r#"{"count": 1.5}"#).is_err());
        assert_eq!(args(r#"{"fraction": 2}"#).map(|args| args.fraction), Ok(2.0));
    }

    #[test]
    fn complaints_name_what_was_expected_and_repeat_nothing() {
        let sent = r#"{"client_id": "401, expected 429"}"#;
        let answer = args(sent).unwrap_err();
        assert!(answer.contains("36 characters") && !answer.contains("401"), "{answer}");
        let answer = args(r#"{"count": "429"}"#).unwrap_err();
        assert_eq!(answer, "A field of the request body has a wrong value: expected u32.");
        for wrong in [r#"{"count": 1"#, "[1]", "\"x\"", "7", "{'a': 1}"] {
            assert!(args(wrong).is_err(), "{wrong}");
        }
    }
}
