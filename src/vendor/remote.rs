//! The one way to ask a company: bounded in time and size, tried again where that is harmless, and without its keys in
//! any log.

use std::time::Duration;

use anyhow::Context;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 2 << 20;

/// Tries of one request.
const TRIES: u32 = 4;

/// Pause after the first try; each later one is longer by as much.
const PAUSE: Duration = Duration::from_millis(250);

/// Why a company gave no answer that can be used.
#[derive(Clone, Debug, PartialEq)]
pub enum RemoteError {
    /// It refused the request, for good.
    Refused(u16, Value),
    /// It cannot be reached, is overloaded, or says what cannot be read.
    Unreachable,
}

/// Asks one company.
pub struct Remote {
    http: reqwest::Client,
    base: String,
    company: &'static str,
}

impl Remote {
    /// Asks `company` at `base`, the value of the setting `key`.
    pub fn new(company: &'static str, key: &'static str, base: &str) -> anyhow::Result<Self> {
        // Whoever came first has installed the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let url: reqwest::Url = base.parse().with_context(|| format!("{key} is '{base}', which is not an address"))?;
        anyhow::ensure!(matches!(url.scheme(), "http" | "https"), "{key} is '{base}'; write https://…");
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .with_context(|| format!("the client of {company} cannot be made"))?;
        Ok(Self { http, base: base.trim_end_matches('/').into(), company })
    }

    /// A `GET` of a path.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base))
    }

    /// A `POST` of a form.
    pub fn post_form(&self, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
        let mut body = String::new();
        for (name, value) in form {
            if !body.is_empty() {
                body.push('&');
            }
            body.push_str(&form_escape(name));
            body.push('=');
            body.push_str(&form_escape(value));
        }
        let request = self.http.post(format!("{}{path}", self.base));
        request.header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    /// A `POST` of JSON.
    pub fn post_json(&self, path: &str, body: &Value) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).json(body)
    }

    /// A `DELETE` of a path.
    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.http.delete(format!("{}{path}", self.base))
    }

    /// Sends a request until it is answered, at most four times. A request that changes something carries a key that
    /// lets the company tell a repetition, so all tries share it.
    pub async fn send(&self, request: RequestBuilder) -> Result<Value, RemoteError> {
        let mut pause = Duration::ZERO;
        for attempt in 1..=TRIES {
            let again = request.try_clone().ok_or(RemoteError::Unreachable)?;
            match self.send_once(again).await {
                Err(RemoteError::Unreachable) if attempt < TRIES => {
                    pause += PAUSE;
                    tokio::time::sleep(pause).await;
                }
                outcome => return outcome,
            }
        }
        Err(RemoteError::Unreachable)
    }

    /// Sends a request once, for what must not be sent twice in the same words.
    pub async fn send_once(&self, request: RequestBuilder) -> Result<Value, RemoteError> {
        let company = self.company;
        let unreachable = |error: reqwest::Error| {
            // The address may hold a key.
            let error = error.without_url();
            tracing::warn!(company, %error, "a company does not answer");
            RemoteError::Unreachable
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                tracing::warn!(company, "a company answers too much");
                return Err(RemoteError::Unreachable);
            }
            body.extend_from_slice(&chunk);
        }
        let answer = match body.trim_ascii() {
            [] => Some(Value::Null),
            text => serde_json::from_slice(text).ok(),
        };
        if status.is_success() {
            return answer.ok_or_else(|| {
                tracing::warn!(company, %status, "a company answers what is not JSON");
                RemoteError::Unreachable
            });
        }
        tracing::warn!(company, %status, "a company refuses");
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(RemoteError::Unreachable);
        }
        Err(RemoteError::Refused(status.as_u16(), answer.unwrap_or(Value::Null)))
    }
}

/// A part of a path, or a name or value of a form.
pub fn form_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A random key that lets a company tell a repetition.
pub fn idempotency_key() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// The same, for companies that want a UUID of version 4; the same name gives the same one.
pub fn idempotency_uuid(name: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    crate::ids::RecordId::new(bytes).to_string()
}
