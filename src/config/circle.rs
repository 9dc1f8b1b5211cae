//! `[circle]`: wallets of users at Circle, and payments out of wallets of the operator there.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Settings of Circle. The first keys switch the wallets of users on, the others payments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Circle {
    /// Key of the API.
    pub api_token: String,
    /// File that holds it instead.
    pub api_token_file: PathBuf,
    /// Circle's code of the chain of users' wallets, such as `SOL`.
    pub blockchain: String,
    /// What people call that chain.
    pub blockchain_name: String,
    /// Secret of the operator's own wallets, 64 hex digits; empty when nothing is paid from them.
    pub entity_secret: String,
    /// File that holds it instead.
    pub entity_secret_file: PathBuf,
    /// The operator's wallet on Solana; empty when nothing is paid there.
    pub solana_wallet_id: String,
    /// The operator's wallet on Polygon; empty when nothing is paid there.
    pub polygon_wallet_id: String,
    /// USDC on Solana.
    pub solana_usdc_address: String,
    /// USDC on Polygon.
    pub polygon_usdc_address: String,
    /// Where requests go.
    pub base_url: String,
}

impl Default for Circle {
    fn default() -> Self {
        Self {
            api_token: String::new(),
            api_token_file: PathBuf::new(),
            blockchain: String::new(),
            blockchain_name: String::new(),
            entity_secret: String::new(),
            entity_secret_file: PathBuf::new(),
            solana_wallet_id: String::new(),
            polygon_wallet_id: String::new(),
            solana_usdc_address: "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v".into(),
            polygon_usdc_address: "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359".into(),
            base_url: "https://api.circle.com".into(),
        }
    }
}

impl Circle {
    /// The keys that belong together.
    pub fn required(&self) -> [(&'static str, bool); 3] {
        [
            ("circle.api_token", !self.api_token.is_empty()),
            ("circle.blockchain", !self.blockchain.is_empty()),
            ("circle.blockchain_name", !self.blockchain_name.is_empty()),
        ]
    }

    /// Whether payments leave through Circle.
    pub fn pays(&self) -> bool {
        !self.api_token.is_empty() && !self.entity_secret.is_empty()
    }
}
