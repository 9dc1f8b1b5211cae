//! The datagram lane of QUIC against a real server, byte by byte: how it is agreed on, what goes which way, and what is
//! passed over.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost::Message;
use quinn::crypto::rustls::QuicClientConfig;
use tokio::time::timeout;
use warren::client::api::{Api, AuthClient, NetworkCreate};
use warren::client::tls::Trust;
use warren::config::Config;
use warren::config::auth::Verify;
use warren::config::contracts::Dispute;
use warren::ids::ClientId;
use warren::wire::envelope::{EnvelopeReader, EnvelopeWriter, HEADER_BYTES};
use warren::wire::framer;
use warren::wire::messages::{Auth, Frame, MessageType, TransferFrame, TransferPath};
use warren::wire::path::peek_path;

use crate::support::{PATIENCE, TestServer, eventually};

const RECEIVED: &str = "warren_relay_datagrams_received_total";
const SENT: &str = "warren_relay_datagrams_sent_total";

/// A server whose clients need no contract, and a network of clients.
struct Scene {
    test: TestServer,
    user: Api,
}

/// What a client says when it connects.
#[derive(Clone, Copy)]
struct Offer {
    version: u32,
    /// Whether its QUIC library takes datagrams.
    takes_datagrams: bool,
}

const OFFER: Offer = Offer { version: 2, takes_datagrams: true };
const NO_OFFER: Offer = Offer { version: 0, takes_datagrams: true };

/// One client, in the bytes of the protocol.
struct Raw {
    id: ClientId,
    question: Vec<u8>,
    answer: Bytes,
    connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    buffer: BytesMut,
    envelopes: EnvelopeReader,
    _endpoint: quinn::Endpoint,
}

impl Scene {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let test = TestServer::start_with(|config| {
            config.auth.verify = Verify::Auto;
            config.relay.contract_gate = false;
            config.contracts.dispute = Dispute::Average;
            change(config);
        })
        .await;
        let api = Api::new(&format!("http://{}", test.server.addresses().http), &Trust::Any).unwrap();
        let new = NetworkCreate { terms: true, ..NetworkCreate::default() };
        let token = api.network_create(&new).await.unwrap().network.by_jwt.unwrap();
        Self { test, user: api.with_token(&token) }
    }

    async fn client(&self, offer: Offer) -> Raw {
        let client = self.user.auth_client(&AuthClient::default()).await.unwrap();
        let tls = Trust::Any.client_config(&[], None).unwrap();
        let mut config = quinn::ClientConfig::new(std::sync::Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let mut parameters = quinn::TransportConfig::default();
        if !offer.takes_datagrams {
            parameters.datagram_receive_buffer_size(None);
        }
        config.transport_config(std::sync::Arc::new(parameters));
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = self.test.server.addresses().quic.unwrap();
        let connection = endpoint.connect_with(config, address, "localhost").unwrap().await.unwrap();
        let (send, receive) = connection.open_bi().await.unwrap();
        let auth = Auth {
            by_jwt: client.by_client_jwt,
            app_version: "1.2.3".into(),
            instance_id: rand::random::<[u8; 16]>().to_vec().into(),
            h3_datagram_version: offer.version,
            ..Auth::default()
        };
        let frame = Frame {
            message_type: MessageType::TransferAuth.into(),
            message_bytes: auth.encode_to_vec().into(),
            ..Frame::default()
        };
        let mut question = frame.encode_to_vec();
        // A field nobody knows shows whether the answer is an echo.
        question.extend([0xf8, 0x01, 0x07]);
        let mut raw = Raw {
            id: client.client_id,
            question,
            answer: Bytes::new(),
            connection,
            send,
            receive,
            buffer: BytesMut::new(),
            envelopes: EnvelopeReader::default(),
            _endpoint: endpoint,
        };
        raw.write(&raw.question.clone()).await;
        raw.answer = raw.read().await;
        raw
    }

    async fn dropped(&self, reason: &str) -> u64 {
        self.test.metric(&format!("warren_relay_frames_dropped_total{{reason=\"{reason}\"}}")).await
    }
}

impl Raw {
    async fn write(&mut self, message: &[u8]) {
        let mut framed = BytesMut::new();
        framer::encode(message, &mut framed);
        self.send.write_all(&framed).await.unwrap();
    }

    /// The next message of the stream that is no keepalive and not from the control id.
    async fn read(&mut self) -> Bytes {
        let message = async {
            loop {
                match framer::decode(&mut self.buffer).unwrap() {
                    Some(message) if message.is_empty() || is_control(&message) => {}
                    Some(message) => return message,
                    None => {
                        let chunk = self.receive.read_chunk(65536, true).await.unwrap().unwrap();
                        self.buffer.extend_from_slice(&chunk.bytes);
                    }
                }
            }
        };
        timeout(PATIENCE, message).await.expect("a message comes on the stream")
    }

