//! TLS records, sealed and opened from one piece of memory into another, so that the copy that a relay needs anyway
//! and the work of the cipher are one pass (RFC 8446 section 5, RFC 5246 section 6.2.3).

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, Error, InvalidMessage, ProtocolVersion, SupportedCipherSuite};
use zeroize::Zeroizing;

use super::secret::TrafficSecret;

/// Content types.
pub const ALERT: u8 = 21;
/// See [`ALERT`].
pub const HANDSHAKE: u8 = 22;
/// See [`ALERT`].
pub const APPLICATION_DATA: u8 = 23;

/// Content of one record at most.
pub const MAX_PLAIN_BYTES: usize = 16 * 1024;
/// What a record is longer than its content, at most.
pub const MAX_OVERHEAD_BYTES: usize = HEADER_BYTES + EXPLICIT_BYTES + TAG_BYTES;

const HEADER_BYTES: usize = 5;
const TAG_BYTES: usize = 16;
const MAX_KEY_BYTES: usize = 32;
/// The part of the nonce that AES-GCM records of TLS 1.2 carry.
const EXPLICIT_BYTES: usize = 8;
/// What TLS 1.2 allows; TLS 1.3 allows less.
const MAX_SEALED_BYTES: usize = MAX_PLAIN_BYTES + 2048;

/// How the two versions, and the ciphers of the older, put a record together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Tls13,
    /// AES-GCM of TLS 1.2: eight bytes of the nonce travel along.
    Tls12Explicit,
    /// ChaCha20-Poly1305 of TLS 1.2.
    Tls12,
}

/// What protects one direction.
struct Protection {
    key: LessSafeKey,
    iv: [u8; aead::NONCE_LEN],
    /// Of the next record.
    sequence: u64,
    form: Form,
}

impl Protection {
    fn new(sequence: u64, secrets: &ConnectionTrafficSecrets, version: ProtocolVersion) -> Result<Self, Error> {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&aead::CHACHA20_POLY1305, key, iv),
            _ => return Err(Error::General("a cipher that is not known here".into())),
        };
        let is_gcm = !std::ptr::eq(algorithm, &aead::CHACHA20_POLY1305);
        let form = match version {
            ProtocolVersion::TLSv1_3 => Form::Tls13,
            _ if is_gcm => Form::Tls12Explicit,
            _ => Form::Tls12,
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Error::EncryptError)?;
        let iv = iv.as_ref().try_into().map_err(|_| Error::EncryptError)?;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence, form })
    }

    /// Goes on with the keys of another secret.
    fn renew(&mut self, secret: &TrafficSecret) -> Result<(), Error> {
        let algorithm = self.key.algorithm();
        let mut key = Zeroizing::new([0; MAX_KEY_BYTES]);
        let key = key.get_mut(..algorithm.key_len()).ok_or(Error::EncryptError)?;
        secret.expand("key", key)?;
        secret.expand("iv", &mut self.iv)?;
        self.key = LessSafeKey::new(UnboundKey::new(algorithm, key).map_err(|_| Error::EncryptError)?);
        self.sequence = 0;
        Ok(())
    }

    /// The nonce of the next record, which is not used twice.
    fn next_nonce(&mut self) -> [u8; aead::NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= sequence;
        }
        self.sequence += 1;
        nonce
    }

    /// What is authenticated beside the content, in front of a `header` whose length is that of the sealed record.
    fn context(&self, sequence: u64, header: [u8; HEADER_BYTES], plain: usize) -> Context {
        let mut context = Context { bytes: [0; 13], length: 13 };
        if self.form == Form::Tls13 {
            context.bytes[..HEADER_BYTES].copy_from_slice(&header);
            context.length = HEADER_BYTES;
        } else {
            context.bytes[..8].copy_from_slice(&sequence.to_be_bytes());
            context.bytes[8..11].copy_from_slice(&header[..3]);
            context.bytes[11..].copy_from_slice(&(plain as u16).to_be_bytes());
        }
        context
    }
}

struct Context {
    bytes: [u8; 13],
    length: usize,
}

impl AsRef<[u8]> for Context {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn header(content: u8, sealed: usize) -> [u8; HEADER_BYTES] {
    let [high, low] = (sealed as u16).to_be_bytes();
    [content, 3, 3, high, low]
}

/// Makes records.
pub struct Sealer {
    protection: Protection,
    /// Records that one key may seal.
    limit: u64,
}

impl Sealer {
    /// Goes on at record `sequence`.
    pub fn new(
        (sequence, secrets): (u64, &ConnectionTrafficSecrets),
        version: ProtocolVersion,
        suite: SupportedCipherSuite,
    ) -> Result<Self, Error> {
        let limit = match suite {
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
        };
        Ok(Self { protection: Protection::new(sequence, secrets, version)?, limit })
    }

    /// Goes on with the keys of another secret.
    pub fn renew(&mut self, secret: &TrafficSecret) -> Result<(), Error> {
        self.protection.renew(secret)
    }

    /// Whether the key has sealed as many records as it may, but for the few that change it.
    #[inline]
    pub fn is_spent(&self) -> bool {
        self.protection.sequence >= self.limit.saturating_sub(2)
    }

