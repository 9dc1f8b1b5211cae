//! Tokens: the claims they carry, and the keys that sign and check them.
//!
//! Whether the network, user, client and session behind a token still stand is not decided here but in
//! `auth/authenticate.rs`.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA512, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};

use super::caller::{Caller, CallerClient};
use super::secret_file::{self, SecretFileError};
use crate::ids::{ClientId, DeviceId, NetworkId, RecordId, SessionId, UserId};
use crate::time::Timestamp;

/// Issuer of every token.
pub const ISSUER: &str = "urnetwork:byjwt";
/// Audience of the HTTP API.
pub const AUDIENCE_API: &str = "urnetwork:api";
/// Audience of the relay.
pub const AUDIENCE_CONNECT: &str = "urnetwork:connect";

/// Clock difference between machines that is forgiven.
const LEEWAY: Duration = Duration::from_secs(30);
/// File of the signing keys in the data folder.
const KEY_FILE: &str = "token-keys.pem";
/// Shortest RSA modulus.
const MIN_RSA_BYTES: usize = 2048 / 8;

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// What a token says. A claim without a value is left out: Go clients assert the type of every claim that is present
/// and stop at `null` (`sdk/local_state.go`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The network.
    pub network_id: NetworkId,
    /// Its name when the token was made.
    #[serde(default)]
    pub network_name: String,
    /// The network's administrator.
    pub user_id: UserId,
    /// Time of the root login; copied to every token derived from it.
    #[serde(default)]
    pub create_time: Timestamp,
    /// The client; present makes this a client token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// The client's device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// The account has no sign-in method yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guest_mode: bool,
    /// The network has a Pro balance.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pro: bool,
    /// Opaque identity roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Opaque identity principal; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub principal: String,
    /// The login session.
    #[serde(default, rename = "sid", skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Always [`ISSUER`] in tokens of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Same as `user_id` in tokens of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<UserId>,
    /// Both audiences in tokens of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<Vec<String>>,
    /// Issued at, unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// Not before, unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Expires, unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// Id of the token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<RecordId>,
}

impl Claims {
    /// What a token says, whoever made it.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] or [`TokenError::Claims`].
    pub fn read_unverified(token: &str) -> Result<Self, TokenError> {
        let payload = token.split('.').nth(1).ok_or(TokenError::Malformed)?;
        serde_json::from_slice(&decode_part(payload)?).map_err(|_| TokenError::Claims)
    }

    /// Checks times, issuer, subject and audience, each only when present.
    ///
    /// # Errors
    /// [`TokenError::Time`] or [`TokenError::Claims`].
    pub fn check(&self, now: Timestamp, enforce_expiry: bool, audience: &str) -> Result<(), TokenError> {
        let begins = self.nbf.max(self.iat).map(Timestamp::from_secs);
        if begins.is_some_and(|begins| begins > now + LEEWAY) {
            return Err(TokenError::Time);
        }
        let expires = self.exp.map(Timestamp::from_secs);
        if enforce_expiry && expires.is_some_and(|expires| expires + LEEWAY < now) {
            return Err(TokenError::Time);
        }
        let right_issuer = self.iss.as_deref().is_none_or(|issuer| issuer == ISSUER);
        let right_subject = self.sub.is_none_or(|subject| subject == self.user_id);
        let right_audience = self.aud.as_ref().is_none_or(|all| all.iter().any(|one| one == audience));
        if right_issuer && right_subject && right_audience { Ok(()) } else { Err(TokenError::Claims) }
    }

    /// The identity these claims stand for. A client without a device is no client: the relay and the refresh need
    /// both.
    pub fn to_caller(&self) -> Caller {
        let client = self.client_id.zip(self.device_id);
        Caller {
            network_id: self.network_id,
            user_id: self.user_id,
            client: client.map(|(client_id, device_id)| CallerClient { client_id, device_id }),
            create_time: self.create_time,
            session_id: self.session_id,
            roles: self.roles.clone(),
            principal: self.principal.clone(),
        }
    }
}

/// Why a token is no good. Callers learn none of this; it is for logs and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url with JSON inside.
    #[error("not a token")]
    Malformed,
    /// An algorithm that no key of ours signs with; `none` and HMAC among them.
    #[error("signed with an algorithm that is not accepted")]
    Algorithm,
    /// No key of ours made the signature.
    #[error("the signature is not ours")]
    Signature,
    /// Expired, or not valid yet.
    #[error("outside its time")]
    Time,
    /// A claim is missing, of the wrong type, or meant for someone else.
    #[error("its claims do not fit")]
    Claims,
}

/// A key file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No `PRIVATE KEY` block.
    #[error("it holds no PKCS#8 private key")]
    NoKey,
    /// A block that is no key of an accepted kind.
    #[error("key {0} is not a P-256, P-384 or RSA (2048 bits and more) key in PKCS#8")]
    NotAccepted(usize),
}

/// The keys: the first signs, all verify.
pub struct TokenKeys {
    keys: Vec<TokenKey>,
}

struct TokenKey {
    /// base64url of SHA-256 over the public key's SubjectPublicKeyInfo.
    id: String,
    algorithm: Algorithm,
    signing: EncodingKey,
    verifying: ParsedPublicKey,
}

#[derive(Deserialize)]
struct UncheckedHeader {
    alg: String,
    kid: Option<String>,
}

impl TokenKeys {
    /// One fresh P-256 key that is stored nowhere.
    pub fn generate() -> Self {
        Self::from_pem(&generate_pem()).expect("a key just made is accepted")
    }

