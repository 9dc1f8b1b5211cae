//! A message for the next page: carried by a cookie, signed so that nobody else can put words into the portal's mouth.

use std::time::Duration;

use aws_lc_rs::hmac;
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::cookies;
use super::texts::Text;

/// Name of the cookie.
pub const COOKIE: &str = "flash";
/// How long a message waits for its page.
const LIFE: Duration = Duration::from_secs(60);
/// Longest message.
const MAX_BYTES: usize = 1000;
const TAG_BYTES: usize = 32;

/// Whether it is good news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Something was done.
    Good,
    /// Something was refused.
    Bad,
}

/// A message, in the reader's language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flash {
    /// Whether it is good news.
    pub kind: Kind,
    /// What it says.
    pub text: String,
}

/// A message that a handler has for the next page; noted in its response, put into words on the way out.
#[derive(Clone, Debug)]
pub struct NextFlash(pub Kind, pub Text);

/// Signs messages; the key lives as long as the process, and a message for a minute.
pub struct FlashKey(hmac::Key);

impl FlashKey {
    /// A fresh key.
    pub fn new() -> Self {
        let mut secret = [0; 32];
        rand::rng().fill_bytes(&mut secret);
        Self(hmac::Key::new(hmac::HMAC_SHA256, &secret))
    }

    /// The message that came with a request.
    pub fn read(&self, headers: &HeaderMap) -> Option<Flash> {
        let bytes = URL_SAFE_NO_PAD.decode(cookies::read(headers, COOKIE)?).ok()?;
        let (tag, message) = bytes.split_at_checked(TAG_BYTES)?;
        hmac::verify(&self.0, message, tag).ok()?;
        serde_json::from_slice(message).ok()
    }

    /// Puts a message into the response.
    pub fn write(&self, response: &mut Response, flash: &Flash, is_secure: bool) {
        let text = crate::domain::device::cut(&flash.text, MAX_BYTES).to_owned();
        let message = serde_json::to_vec(&Flash { kind: flash.kind, text }).expect("a message of texts serializes");
        let mut signed = hmac::sign(&self.0, &message).as_ref().to_vec();
        signed.extend(message);
        cookies::write(response, COOKIE, &URL_SAFE_NO_PAD.encode(signed), LIFE, is_secure);
    }

    /// Forgets the message, because it was shown.
    pub fn clear(response: &mut Response, is_secure: bool) {
        cookies::write(response, COOKIE, "", Duration::ZERO, is_secure);
    }
}

impl Default for FlashKey {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for FlashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FlashKey")
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header;
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn only_messages_of_this_server_are_shown() {
        let key = FlashKey::new();
        let flash = Flash { kind: Kind::Good, text: "Привет <b>".into() };
        let mut response = ().into_response();
        key.write(&mut response, &flash, true);
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.parse().unwrap());
        assert_eq!(key.read(&headers), Some(flash));
        assert_eq!(FlashKey::new().read(&headers), None);
        headers.insert(header::COOKIE, "flash=e30".parse().unwrap());
        assert_eq!(key.read(&headers), None);
    }
}