    /// Lets the key seal `records` in all.
    #[cfg(test)]
    pub fn limit_to(&mut self, records: u64) {
        self.limit = records;
    }

    /// Writes one record of `plain`, at most [`MAX_PLAIN_BYTES`], to the front of `out`, which has room for it and
    /// [`MAX_OVERHEAD_BYTES`]; says how long it is.
    pub fn seal(&mut self, content: u8, plain: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let protection = &mut self.protection;
        let (outer, explicit, inner): (u8, usize, &[u8]) = match protection.form {
            Form::Tls13 => (APPLICATION_DATA, 0, &[content]),
            Form::Tls12Explicit => (content, EXPLICIT_BYTES, &[]),
            Form::Tls12 => (content, 0, &[]),
        };
        let sealed = explicit + plain.len() + inner.len() + TAG_BYTES;
        let header = header(outer, sealed);
        let (front, body) = out.split_at_mut_checked(HEADER_BYTES + explicit).ok_or(Error::EncryptError)?;
        let (body, behind) = body.split_at_mut_checked(plain.len()).ok_or(Error::EncryptError)?;
        let behind = behind.get_mut(..inner.len() + TAG_BYTES).ok_or(Error::EncryptError)?;
        let context = protection.context(protection.sequence, header, plain.len());
        let nonce = protection.next_nonce();
        front[..HEADER_BYTES].copy_from_slice(&header);
        front[HEADER_BYTES..].copy_from_slice(&nonce[aead::NONCE_LEN - explicit..]);
        let nonce = Nonce::assume_unique_for_key(nonce);
        protection
            .key
            .seal_out_of_place_scatter(nonce, Aad::from(context), plain, body, inner, behind)
            .map_err(|_| Error::EncryptError)?;
        Ok(HEADER_BYTES + sealed)
    }
}

/// The length of the record at the front of `input`; none while it is not all there.
pub fn record_length(input: &[u8]) -> Result<Option<usize>, Error> {
    let &[content, 3, _, high, low, ..] = input else {
        return match input {
            [] | [_] | [_, 3, ..] => Ok(None),
            _ => Err(InvalidMessage::UnknownProtocolVersion.into()),
        };
    };
    if !(20..=23).contains(&content) {
        return Err(InvalidMessage::InvalidContentType.into());
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_SEALED_BYTES {
        return Err(Error::PeerSentOversizedRecord);
    }
    Ok((input.len() >= HEADER_BYTES + length).then_some(HEADER_BYTES + length))
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its content type.
    pub content: u8,
    /// Bytes of it.
    pub length: usize,
}

/// Opens records.
pub struct Opener {
    protection: Protection,
}

impl Opener {
    /// Goes on at record `sequence`.
    pub fn new((sequence, secrets): (u64, &ConnectionTrafficSecrets), version: ProtocolVersion) -> Result<Self, Error> {
        Ok(Self { protection: Protection::new(sequence, secrets, version)? })
    }

    /// Goes on with the keys of another secret.
    pub fn renew(&mut self, secret: &TrafficSecret) -> Result<(), Error> {
        self.protection.renew(secret)
    }

    /// Room that the content of a record of `length` needs.
    pub fn room(&self, length: usize) -> usize {
        let explicit = if self.protection.form == Form::Tls12Explicit { EXPLICIT_BYTES } else { 0 };
        length.saturating_sub(HEADER_BYTES + explicit + TAG_BYTES)
    }

    /// Opens one whole record into `plain`, whose length is [`Opener::room`].
    pub fn open(&mut self, record: &[u8], plain: &mut [u8]) -> Result<Opened, Error> {
        let protection = &mut self.protection;
        let (header, body) = record.split_first_chunk::<HEADER_BYTES>().ok_or(Error::DecryptError)?;
        let context = protection.context(protection.sequence, *header, plain.len());
        let mut nonce = protection.next_nonce();
        let body = match protection.form {
            Form::Tls12Explicit => {
                let (explicit, body) = body.split_first_chunk::<EXPLICIT_BYTES>().ok_or(Error::DecryptError)?;
                nonce[aead::NONCE_LEN - EXPLICIT_BYTES..].copy_from_slice(explicit);
                body
            }
            Form::Tls12 => body,
            Form::Tls13 if header[0] == APPLICATION_DATA => body,
            Form::Tls13 => return Err(InvalidMessage::InvalidContentType.into()),
        };
        let (sealed, tag) = body.split_last_chunk::<TAG_BYTES>().ok_or(Error::DecryptError)?;
        protection
            .key
            .open_separate_gather(Nonce::assume_unique_for_key(nonce), Aad::from(context), sealed, tag, plain)
            .map_err(|_| Error::DecryptError)?;
        let opened = match protection.form {
            // The type stands behind the content, and zeros may follow it.
            Form::Tls13 => {
                let at = plain.iter().rposition(|byte| *byte != 0).ok_or(InvalidMessage::InvalidContentType)?;
                Opened { content: plain[at], length: at }
            }
            Form::Tls12Explicit | Form::Tls12 => Opened { content: header[0], length: plain.len() },
        };
        if opened.length > MAX_PLAIN_BYTES {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok(opened)
    }
}
