use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use quinn::crypto::rustls::QuicServerConfig;
use tokio::net::TcpListener;
use tokio_websockets::{Message, ServerBuilder};

use super::*;
use crate::client::transport::Incoming;
use crate::wire::framer;

const INSTANCE: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

fn dialer(route: Route, trust: &Trust) -> Dialer {
    let credentials = Credentials::of_token("a.b.c", InstanceId::new(INSTANCE));
    Dialer::new(route, credentials, trust).unwrap()
}

fn decoded(message: &Bytes) -> Auth {
    let frame = Frame::decode(message.clone()).unwrap();
    assert_eq!(frame.message_type, i32::from(MessageType::TransferAuth));
    Auth::decode(frame.message_bytes).unwrap()
}

/// Answers the first message of one client through `answer`, then sends everything back.
async fn websocket_server(answer: fn(Bytes) -> Bytes) -> Route {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (request, mut socket) = ServerBuilder::new().accept(stream).await.unwrap();
        assert!(!request.headers().contains_key("authorization"));
        let mut answer = Some(answer);
        while let Some(Ok(message)) = socket.next().await {
            let message = Bytes::from(message.into_payload());
            let message = answer.take().map_or(message.clone(), |answer| answer(message));
            socket.send(Message::binary(message)).await.unwrap();
        }
    });
    Route::WebSocketFirstMessage(url)
}

#[tokio::test]
async fn the_first_message_must_come_back_unchanged() {
    let route = websocket_server(|question| {
        let auth = decoded(&question);
        assert_eq!((auth.by_jwt.as_str(), &auth.instance_id[..]), ("a.b.c", &INSTANCE[..]));
        question
    })
    .await;
    let (mut reader, mut writer) = dialer(route, &Trust::Any).dial().await.unwrap();
    let frame = Bytes::from(vec![3; 200]);
    writer.write(&mut vec![frame.clone()]).await.unwrap();
    assert_eq!(reader.next().await.unwrap(), Incoming::Frame(frame));

    let route = websocket_server(|_| Bytes::from_static(b"something else")).await;
    assert!(matches!(dialer(route, &Trust::Any).dial().await, Err(DialError::BadAnswer)));
}

/// A QUIC relay of one client: answers authentication through `answer` and sends every further message back.
fn quic_server(answer: impl FnOnce(Bytes) -> Option<Bytes> + Send + 'static) -> (SocketAddr, Trust) {
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (mut send, mut receive) = connection.accept_bi().await.unwrap();
        let (mut buffer, mut answer) = (BytesMut::new(), Some(answer));
        while let Ok(Some(chunk)) = receive.read_chunk(4096, true).await {
            buffer.extend_from_slice(&chunk.bytes);
            while let Some(message) = framer::decode(&mut buffer).unwrap() {
                let Some(message) = answer.take().map_or(Some(message.clone()), |answer| answer(message)) else {
                    connection.close(0u32.into(), b"");
                    return;
                };
                let mut out = BytesMut::new();
                framer::encode(&message, &mut out);
                framer::encode(&[], &mut out);
                send.write_all(&out).await.unwrap();
            }
        }
    });
    (address, Trust::Roots(vec![own.cert.der().clone()]))
}

#[tokio::test]
async fn quic_authenticates_on_its_stream_and_passes_over_keepalives() {
    let (address, trust) = quic_server(|question| {
        let auth = decoded(&question);
        assert_eq!((auth.app_version.as_str(), auth.h3_datagram_version), (APP_VERSION, 0));
        Some(question)
    });
    let (mut reader, mut writer) = dialer(Route::Quic(address.to_string()), &trust).dial().await.unwrap();
    for length in [1, 16, 4096] {
        let frame = Bytes::from(vec![3; length]);
        writer.write(&mut vec![frame.clone()]).await.unwrap();
        assert_eq!(reader.next().await.unwrap(), Incoming::Frame(frame));
    }
}

#[tokio::test]
async fn quic_authentication_must_be_answered_with_the_same_client() {
    let (address, trust) =
        quic_server(|_| Some(frame(MessageType::TransferAuth, &Auth::default()).encode_to_vec().into()));
    let dialed = dialer(Route::Quic(address.to_string()), &trust).dial().await;
    assert!(matches!(dialed, Err(DialError::BadAnswer)), "{:?}", dialed.err());
}

#[tokio::test]
async fn an_offer_of_datagrams_may_be_declined_and_only_what_was_offered_accepted() {
    let answered = |accepted: u32| {
        move |question: Bytes| {
            let auth = Auth { h3_datagram_accepted_version: accepted, ..decoded(&question) };
            Some(encoded(&auth))
        }
    };
    let (address, trust) = quic_server(|question| {
        assert_eq!(decoded(&question).h3_datagram_version, 2);
        Some(question)
    });
    let route = Route::QuicDatagrams(address.to_string());
    let (mut reader, mut writer) = dialer(route, &trust).dial().await.unwrap();
    let frame = Bytes::from_static(b"on the stream");
    writer.write(&mut vec![frame.clone()]).await.unwrap();
    assert_eq!(reader.next().await.unwrap(), Incoming::Frame(frame));

    for (is_offered, accepted) in [(false, 2), (true, 1), (true, 3)] {
        let (address, trust) = quic_server(answered(accepted));
        let address = address.to_string();
        let route = if is_offered { Route::QuicDatagrams(address) } else { Route::Quic(address) };
        let dialed = dialer(route, &trust).dial().await;
        assert!(matches!(dialed, Err(DialError::BadAnswer)), "{is_offered} {accepted}: {:?}", dialed.err());
    }
}

#[tokio::test]
async fn a_closed_quic_connection_is_a_rejection() {
    let (address, trust) = quic_server(|_| None);
    let dialed = dialer(Route::Quic(address.to_string()), &trust).dial().await;
    assert!(matches!(dialed, Err(DialError::Rejected(_))), "{:?}", dialed.err());
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_unless_anything_goes() {
    let (address, _) = quic_server(Some);
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let trust = Trust::Roots(vec![other.cert.der().clone()]);
    let dialed = dialer(Route::Quic(address.to_string()), &trust).dial().await;
    assert!(matches!(dialed, Err(DialError::Quic(_))), "{:?}", dialed.err());
}

#[tokio::test]
async fn a_route_that_is_none_is_named() {
    for route in [Route::WebSocket("relay.example".into()), Route::Quic("relay.example".into())] {
        let error = dialer(route, &Trust::Any).dial().await.unwrap_err();
        assert!(error.to_string().contains("relay.example"), "{error}");
    }
}
