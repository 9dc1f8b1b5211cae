//! Proof that a form was shown to the one who sends it: a token bound to the session.
//!
//! It is a keyed hash of the session, so nothing is stored and a new session has a new token.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

/// The name of the hidden field.
pub const FIELD: &str = "_csrf";

/// The token of the session whose cookie holds this text.
pub fn token(cookie: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, cookie.as_bytes());
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, b"form").as_ref())
}

/// Whether what was sent is the token.
pub fn matches(token: &str, sent: &str) -> bool {
    !token.is_empty() && token.as_bytes().ct_eq(sent.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_one_session() {
        assert!(matches(&token("a"), &token("a")));
        assert!(!matches(&token("a"), &token("b")));
        assert!(!matches("", ""), "without a session nothing matches");
    }
}
