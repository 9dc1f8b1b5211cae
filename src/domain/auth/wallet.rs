//! Wallets as a way to sign in: a challenge goes out, and comes back signed.
//!
//! A challenge holds all there is to know about it under a tag of this process, so that asking for one costs no memory.
//! Only those that came back with a good signature are remembered, for as long as they would still count. After a
//! restart none of the earlier challenges is known; wallets then ask anew.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use rand::Rng;

use super::Accounts;
use super::attempts::{Limit, Origin};
use super::method::MethodKind;
use super::outside::OutsideIdentity;
use crate::domain::error::DomainError;
use crate::time::Timestamp;

/// How long a challenge counts.
pub const LIFETIME: Duration = Duration::from_secs(300);

/// Used challenges remembered at once; above it wallets wait until some have expired.
const MAX_USED: usize = 262_144;

/// Where wallets do not sign in, their routes are as if they were not there.
const SWITCHED_OFF: DomainError = DomainError::NotFound("No such route.");

const PUBLIC_KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TIME_BYTES: usize = 8;
const ADDRESS_BYTES: usize = 8;
const BODY_BYTES: usize = NONCE_BYTES + TIME_BYTES + ADDRESS_BYTES;
const TAG_BYTES: usize = 16;

/// A wallet's proof (`wallet_auth`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalletProof {
    /// Address on the chain, which is the public key.
    pub address: String,
    /// Signature over the message, in base64.
    pub signature: String,
    /// What was signed.
    pub message: String,
    /// Name of the chain; empty for Solana.
    pub blockchain: String,
}

/// Why a proof does not hold; the text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalletRefusal {
    /// Another chain than Solana.
    #[error("Only Solana wallets can sign in on this server.")]
    Chain,
    /// Not an address of the chain.
    #[error("Invalid wallet address.")]
    Address,
    /// Not the three lines.
    #[error("The signed message is not the one of the challenge.")]
    Message,
    /// The time in the message is not that of the challenge.
    #[error("The time in the message is not that of the challenge.")]
    Time,
    /// The challenge was given to another address.
    #[error("The challenge was given to another wallet address.")]
    OtherAddress,
    /// Not a signature of the address over the message.
    #[error("Invalid wallet signature.")]
    Signature,
    /// Not a challenge of this server, or of an earlier start of it.
    #[error("Unknown challenge.")]
    Unknown,
    /// Signed in with before.
    #[error("The challenge was used already.")]
    Used,
    /// Too old.
    #[error("The challenge has expired.")]
    Expired,
}

/// A challenge for a wallet to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The challenge by itself.
    pub challenge: String,
    /// When it was given, in unix seconds.
    pub timestamp: u64,
    /// What the wallet signs, byte for byte.
    pub message: String,
}

/// The challenges of this process.
pub struct Challenges {
    secret: hmac::Key,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    tags: HashSet<[u8; TAG_BYTES]>,
    /// The same in the order of their use.
    order: VecDeque<(Timestamp, [u8; TAG_BYTES])>,
}

/// No challenges yet, under a secret of its own.
impl Default for Challenges {
    fn default() -> Self {
        let mut secret = [0; 32];
        rand::rng().fill_bytes(&mut secret);
        Self { secret: hmac::Key::new(hmac::HMAC_SHA256, &secret), used: Mutex::default() }
    }
}

impl Challenges {
    /// A new challenge; given to an `address`, it counts for that one only.
    fn issue(&self, now: Timestamp, address: Option<&str>) -> Challenge {
        let timestamp = now.as_secs();
        let mut bytes = [0; BODY_BYTES + TAG_BYTES];
        rand::rng().fill_bytes(&mut bytes[..NONCE_BYTES]);
        bytes[NONCE_BYTES..NONCE_BYTES + TIME_BYTES].copy_from_slice(&timestamp.to_be_bytes());
        bytes[NONCE_BYTES + TIME_BYTES..BODY_BYTES].copy_from_slice(&address.map(fingerprint).unwrap_or_default());
        let tag = self.tag(&bytes[..BODY_BYTES]);
        bytes[BODY_BYTES..].copy_from_slice(&tag);
        let challenge = URL_SAFE_NO_PAD.encode(bytes);
        let message = message(&challenge, timestamp);
        Challenge { challenge, timestamp, message }
    }

