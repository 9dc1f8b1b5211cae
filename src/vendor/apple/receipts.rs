//! Receipts of the App Store as plans: signed transactions, which prove themselves, and old ones, base64 in one piece,
//! which Apple is asked about (`https://developer.apple.com/documentation/appstorereceipts/verifyreceipt`).

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::Apple;
use crate::config::purchase::Apple as Settings;
use crate::domain::purchase::store_report::{Receipt, ReceiptState};
use crate::domain::subscription::receipt::{ReceiptProblem, ReceiptVerifier, StoreReceipt, TEST_RECEIPTS};
use crate::domain::subscription::record::ReceiptType;
use crate::time::Timestamp;
use crate::vendor::remote::{Remote, RemoteError};

/// A receipt of the sandbox was sent to the other place.
const IS_SANDBOX: i64 = 21007;

/// The user is gone from the store.
const USER_GONE: i64 = 21010;

/// Errors inside the store; asking again may help.
const INSIDE: std::ops::RangeInclusive<i64> = 21100..=21199;

/// How often a receipt is asked about, and the pause in between.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(250);

/// Checks receipts of the App Store.
pub struct AppleReceipts {
    apple: Apple,
    production: Remote,
    sandbox: Remote,
}

impl AppleReceipts {
    /// With the keys of these settings.
    pub fn open(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            apple: Apple::open(settings)?,
            production: Remote::new("apple", "apple.verify_url", &settings.verify_url)?,
            sandbox: Remote::new("apple", "apple.sandbox_verify_url", &settings.sandbox_verify_url)?,
        })
    }

    async fn check(&self, receipt: &str, now: Timestamp) -> Result<StoreReceipt, ReceiptProblem> {
        if is_signed(receipt) {
            return self.read_signed(receipt, now);
        }
        let decoded = BASE64_STANDARD.decode(receipt).map_err(|_| wrong("it cannot be decoded"))?;
        match std::str::from_utf8(&decoded) {
            Ok(inner) if is_signed(inner) => self.read_signed(inner, now),
            _ => self.ask(receipt, now).await,
        }
    }

    fn read_signed(&self, signed: &str, now: Timestamp) -> Result<StoreReceipt, ReceiptProblem> {
        let transaction = self.apple.open_signed(signed, now).ok_or_else(|| wrong("its signature is wrong"))?;
        let product = transaction["productId"].as_str().unwrap_or_default();
        let plan = self.apple.plan(product).ok_or_else(|| ReceiptProblem::AppleProduct(product.into()))?;
        let receipt_id = transaction["originalTransactionId"].as_str().unwrap_or_default().to_owned();
        let period =
            self.apple.receipt(&transaction).ok_or_else(|| wrong("it is of another app or a field is missing"))?;
        Ok(StoreReceipt {
            receipt_type: ReceiptType::Ios,
            receipt_id: known(receipt_id)?,
            plan,
            in_trial: transaction["offerDiscountType"] == "FREE_TRIAL",
            // A transaction does not say; the store's notifications do.
            renews: true,
            cancellation: transaction["revocationDate"].as_u64().map(Timestamp::from_millis),
            period,
            proof: None,
        })
    }

    async fn ask(&self, receipt: &str, now: Timestamp) -> Result<StoreReceipt, ReceiptProblem> {
        let settings = &self.apple.settings;
        if settings.shared_secret.is_empty() {
            return Err(ReceiptProblem::AppleRefuses("receipts of the old kind are not switched on".into()));
        }
        let body = json!({
            "receipt-data": receipt,
            "password": settings.shared_secret,
            "exclude-old-transactions": true,
        });
        let mut place = &self.production;
        for attempt in 1..=TRIES {
            let answer = match place.send(place.post_json("", &body)).await {
                Ok(answer) => answer,
                Err(RemoteError::Refused(status, _)) => {
                    return Err(ReceiptProblem::AppleRefuses(format!("it answers {status}")));
                }
                Err(RemoteError::Unreachable) => return Err(ReceiptProblem::Unreachable),
            };
            let status = answer["status"].as_i64().unwrap_or(-1);
            let may_retry = answer.get("is-retryable").or(answer.get("is_retryable")).map(is_true);
            match status {
                0 => return self.read(&answer, now),
                IS_SANDBOX if settings.sandbox && attempt < TRIES => place = &self.sandbox,
                USER_GONE => return Err(ReceiptProblem::AppleFinal(format!("status {status}"))),
                status if INSIDE.contains(&status) && may_retry == Some(false) => {
                    return Err(ReceiptProblem::AppleFinal(format!("status {status}")));
                }
                status if INSIDE.contains(&status) && attempt < TRIES => tokio::time::sleep(PAUSE).await,
                status => return Err(ReceiptProblem::AppleRefuses(format!("status {status}"))),
            }
        }
        Err(ReceiptProblem::AppleRefuses("it does not answer".into()))
    }

    fn read(&self, answer: &Value, now: Timestamp) -> Result<StoreReceipt, ReceiptProblem> {
        if answer.pointer("/receipt/bundle_id") != Some(&self.apple.settings.bundle_id.as_str().into()) {
            return Err(wrong("it is of another app"));
        }
        let listed = answer["latest_receipt_info"].as_array().map_or(&[][..], Vec::as_slice);
        let latest = listed.iter().max_by_key(|entry| millis(entry, "expires_date_ms"));
        let latest = latest.ok_or_else(|| wrong("it holds no subscription"))?;
        let text = |name: &str| latest[name].as_str().ok_or_else(|| wrong(&format!("{name} is missing")));
        let time = |name: &str| millis(latest, name).ok_or_else(|| wrong(&format!("{name} is missing")));
        let original = text("original_transaction_id")?;
        let product = text("product_id")?;
        let plan = self.apple.plan(product).ok_or_else(|| ReceiptProblem::AppleProduct(product.into()))?;
        let (start, end) = (time("purchase_date_ms")?, time("expires_date_ms")?);
        let in_trial = latest.get("is_trial_period").ok_or_else(|| wrong("is_trial_period is missing"))?;
        let pending = answer["pending_renewal_info"].as_array().map_or(&[][..], Vec::as_slice);
        let own = pending.iter().find(|entry| entry["original_transaction_id"] == original).or(pending.first());
        let own = own.ok_or_else(|| wrong("pending_renewal_info is missing"))?;
        let renews = own.get("auto_renew_status").ok_or_else(|| wrong("auto_renew_status is missing"))?;
        let proof = answer["latest_receipt"].as_str().ok_or_else(|| wrong("latest_receipt is missing"))?;
        let cancellation = millis(latest, "cancellation_date_ms");
        let state = match cancellation {
            Some(_) => ReceiptState::Revoked,
            None if end <= now => ReceiptState::Over,
            None => ReceiptState::Active,
        };
        Ok(StoreReceipt {
            receipt_type: ReceiptType::Ios,
            receipt_id: known(original.to_owned())?,
            plan,
            period: Receipt {
                key: format!("apple:{}", text("transaction_id")?),
                subscription: format!("apple:{original}"),
                account: None,
                item: plan.item(),
                state,
                period: (start, end),
            },
            in_trial: is_true(in_trial),
            renews: is_true(renews),
            cancellation,
            proof: Some(proof.to_owned()),
        })
    }
}

impl ReceiptVerifier for AppleReceipts {
    fn verify(&self, receipt: String, now: Timestamp) -> BoxFuture<'_, Result<StoreReceipt, ReceiptProblem>> {
        Box::pin(async move { self.check(&receipt, now).await })
    }

    fn look_again(&self, proof: String, now: Timestamp) -> BoxFuture<'_, Result<StoreReceipt, ReceiptProblem>> {
        Box::pin(async move { self.ask(&proof, now).await })
    }
}

/// Three parts between points.
fn is_signed(text: &str) -> bool {
    text.split('.').count() == 3
}

fn wrong(what: &str) -> ReceiptProblem {
    ReceiptProblem::Apple(what.into())
}

fn known(receipt_id: String) -> Result<String, ReceiptProblem> {
    match TEST_RECEIPTS.contains(&receipt_id.as_str()) {
        true => Err(ReceiptProblem::TestSuite),
        false => Ok(receipt_id),
    }
}

/// Apple writes numbers as text, mostly.
fn millis(entry: &Value, name: &str) -> Option<Timestamp> {
    let value = entry.get(name)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).map(Timestamp::from_millis)
}

fn is_true(value: &Value) -> bool {
    matches!(value.as_str(), Some("true" | "1")) || value == true || value == 1
}
