//! Settings: one file per section, each `Default` being the documented default in `config.toml`.
//!
//! Order: defaults, the file named by `--config`, the environment (`WARREN__SECTION__KEY`), the command line.
//! Plain data: it uses nothing else of this crate.

use serde::{Deserialize, Serialize};

pub mod address_range;
pub mod advice;
pub mod auth;
pub mod brevo;
pub mod check;
pub mod circle;
pub mod client_api;
pub mod contracts;
pub mod device;
pub mod discovery;
pub mod geoip;
pub mod http;
pub mod legal;
pub mod limits;
pub mod load;
pub mod log_upload;
pub mod mail;
pub mod payout;
pub mod portal;
pub mod purchase;
pub mod relay;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod units;
pub mod wallet;

/// Every setting of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The JSON API and the WebSocket relay, on one TCP listener.
    pub http: http::Http,
    /// The frame relay.
    pub relay: relay::Relay,
    /// Certificates.
    pub tls: tls::Tls,
    /// Where state lives.
    pub store: store::Store,
    /// Sign-up, sign-in, tokens.
    pub auth: auth::Auth,
    /// Verification codes and notices.
    pub mail: mail::Mail,
    /// Mail and news through Brevo.
    pub brevo: brevo::Brevo,
    /// What a network is granted.
    pub plan: contracts::Plan,
    /// Wallets, and the addresses they pay to.
    pub wallet: wallet::Wallet,
    /// Who holds the token of a phone.
    pub helius: wallet::Helius,
    /// Wallets of users at Circle, and payments from there.
    pub circle: circle::Circle,
    /// When providers are paid.
    pub payout: payout::Payout,
    /// What is for sale.
    pub purchase: purchase::Purchase,
    /// Payments by card.
    pub stripe: purchase::Stripe,
    /// Receipts of the App Store.
    pub apple: purchase::Apple,
    /// Receipts of Google Play.
    pub google: purchase::Google,
    /// Payments in coins.
    pub coinbase: purchase::Coinbase,
    /// Payments on Solana.
    pub solana: purchase::Solana,
    /// Permission to transfer.
    pub contracts: contracts::Contracts,
    /// Numbers the product promises.
    pub limits: limits::Limits,
    /// Sharing and adopting devices.
    pub device: device::Device,
    /// Logs that apps send.
    pub log_upload: log_upload::LogUpload,
    /// Legal texts.
    pub legal: legal::Legal,
    /// The API of phone apps and browser extensions.
    pub client_api: client_api::ClientApi,
    /// Which providers are offered.
    pub discovery: discovery::Discovery,
    /// Where addresses are.
    pub geoip: geoip::GeoIp,
    /// The account website.
    pub portal: portal::Portal,
    /// Metrics, health, logs.
    pub telemetry: telemetry::Telemetry,
}
