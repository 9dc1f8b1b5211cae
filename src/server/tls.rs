//! Certificates of the TCP and QUIC listeners: from files, or made at first start; read again on reload.
//!
//! Both listeners ask one [`Certificates`] at each handshake, so a reload reaches them without a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use parking_lot::RwLock;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use self::secret::SecretTap;
use crate::config::Config;
use crate::config::tls::TlsMode;
use crate::domain::secret_file;

pub mod handshake;
pub mod record;
pub mod secret;
pub mod stream;

/// Files of the certificate made at first start, in the data folder.
const SELF_SIGNED_CERTIFICATE: &str = "tls-certificate.pem";
const SELF_SIGNED_KEY: &str = "tls-key.pem";

/// The certificate that handshakes present, whatever name the client asks for.
#[derive(Debug)]
pub struct Certificates {
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads the files that the settings name, or those in the data folder, which are made when they are missing.
    pub fn open(config: &Config) -> anyhow::Result<Arc<Self>> {
        let current = RwLock::new(Arc::new(read(config)?));
        Ok(Arc::new(Self { current }))
    }

    /// Reads the files again; on an error the old certificate stays in use.
    pub fn reload(&self, config: &Config) -> anyhow::Result<()> {
        let fresh = Arc::new(read(config)?);
        *self.current.write() = fresh;
        Ok(())
    }

    /// The end-entity certificate in DER, for clients that pin it.
    pub fn leaf(&self) -> Option<CertificateDer<'static>> {
        self.current.read().cert.first().cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

/// How handshakes treat clients: one may show a certificate of `authority`, and one that shows another's is refused.
/// Nobody has to. Without `is_asked` the question is not put.
pub fn client_verifier(
    authority: &CertificateDer<'static>,
    is_asked: bool,
) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    if !is_asked {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).context("the authority of client certificates cannot be used")?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    Ok(verifier.allow_unauthenticated().build()?)
}

/// TLS of the TCP listener: 1.2 and 1.3, HTTP/2 and HTTP/1.1.
pub fn https(
    certificates: &Arc<Certificates>,
    clients: &Arc<dyn ClientCertVerifier>,
) -> anyhow::Result<Arc<ServerConfig>> {
    let resolver: Arc<dyn ResolvesServerCert> = Arc::<Certificates>::clone(certificates);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::clone(clients))
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Kept by clients, not here, for some hours; one is enough for a client that keeps any.
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    // For `stream`, which takes over after the handshake.
    config.enable_secret_extraction = true;
    config.key_log = Arc::new(SecretTap);
    Ok(Arc::new(config))
}

/// TLS of the QUIC listener: 1.3, no protocol names, no early data. Clients offer no ALPN, and rustls refuses them
/// when the server does; quic-go fails a whole connection when early data it was promised is refused later.
pub fn quic(
    certificates: &Arc<Certificates>,
    clients: &Arc<dyn ClientCertVerifier>,
) -> anyhow::Result<QuicServerConfig> {
    let resolver: Arc<dyn ResolvesServerCert> = Arc::<Certificates>::clone(certificates);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::clone(clients))
        .with_cert_resolver(resolver);
    config.max_early_data_size = 0;
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(QuicServerConfig::try_from(config)?)
}

/// The one cryptographic provider of the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn read(config: &Config) -> anyhow::Result<CertifiedKey> {
    let (certificate, key) = match config.tls.mode {
        TlsMode::Files => (config.tls.certificate.clone(), config.tls.key.clone()),
        TlsMode::Off | TlsMode::SelfSigned => self_signed(&config.store.path, &config.tls.names)?,
    };
    let certificates = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("{} is not a PEM certificate chain", certificate.display()))?;
    anyhow::ensure!(!certificates.is_empty(), "{} holds no certificate", certificate.display());
    let private =
        PrivateKeyDer::from_pem_file(&key).with_context(|| format!("{} is not a PEM private key", key.display()))?;
    CertifiedKey::from_der(certificates, private, &provider())
        .with_context(|| format!("{} and {} do not belong together", certificate.display(), key.display()))
}

/// The certificate and key in the data folder, made when they are missing.
fn self_signed(folder: &Path, names: &[String]) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (folder.join(SELF_SIGNED_CERTIFICATE), folder.join(SELF_SIGNED_KEY));
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    let fresh = rcgen::KeyPair::generate().context("no key for a self-signed certificate can be made")?;
    let pem = secret_file::load_or_create(&key, || fresh.serialize_pem().into_bytes())?;
    let pair = rcgen::KeyPair::from_pem(&String::from_utf8_lossy(&pem))
        .with_context(|| format!("{} is not a key; move it away to have a new one made", key.display()))?;
    let mut params = rcgen::CertificateParams::new(names)
        .with_context(|| format!("tls.names holds a name that no certificate can carry: {}", names.join(", ")))?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "warren self-signed");
    let signed = params.self_signed(&pair).context("no self-signed certificate can be made")?;
    // Through a temporary file, so that a crash leaves no half.
    let half = certificate.with_extension("new");
    std::fs::write(&half, signed.pem())
        .and_then(|()| std::fs::rename(&half, &certificate))
        .with_context(|| format!("{} cannot be written", certificate.display()))?;
    tracing::info!(file = %certificate.display(), "made a self-signed certificate");
    Ok((certificate, key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn config(folder: &Path) -> Config {
        let mut config = Config::default();
        config.store.path = folder.to_owned();
        config
    }

    #[test]
    fn a_self_signed_certificate_is_made_once_and_its_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let first = Certificates::open(&config(folder.path())).unwrap();
        let mode = std::fs::metadata(folder.path().join(SELF_SIGNED_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Certificates::open(&config(folder.path())).unwrap();
        assert!(first.leaf().is_some());
        assert_eq!(first.leaf(), second.leaf());
        let nobody = WebPkiClientVerifier::no_client_auth();
        https(&first, &nobody).unwrap();
        quic(&first, &nobody).unwrap();
    }

    #[test]
    fn a_reload_presents_the_new_files_and_keeps_the_old_ones_on_an_error() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let certificates = Certificates::open(&config(old.path())).unwrap();
        let before = certificates.leaf();
        let after = Certificates::open(&config(new.path())).unwrap().leaf();
        let mut files = config(old.path());
        files.tls.mode = TlsMode::Files;
        files.tls.certificate = new.path().join(SELF_SIGNED_CERTIFICATE);
        files.tls.key = old.path().join(SELF_SIGNED_KEY);
        let error = certificates.reload(&files).unwrap_err().to_string();
        assert!(error.contains("do not belong together"), "{error}");
        assert_eq!(certificates.leaf(), before);
        files.tls.key = new.path().join(SELF_SIGNED_KEY);
        certificates.reload(&files).unwrap();
        assert_eq!(certificates.leaf(), after);
    }
}
