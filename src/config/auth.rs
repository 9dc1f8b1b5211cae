//! `[auth]`: sign-up, sign-in and tokens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::{ByteSize, duration};

/// Whether a new account must prove its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// A code is sent and must be returned.
    Required,
    /// New accounts are verified at once.
    Auto,
}

/// Who may create a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signup {
    /// Anyone.
    Open,
    /// Nobody; the operator makes networks.
    Closed,
}

/// Settings of accounts and tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Whether a new account must prove its address.
    pub verify: Verify,
    /// Who may create a network.
    pub signup: Signup,
    /// Lifetime of a token.
    #[serde(with = "duration")]
    pub token_lifetime: Duration,
    /// Whether a token past its lifetime is refused.
    pub enforce_expiry: bool,
    /// Whether a client token may create an auth code, which logs in as the user.
    pub code_from_client_token: bool,
    /// Whether a client token may make an API key, which acts as the user; today's apps hold nothing else.
    pub api_key_from_client_token: bool,
    /// Shortest network name, in bytes.
    pub network_name_min: usize,
    /// Memory of one Argon2id hash.
    pub argon2_memory: ByteSize,
    /// Passes of one Argon2id hash.
    pub argon2_passes: u32,
    /// Base of the links in mails, e.g. `https://example.org`.
    pub web_base: String,
    /// Attempt limits on passwords, codes and messages; loopback is not exempt from these.
    pub attempt_limits: bool,
    /// Accounts without any sign-in method per address bucket and day; loopback is exempt; 0 for no limit.
    pub anonymous_per_day: u32,
    /// Whether a Solana wallet is a way to sign in.
    pub wallet_sign_in: bool,
    /// Sign-in with Apple.
    pub apple: SignInService,
    /// Sign-in with Google.
    pub google: SignInService,
}

/// A service whose tokens sign people in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignInService {
    /// The apps whose tokens count (`aud`); none switches the service off.
    pub client_ids: Vec<String>,
    /// Who may have made a token (`iss`).
    pub issuers: Vec<String>,
    /// Where the service's public keys are, as a JSON key set: a URL, or the path of a file.
    pub keys: String,
}

impl SignInService {
    /// Whether tokens of the service sign in. A service without an app of its own would take tokens made for others.
    pub fn is_on(&self) -> bool {
        !self.client_ids.is_empty()
    }

    /// Whether the keys come from the network, not from a file.
    pub fn has_remote_keys(&self) -> bool {
        ["http://", "https://"].iter().any(|scheme| self.keys.starts_with(scheme))
    }

    fn of(issuers: &[&str], keys: &str) -> Self {
        let issuers = issuers.iter().map(|issuer| (*issuer).to_owned()).collect();
        Self { client_ids: Vec::new(), issuers, keys: keys.into() }
    }

    fn apple() -> Self {
        Self::of(&["https://appleid.apple.com"], "https://appleid.apple.com/auth/keys")
    }

    fn google() -> Self {
        Self::of(&["https://accounts.google.com", "accounts.google.com"], "https://www.googleapis.com/oauth2/v3/certs")
    }
}

impl Default for SignInService {
    /// Switched off.
    fn default() -> Self {
        Self::of(&[], "")
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            verify: Verify::Required,
            signup: Signup::Open,
            token_lifetime: Duration::from_secs(365 * 86_400),
            enforce_expiry: true,
            code_from_client_token: false,
            api_key_from_client_token: true,
            network_name_min: 5,
            argon2_memory: ByteSize::mib(32),
            argon2_passes: 3,
            web_base: "http://127.0.0.1:8080".into(),
            attempt_limits: true,
            anonymous_per_day: 5,
            wallet_sign_in: false,
            apple: SignInService::apple(),
            google: SignInService::google(),
        }
    }
}
