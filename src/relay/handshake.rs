//! From an accepted transport to an authenticated client: by the headers of the upgrade, or by the first message.
//!
//! Either way the client gives a token and the id of its process run. Where it leaves the token out, the certificate of
//! its TLS connection speaks for it; a token that is given counts alone.

use std::sync::Arc;

use bytes::Bytes;
use hyper::http::header::{
    AUTHORIZATION, CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::{Method, Response, StatusCode};
use prost::Message as _;
use rustls::pki_types::CertificateDer;

use super::drop_reason::EndReason;
use super::ports::{AuthFailure, Authenticate, Identity, Proof};
use super::transport::{FrameReader, Kind, Message};
use crate::ids::InstanceId;
use crate::wire::messages::{Auth, Frame, MessageType};
use crate::wire::{MAX_FRAME_BYTES, control_message, envelope};

/// RFC 6455 section 1.3.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const INSTANCE_HEADER: HeaderName = HeaderName::from_static("x-ur-instanceid");

const VERSION_HEADER: HeaderName = HeaderName::from_static("x-ur-transportversion");
/// The first version whose clients send probes back.
const ECHOING_VERSION: u32 = 2;

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Its token, or its certificate.
    pub proof: Proof,
    /// Its process run.
    pub instance_id: InstanceId,
}

/// Reads the credentials of an upgrade request over a connection with or without a certificate. None means that they
/// follow as the first message.
pub fn credentials_from_headers(
    headers: &HeaderMap,
    certificate: Option<&CertificateDer<'static>>,
) -> Option<Credentials> {
    let instance_id = headers.get(INSTANCE_HEADER)?.to_str().ok()?.trim().parse().ok()?;
    let proof = match headers.get(AUTHORIZATION) {
        Some(authorization) => Proof::Token(bearer(authorization)?.to_owned()),
        None => Proof::Certificate(certificate?.clone()),
    };
    Some(Credentials { proof, instance_id })
}

fn bearer(authorization: &HeaderValue) -> Option<&str> {
    let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Whether the client sends probes back; others would take them for frames.
pub fn echoes_probes(headers: &HeaderMap) -> bool {
    let version = headers.get(VERSION_HEADER).and_then(|version| version.to_str().ok()?.trim().parse::<u32>().ok());
    version.is_some_and(|version| version >= ECHOING_VERSION)
}

/// Reads the credentials of a first message: a Frame of type TransferAuth with an Auth in it.
pub fn credentials_from_message(message: &Bytes, certificate: Option<&CertificateDer<'static>>) -> Option<Credentials> {
    if message.is_empty() || message.len() > MAX_FRAME_BYTES {
        return None;
    }
    let frame = Frame::decode(message.clone()).ok()?;
    if frame.message_type != i32::from(MessageType::TransferAuth) {
        return None;
    }
    let auth = Auth::decode(frame.message_bytes).ok()?;
    let proof = match certificate.filter(|_| auth.by_jwt.is_empty()) {
        Some(certificate) => Proof::Certificate(certificate.clone()),
        None => Proof::Token(auth.by_jwt),
    };
    Some(Credentials { proof, instance_id: InstanceId::from_slice(&auth.instance_id)? })
}

/// The answer to a first message that offers the datagram lane, in place of its echo: the same with the version that is
/// accepted. None: nothing is offered that this server understands, or the answer would be too large, and the echo
/// declines.
pub fn accept_lane(message: &Bytes) -> Option<Bytes> {
    let mut auth = Auth::decode(Frame::decode(message.clone()).ok()?.message_bytes).ok()?;
    let version = u32::from(envelope::VERSION);
    if auth.h3_datagram_version != version {
        return None;
    }
    auth.h3_datagram_accepted_version = version;
    let answer = control_message::frame(MessageType::TransferAuth, &auth).encode_to_vec();
    (answer.len() <= MAX_FRAME_BYTES).then(|| answer.into())
}

/// Waits for the first message and reads its credentials; the message itself comes along for the echo.
pub async fn read_first_message<R: FrameReader>(
    reader: &mut R,
    certificate: Option<&CertificateDer<'static>>,
) -> Result<(Credentials, Bytes), EndReason> {
    loop {
        match reader.next(1)? {
            Some(Message::Frames(frames)) => {
                let message = frames.into_first();
                let credentials = credentials_from_message(&message, certificate).ok_or(EndReason::NoAuth)?;
                return Ok((credentials, message));
            }
            Some(Message::Text) => return Err(EndReason::NoAuth),
            Some(Message::Ping(_)) => {}
            None => reader.fill().await?,
        }
    }
}

/// Checks credentials.
pub async fn authenticate(
    authenticator: &Arc<dyn Authenticate>,
    credentials: &Credentials,
) -> Result<Identity, EndReason> {
    authenticator.authenticate(&credentials.proof).await.map_err(|failure| match failure {
        AuthFailure::Rejected => EndReason::Unauthorized,
        AuthFailure::Unavailable => EndReason::AuthUnavailable,
    })
}

/// Whether the server itself must speak first on this carrier, before it knows the token to be good. A WebSocket
/// client takes a missing echo for a broken server, and waits only 2 s for it in old versions
/// (`transport` section 2.3); a QUIC client takes the echo for the proof that it is connected.
pub fn echoes_before_check(kind: Kind) -> bool {
    kind == Kind::WebSocket
}

/// What a request that is not taken gets; boxed, because it is rare and large.
pub type Refusal = Box<Response<&'static str>>;

/// Answers a request on the relay's path: 101 for a WebSocket upgrade, else what a browser or a probe should see.
pub fn upgrade_response(request: &Parts) -> Result<Response<()>, Refusal> {
    if request.method != Method::GET {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "GET only", hyper::http::header::ALLOW, "GET"));
    }
    let headers = &request.headers;
    let is_upgrade = has_token(headers, CONNECTION, "upgrade")
        && has_token(headers, UPGRADE, "websocket")
        && headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let accept = headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_upgrade).and_then(accept_key);
    let Some(accept) = accept else {
        return Err(refusal(StatusCode::BAD_REQUEST, "a WebSocket upgrade is needed", SEC_WEBSOCKET_VERSION, "13"));
    };
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// The answer while the server shuts down.
pub fn draining_response() -> Refusal {
    let mut response = Response::new("draining");
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    Box::new(response)
}

