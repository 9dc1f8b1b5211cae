//! A company of recorded exchanges, on a socket: `tests/vendor/<company>/<case>.json` holds, in order, what it is asked
//! and what it answers.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;

/// One exchange.
#[derive(Clone, Deserialize)]
struct Exchange {
    method: String,
    path: String,
    /// Headers that must be there.
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// The body: pairs of a form in their order, or JSON.
    #[serde(default)]
    form: Option<Vec<(String, String)>>,
    #[serde(default)]
    json: Option<Value>,
    status: u16,
    answer: Value,
}

#[derive(Default)]
struct Script {
    exchanges: Vec<Exchange>,
    next: usize,
    complaints: Vec<String>,
    keys: Vec<String>,
    bodies: Vec<Value>,
}

/// The company.
pub struct Mock {
    /// Where it listens.
    pub base_url: String,
    script: Arc<Mutex<Script>>,
}

impl Mock {
    /// Plays the exchanges of `tests/vendor/<name>.json`, `$name` in them replaced.
    pub async fn start(name: &str, replace: &[(&str, &str)]) -> Self {
        let path = format!("{}/tests/vendor/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let mut text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        for (from, to) in replace {
            text = text.replace(from, to);
        }
        let exchanges = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let script = Arc::new(Mutex::new(Script { exchanges, ..Script::default() }));
        let router = Router::new().fallback(play).with_state(script.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base_url, script }
    }

    /// Checks that it was asked everything, and nothing else; gives the idempotency keys it saw.
    #[track_caller]
    pub fn finish(&self) -> Vec<String> {
        let script = self.script.lock();
        assert_eq!(script.complaints, Vec::<String>::new());
        assert_eq!(script.next, script.exchanges.len(), "it was not asked everything");
        script.keys.clone()
    }

    /// The bodies it was sent that are JSON, in order.
    pub fn bodies(&self) -> Vec<Value> {
        self.script.lock().bodies.clone()
    }
}

async fn play(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut script = script.lock();
    let Some(exchange) = script.exchanges.get(script.next).cloned() else {
        script.complaints.push(format!("asked {} {} beyond the end", parts.method, parts.uri));
        return StatusCode::IM_A_TEAPOT.into_response();
    };
    script.next += 1;
    script.bodies.extend(serde_json::from_slice::<Value>(&body));
    script.keys.extend(parts.headers.get("idempotency-key").map(|key| key.to_str().unwrap().to_owned()));
    if let Some(complaint) = differs(&exchange, (parts.method.as_str(), &parts.uri.to_string()), &parts.headers, &body)
    {
        script.complaints.push(complaint);
    }
    (StatusCode::from_u16(exchange.status).unwrap(), axum::Json(exchange.answer)).into_response()
}

fn differs(exchange: &Exchange, asked: (&str, &str), headers: &HeaderMap, body: &Bytes) -> Option<String> {
    let Exchange { method, path, headers: expected, form, json, .. } = exchange;
    if asked != (method, path) {
        return Some(format!("asked {asked:?} instead of {method} {path}"));
    }
    for (name, value) in expected {
        let found = headers.get(name).and_then(|value| value.to_str().ok());
        if found != Some(value) {
            return Some(format!("{method} {path} has {name}: {found:?}"));
        }
    }
    if let Some(json) = json {
        let sent = serde_json::from_slice(body).unwrap_or_default();
        if !is_like(json, &sent) {
            return Some(format!("{method} {path} sends {sent}"));
        }
    }
    let found: Vec<(String, String)> =
        std::str::from_utf8(body).unwrap_or_default().split('&').filter_map(pair).collect();
    // "*" stands for what differs from run to run.
    let fits = |form: &[(String, String)]| {
        let fits = |((name, value), (found_name, found)): (&(String, String), &(String, String))| {
            name == found_name && (value == "*" || value == found)
        };
        form.len() == found.len() && form.iter().zip(&found).all(fits)
    };
    form.as_ref().filter(|form| !fits(form)).map(|_| format!("{method} {path} sends {found:?}"))
}

/// Whether JSON is as expected; `"*"` stands for what differs from run to run.
fn is_like(expected: &Value, sent: &Value) -> bool {
    match (expected, sent) {
        (Value::String(any), _) if any == "*" => !sent.is_null(),
        (Value::Object(expected), Value::Object(sent)) => {
            expected.len() == sent.len()
                && expected.iter().all(|(name, value)| sent.get(name).is_some_and(|sent| is_like(value, sent)))
        }
        (Value::Array(expected), Value::Array(sent)) => {
            expected.len() == sent.len() && expected.iter().zip(sent).all(|(expected, sent)| is_like(expected, sent))
        }
        _ => expected == sent,
    }
}

/// A pair of a form.
fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    Some((unescape(name), unescape(value)))
}

fn unescape(text: &str) -> String {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            b'+' => out.push(b' '),
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).unwrap()
}