    /// The keys in the data folder's `token-keys.pem`, made at first start with mode 0600. To change the key, put a
    /// new block in front; the old ones keep verifying.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub fn load_or_create(folder: &Path) -> Result<Self, SecretFileError> {
        let path = folder.join(KEY_FILE);
        let pem = secret_file::load_or_create(&path, || generate_pem().into_bytes())?;
        let pem = String::from_utf8_lossy(&pem);
        Self::from_pem(&pem).map_err(|error| SecretFileError::Damaged(path, error.to_string()))
    }

    /// Keys from PKCS#8 PEM blocks, in order.
    ///
    /// # Errors
    /// No block, or one that is not P-256, P-384 or RSA of 2048 bits and more.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let blocks = pem.split(PEM_BEGIN).skip(1).filter_map(|rest| rest.split_once(PEM_END));
        let keys: Vec<TokenKey> = blocks
            .enumerate()
            .map(|(at, (body, _))| TokenKey::from_pem_body(body).ok_or(KeyError::NotAccepted(at + 1)))
            .collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyError::NoKey) } else { Ok(Self { keys }) }
    }

    /// SHA-256 over the ids of all keys: another one when any key comes or goes.
    pub fn fingerprint(&self) -> [u8; 32] {
        let ids = self.keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>().join(" ");
        digest(&SHA256, ids.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// A signed token.
    pub fn issue(&self, claims: &Claims) -> String {
        let key = &self.keys[0];
        let header = Header { kid: Some(key.id.clone()), ..Header::new(key.algorithm) };
        jsonwebtoken::encode(&header, claims, &key.signing).expect("a key that was accepted signs")
    }

    /// Checks who signed, and nothing else.
    ///
    /// # Errors
    /// Every kind but [`TokenError::Time`].
    pub fn verify_signature(&self, token: &str) -> Result<Claims, TokenError> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload, signature) = (decode_part(header)?, decode_part(payload)?, decode_part(signature)?);
        let header: UncheckedHeader = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
        let algorithm: Algorithm = header.alg.parse().map_err(|_| TokenError::Algorithm)?;

        let named = self.keys.iter().find(|key| header.kid.as_ref() == Some(&key.id));
        let candidates = match named {
            Some(key) => std::slice::from_ref(key),
            // A kid we do not know may be another spelling of a key we do.
            None => &self.keys[..],
        };
        let mut fitting = candidates.iter().filter(|key| key.algorithm == algorithm).peekable();
        fitting.peek().ok_or(TokenError::Algorithm)?;
        if !fitting.any(|key| key.verifying.verify_sig(message.as_bytes(), &signature).is_ok()) {
            return Err(TokenError::Signature);
        }
        serde_json::from_slice(&payload).map_err(|_| TokenError::Claims)
    }

    /// Checks signature, times, issuer, subject and audience, in this order.
    ///
    /// # Errors
    /// Any [`TokenError`].
    pub fn verify(
        &self,
        token: &str,
        now: Timestamp,
        enforce_expiry: bool,
        audience: &str,
    ) -> Result<Claims, TokenError> {
        let claims = self.verify_signature(token)?;
        claims.check(now, enforce_expiry, audience)?;
        Ok(claims)
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| (&key.id, key.algorithm))).finish()
    }
}

impl TokenKey {
    fn from_pem_body(body: &str) -> Option<Self> {
        let text: String = body.split_whitespace().collect();
        let der = STANDARD.decode(text).ok()?;
        let p256 = (&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P256_SHA256_FIXED);
        let p384 = (&ECDSA_P384_SHA384_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED);
        Self::from_ec(&der, p256, Algorithm::ES256)
            .or_else(|| Self::from_ec(&der, p384, Algorithm::ES384))
            .or_else(|| Self::from_rsa(&der, body))
    }

    fn from_ec(
        der: &[u8],
        (signing, verifying): (&'static EcdsaSigningAlgorithm, &'static EcdsaVerificationAlgorithm),
        algorithm: Algorithm,
    ) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(signing, der).ok()?;
        let verifying = ParsedPublicKey::new(verifying, pair.public_key()).ok()?;
        Some(Self { id: key_id(pair.public_key())?, algorithm, signing: EncodingKey::from_ec_der(der), verifying })
    }

    fn from_rsa(der: &[u8], body: &str) -> Option<Self> {
        let pair = RsaKeyPair::from_pkcs8(der).ok()?;
        if pair.public_modulus_len() < MIN_RSA_BYTES {
            return None;
        }
        // The library signs with the inner PKCS#1 form, which it takes out of the PEM form only.
        let signing = EncodingKey::from_rsa_pem(format!("{PEM_BEGIN}{body}{PEM_END}\n").as_bytes()).ok()?;
        let verifying = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA512, pair.public_key()).ok()?;
        Some(Self { id: key_id(pair.public_key())?, algorithm: Algorithm::RS512, signing, verifying })
    }
}

fn decode_part(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}

fn key_id(public: &impl AsDer<PublicKeyX509Der<'static>>) -> Option<String> {
    let der = public.as_der().ok()?;
    Some(URL_SAFE_NO_PAD.encode(digest(&SHA256, der.as_ref())))
}

/// A fresh P-256 key as a PKCS#8 PEM block.
pub(super) fn generate_pem() -> String {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("the system random generator works");
    let der = pair.to_pkcs8v1().expect("a key just made has a PKCS#8 form");
    let text = STANDARD.encode(der.as_ref());
    let mut pem = format!("{PEM_BEGIN}\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str(PEM_END);
    pem.push('\n');
    pem
}

#[cfg(test)]
#[path = "token/tests.rs"]
mod tests;
