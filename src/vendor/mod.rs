//! Outside companies over HTTP, each behind a trait of `domain`.
//!
//! A company takes part when all of its keys are set; without them the server's own ways stand in. Keys never reach a
//! log.

use std::sync::Arc;

use crate::config::Config;
use crate::config::purchase::is_complete;
use crate::domain::purchase::shop::Companies;

pub mod apple;
pub mod google;
mod remote;
pub mod stripe;

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
    Ok(companies)
}