/// The answer to a flood of transports that have not proven who they are.
pub fn busy_response() -> Refusal {
    let mut response = Response::new("busy");
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    Box::new(response)
}

fn refusal(status: StatusCode, text: &'static str, header: HeaderName, value: &'static str) -> Refusal {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(header, HeaderValue::from_static(value));
    Box::new(response)
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
}

fn accept_key(key: &HeaderValue) -> Option<HeaderValue> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    if STANDARD.decode(key.as_bytes()).ok()?.len() != 16 {
        return None;
    }
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(ACCEPT_GUID);
    HeaderValue::from_str(&STANDARD.encode(digest.finish())).ok()
}

#[cfg(test)]
mod tests {
    use hyper::http::Request;

    use super::*;

    const INSTANCE: &str = "00010203-0405-0607-0809-0a0b0c0d0e0f";
    const VECTOR: &str = "080412200a05612e622e631205312e322e331a10000102030405060708090a0b0c0d0e0f";

    fn upgrade(changes: &[(&'static str, Option<&'static str>)]) -> Parts {
        let mut request = Request::builder()
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        for (name, value) in changes {
            request.headers.remove(*name);
            if let Some(value) = value {
                request.headers.insert(*name, HeaderValue::from_static(value));
            }
        }
        request
    }

    #[test]
    fn an_upgrade_is_accepted_with_the_key_of_the_rfc() {
        let response = upgrade_response(&upgrade(&[])).unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!response.headers().contains_key("sec-websocket-extensions"));
    }

    #[test]
    fn what_is_no_upgrade_is_told_so() {
        for change in [
            ("upgrade", None),
            ("connection", Some("keep-alive")),
            ("sec-websocket-version", Some("8")),
            ("sec-websocket-key", Some("short")),
            ("sec-websocket-key", None),
        ] {
            let response = upgrade_response(&upgrade(&[change])).unwrap_err();
            assert_eq!(
                (response.status().as_u16(), &response.headers()["sec-websocket-version"]),
                (400, &"13".parse().unwrap())
            );
        }
        let mut post = upgrade(&[]);
        post.method = Method::POST;
        let response = upgrade_response(&post).unwrap_err();
        assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"GET".parse().unwrap()));
    }

    #[test]
    fn header_credentials_need_a_token_and_an_instance() {
        let with = |authorization, instance| {
            let parts = upgrade(&[("authorization", authorization), ("x-ur-instanceid", instance)]);
            credentials_from_headers(&parts.headers, None)
        };
        let plain = "000102030405060708090a0b0c0d0e0f";
        for (scheme, instance) in [("Bearer a.b.c", INSTANCE), ("bearer a.b.c", plain)] {
            let credentials = with(Some(scheme), Some(instance)).unwrap();
            assert_eq!((&credentials.proof, credentials.instance_id.to_string().as_str()), (&token(), INSTANCE));
        }
        for (authorization, instance) in [
            (None, Some(INSTANCE)),
            (Some("Bearer a.b.c"), None),
            (Some("Basic a.b.c"), Some(INSTANCE)),
            (Some("Bearer "), Some(INSTANCE)),
            (Some("Bearer a.b.c"), Some("000102030405060708090a0b0c0d0e")),
        ] {
            assert_eq!(with(authorization, instance), None);
        }
    }

    #[test]
    fn first_message_credentials_match_the_vector_of_the_protocol() {
        let message = Bytes::from(hex::decode(VECTOR).unwrap());
        let credentials = credentials_from_message(&message, None).unwrap();
        assert_eq!((&credentials.proof, credentials.instance_id.to_string().as_str()), (&token(), INSTANCE));
        let mut other_type = message.to_vec();
        other_type[1] = 3;
        for wrong in [vec![], other_type, message[..20].to_vec(), vec![0; MAX_FRAME_BYTES + 1]] {
            assert_eq!(credentials_from_message(&wrong.into(), None), None);
        }
    }

    #[test]
    fn an_offered_lane_is_accepted_as_in_the_vector_of_the_protocol() {
        let of = |text: &str| Bytes::from(hex::decode(text).unwrap());
        let offer = "080412220a05612e622e631205312e322e331a10000102030405060708090a0b0c0d0e0f2002";
        let answer = "080412240a05612e622e631205312e322e331a10000102030405060708090a0b0c0d0e0f20022802";
        assert_eq!(accept_lane(&of(offer)), Some(of(answer)));
        // Nothing offered, and other versions.
        for other in [VECTOR.to_owned(), offer.replace("2002", "2001"), offer.replace("2002", "2003")] {
            assert_eq!(accept_lane(&of(&other)), None, "{other}");
            assert!(credentials_from_message(&of(&other), None).is_some());
        }
        // An acceptance that the client has put in itself counts for nothing.
        assert_eq!(accept_lane(&of(answer)), Some(of(answer)));
        assert_eq!(accept_lane(&of(&answer.replace("20022802", "20012802"))), None);
    }

    #[test]
    fn an_offer_whose_answer_would_be_too_large_is_declined() {
        let auth = |bytes| Auth {
            by_jwt: "a".repeat(bytes),
            instance_id: vec![7; 16].into(),
            h3_datagram_version: envelope::VERSION.into(),
            ..Auth::default()
        };
        let offer =
            |bytes| Bytes::from(control_message::frame(MessageType::TransferAuth, &auth(bytes)).encode_to_vec());
        let most = (0..MAX_FRAME_BYTES).rev().find(|bytes| offer(*bytes).len() <= MAX_FRAME_BYTES).unwrap();
        assert_eq!(accept_lane(&offer(most)), None);
        assert_eq!(accept_lane(&offer(most - 2)).unwrap().len(), MAX_FRAME_BYTES);
    }

    #[test]
    fn a_certificate_speaks_only_where_no_token_is_given() {
        let certificate = CertificateDer::from(vec![1, 2, 3]);
        let by_headers = |authorization| {
            let parts = upgrade(&[("authorization", authorization), ("x-ur-instanceid", Some(INSTANCE))]);
            credentials_from_headers(&parts.headers, Some(&certificate)).map(|credentials| credentials.proof)
        };
        assert_eq!(by_headers(None), Some(Proof::Certificate(certificate.clone())));
        assert_eq!(by_headers(Some("Bearer a.b.c")), Some(token()));
        assert_eq!(by_headers(Some("Basic a.b.c")), None, "another way to sign in is not passed over");
        let no_instance = upgrade(&[]);
        assert_eq!(credentials_from_headers(&no_instance.headers, Some(&certificate)), None);

        let by_message = |by_jwt: &str, certificate| {
            let auth = Auth { by_jwt: by_jwt.into(), instance_id: vec![7; 16].into(), ..Auth::default() };
            let message = crate::wire::control_message::frame(MessageType::TransferAuth, &auth).encode_to_vec();
            credentials_from_message(&message.into(), certificate).map(|credentials| credentials.proof)
        };
        assert_eq!(by_message("", Some(&certificate)), Some(Proof::Certificate(certificate.clone())));
        assert_eq!(by_message("a.b.c", Some(&certificate)), Some(token()));
        assert_eq!(by_message("", None), Some(Proof::Token(String::new())));
    }

    fn token() -> Proof {
        Proof::Token("a.b.c".into())
    }
}
