use std::io::Write;
use std::task::Waker;

use proptest::prelude::*;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{CipherSuite, ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::handshake::{Accepted, accept};
use super::super::secret::SecretTap;
use super::*;
use crate::relay::turns::Turns;

type Server = Accepted<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>;
type Client = TlsStream<DuplexStream>;

const NAME: &str = "localhost";

/// The client does not read before its ChangeCipherSpec is written, which is so long.
const MIN_PIPE_BYTES: usize = 6;

static TURNS: Turns = Turns::new(1);

/// Settings of a server, and of a client that trusts it and speaks `suite` only.
fn configs(suite: Option<CipherSuite>) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new([NAME.into()]).unwrap().self_signed(&key).unwrap();
    let certificate: CertificateDer<'static> = certificate.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut server = ServerConfig::builder_with_provider(provider.clone().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    server.enable_secret_extraction = true;
    server.key_log = Arc::new(SecretTap);
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut provider = provider;
    provider.cipher_suites.retain(|offered| suite.is_none_or(|suite| offered.suite() == suite));
    let client = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server.into(), client.into())
}

async fn connect_with(suite: Option<CipherSuite>, pipe_bytes: usize) -> (Client, Server) {
    let (server, client) = configs(suite);
    let (near, far) = tokio::io::duplex(pipe_bytes);
    let (read, write) = tokio::io::split(far);
    let connector = TlsConnector::from(client);
    let (client, server) = tokio::join!(
        connector.connect(ServerName::try_from(NAME).unwrap(), near),
        accept(&server, &TURNS, read, write)
    );
    (client.unwrap(), server.unwrap())
}

async fn connect() -> (Client, Server) {
    connect_with(None, 1 << 20).await
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn poll_read(server: &mut Server, room: usize) -> Poll<io::Result<Vec<u8>>> {
    let mut bytes = vec![0; room];
    let mut out = ReadBuf::new(&mut bytes);
    let mut context = Context::from_waker(Waker::noop());
    Pin::new(&mut server.reader).poll_read(&mut context, &mut out).map_ok(|()| out.filled().to_vec())
}

async fn read(server: &mut Server, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    server.reader.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn every_cipher_of_both_versions_carries_bytes_both_ways_and_ends_cleanly() {
    let suites = rustls::crypto::aws_lc_rs::default_provider().cipher_suites;
    // The certificate has an ECDSA key.
    let usable = suites.iter().map(|suite| suite.suite()).filter(|suite| !format!("{suite:?}").contains("RSA"));
    let usable: Vec<_> = usable.collect();
    assert_eq!(usable.len(), 6, "{usable:?}");
    for suite in usable {
        let (mut client, mut server) = connect_with(Some(suite), 1 << 20).await;
        for length in [1, 100, 16_384, 16_385, 100_000] {
            let sent = pattern(length);
            client.write_all(&sent).await.unwrap();
            client.flush().await.unwrap();
            assert_eq!(read(&mut server, length).await, sent, "{suite:?}");
            server.writer.write_all(&sent).await.unwrap();
            server.writer.flush().await.unwrap();
            let mut got = vec![0; length];
            client.read_exact(&mut got).await.unwrap();
            assert_eq!(got, sent, "{suite:?}");
        }
        client.shutdown().await.unwrap();
        assert_eq!(server.reader.read(&mut [0; 10]).await.unwrap(), 0, "{suite:?}");
        server.writer.shutdown().await.unwrap();
        assert_eq!(client.read(&mut [0; 10]).await.unwrap(), 0, "{suite:?}");
    }
}

#[tokio::test]
async fn a_hello_in_many_tiny_records_that_come_byte_by_byte_is_understood() {
    let (server, client) = configs(None);
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let (read, write) = tokio::io::split(far);
    let accepting = tokio::spawn(async move { accept(&server, &TURNS, read, write).await });
    let mut client = ClientConnection::new(client, ServerName::try_from(NAME).unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    for (at, piece) in
        hello[5..].chunks(7).flat_map(|piece| <[&[u8]; 2]>::from(piece.split_at(piece.len() / 2))).enumerate()
    {
        near.write_all(&[22, 3, 1, 0, piece.len() as u8]).await.unwrap();
        for byte in piece {
            near.write_u8(*byte).await.unwrap();
            if at < 3 {
                tokio::task::yield_now().await;
            }
        }
    }
    let mut bytes = vec![0; 1 << 16];
    while client.is_handshaking() {
        let length = near.read(&mut bytes).await.unwrap();
        client.read_tls(&mut &bytes[..length]).unwrap();
        client.process_new_packets().unwrap();
    }
    // The end of the handshake and the first bytes behind it come together.
    client.writer().write_all(b"first words").unwrap();
    let mut last = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut last).unwrap();
    }
    near.write_all(&last).await.unwrap();
    let mut server = accepting.await.unwrap().unwrap();
    assert_eq!(self::read(&mut server, 11).await, b"first words");
}

#[tokio::test]
async fn new_keys_are_taken_when_the_client_changes_its_own_and_ours_change_in_return() {
    let (mut client, mut server) = connect().await;
    for round in 0..3 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        let sent = pattern(1000 + round);
        client.write_all(&sent).await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(read(&mut server, sent.len()).await, sent);
        assert!(server.writer.wishes.owes_keys.load(Ordering::Relaxed));
        server.writer.write_all(&sent).await.unwrap();
        assert!(!server.writer.wishes.owes_keys.load(Ordering::Relaxed));
        let mut got = vec![0; sent.len()];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, sent);
    }
}

