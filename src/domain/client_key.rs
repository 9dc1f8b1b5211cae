//! Published keys of clients: the identity key, and the certificate chain of its end-to-end encryption.
//!
//! Both go into contracts byte for byte as published: the receiver checks a signature over the exact text of the
//! chain, so nothing here may decode and encode again. They live until the client is removed.

use bytes::Bytes;
use prost::Message;

use super::client;
use super::error::DomainError;
use super::operation::{Operation, Tx};
use crate::ids::ClientId;
use crate::store::StoreError;
use crate::store::table::{Table, TableValue};
use crate::wire::messages::EncryptedKey;

/// Identity keys.
pub const CLIENT_KEYS: Table<ClientId, PublicKey> = Table::new(64, "client_keys");

/// Certificate chains with the identity key's signature over them.
pub const TLS_CHAINS: Table<ClientId, TlsChain> = Table::new(65, "tls_chains");

/// Longest chain, all blocks together: it travels twice in a contract, which must fit a frame of 4096 bytes.
pub const MAX_CHAIN_BYTES: usize = 1200;

/// Longest signature over a chain; Ed25519 has 64 bytes.
pub const MAX_SIGNATURE_BYTES: usize = 256;

/// An Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

impl TableValue for PublicKey {
    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }
    fn decode(bytes: &[u8]) -> Option<Self> {
        <[u8; 32]>::decode(bytes).map(Self)
    }
}

/// A certificate chain as its client published it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsChain {
    /// PEM blocks, leaf first.
    pub certificates: Vec<Bytes>,
    /// The identity key's signature over the blocks joined; not verified here.
    pub signature: Bytes,
}

impl TableValue for TlsChain {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![1];
        let message = EncryptedKey {
            provide_tls_certificate: self.certificates.clone(),
            client_key_signed_tls_certificate: self.signature.clone(),
        };
        out.extend(message.encode_to_vec());
        out
    }
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (1, message) = bytes.split_first()? else { return None };
        let message = EncryptedKey::decode(message).ok()?;
        Some(Self {
            certificates: message.provide_tls_certificate,
            signature: message.client_key_signed_tls_certificate,
        })
    }
}

/// What contracts with this client as destination carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedKeys {
    /// The identity key.
    pub public_key: Option<PublicKey>,
    /// The certificate chain.
    pub chain: Option<TlsChain>,
}

/// Publishes, replaces or, with an empty key, withdraws the caller's identity key (control message `ClientKey`).
#[derive(Debug)]
pub struct PublishClientKey {
    /// The client that says so.
    pub client_id: ClientId,
    /// 32 bytes, or none to withdraw.
    pub public_key: Bytes,
}

impl Operation for PublishClientKey {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        require_active(tx, &self.client_id)?;
        if self.public_key.is_empty() {
            return Ok(tx.delete(&CLIENT_KEYS, &self.client_id)?);
        }
        let key = self.public_key.as_ref().try_into().map_err(|_| bad_request("A client key has 32 bytes."))?;
        Ok(tx.put(&CLIENT_KEYS, &self.client_id, &PublicKey(key))?)
    }
}

/// Publishes, replaces or, with an empty chain, withdraws the caller's chain (control message `EncryptedKey`).
#[derive(Debug)]
pub struct PublishTlsChain {
    /// The client that says so.
    pub client_id: ClientId,
    /// The chain and its signature.
    pub chain: TlsChain,
}

impl Operation for PublishTlsChain {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        require_active(tx, &self.client_id)?;
        if self.chain.certificates.is_empty() {
            return Ok(tx.delete(&TLS_CHAINS, &self.client_id)?);
        }
        if self.chain.certificates.iter().map(Bytes::len).sum::<usize>() > MAX_CHAIN_BYTES {
            return Err(bad_request("The certificate chain is too long."));
        }
        if self.chain.signature.len() > MAX_SIGNATURE_BYTES {
            return Err(bad_request("The chain signature is too long."));
        }
        if !self.chain.certificates.iter().all(is_certificate) {
            return Err(bad_request("A chain element is not a PEM certificate."));
        }
        Ok(tx.put(&TLS_CHAINS, &self.client_id, &self.chain)?)
    }
}

/// Reads what a client has published; nothing for an unknown client.
#[derive(Debug)]
pub struct ReadPublishedKeys(
    /// The client asked about.
    pub ClientId,
);

impl Operation for ReadPublishedKeys {
    type Output = PublishedKeys;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<PublishedKeys, DomainError> {
        Ok(published_keys(tx, &self.0)?)
    }
}