    /// The next message of the lane that is not from the control id.
    async fn read_datagram(&mut self) -> Bytes {
        let message = async {
            loop {
                let datagram = self.connection.read_datagram().await.unwrap();
                let message = self.envelopes.open(datagram).unwrap();
                if !is_control(&message) {
                    return message;
                }
            }
        };
        timeout(PATIENCE, message).await.expect("a message comes in a datagram")
    }

    fn send_datagram(&self, datagram: impl Into<Bytes>) {
        self.connection.send_datagram(datagram.into()).unwrap();
    }

    /// An encoded frame of this length to another client.
    fn frame_to(&self, other: &Raw, bytes: usize) -> Vec<u8> {
        let path = TransferPath {
            source_id: Some(self.id.into()),
            destination_id: Some(other.id.into()),
            ..TransferPath::default()
        };
        let of = |payload: usize| TransferFrame {
            transfer_path: Some(path.clone()),
            encrypted_transfer_frame: Some(vec![bytes as u8; payload].into()),
            ..TransferFrame::default()
        };
        let frame = (0..bytes).rev().map(of).find(|frame| frame.encoded_len() == bytes).unwrap().encode_to_vec();
        assert_eq!(frame.len(), bytes);
        frame
    }
}

fn is_control(message: &Bytes) -> bool {
    peek_path(message).is_ok_and(|path| path.source.is_control())
}

