//! A certificate and its key as one PKCS#12 file, which phones and desktops import.

use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey, PrivateKeyChain,
};

use super::issue::CertificateWithKey;
use crate::config::portal::{P12Encryption, Portal};

/// Rounds from the password to the keys. Everybody knows the password, so they protect nothing and only cost time.
const ROUNDS: u32 = 2048;

/// The bundle of a certificate, with the authority's own behind it.
pub(super) fn pkcs12(
    issued: &CertificateWithKey,
    authority: &[u8],
    settings: &Portal,
) -> Result<Vec<u8>, p12_keystore::error::Error> {
    let chain = [Certificate::from_der(&issued.certificate)?, Certificate::from_der(authority)?];
    let key = PrivateKey::from_der(&issued.key)?;
    let entry = PrivateKeyChain::new(issued.client_id.as_bytes().to_vec(), key, chain);
    let mut store = KeyStore::new();
    store.add_entry(&issued.client_id.to_string(), KeyStoreEntry::PrivateKeyChain(entry));
    let (encryption, mac) = match settings.p12_encryption {
        P12Encryption::Legacy => (EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc, MacAlgorithm::HmacSha1),
        P12Encryption::Modern => (EncryptionAlgorithm::PbeWithHmacSha256AndAes256, MacAlgorithm::HmacSha256),
    };
    store
        .writer(&settings.p12_password)
        .encryption_algorithm(encryption)
        .encryption_iterations(ROUNDS)
        .mac_algorithm(mac)
        .mac_iterations(ROUNDS)
        .write()
}
