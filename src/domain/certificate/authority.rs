//! The server's own certificate authority for clients: its key, what it signs, and how private keys are kept.
//!
//! The authority is one file in the data folder. The private keys that it hands out lie in the store, sealed under a key
//! that is derived from the authority's own: a copy of the store is not enough to be somebody.

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::domain::secret_file::{self, SecretFileError};
use crate::ids::ClientId;
use crate::time::Timestamp;

/// File in the data folder: the authority's private key and its certificate.
const AUTHORITY_FILE: &str = "client-ca.pem";

/// What the key for sealing is derived for.
const SEALING: &[&[u8]] = &[b"warren: private keys of client certificates"];

/// Clock difference between machines that is forgiven.
const LEEWAY: Duration = Duration::from_secs(3600);

/// The last second of the calendar that certificates are dated by: 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// Bytes of a serial number: at most 20 (RFC 5280, section 4.1.2.2), enough that chance never makes one twice.
pub(super) const SERIAL_BYTES: usize = 16;

/// Signs the certificates of clients.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    sealing: RandomizedNonceKey,
}

/// What a new certificate says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The client it stands for: the common name of its subject.
    pub(super) client_id: ClientId,
    /// Its serial number.
    pub(super) serial: [u8; SERIAL_BYTES],
    /// When it is signed.
    pub(super) issue_time: Timestamp,
    /// When it ends.
    pub(super) expire_time: Timestamp,
}

impl Authority {
    /// The authority of the data folder, made at first start with mode 0600. Without the file every certificate is
    /// worthless.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub fn load_or_create(folder: &Path) -> Result<Self, SecretFileError> {
        let path = folder.join(AUTHORITY_FILE);
        let pem = secret_file::load_or_create(&path, || make().into_bytes())?;
        Self::from_pem(&pem).map_err(|reason| SecretFileError::Damaged(path, reason))
    }

    /// An authority that is stored nowhere.
    pub fn generate() -> Self {
        Self::from_pem(make().as_bytes()).expect("an authority just made can be read")
    }

    fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let key = KeyPair::from_pem(&String::from_utf8_lossy(pem)).map_err(|error| format!("no key: {error}"))?;
        let certificate = CertificateDer::from_pem_slice(pem).map_err(|error| format!("no certificate: {error}"))?;
        let salt = Salt::new(HKDF_SHA256, b"").extract(key.serialized_der());
        let mut secret = [0; 32];
        salt.expand(SEALING, HKDF_SHA256)
            .and_then(|derived| derived.fill(&mut secret))
            .and_then(|()| RandomizedNonceKey::new(&AES_256_GCM, &secret))
            .map_err(|_| "no key can be derived from it".to_owned())
            .and_then(|sealing| {
                let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| error.to_string())?;
                Ok(Self { certificate, issuer, sealing })
            })
    }

    /// Its own certificate, which handshakes check those of clients against.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A certificate for the holder of `key`, in DER.
    pub(super) fn sign(&self, terms: &Terms, key: &KeyPair) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, terms.client_id.to_string());
        params.serial_number = Some(SerialNumber::from_slice(&terms.serial));
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + Duration::from_secs(terms.issue_time.before(LEEWAY).as_secs());
        params.not_after = epoch + Duration::from_secs(terms.expire_time.as_secs().min(LAST_SECOND));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.signed_by(key, &self.issuer).expect("the authority's key signs").der().to_vec()
    }

    /// Encrypts what belongs to `client_id`.
    pub(super) fn seal(&self, client_id: ClientId, plain: &[u8]) -> Vec<u8> {
        let mut text = plain.to_vec();
        let sealed = self.sealing.seal_in_place_append_tag(Aad::from(client_id.as_bytes()), &mut text);
        let nonce = sealed.expect("a key is shorter than the cipher's limit");
        [&nonce.as_ref()[..], &text].concat()
    }

    /// Reads back what [`Authority::seal`] wrote; `None` when it was another authority, or for somebody else.
    pub(super) fn open(&self, client_id: ClientId, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let (nonce, mut text) = (Nonce::assume_unique_for_key(*nonce), text.to_vec());
        let plain = self.sealing.open_in_place(nonce, Aad::from(client_id.as_bytes()), &mut text).ok()?;
        Some(plain.to_vec())
    }
}

/// A fresh key and a certificate that signs itself, in PEM. Its name is its own: a client that knows several networks
/// picks its certificate by it.
fn make() -> String {
    let key = KeyPair::generate().expect("the system random generator works");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let name = format!("Warren clients {}", hex::encode(rand::random::<[u8; 8]>()));
    params.distinguished_name.push(DnType::CommonName, name);
    // It ends with the file: the dates that the library takes by itself are centuries apart.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).expect("a key just made signs");
    key.serialize_pem() + &certificate.pem()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_authority_is_made_once_and_kept_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::load_or_create(folder.path()).unwrap();
        let again = Authority::load_or_create(folder.path()).unwrap();
        assert_eq!(first.certificate(), again.certificate());
        let path = folder.path().join(AUTHORITY_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "nothing").unwrap();
        assert!(matches!(Authority::load_or_create(folder.path()), Err(SecretFileError::Damaged(..))));
    }

    #[test]
    fn keys_are_sealed_for_one_client_by_one_authority() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, client) = (Authority::load_or_create(folder.path()).unwrap(), ClientId::new([1; 16]));
        let sealed = ours.seal(client, b"key");
        assert!(!sealed.windows(3).any(|bytes| bytes == b"key"));
        let again = Authority::load_or_create(folder.path()).unwrap();
        assert_eq!(again.open(client, &sealed).as_deref(), Some(&b"key"[..]), "after a restart too");
        assert_eq!(ours.open(ClientId::new([2; 16]), &sealed), None);
        assert_eq!(Authority::generate().open(client, &sealed), None);
        assert_eq!(ours.open(client, b"short"), None);
    }
}
