//! The lane over real QUIC connections on loopback: quinn decides what fits, what waits and what wakes.

use std::task::Waker;
use std::time::Duration;

use prometheus_client::registry::Registry;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::PrivateKeyDer;
use tokio::time::timeout;

use super::*;
use crate::relay::frames::Frames;
use crate::relay::transport::quic::{QuicReader, write_batch};
use crate::relay::transport::{FrameReader, Message};
use crate::wire::framer;

const PATIENCE: Duration = Duration::from_secs(30);

/// Both ends of a connection; the client's stream has said hello.
struct Pair {
    server: quinn::Connection,
    client: quinn::Connection,
    server_stream: Option<quinn::RecvStream>,
    client_stream: quinn::SendStream,
    envelopes: EnvelopeWriter,
    metrics: Arc<RelayMetrics>,
    _endpoints: [quinn::Endpoint; 2],
}

impl Pair {
    async fn new(send_buffer_bytes: usize) -> Self {
        Self::with(send_buffer_bytes, 1 << 20).await
    }

    /// The server may have so many bytes waiting, and the client takes datagrams up to such a size.
    async fn with(send_buffer_bytes: usize, client_bytes: usize) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let own = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let (certificate, key) = (own.cert.der().clone(), own.signing_key.serialize_der());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key).unwrap())
            .unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut transport = quinn::TransportConfig::default();
        // The size of packets stays, so that the tests know it.
        transport.datagram_send_buffer_size(send_buffer_bytes).mtu_discovery_config(None);
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).unwrap()));
        server.transport_config(Arc::new(transport));
        let mut client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).unwrap()));
        let mut transport = quinn::TransportConfig::default();
        transport.datagram_receive_buffer_size(Some(client_bytes));
        client.transport_config(Arc::new(transport));
        let any = "127.0.0.1:0".parse().unwrap();
        let listening = quinn::Endpoint::server(server, any).unwrap();
        let dialing = quinn::Endpoint::client(any).unwrap();
        let address = listening.local_addr().unwrap();
        let (server, client) = tokio::join!(async { listening.accept().await.unwrap().await.unwrap() }, async {
            dialing.connect_with(client, address, "localhost").unwrap().await.unwrap()
        },);
        let (mut client_stream, _) = client.open_bi().await.unwrap();
        client_stream.write_all(&framer::header(0)).await.unwrap();
        let (_, server_stream) = server.accept_bi().await.unwrap();
        Self {
            server,
            client,
            server_stream: Some(server_stream),
            client_stream,
            envelopes: EnvelopeWriter::default(),
            metrics: crate::relay::metrics(&mut Registry::default()),
            _endpoints: [listening, dialing],
        }
    }

    /// The server's reader, with its lane open and the hello read.
    async fn reader(&mut self) -> QuicReader<quinn::RecvStream> {
        let lane = ReadLane::new(self.server.clone(), Arc::clone(&self.metrics));
        let mut reader = QuicReader::new(self.server_stream.take().unwrap(), Some(lane));
        reader.open_lane();
        assert_eq!(next(&mut reader).await, Bytes::new());
        reader
    }

    fn writer(&self) -> WriteLane {
        WriteLane::new(self.server.clone(), Arc::clone(&self.metrics))
    }

    /// Sends a message as the client.
    fn send(&mut self, message: &[u8]) {
        let mut envelope = BytesMut::new();
        self.envelopes.wrap(message, &mut envelope);
        self.client.send_datagram(envelope.freeze()).unwrap();
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.metrics.frames_dropped[reason.index()].get()
    }
}

async fn next(reader: &mut QuicReader<quinn::RecvStream>) -> Bytes {
    loop {
        match reader.next(1).unwrap() {
            Some(Message::Frames(frames)) => return frames.into_first(),
            Some(other) => panic!("{other:?}"),
            None => timeout(PATIENCE, reader.fill()).await.expect("something comes").unwrap(),
        }
    }
}

