//! An access key: one line that says where the server is, as which client to connect, and through what to go out.
//!
//! `warren://HOST[:PORT]/?tls=on&token=TOKEN&location=ID`, with `provider=ID` in place of the location for one that is
//! known, or neither for any. Members that are not known are passed over.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hyper::Uri;
use serde::Deserialize;

use crate::ids::{ClientId, LocationId};

/// What a key begins with.
const SCHEME: &str = "warren";

/// An access key.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Host and perhaps port of the server.
    pub authority: String,
    /// Whether the server is reached over TLS.
    pub is_tls: bool,
    /// The client's token.
    pub token: String,
    /// The client that the token is of.
    pub client_id: ClientId,
    /// Where to go out.
    pub wanted: WayOut,
}

/// Through what to go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// Any provider.
    Any,
    /// A provider at this place.
    Location(LocationId),
    /// This provider.
    Provider(ClientId),
}

/// Text that is not an access key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a link of this kind.
    #[error("it is not a link that begins with warren://HOST")]
    NotALink,
    /// No token, or one that is of no client.
    #[error("it holds no token of a client")]
    NoToken,
    /// An id that is none.
    #[error("its location or provider is not an id")]
    BadId,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("AccessKey");
        shown.field("authority", &self.authority).field("client_id", &self.client_id);
        shown.field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl AccessKey {
    /// Where the API is.
    pub fn api_url(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.authority)
    }

    /// Where the relay is.
    pub fn relay_url(&self) -> String {
        format!("{}://{}/", if self.is_tls { "wss" } else { "ws" }, self.authority)
    }
}

impl FromStr for AccessKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let uri: Uri = text.trim().parse().map_err(|_| KeyError::NotALink)?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some(SCHEME)).ok_or(KeyError::NotALink)?;
        let (mut is_tls, mut token, mut wanted) = (true, "", WayOut::Any);
        for member in uri.query().unwrap_or_default().split('&') {
            match member.split_once('=') {
                Some(("tls", value)) => is_tls = value != "off",
                Some(("token", value)) => token = value,
                Some(("location", id)) => wanted = WayOut::Location(id.parse().map_err(|_| KeyError::BadId)?),
                Some(("provider", id)) => wanted = WayOut::Provider(id.parse().map_err(|_| KeyError::BadId)?),
                _ => {}
            }
        }
        let client_id = client_of(token).ok_or(KeyError::NoToken)?;
        Ok(Self { authority: authority.to_string(), is_tls, token: token.to_owned(), client_id, wanted })
    }
}

/// The client that a token says it is of; the server checks whether that is true.
fn client_of(token: &str) -> Option<ClientId> {
    #[derive(Deserialize)]
    struct Claims {
        client_id: ClientId,
    }
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.client_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ClientId = ClientId::new([7; 16]);

    fn token() -> String {
        let claims = serde_json::json!({ "client_id": CLIENT }).to_string();
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_key_says_where_as_whom_and_through_what() {
        let place = LocationId::new([1; 16]);
        let key: AccessKey =
            format!(" warren://127.0.0.1:8080/?tls=off&token={}&location={place}&new=1 ", token()).parse().unwrap();
        assert_eq!((key.client_id, key.wanted), (CLIENT, WayOut::Location(place)));
        assert_eq!(
            (key.api_url().as_str(), key.relay_url().as_str()),
            ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/")
        );
        assert!(!format!("{key:?}").contains(&key.token));

        let key: AccessKey = format!("warren://vpn.example/?token={}&provider={CLIENT}", token()).parse().unwrap();
        assert_eq!((key.api_url().as_str(), key.relay_url().as_str()), ("https://vpn.example", "wss://vpn.example/"));
        assert_eq!(key.wanted, WayOut::Provider(CLIENT));
        let key: AccessKey = format!("warren://[::1]:1?token={}", token()).parse().unwrap();
        assert_eq!((key.authority.as_str(), key.wanted), ("[::1]:1", WayOut::Any));
    }

    #[test]
    fn other_text_is_told_what_it_lacks() {
        let cases = [
            ("", KeyError::NotALink),
            ("warren", KeyError::NotALink),
            ("https://vpn.example/?token=x", KeyError::NotALink),
            ("warren://vpn.example/", KeyError::NoToken),
            ("warren://vpn.example/?token=a.b.c", KeyError::NoToken),
            ("warren://vpn.example/?token=e30.e30.c2ln", KeyError::NoToken),
            ("warren://vpn.example/?location=berlin", KeyError::BadId),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<AccessKey>().err(), Some(error), "{text}");
        }
    }
}