    /// Checks a signed message that is about `challenge` and `timestamp`, and uses the challenge up.
    fn redeem(
        &self,
        now: Timestamp,
        challenge: &str,
        timestamp: u64,
        address: &str,
    ) -> Result<Result<(), WalletRefusal>, DomainError> {
        let Some(Opened { issued, address: bound, tag }) = self.open(challenge) else {
            return Ok(Err(WalletRefusal::Unknown));
        };
        if issued != timestamp {
            return Ok(Err(WalletRefusal::Time));
        }
        if bound.is_some_and(|bound| bound != fingerprint(address)) {
            return Ok(Err(WalletRefusal::OtherAddress));
        }
        let mut used = self.used.lock();
        used.forget(now);
        if used.tags.contains(&tag) {
            return Ok(Err(WalletRefusal::Used));
        }
        if Timestamp::from_secs(issued) + LIFETIME <= now {
            return Ok(Err(WalletRefusal::Expired));
        }
        if used.tags.len() >= MAX_USED {
            return Err(DomainError::Unavailable);
        }
        used.tags.insert(tag);
        used.order.push_back((now, tag));
        Ok(Ok(()))
    }

    fn open(&self, challenge: &str) -> Option<Opened> {
        let bytes: [u8; BODY_BYTES + TAG_BYTES] = URL_SAFE_NO_PAD.decode(challenge).ok()?.try_into().ok()?;
        let (body, tag) = bytes.split_at(BODY_BYTES);
        constant_time::verify_slices_are_equal(&self.tag(body), tag).ok()?;
        let issued = u64::from_be_bytes(body[NONCE_BYTES..NONCE_BYTES + TIME_BYTES].try_into().ok()?);
        let address: [u8; ADDRESS_BYTES] = body[NONCE_BYTES + TIME_BYTES..].try_into().ok()?;
        let address = (address != [0; ADDRESS_BYTES]).then_some(address);
        Some(Opened { issued, address, tag: tag.try_into().ok()? })
    }

    fn tag(&self, body: &[u8]) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&hmac::sign(&self.secret, body).as_ref()[..TAG_BYTES]);
        tag
    }
}

impl Used {
    /// Drops what would be refused for its age anyway.
    fn forget(&mut self, now: Timestamp) {
        while let Some((at, tag)) = self.order.front().copied()
            && at + LIFETIME <= now
        {
            self.order.pop_front();
            self.tags.remove(&tag);
        }
    }
}

struct Opened {
    issued: u64,
    /// Fingerprint of the only address it counts for.
    address: Option<[u8; ADDRESS_BYTES]>,
    tag: [u8; TAG_BYTES],
}

fn fingerprint(address: &str) -> [u8; ADDRESS_BYTES] {
    let mut bytes = [0; ADDRESS_BYTES];
    bytes.copy_from_slice(&digest(&SHA256, address.as_bytes()).as_ref()[..ADDRESS_BYTES]);
    bytes
}

fn message(challenge: &str, timestamp: u64) -> String {
    format!("Sign in to URnetwork\nChallenge: {challenge}\nTimestamp: {timestamp}")
}

/// The challenge and the time of a signed message; `None` unless it is exactly the three lines.
fn parse_message(text: &str) -> Option<(&str, u64)> {
    let (_, rest) = text.split_once("\nChallenge: ")?;
    let (challenge, timestamp) = rest.split_once("\nTimestamp: ")?;
    let timestamp = timestamp.parse().ok()?;
    let is_exact = !challenge.contains('\n') && text == message(challenge, timestamp);
    is_exact.then_some((challenge, timestamp))
}

/// Whether it is Solana's chain; no name is Solana's too.
fn is_solana(blockchain: &str) -> bool {
    ["", "solana", "sol"].iter().any(|name| blockchain.trim().eq_ignore_ascii_case(name))
}

/// The public key that a Solana address is.
fn public_key(address: &str) -> Option<[u8; PUBLIC_KEY_BYTES]> {
    let mut key = [0; PUBLIC_KEY_BYTES];
    let count = bs58::decode(address).onto(&mut key).ok()?;
    (count == PUBLIC_KEY_BYTES).then_some(key)
}

