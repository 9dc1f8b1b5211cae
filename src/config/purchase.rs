//! `[purchase]`: what is for sale, at which price, and where it can be paid.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::units::ByteSize;
use crate::money::{NanoCents, dollars};

/// Settings of purchases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Purchase {
    /// Price of a month of Pro; 0 for not for sale.
    #[serde(with = "dollars")]
    pub monthly_usd: NanoCents,
    /// Price of a year of Pro.
    #[serde(with = "dollars")]
    pub yearly_usd: NanoCents,
    /// Price of 1 TiB of data, good for a year.
    #[serde(with = "dollars")]
    pub data_1tib_usd: NanoCents,
    /// Price of 10 TiB of data, good for a year.
    #[serde(with = "dollars")]
    pub data_10tib_usd: NanoCents,
    /// Transfer balance that comes with each month of Pro that is paid, beside the one of `plan.pro`.
    pub pro_bytes: ByteSize,
    /// Whether orders are granted without money when their owner asks for it: private servers.
    pub free_of_charge: bool,
    /// Base of the links to orders; empty for `auth.web_base`.
    pub public_url: String,
}

impl Default for Purchase {
    fn default() -> Self {
        Self {
            monthly_usd: NanoCents::default(),
            yearly_usd: NanoCents::default(),
            data_1tib_usd: NanoCents::default(),
            data_10tib_usd: NanoCents::default(),
            pro_bytes: ByteSize::gib(600),
            free_of_charge: false,
            public_url: String::new(),
        }
    }
}

/// `[stripe]`: payments by card. All keys but the prices are needed, or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stripe {
    /// Secret key.
    pub secret_key: String,
    /// File that holds it instead.
    pub secret_key_file: PathBuf,
    /// Publishable key, for apps.
    pub publishable_key: String,
    /// Secret that webhooks are signed with.
    pub signing_secret: String,
    /// File that holds it instead.
    pub signing_secret_file: PathBuf,
    /// Price id of a month of Pro; empty for not for sale.
    pub price_monthly: String,
    /// Price id of a year of Pro.
    pub price_yearly: String,
    /// Price id of 1 TiB of data.
    pub price_data_1tib: String,
    /// Price id of 10 TiB of data.
    pub price_data_10tib: String,
    /// Where the browser goes after a payment, and from the portal.
    pub success_url: String,
    /// Where the browser goes when the user gives up.
    pub cancel_url: String,
    /// Where requests go.
    pub base_url: String,
}

impl Default for Stripe {
    fn default() -> Self {
        Self {
            secret_key: String::new(),
            secret_key_file: PathBuf::new(),
            publishable_key: String::new(),
            signing_secret: String::new(),
            signing_secret_file: PathBuf::new(),
            price_monthly: String::new(),
            price_yearly: String::new(),
            price_data_1tib: String::new(),
            price_data_10tib: String::new(),
            success_url: String::new(),
            cancel_url: String::new(),
            base_url: "https://api.stripe.com".into(),
        }
    }
}

impl Stripe {
    /// The keys that belong together.
    pub fn required(&self) -> [(&'static str, bool); 5] {
        [
            ("stripe.secret_key", !self.secret_key.is_empty()),
            ("stripe.publishable_key", !self.publishable_key.is_empty()),
            ("stripe.signing_secret", !self.signing_secret.is_empty()),
            ("stripe.success_url", !self.success_url.is_empty()),
            ("stripe.cancel_url", !self.cancel_url.is_empty()),
        ]
    }
}

/// `[apple]`: receipts of the App Store. All keys are needed, or none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Apple {
    /// PEM file of the root certificates that receipts must end in.
    pub roots: PathBuf,
    /// Bundle id of the app.
    pub bundle_id: String,
    /// Product id of a month of Pro.
    pub product_monthly: String,
    /// Product id of a year of Pro.
    pub product_yearly: String,
    /// Whether receipts of the sandbox count.
    pub sandbox: bool,
}

