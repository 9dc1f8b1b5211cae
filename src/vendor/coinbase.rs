//! Coinbase Commerce: payments in coins, which it reports and signs (`https://docs.cdp.coinbase.com/commerce-onchain`).
//! Nothing is asked of it.

use aws_lc_rs::hmac;
use serde_json::Value;

use crate::config::purchase::Coinbase as Settings;
use crate::domain::auth::user_auth::UserAuth;
use crate::domain::purchase::checkout::{CoinShop, ReportError};
use crate::domain::purchase::code_sale::CodeSale;
use crate::domain::purchase::item::Item;
use crate::money::NanoCents;

/// Coinbase Commerce, known by the secret of its webhook.
pub struct Coinbase {
    settings: Settings,
}

impl Coinbase {
    /// With the secret of these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { settings: settings.clone() }
    }

    fn item(&self, name: &str) -> Option<Item> {
        match name {
            "" => None,
            _ if name == self.settings.name_data_1tib => Some(Item::Data1Tib),
            _ if name == self.settings.name_data_10tib => Some(Item::Data10Tib),
            _ => None,
        }
    }
}

impl CoinShop for Coinbase {
    fn read_report(&self, signature: &str, body: &[u8]) -> Result<Option<CodeSale>, ReportError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.settings.webhook_secret.as_bytes());
        let tag = hex::decode(signature).map_err(|_| ReportError::Signature)?;
        hmac::verify(&key, body, &tag).map_err(|_| ReportError::Signature)?;
        let report: Value = serde_json::from_slice(body).map_err(|_| ReportError::Malformed)?;
        let event = &report["event"];
        if event["type"] != "charge:confirmed" {
            return Ok(None);
        }
        let charge = &event["data"];
        let id = charge["id"].as_str().or(charge["code"].as_str()).ok_or(ReportError::Malformed)?;
        let name = charge["name"].as_str().unwrap_or_default();
        let Some(item) = self.item(name) else {
            tracing::warn!(charge = id, name, "something was paid in coins whose name is not in the settings");
            return Ok(None);
        };
        let address = charge["metadata"]["email"].as_str().and_then(UserAuth::parse_mail);
        let Some(address) = address else {
            tracing::warn!(charge = id, "something was paid in coins by nobody who can be reached");
            return Err(ReportError::Malformed);
        };
        let price = &charge["pricing"]["local"];
        let paid = price["amount"].as_str().filter(|_| price["currency"] == "USD");
        let revenue = paid.and_then(|amount| amount.parse::<NanoCents>().ok()).map_or(0, |amount| amount.0);
        let (key, address) = (format!("coinbase:{id}"), address.as_str().to_owned());
        Ok(Some(CodeSale { key, item, quantity: 1, revenue, address }))
    }
}