/// What a wallet's address is stored and found under.
fn identity(proof: &WalletProof) -> OutsideIdentity {
    OutsideIdentity { kind: MethodKind::Solana, identity: proof.address.clone(), user_name: String::new() }
}

impl Accounts {
    /// A challenge for a wallet (`/auth/wallet-challenge`), for one address only when that is given.
    ///
    /// # Errors
    /// [`DomainError::NotFound`] when wallets do not sign in here, [`DomainError::BadRequest`] for another chain or an
    /// address that is none, [`DomainError::TooMany`] after too many of those or of bad proofs.
    pub fn wallet_challenge(&self, origin: &Origin, address: &str, blockchain: &str) -> Result<Challenge, DomainError> {
        if !self.service.config().auth.wallet_sign_in {
            return Err(SWITCHED_OFF);
        }
        let attempt = self.attempts.by_address(self.now(), origin, Limit::Wallet)?;
        if !is_solana(blockchain) {
            return Err(WalletRefusal::Chain.into());
        }
        if !address.is_empty() && public_key(address).is_none() {
            return Err(WalletRefusal::Address.into());
        }
        attempt.withdraw();
        Ok(self.challenges.issue(self.now(), Some(address).filter(|address| !address.is_empty())))
    }

    /// A random text for wallets of the older kind (`/auth/wallet-nonce`), which sign in with a challenge all the same.
    ///
    /// # Errors
    /// [`DomainError::NotFound`] when wallets do not sign in here.
    pub fn wallet_nonce(&self) -> Result<String, DomainError> {
        const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        if !self.service.config().auth.wallet_sign_in {
            return Err(SWITCHED_OFF);
        }
        let mut nonce = [0; 26];
        rand::rng().fill_bytes(&mut nonce);
        Ok(nonce.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
    }

    /// Whose wallet signed; the challenge is used up, whatever follows. For a request that may be a repetition it may be
    /// used up before.
    pub(super) fn prove_wallet(
        &self,
        origin: &Origin,
        proof: &WalletProof,
        is_repeat: bool,
    ) -> Result<Result<OutsideIdentity, WalletRefusal>, DomainError> {
        let attempt = self.attempts.by_address(self.now(), origin, Limit::Wallet)?;
        let (challenge, timestamp) = match check_signature(proof) {
            Ok(signed) => signed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let redeemed = match self.challenges.redeem(self.now(), challenge, timestamp, &proof.address) {
            Ok(Err(WalletRefusal::Used)) if is_repeat => Ok(Ok(())),
            redeemed => redeemed,
        };
        if matches!(redeemed, Ok(Ok(())) | Err(_)) {
            attempt.withdraw();
        }
        Ok(redeemed?.map(|()| identity(proof)))
    }
}

/// The challenge and the time in a message that the address has signed.
fn check_signature(proof: &WalletProof) -> Result<(&str, u64), WalletRefusal> {
    if !is_solana(&proof.blockchain) {
        return Err(WalletRefusal::Chain);
    }
    let key = public_key(&proof.address).ok_or(WalletRefusal::Address)?;
    let signed = parse_message(&proof.message).ok_or(WalletRefusal::Message)?;
    let signature = STANDARD.decode(&proof.signature).map_err(|_| WalletRefusal::Signature)?;
    let checked = UnparsedPublicKey::new(&ED25519, key).verify(proof.message.as_bytes(), &signature);
    checked.map_err(|_| WalletRefusal::Signature)?;
    Ok(signed)
}

impl From<WalletRefusal> for DomainError {
    fn from(refusal: WalletRefusal) -> Self {
        match refusal {
            WalletRefusal::Chain
            | WalletRefusal::Address
            | WalletRefusal::Message
            | WalletRefusal::Time
            | WalletRefusal::OtherAddress => Self::BadRequest(refusal.to_string()),
            WalletRefusal::Signature | WalletRefusal::Unknown => Self::Unauthorized,
            WalletRefusal::Used => Self::Forbidden("The challenge was used already."),
            WalletRefusal::Expired => Self::Forbidden("The challenge has expired."),
        }
    }
}
