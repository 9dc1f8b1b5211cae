//! What the load generator and the forwarders share: arguments, TLS alike for every peer, and what the machine says.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};

pub mod machine;

/// Bytes in front of a payload that name its receiver, or its sender once it is relayed.
pub type Id = [u8; 16];

/// The command line: a mode, then `--name value` or `--name` alone.
pub struct Args(Vec<String>);

impl Default for Args {
    fn default() -> Self {
        Self(std::env::args().skip(1).collect())
    }
}

impl Args {
    pub fn mode(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|argument| argument == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    pub fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|argument| argument == name)
    }

    pub fn number(&self, name: &str, default: u64) -> u64 {
        self.get(name).map_or(default, |value| value.parse().expect(name))
    }
}

/// Only TLS 1.3 with AES-128-GCM and X25519, so that every peer runs the same cipher.
pub fn provider(name: &str) -> Arc<CryptoProvider> {
    let mut provider = match name {
        "aws" => rustls::crypto::aws_lc_rs::default_provider(),
        _ => rustls::crypto::ring::default_provider(),
    };
    provider.cipher_suites.retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::X25519);
    Arc::new(provider)
}

/// Takes any certificate: every peer shows one that was made for the run.
#[derive(Debug)]
struct TrustAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A client without session resumption: every connect pays for a whole handshake.
pub fn client_tls(alpn: &[&[u8]]) -> ClientConfig {
    let provider = provider("ring");
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAll(provider)))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

/// The TLS of a forwarder, over PEM files.
pub fn server_tls(args: &Args, alpn: &[&[u8]]) -> ServerConfig {
    let chain = CertificateDer::pem_file_iter(args.get("--cert").expect("--cert")).expect("a certificate");
    let chain = chain.map(|certificate| certificate.unwrap()).collect();
    let key = PrivateKeyDer::from_pem_file(args.get("--key").expect("--key")).expect("a key");
    let mut config = ServerConfig::builder_with_provider(provider(args.get("--provider").unwrap_or("ring")))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

/// A QUIC socket with large kernel buffers, so that a burst is not lost before it is read.
pub fn udp_socket(address: std::net::SocketAddr) -> std::net::UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 20).unwrap();
    socket.set_send_buffer_size(4 << 20).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.into()
}
