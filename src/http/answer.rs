//! The body of an answer with status 200: the one place that holds what clients rely on.
//!
//! - It is a JSON object; the Go client takes anything else for a failure.
//! - A member without a value is left out: older web clients look for the presence of a key, and mobile ones stop at
//!   a `null`. Lists are never absent for that, because an empty one is `[]`.
//! - A float without a fraction is written without one: `15`, which integer fields of Go read too.
//!
//! Times are RFC 3339 by their type ([`crate::time::Timestamp`]), ids by theirs. The few answers with a `null` on purpose
//! use `axum::Json`.

use std::io;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use super::error::ApiError;

/// Largest body that apps accept (`connect/net_http.go`).
const MAX_BYTES: usize = 2 << 20;

/// From here on not every integer has a float of its own.
const EXACT: f64 = (1u64 << 53) as f64;

/// A result, on its way to the client.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match encode(&self.0) {
            Ok(body) => {
                if body.len() > MAX_BYTES {
                    tracing::error!(bytes = body.len(), "an answer is larger than apps accept");
                }
                ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
            }
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written");
                ApiError::internal().into_response()
            }
        }
    }
}

fn encode(result: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let (mut body, has_null) = write(result)?;
    if has_null {
        let mut value: Value = serde_json::from_slice(&body)?;
        drop_nulls(&mut value);
        body = write(&value)?.0;
    }
    if body.starts_with(b"{") { Ok(body) } else { Err(serde::ser::Error::custom("it is not an object")) }
}

/// The text, and whether it holds a `null`.
fn write(result: &impl Serialize) -> Result<(Vec<u8>, bool), serde_json::Error> {
    let mut wire = Wire { has_null: false };
    let mut body = Vec::with_capacity(128);
    result.serialize(&mut Serializer::with_formatter(&mut body, &mut wire))?;
    Ok((body, wire.has_null))
}

/// Removes every member that is `null`, at any depth.
pub fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

struct Wire {
    has_null: bool,
}

impl Formatter for &mut Wire {
    fn write_null<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.has_null = true;
        CompactFormatter.write_null(writer)
    }

    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        match value.fract() == 0.0 && value.abs() < EXACT {
            true => CompactFormatter.write_i64(writer, value as i64),
            false => CompactFormatter.write_f64(writer, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(result: &impl Serialize) -> String {
        String::from_utf8(encode(result).unwrap()).unwrap()
    }

    #[test]
    fn floats_without_a_fraction_are_written_without_one() {
        assert_eq!(text(&json!({"a": 15.0, "b": 13.5, "c": -0.0, "d": 7})), r#"{"a":15,"b":13.5,"c":0,"d":7}"#);
        assert_eq!(text(&json!({"a": 1e300})), r#"{"a":1e+300}"#);
    }

    #[test]
    fn members_without_a_value_are_left_out_and_lists_stay() {
        #[derive(Serialize)]
        struct Result {
            name: Option<&'static str>,
            share: f64,
            list: Vec<Option<u8>>,
        }
        let result = Result { name: None, share: f64::NAN, list: Vec::new() };
        assert_eq!(text(&result), r#"{"list":[]}"#);
        assert_eq!(text(&json!({"a": {"b": null, "c": 2.0}, "d": null})), r#"{"a":{"c":2}}"#);
    }

    #[test]
    fn anything_but_an_object_is_our_fault() {
        for wrong in [json!(null), json!([]), json!("text"), json!(1)] {
            assert!(encode(&wrong).is_err(), "{wrong}");
            assert_eq!(Json(wrong).into_response().status(), 500);
        }
    }
}
