//! `[wallet]`: the wallets that hold USDC, and the addresses they pay to.

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
}

impl Default for Wallet {
    fn default() -> Self {
        Self { chain: "SOL".into(), require_on_curve: false, refused_addresses: Vec::new() }
    }
}