/// What a client has published.
pub fn published_keys(tx: &mut Tx<'_>, client_id: &ClientId) -> Result<PublishedKeys, StoreError> {
    Ok(PublishedKeys { public_key: tx.get(&CLIENT_KEYS, client_id)?, chain: tx.get(&TLS_CHAINS, client_id)? })
}

/// Withdraws everything a client has published.
pub fn withdraw(tx: &mut Tx<'_>, client_id: &ClientId) -> Result<(), StoreError> {
    tx.delete(&CLIENT_KEYS, client_id)?;
    tx.delete(&TLS_CHAINS, client_id)
}

/// Exactly one PEM block that holds an X.509 certificate. Dates and signatures are the receiver's business: the usual
/// leaf is self-signed, dated a day, and used for longer.
fn is_certificate(block: &Bytes) -> bool {
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(block) else { return false };
    pem.label == "CERTIFICATE" && pem.parse_x509().is_ok()
}

/// A removed client must not leave keys behind it.
fn require_active(tx: &mut Tx<'_>, client_id: &ClientId) -> Result<(), DomainError> {
    client::active(tx, client_id)?.map(|_| ()).ok_or(DomainError::Unauthorized)
}

fn bad_request(message: &str) -> DomainError {
    DomainError::BadRequest(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{TestDomain, client_record};

    async fn with_client() -> (TestDomain, ClientId) {
        let domain = TestDomain::new();
        let client_id = ClientId::new([7; 16]);
        domain.put(&client::CLIENTS, &client_id, &client_record(1)).await;
        (domain, client_id)
    }

    fn certificate() -> Bytes {
        rcgen::generate_simple_self_signed(["peer".to_owned()]).unwrap().cert.pem().into()
    }

    #[tokio::test]
    async fn an_identity_key_has_32_bytes_and_an_empty_one_withdraws_it() {
        let (domain, client_id) = with_client().await;
        for (key, published) in [(vec![5; 32], Some(PublicKey([5; 32]))), (vec![], None)] {
            domain.run(&PublishClientKey { client_id, public_key: key.into() }).await.unwrap();
            assert_eq!(domain.run(&ReadPublishedKeys(client_id)).await.unwrap().public_key, published);
        }
        let short = domain.run(&PublishClientKey { client_id, public_key: vec![5; 31].into() }).await;
        assert!(matches!(short, Err(DomainError::BadRequest(_))));
    }

    #[tokio::test]
    async fn a_chain_comes_back_byte_for_byte() {
        let (domain, client_id) = with_client().await;
        // Line endings of another platform and a missing last newline must survive.
        let text = String::from_utf8(certificate().to_vec()).unwrap().replace('\n', "\r\n");
        let chain = TlsChain { certificates: vec![text.trim_end().to_owned().into()], signature: vec![9; 64].into() };
        domain.run(&PublishTlsChain { client_id, chain: chain.clone() }).await.unwrap();
        assert_eq!(domain.run(&ReadPublishedKeys(client_id)).await.unwrap().chain, Some(chain));
        domain.run(&PublishTlsChain { client_id, chain: TlsChain::default() }).await.unwrap();
        assert_eq!(domain.run(&ReadPublishedKeys(client_id)).await.unwrap(), PublishedKeys::default());
    }

    #[tokio::test]
    async fn what_is_no_certificate_or_too_long_is_refused() {
        let (domain, client_id) = with_client().await;
        let key: Bytes = rcgen::KeyPair::generate().unwrap().serialize_pem().into();
        let signature = Bytes::from_static(&[1; 64]);
        let long = vec![certificate(); 1 + MAX_CHAIN_BYTES / certificate().len()];
        for certificates in [vec![Bytes::from_static(b"x")], vec![key], long, vec![Bytes::new()]] {
            let chain = TlsChain { certificates, signature: signature.clone() };
            let refused = domain.run(&PublishTlsChain { client_id, chain }).await;
            assert!(matches!(refused, Err(DomainError::BadRequest(_))));
        }
        let chain = TlsChain { certificates: vec![certificate()], signature: vec![1; 257].into() };
        assert!(domain.run(&PublishTlsChain { client_id, chain }).await.is_err());
    }

    #[tokio::test]
    async fn a_client_that_is_not_active_publishes_nothing() {
        let domain = TestDomain::new();
        let unknown = PublishClientKey { client_id: ClientId::new([3; 16]), public_key: vec![5; 32].into() };
        assert!(matches!(domain.run(&unknown).await, Err(DomainError::Unauthorized)));
    }
}
