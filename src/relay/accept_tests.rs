use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::*;
use crate::relay::testing::TestRelay;

const NAME: &str = "relay.example";

/// A listener and a client that trusts it.
fn endpoints() -> (quinn::Endpoint, quinn::Endpoint) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new([NAME.into()]).unwrap().self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let (provider, any) = (Arc::new(default_provider()), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[&TLS13]).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let server = server.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let server = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).unwrap()));
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).unwrap()));
    let mut dialing = quinn::Endpoint::client(any).unwrap();
    dialing.set_default_client_config(client);
    (quinn::Endpoint::server(server, any).unwrap(), dialing)
}

#[tokio::test]
async fn a_newcomer_over_quic_is_answered_in_its_turn() {
    let test = TestRelay::new(|_| ());
    let (listener, client) = endpoints();
    let connecting = client.connect(listener.local_addr().unwrap(), NAME).unwrap();
    let incoming = listener.accept().await.unwrap();
    let mut turns = Vec::new();
    for _ in 0..thread::available_parallelism().unwrap().get() {
        turns.push(test.relay.turns.take().await);
    }
    let mut serving = Box::pin(test.relay.serve_quic(incoming));
    assert_eq!(serving.as_mut().now_or_never(), None);
    assert_eq!(listener.open_connections(), 0, "nothing is computed before its turn");
    drop(turns);
    tokio::select! {
        ended = serving => panic!("{ended:?}"),
        connected = connecting => drop(connected.unwrap()),
    }
    assert_eq!(listener.open_connections(), 1);
}
