//! The traffic secrets of TLS 1.3, of which a connection makes its next keys (RFC 8446 sections 7.1 and 7.2).
//!
//! rustls hands them out through its key log only. What it would keep for the same purpose takes ten times their room,
//! for as long as a client is connected.

use std::cell::RefCell;

use aws_lc_rs::hkdf::{HKDF_SHA256, HKDF_SHA384, KeyType, Prk};
use rustls::{Error, KeyLog};
use zeroize::{Zeroize, Zeroizing};

/// The longest hash of a cipher suite.
const MAX_BYTES: usize = 48;

/// Labels of the key log (SSLKEYLOGFILE format).
const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
/// See [`CLIENT`].
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

/// The secret of one direction; as long as its suite's hash. Its memory is wiped when it goes, so that what was read of
/// the process later does not open what was said before.
pub struct TrafficSecret {
    bytes: [u8; MAX_BYTES],
    length: u8,
}

impl TrafficSecret {
    fn new(secret: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_BYTES];
        bytes.get_mut(..secret.len())?.copy_from_slice(secret);
        Some(Self { bytes, length: secret.len() as u8 })
    }

    /// Changes to the secret after this one.
    pub fn advance(&mut self) -> Result<(), Error> {
        let mut next = Zeroizing::new([0; MAX_BYTES]);
        self.expand("traffic upd", &mut next[..usize::from(self.length)])?;
        self.bytes = *next;
        Ok(())
    }

    fn wipe(&mut self) {
        self.bytes.zeroize();
    }

    /// HKDF-Expand-Label without a context: what the secret makes under a label.
    pub fn expand(&self, label: &str, out: &mut [u8]) -> Result<(), Error> {
        let secret = &self.bytes[..usize::from(self.length)];
        let hash = if secret.len() == MAX_BYTES { HKDF_SHA384 } else { HKDF_SHA256 };
        let label_length = [(LABEL_PREFIX.len() + label.len()) as u8];
        let length = (out.len() as u16).to_be_bytes();
        let info: [&[u8]; 5] = [&length, &label_length, LABEL_PREFIX, label.as_bytes(), &[0]];
        let made = Prk::new_less_safe(hash, secret);
        made.expand(&info, Length(out.len())).and_then(|made| made.fill(out)).map_err(|_| Error::EncryptError)
    }
}

impl Drop for TrafficSecret {
    fn drop(&mut self) {
        self.wipe();
    }
}

const LABEL_PREFIX: &[u8] = b"tls13 ";

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// The secrets of both directions.
#[derive(Default)]
pub struct TrafficSecrets {
    /// What the client seals with.
    pub client: Option<TrafficSecret>,
    /// What we seal with.
    pub server: Option<TrafficSecret>,
}

thread_local! {
    static SHOWN: RefCell<TrafficSecrets> = const { RefCell::new(TrafficSecrets { client: None, server: None }) };
}

/// The key log of our connections: remembers for this thread what rustls shows, until [`SecretTap::take`].
#[derive(Debug)]
pub struct SecretTap;

impl SecretTap {
    /// Adds what was shown on this thread to `secrets`. To be called after each step of a handshake, before anything else
    /// runs on the thread.
    pub fn take(secrets: &mut TrafficSecrets) {
        let shown = SHOWN.take();
        secrets.client = shown.client.or(secrets.client.take());
        secrets.server = shown.server.or(secrets.server.take());
    }
}

impl KeyLog for SecretTap {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        SHOWN.with_borrow_mut(|shown| match label {
            CLIENT => shown.client = TrafficSecret::new(secret),
            SERVER => shown.server = TrafficSecret::new(secret),
            _ => {}
        });
    }

    fn will_log(&self, label: &str) -> bool {
        matches!(label, CLIENT | SERVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_wiped_when_it_goes() {
        let mut secret = TrafficSecret::new(&[7; 32]).unwrap();
        secret.advance().unwrap();
        assert_ne!(secret.bytes, [0; MAX_BYTES]);
        secret.wipe();
        assert_eq!(secret.bytes, [0; MAX_BYTES]);
        assert!(std::mem::needs_drop::<TrafficSecret>(), "and nobody has to think of it");
    }
}
