//! Whom the client trusts, and the TLS settings of its three uses: API, WebSocket, QUIC.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Where the operating systems in use keep their root certificates; the first that exists is read.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// A certificate that the client shows, and its key.
pub struct ClientIdentity {
    /// The certificate, those that vouch for it behind it.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

/// Which certificates the client accepts.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Chains to the roots of the system, or of the file that `SSL_CERT_FILE` names.
    #[default]
    System,
    /// Chains to exactly these roots.
    Roots(Vec<CertificateDer<'static>>),
    /// Anything: only for a server on this machine, whose certificate signs itself.
    Any,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// No bundle of root certificates where systems keep them.
    #[error("no root certificates found on this system; set SSL_CERT_FILE to a PEM bundle")]
    NoSystemRoots,
    /// A bundle that cannot be read.
    #[error("cannot read root certificates from {path}: {reason}")]
    Unreadable {
        /// The bundle.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Roots or protocol versions that rustls refuses.
    #[error("unusable TLS settings: {0}")]
    Rustls(#[from] rustls::Error),
}

impl Trust {
    /// TLS settings that offer the protocols `alpn`; QUIC to a relay offers none. `identity` is shown to servers that
    /// ask.
    pub fn client_config(&self, alpn: &[&str], identity: Option<&ClientIdentity>) -> Result<ClientConfig, TrustError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match self {
            Self::System => builder.with_root_certificates(system_roots()?),
            Self::Roots(certificates) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates {
                    roots.add(certificate.clone())?;
                }
                builder.with_root_certificates(roots)
            }
            Self::Any => builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider))),
        };
        let mut config = match identity {
            Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(config)
    }
}

fn system_roots() -> Result<RootCertStore, TrustError> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let found = named.or_else(|| SYSTEM_BUNDLES.iter().map(PathBuf::from).find(|path| path.exists()));
    read_roots(&found.ok_or(TrustError::NoSystemRoots)?)
}

/// Reads a PEM bundle. Single certificates that rustls does not take are passed over, as browsers do.
fn read_roots(path: &Path) -> Result<RootCertStore, TrustError> {
    let unreadable = |reason: String| TrustError::Unreadable { path: path.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    if roots.is_empty() {
        return Err(unreadable("it holds no certificate".into()));
    }
    Ok(roots)
}

/// Accepts every certificate, but still checks that the server holds its key.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_that_are_given_are_the_only_ones() {
        let own = rcgen::generate_simple_self_signed(vec!["relay.example".into()]).unwrap();
        let config = Trust::Roots(vec![own.cert.der().clone()]).client_config(&["http/1.1"], None).unwrap();
        assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
        assert!(Trust::Roots(vec![CertificateDer::from(vec![1, 2, 3])]).client_config(&[], None).is_err());
    }

    #[test]
    fn a_bundle_without_certificates_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("empty.pem");
        std::fs::write(&bundle, "nothing here").unwrap();
        let error = read_roots(&bundle).unwrap_err().to_string();
        assert!(error.contains("empty.pem"), "{error}");
    }
}
