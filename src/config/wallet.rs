//! `[wallet]`: the wallets that hold USDC, and the addresses they pay to.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Settings of wallets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wallet {
    /// The chain of wallets: `SOL` or `MATIC`.
    pub chain: String,
    /// Whether Solana addresses must be keys that somebody can sign with.
    pub require_on_curve: bool,
    /// More addresses that nobody shall pay to; those of USDC are always refused.
    pub refused_addresses: Vec<String>,
    /// Addresses on Solana that hold the token of a Seeker or Saga phone, while Helius is not asked.
    pub seeker_holders: Vec<String>,
}

impl Default for Wallet {
    fn default() -> Self {
        Self { chain: "SOL".into(), require_on_curve: false, refused_addresses: Vec::new(), seeker_holders: Vec::new() }
    }
}

/// `[helius]`: who holds the token of a phone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Helius {
    /// Key of the API; empty when it is not asked.
    pub api_key: String,
    /// File that holds it instead.
    pub api_key_file: PathBuf,
    /// Where requests go.
    pub base_url: String,
}

impl Default for Helius {
    fn default() -> Self {
        let base_url = "https://mainnet.helius-rpc.com".into();
        Self { api_key: String::new(), api_key_file: PathBuf::new(), base_url }
    }
}