impl Apple {
    /// The keys that belong together.
    pub fn required(&self) -> [(&'static str, bool); 4] {
        [
            ("apple.roots", !self.roots.as_os_str().is_empty()),
            ("apple.bundle_id", !self.bundle_id.is_empty()),
            ("apple.product_monthly", !self.product_monthly.is_empty()),
            ("apple.product_yearly", !self.product_yearly.is_empty()),
        ]
    }
}

/// `[google]`: receipts of Google Play. All keys are needed, or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Google {
    /// Package of the app.
    pub package: String,
    /// OAuth client.
    pub client_id: String,
    /// Secret of the OAuth client.
    pub client_secret: String,
    /// File that holds it instead.
    pub client_secret_file: PathBuf,
    /// Refresh token of an account that may see purchases.
    pub refresh_token: String,
    /// File that holds it instead.
    pub refresh_token_file: PathBuf,
    /// Product id of a month of Pro.
    pub product_monthly: String,
    /// Product id of a year of Pro.
    pub product_yearly: String,
    /// The account that pushes to `/pay/play`; empty when no pushes are taken.
    pub publisher_email: String,
    /// Where tokens come from.
    pub token_url: String,
    /// Who vouches for the tokens of pushes.
    pub tokeninfo_url: String,
    /// Where requests go.
    pub base_url: String,
}

impl Default for Google {
    fn default() -> Self {
        Self {
            package: String::new(),
            client_id: String::new(),
            client_secret: String::new(),
            client_secret_file: PathBuf::new(),
            refresh_token: String::new(),
            refresh_token_file: PathBuf::new(),
            product_monthly: String::new(),
            product_yearly: String::new(),
            publisher_email: String::new(),
            token_url: "https://accounts.google.com/o/oauth2/token".into(),
            tokeninfo_url: "https://oauth2.googleapis.com/tokeninfo".into(),
            base_url: "https://androidpublisher.googleapis.com".into(),
        }
    }
}

impl Google {
    /// The keys that belong together.
    pub fn required(&self) -> [(&'static str, bool); 6] {
        [
            ("google.package", !self.package.is_empty()),
            ("google.client_id", !self.client_id.is_empty()),
            ("google.client_secret", !self.client_secret.is_empty()),
            ("google.refresh_token", !self.refresh_token.is_empty()),
            ("google.product_monthly", !self.product_monthly.is_empty()),
            ("google.product_yearly", !self.product_yearly.is_empty()),
        ]
    }
}

/// `[coinbase]`: payments in coins, for codes that go out by mail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Coinbase {
    /// Secret that webhooks are signed with; empty when none are taken.
    pub webhook_secret: String,
    /// File that holds it instead.
    pub webhook_secret_file: PathBuf,
    /// Name of the charge for 1 TiB of data; empty for not for sale.
    pub name_data_1tib: String,
    /// Name of the charge for 10 TiB of data.
    pub name_data_10tib: String,
}

impl Coinbase {
    /// The keys that belong together.
    pub fn required(&self) -> [(&'static str, bool); 1] {
        [("coinbase.webhook_secret", !self.webhook_secret.is_empty())]
    }
}

/// `[solana]`: payments in USDC on Solana, reported by a Helius webhook. Both keys are needed, or none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Solana {
    /// Address that is paid to.
    pub receiver: String,
    /// What the webhook sends as `Authorization`.
    pub webhook_secret: String,
    /// File that holds it instead.
    pub webhook_secret_file: PathBuf,
}

impl Solana {
    /// The keys that belong together.
    pub fn required(&self) -> [(&'static str, bool); 2] {
        [("solana.receiver", !self.receiver.is_empty()), ("solana.webhook_secret", !self.webhook_secret.is_empty())]
    }
}

/// Whether a company is used: all of its keys are set.
pub fn is_complete(required: &[(&'static str, bool)]) -> bool {
    required.iter().all(|(_, is_set)| *is_set)
}
