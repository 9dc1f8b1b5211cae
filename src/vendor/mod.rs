//! Outside companies over HTTP, each behind a trait of `domain`.
//!
//! A company takes part when all of its keys are set; without them the server's own ways stand in. Keys never reach a
//! log.

use std::sync::Arc;

use crate::config::Config;
use crate::config::purchase::is_complete;
use crate::domain::news::NewsList;
use crate::domain::payout::PayoutSender;
use crate::domain::purchase::shop::Companies;
use crate::domain::service::Service;
use crate::domain::wallet::custody::Custody;
use crate::domain::wallet::local::LedgerCustody;
use crate::domain::wallet::seeker::{NamedHolders, SeekerOracle};

pub mod apple;
pub mod brevo;
pub mod circle;
pub mod coinbase;
pub mod google;
pub mod helius;
mod remote;
pub mod stripe;
#[cfg(test)]
pub mod testing;

/// The companies whose keys are set. Errors name the key or file.
pub fn companies(config: &Config) -> anyhow::Result<Companies> {
    let mut companies = Companies::default();
    if is_complete(&config.stripe.required()) {
        companies.checkout = Some(Arc::new(stripe::Stripe::new(&config.stripe)?));
    }
    if is_complete(&config.google.required()) {
        companies.play = Some(Arc::new(google::Google::new(&config.google)?));
    }
    if is_complete(&config.apple.required()) {
        companies.apple = Some(Arc::new(apple::Apple::open(&config.apple)?));
    }
    if is_complete(&config.coinbase.required()) {
        companies.coins = Some(Arc::new(coinbase::Coinbase::new(&config.coinbase)));
    }
    Ok(companies)
}

/// Who keeps the wallets of users: Circle when its keys are set, else the server's own ledger.
pub fn custody(service: &Arc<Service>) -> anyhow::Result<Arc<dyn Custody>> {
    let settings = &service.config().circle;
    Ok(match is_complete(&settings.required()) {
        true => Arc::new(circle::Circle::new(settings, Arc::clone(service))?),
        false => Arc::new(LedgerCustody::new(Arc::clone(service))),
    })
}

/// Who sends payments on chains, if anybody does.
pub fn payout_sender(config: &Config) -> anyhow::Result<Option<Arc<dyn PayoutSender>>> {
    Ok(match config.circle.pays() {
        true => Some(Arc::new(circle::payout::CirclePayouts::new(&config.circle)?)),
        false => None,
    })
}

/// Who keeps the list of those who hear of news, if anybody does.
pub fn news_list(config: &Config) -> anyhow::Result<Option<Arc<dyn NewsList>>> {
    Ok(match config.brevo.has_list() {
        true => Some(Arc::new(brevo::Brevo::new(&config.brevo)?)),
        false => None,
    })
}

/// Who knows whose wallets are marked: Helius when its key is set, else the operator's own list.
pub fn seeker(config: &Config) -> anyhow::Result<Arc<dyn SeekerOracle>> {
    Ok(match config.helius.api_key.is_empty() {
        true => Arc::new(NamedHolders(config.wallet.seeker_holders.clone())),
        false => Arc::new(helius::Helius::new(&config.helius)?),
    })
}