#[tokio::test]
async fn keys_that_have_sealed_enough_are_changed() {
    let (mut client, mut server) = connect().await;
    for round in 0..20 {
        server.writer.sealer.limit_to(5);
        server.writer.write_all(&pattern(round)).await.unwrap();
        server.writer.write_all(b"x").await.unwrap();
        let mut got = vec![0; round + 1];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(got[..round], pattern(round));
    }
    let (_, mut old) = connect_with(Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), 1 << 20).await;
    old.writer.sealer.limit_to(0);
    assert!(old.writer.write_all(b"x").await.is_err(), "TLS 1.2 has no new keys");
}

#[tokio::test]
async fn what_was_tampered_with_cut_off_or_never_sealed_ends_the_connection_and_the_client_is_told_why() {
    use AlertDescription::{BadRecordMac, DecodeError, RecordOverflow, UnexpectedMessage};
    type Change = fn(&mut Vec<u8>);
    let changes: [(Change, AlertDescription); 7] = [
        (|record| *record.last_mut().unwrap() ^= 1, BadRecordMac),
        (|record| record[0] = 22, UnexpectedMessage),
        (|record| record[1] = 2, DecodeError),
        (|record| record[3] = 0xff, RecordOverflow),
        (|record| *record = vec![21, 3, 3, 0, 2, 1, 0], UnexpectedMessage),
        (|record| *record = vec![20, 3, 3, 0, 1, 1], UnexpectedMessage),
        (|record| *record = vec![23, 3, 3, 0, 3, 1, 2, 3], BadRecordMac),
    ];
    for (change, alert) in changes {
        let (mut client, mut server) = connect().await;
        let (io, session) = client.get_mut();
        session.writer().write_all(b"words").unwrap();
        let mut record = Vec::new();
        session.write_tls(&mut record).unwrap();
        change(&mut record);
        io.write_all(&record).await.unwrap();
        let error = server.reader.read(&mut [0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{record:?}");
        server.writer.shutdown().await.unwrap();
        let told = client.read(&mut [0; 100]).await.unwrap_err();
        let told = told.get_ref().and_then(|told| told.downcast_ref::<Error>());
        assert_eq!(told, Some(&Error::AlertReceived(alert)), "{record:?}");
    }
    let (client, mut server) = connect().await;
    drop(client);
    assert_eq!(server.reader.read(&mut [0; 9]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn whoever_does_not_speak_tls_is_told_so_at_once() {
    for words in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 3, 1, 0xff, 0xff, 0], &[23, 3, 3, 0, 1, 0]] {
        let (server, _) = configs(None);
        let (mut near, far) = tokio::io::duplex(1 << 16);
        let (read, write) = tokio::io::split(far);
        near.write_all(words).await.unwrap();
        let error = accept(&server, &TURNS, read, write).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{words:?}");
        let mut alert = [0; 7];
        near.read_exact(&mut alert).await.unwrap();
        assert_eq!((alert[0], alert[5]), (ALERT, 2), "{words:?}");
    }
    let (server, _) = configs(None);
    let (near, far) = tokio::io::duplex(64);
    let (read, write) = tokio::io::split(far);
    drop(near);
    assert_eq!(accept(&server, &TURNS, read, write).await.err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_tickets_is_accepted() {
    for pipe_bytes in [MIN_PIPE_BYTES, 32, 100] {
        let (mut client, mut server) = connect_with(None, pipe_bytes).await;
        // They are longer than the pipe, and come with the first words for it.
        let speak = async {
            server.writer.write_all(b"w").await.unwrap();
            server.writer.flush().await.unwrap();
        };
        let ((), heard) = tokio::join!(speak, client.read_u8());
        assert_eq!(heard.unwrap(), b'w');
    }
}

#[tokio::test]
async fn an_idle_connection_holds_no_buffer_and_half_a_record_only_its_own_bytes() {
    let (mut client, mut server) = connect().await;
    client.write_all(b"words").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(read(&mut server, 5).await, b"words");
    assert!(poll_read(&mut server, 100).is_pending());
    assert_eq!((server.reader.input.buffer.capacity(), server.reader.rest.len()), (0, 0));
    assert_eq!(server.reader.opened.buffer.capacity(), 0);

    let (io, session) = client.get_mut();
    session.writer().write_all(&pattern(1000)).unwrap();
    let mut record = Vec::new();
    session.write_tls(&mut record).unwrap();
    io.write_all(&record[..700]).await.unwrap();
    assert!(poll_read(&mut server, 2000).is_pending());
    assert_eq!((server.reader.input.buffer.capacity(), server.reader.rest.len()), (0, 700));
    io.write_all(&record[700..]).await.unwrap();
    assert_eq!(read(&mut server, 1000).await, pattern(1000));

    server.writer.write_all(b"words").await.unwrap();
    assert_eq!(server.writer.sealed.buffer.capacity(), 0);
}

#[tokio::test]
async fn a_flood_of_empty_records_lets_others_have_a_turn() {
    let (client, mut server) = connect_with(None, 1 << 24).await;
    let (mut io, mut session) = client.into_inner();
    let mut flood = Vec::new();
    for _ in 0..40_000 {
        // An empty record of ours: the library of the client writes none. KeyUpdates are as empty.
        session.refresh_traffic_keys().unwrap();
        session.write_tls(&mut flood).unwrap();
        if flood.len() > 600_000 {
            break;
        }
    }
    io.write_all(&flood).await.unwrap();
    assert!(poll_read(&mut server, 100).is_pending());
    session.writer().write_all(b"words").unwrap();
    let mut record = Vec::new();
    session.write_tls(&mut record).unwrap();
    io.write_all(&record).await.unwrap();
    assert_eq!(read(&mut server, 5).await, b"words");
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_waited_for_with_one_buffer() {
    let (mut client, mut server) = connect_with(None, 4096).await;
    let sent = pattern(500_000);
    let mut context = Context::from_waker(Waker::noop());
    let first = match Pin::new(&mut server.writer).poll_write(&mut context, &sent) {
        Poll::Ready(Ok(taken)) => taken,
        other => panic!("{other:?}"),
    };
    assert!(first < pool::BUFFER_BYTES);
    assert!(Pin::new(&mut server.writer).poll_write(&mut context, &sent[first..]).is_pending());
    assert!(Pin::new(&mut server.writer).poll_flush(&mut context).is_pending());
    let rest = async {
        server.writer.write_all(&sent[first..]).await.unwrap();
        server.writer.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    tokio::join!(rest, async { client.read_to_end(&mut got).await.unwrap() });
    assert_eq!(got, sent);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_writes_arrive_in_any_reads(
        writes in prop::collection::vec(1..40_000usize, 1..12),
        rooms in prop::collection::vec(1..40_000usize, 1..12),
        // Every third pipe is shorter than any flight of a handshake.
        pipe_bytes in prop_oneof![1 => 100..300usize, 2 => 300..70_000usize],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (client, server) = connect_with(None, pipe_bytes).await;
            let (mut client_read, mut client_write) = tokio::io::split(client);
            let Accepted { mut reader, mut writer, .. } = server;
            let sent = pattern(writes.iter().sum());
            let pieces = |sent: &[u8]| {
                let mut rest = sent.to_vec();
                writes.iter().map(move |length| rest.drain(..*length).collect::<Vec<_>>()).collect::<Vec<_>>()
            };
            let up = async {
                for piece in pieces(&sent) {
                    client_write.write_all(&piece).await.unwrap();
                }
                client_write.shutdown().await.unwrap();
            };
            // What comes up goes down again, in other pieces.
            let echo = async {
                for room in rooms.iter().cycle() {
                    let mut bytes = vec![0; *room];
                    let length = reader.read(&mut bytes).await.unwrap();
                    if length == 0 {
                        break;
                    }
                    writer.write_all(&bytes[..length]).await.unwrap();
                }
                writer.shutdown().await.unwrap();
            };
            let mut got = Vec::new();
            tokio::join!(up, echo, async { client_read.read_to_end(&mut got).await.unwrap() });
            assert!(got == sent);
        });
    }
}