fn wrapped(writer: &mut EnvelopeWriter, message: &[u8]) -> Vec<u8> {
    let mut envelope = BytesMut::new();
    writer.wrap(message, &mut envelope);
    envelope.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_is_accepted_where_both_ends_can_and_echoed_byte_for_byte_elsewhere() {
    let scene = Scene::start(|_| {}).await;
    let without = Scene::start(|config| config.relay.quic_datagrams = false).await;
    let unable = Offer { takes_datagrams: false, ..OFFER };
    let other = |version| Offer { version, ..OFFER };
    for (name, scene, offer) in [
        ("nothing", &scene, NO_OFFER),
        ("version 1", &scene, other(1)),
        ("version 3", &scene, other(3)),
        ("a client that takes no datagrams", &scene, unable),
        ("a server that takes none", &without, OFFER),
    ] {
        let client = scene.client(offer).await;
        assert_eq!(client.answer, client.question, "{name}");
        // Such a client goes on over its stream alone.
        let receiver = scene.client(offer).await;
        let frame = client.frame_to(&receiver, 100);
        let (mut client, mut receiver) = (client, receiver);
        client.write(&frame).await;
        assert_eq!(receiver.read().await, frame, "{name}");
        let is_possible = client.connection.max_datagram_size().is_some();
        assert_eq!(is_possible, !std::ptr::eq(scene, &without), "{name}");
    }
    assert_eq!((scene.test.metric(RECEIVED).await, scene.test.metric(SENT).await), (0, 0));

    let client = scene.client(OFFER).await;
    let decode = |message: &[u8]| Auth::decode(Frame::decode(message).unwrap().message_bytes).unwrap();
    let expected = Auth { h3_datagram_accepted_version: 2, ..decode(&client.question) };
    assert_eq!(decode(&client.answer), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_frames_go_and_come_in_datagrams_and_large_ones_on_the_stream() {
    // Nothing else of the server wakes a connection in the time of the test.
    let scene = Scene::start(|config| config.relay.keepalive = Duration::from_secs(14)).await;
    let (mut left, mut right) = (scene.client(OFFER).await, scene.client(OFFER).await);
    let mut streamer = scene.client(NO_OFFER).await;
    let mut envelopes = EnvelopeWriter::default();
    for bytes in [100, 500, 1000] {
        let frame = left.frame_to(&right, bytes);
        left.send_datagram(wrapped(&mut envelopes, &frame));
        assert_eq!(right.read_datagram().await, frame);
    }
    for bytes in [1400, 4096] {
        let frame = left.frame_to(&right, bytes);
        left.write(&frame).await;
        assert_eq!(right.read().await, frame);
    }
    // A small one is forwarded in a datagram whichever way it came, and on the stream to who knows no datagrams.
    let frame = left.frame_to(&right, 101);
    left.write(&frame).await;
    assert_eq!(right.read_datagram().await, frame);
    let frame = left.frame_to(&streamer, 102);
    left.send_datagram(wrapped(&mut envelopes, &frame));
    assert_eq!(streamer.read().await, frame);
    let frame = streamer.frame_to(&right, 103);
    streamer.write(&frame).await;
    assert_eq!(right.read_datagram().await, frame);

    // Four by the left one; the control id may have sent more to the three than the five that are counted here.
    eventually("all are counted", async || scene.test.metric(RECEIVED).await == 4).await;
    assert!(scene.test.metric(SENT).await >= 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_in_datagrams_is_dropped_and_counted_and_the_transport_stays() {
    let scene = Scene::start(|_| {}).await;
    let (left, mut right) = (scene.client(OFFER).await, scene.client(OFFER).await);
    let mut envelopes = EnvelopeWriter::default();
    let first = wrapped(&mut envelopes, &left.frame_to(&right, 100));
    left.send_datagram(first.clone());
    assert_eq!(right.read_datagram().await, first[HEADER_BYTES..]);

    let second = wrapped(&mut envelopes, &left.frame_to(&right, 120));
    let changed = |at: usize, to: u8| {
        let mut envelope = second.clone();
        envelope[at] = to;
        envelope
    };
    let cases = [
        ("datagram_malformed", changed(0, b'u')),
        ("datagram_malformed", changed(3, 1)),
        ("datagram_malformed", changed(11, 0)),
        ("datagram_malformed", changed(15, 119)),
        ("datagram_malformed", changed(19, second[19] ^ 1)),
        ("datagram_malformed", changed(23, 1)),
        ("datagram_malformed", changed(25, 1)),
        ("datagram_malformed", changed(27, 2)),
        ("datagram_malformed", second[..HEADER_BYTES].to_vec()),
        ("datagram_malformed", b"noise".to_vec()),
        ("datagram_malformed", Vec::new()),
        ("datagram_repeated", first),
        // A message of the lane is a frame like any other.
        ("malformed", wrapped(&mut envelopes, &[0xff; 60])),
    ];
    for (number, (reason, datagram)) in cases.into_iter().enumerate() {
        let before = scene.dropped(reason).await;
        left.send_datagram(datagram);
        let what = format!("case {number} is counted as {reason}");
        eventually(&what, async || scene.dropped(reason).await == before + 1).await;
    }
    left.send_datagram(second.clone());
    assert_eq!(right.read_datagram().await, second[HEADER_BYTES..], "only the good ones came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_small_frames_arrives_over_both_lanes() {
    // Fewer than the outbox holds, and fewer bytes than the buffer of a socket: on a busy machine too none may be lost.
    const COUNT: u32 = 500;
    let scene = Scene::start(|_| {}).await;
    let (mut left, mut right) = (scene.client(OFFER).await, scene.client(OFFER).await);
    let template = left.frame_to(&right, 200);
    let numbered = |number: u32| {
        let mut frame = template.clone();
        let end = frame.len();
        frame[end - 4..].copy_from_slice(&number.to_be_bytes());
        frame
    };
    let mut missing: std::collections::BTreeSet<u32> = (0..COUNT).collect();
    let mut framed = BytesMut::new();
    (0..COUNT).for_each(|number| framer::encode(&numbered(number), &mut framed));
    left.send.write_all(&framed).await.unwrap();
    let mut by_datagram = 0;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !missing.is_empty() {
        let (frame, is_datagram) = tokio::select! {
            datagram = right.connection.read_datagram() => (right.envelopes.open(datagram.unwrap()).unwrap(), true),
            chunk = right.receive.read_chunk(65536, true) => {
                right.buffer.extend_from_slice(&chunk.unwrap().unwrap().bytes);
                (Bytes::new(), false)
            }
            () = tokio::time::sleep_until(deadline) => panic!("{} frames did not arrive", missing.len()),
        };
        by_datagram += u32::from(is_datagram);
        let mut frames = vec![frame];
        while let Some(frame) = framer::decode(&mut right.buffer).unwrap() {
            frames.push(frame);
        }
        for frame in frames.iter().filter(|frame| frame.len() == template.len()) {
            let number = u32::from_be_bytes(*frame.last_chunk().unwrap());
            assert!(missing.remove(&number), "{number} came twice");
        }
    }
    assert!(by_datagram > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_with_the_lane_stays_and_one_without_goes() {
    let scene = Scene::start(|config| {
        config.relay.keepalive = Duration::from_millis(200);
        config.relay.read_timeout = Duration::from_secs(1);
    })
    .await;
    let (quiet, mut other) = (scene.client(OFFER).await, scene.client(OFFER).await);
    let streamer = scene.client(NO_OFFER).await;
    timeout(PATIENCE, streamer.connection.closed()).await.expect("silence ends it");
    let frame = quiet.frame_to(&other, 100);
    quiet.send_datagram(wrapped(&mut EnvelopeWriter::default(), &frame));
    assert_eq!(other.read_datagram().await, frame);
}