#[tokio::test]
async fn a_datagram_wakes_a_reader_whose_stream_is_silent() {
    let mut pair = Pair::new(1 << 20).await;
    let mut reader = pair.reader().await;
    for number in 0..3u8 {
        let message = vec![number; 100];
        let expected = Bytes::from(message.clone());
        // The reader waits before the client sends.
        let (read, ()) = tokio::join!(next(&mut reader), async {
            tokio::task::yield_now().await;
            pair.send(&message);
        });
        assert_eq!(read, expected);
    }
    assert_eq!(pair.metrics.datagrams_received.get(), 3);
}

#[tokio::test]
async fn waiting_may_be_broken_off_and_loses_nothing_of_either_lane() {
    let mut pair = Pair::new(1 << 20).await;
    let mut reader = pair.reader().await;
    let mut expected = Vec::new();
    let mut messages = Vec::new();
    for number in 0..50u32 {
        pair.send(&number.to_be_bytes());
        let mut framed = BytesMut::new();
        framer::encode(&(1000 + number).to_be_bytes(), &mut framed);
        pair.client_stream.write_all(&framed).await.unwrap();
        expected.extend([number, 1000 + number]);
        // Polled once and dropped.
        let _ = pin!(reader.fill()).poll(&mut Context::from_waker(Waker::noop()));
        tokio::task::yield_now().await;
        while let Some(Message::Frames(frames)) = reader.next(1).unwrap() {
            messages.push(u32::from_be_bytes(*frames.into_first().first_chunk().unwrap()));
        }
    }
    while messages.len() < expected.len() {
        messages.push(u32::from_be_bytes(*next(&mut reader).await.first_chunk().unwrap()));
    }
    let of = |lane: std::ops::Range<u32>| messages.iter().copied().filter(|number| lane.contains(number)).collect();
    let (datagrams, stream): (Vec<u32>, Vec<u32>) = (of(0..1000), of(1000..2000));
    assert_eq!((datagrams, stream), ((0..50).collect(), (1000..1050).collect()));
}

#[tokio::test]
async fn a_flood_is_read_a_part_at_a_time_and_noise_is_counted() {
    let mut pair = Pair::new(1 << 20).await;
    let mut reader = pair.reader().await;
    let good = 2 * MAX_READ + 10;
    for _ in 0..good {
        pair.send(b"message");
    }
    let mut noise = BytesMut::new();
    EnvelopeWriter::default().wrap(b"the first id again", &mut noise);
    pair.client.send_datagram(noise.split().freeze()).unwrap();
    for _ in 0..2 * MAX_READ {
        pair.client.send_datagram(Bytes::from_static(b"noise")).unwrap();
    }
    pair.send(b"last");
    let mut taken = 0;
    loop {
        timeout(PATIENCE, reader.fill()).await.expect("a fill ends, also one of noise").unwrap();
        let mut of_one_fill = 0;
        let mut is_last = false;
        while let Some(Message::Frames(frames)) = reader.next(1).unwrap() {
            of_one_fill += 1;
            is_last = frames.into_first() == "last";
        }
        assert!(of_one_fill <= MAX_READ);
        taken += of_one_fill;
        if is_last {
            break;
        }
    }
    assert_eq!((taken, pair.metrics.datagrams_received.get()), (good + 1, good as u64 + 1));
    assert_eq!(pair.dropped(DropReason::DatagramRepeated), 1);
    assert_eq!(pair.dropped(DropReason::DatagramMalformed), 2 * MAX_READ as u64);
}

#[tokio::test]
async fn the_end_of_the_connection_is_found_behind_the_last_datagram() {
    let mut pair = Pair::new(1 << 20).await;
    let mut reader = pair.reader().await;
    pair.send(b"one");
    assert_eq!(next(&mut reader).await, "one");
    pair.send(b"two");
    // Closing drops what waits, so the second is given time to arrive.
    pair.client_stream.write_all(&framer::header(0)).await.unwrap();
    let (mut messages, mut expected) = (vec![next(&mut reader).await, next(&mut reader).await], vec!["", "two"]);
    messages.sort();
    expected.sort_unstable();
    assert_eq!(messages, expected);
    pair.client.close(0u32.into(), b"");
    assert_eq!(timeout(PATIENCE, reader.fill()).await.unwrap(), Err(EndReason::PeerClosed));
}

#[tokio::test]
async fn a_closed_lane_is_not_read() {
    let mut pair = Pair::new(1 << 20).await;
    let lane = ReadLane::new(pair.server.clone(), Arc::clone(&pair.metrics));
    let mut reader = QuicReader::new(pair.server_stream.take().unwrap(), Some(lane));
    pair.send(b"datagram");
    let mut framed = BytesMut::new();
    framer::encode(b"stream", &mut framed);
    pair.client_stream.write_all(&framed).await.unwrap();
    assert!(!reader.notices_absence());
    assert_eq!((next(&mut reader).await, next(&mut reader).await), (Bytes::new(), "stream".into()));
    assert_eq!(reader.next(1), Ok(None));
    assert_eq!(pair.metrics.datagrams_received.get(), 0);
    reader.open_lane();
    assert!(reader.notices_absence());
    assert_eq!(next(&mut reader).await, "datagram");
}

#[tokio::test]
async fn what_fits_takes_the_lane_and_the_rest_the_stream() {
    let pair = Pair::new(1 << 20).await;
    let mut lane = pair.writer();
    let largest = MAX_SENT_BYTES.min(pair.server.max_datagram_size().unwrap() - HEADER_BYTES);
    let lengths = [0, 1, largest, largest + 1, 4096];
    let mut batch: VecDeque<Frames> =
        lengths.iter().map(|length| Frames::alone(vec![*length as u8; *length].into())).collect();
    let mut rest = BytesMut::from(&write_batch(&mut batch, Some(lane.burst()))[..]);
    assert!(batch.is_empty());
    for length in [0, largest + 1, 4096] {
        assert_eq!(framer::decode(&mut rest).unwrap().unwrap().len(), length);
    }
    assert!(rest.is_empty());
    let mut envelopes = EnvelopeReader::default();
    for length in [1, largest] {
        let datagram = timeout(PATIENCE, pair.client.read_datagram()).await.unwrap().unwrap();
        assert_eq!(envelopes.open(datagram).unwrap(), vec![length as u8; length]);
    }
    assert_eq!(pair.metrics.datagrams_sent.get(), 2);
}

#[tokio::test]
async fn a_client_that_takes_less_gets_less() {
    let pair = Pair::with(1 << 20, 600).await;
    let most = pair.server.max_datagram_size().unwrap() - HEADER_BYTES;
    assert!((500..600).contains(&most), "{most}");
    let mut lane = pair.writer();
    let burst = lane.burst();
    assert_eq!([0, 1, most, most + 1].map(|bytes| burst.fits(bytes)), [false, true, true, false]);
}

#[tokio::test]
async fn a_burst_is_bounded_and_a_full_lane_drops_nothing() {
    let mut framed = BytesMut::new();
    (0..100u8).for_each(|number| framer::encode(&[number; 100], &mut framed));
    let numbered = Frames::packed(framed.freeze(), 100, 10_000);
    // Room for all, and for ten.
    for (buffer, expected) in [(1 << 20, MAX_BURST), (10 * (HEADER_BYTES + 100 + OVERHEAD_BYTES) + 40, 10)] {
        let pair = Pair::new(buffer).await;
        let mut batch = VecDeque::from([numbered.clone()]);
        let mut rest = BytesMut::from(&write_batch(&mut batch, Some(pair.writer().burst()))[..]);
        let mut envelopes = EnvelopeReader::default();
        for number in 0..100u8 {
            let message = if usize::from(number) < expected {
                let datagram = timeout(PATIENCE, pair.client.read_datagram()).await.unwrap().unwrap();
                envelopes.open(datagram).unwrap()
            } else {
                framer::decode(&mut rest).unwrap().unwrap()
            };
            assert_eq!(message, vec![number; 100]);
        }
        assert_eq!(pair.metrics.datagrams_sent.get(), expected as u64);
        assert!(batch.is_empty() && rest.is_empty());
    }
}
