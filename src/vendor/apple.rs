//! The App Store: transactions and notifications that it signs, checked against root certificates that the operator
//! names (`https://developer.apple.com/documentation/appstoreserverapi/jwstransaction`). Nothing is asked of anybody.

pub mod receipts;

use std::time::Duration;

use anyhow::Context;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use x509_parser::prelude::{FromDer, Pem, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::config::purchase::Apple as Settings;
use crate::domain::purchase::store_report::{AppStore, Receipt, ReceiptState, StoreError};
use crate::domain::subscription::plan::PlanType;
use crate::time::{DAY, Timestamp};

/// What marks a certificate that signs receipts, and the one above it.
const LEAF_MARK: &str = "1.2.840.113635.100.6.11.1";
const INTERMEDIATE_MARK: &str = "1.2.840.113635.100.6.2.1";

/// A notification may be this old, and this far ahead.
const OLDEST: Duration = DAY;
const AHEAD: Duration = Duration::from_secs(300);

/// The App Store, known by its root certificates.
pub struct Apple {
    roots: Vec<Vec<u8>>,
    settings: Settings,
}

impl Apple {
    /// Reads the root certificates.
    pub fn open(settings: &Settings) -> anyhow::Result<Self> {
        let path = settings.roots.display();
        let text = std::fs::read(&settings.roots).with_context(|| format!("apple.roots {path} cannot be read"))?;
        let mut roots = Vec::new();
        for pem in Pem::iter_from_buffer(&text) {
            let pem = pem.with_context(|| format!("apple.roots {path} is not a PEM file"))?;
            pem.parse_x509().with_context(|| format!("apple.roots {path} holds what is no certificate"))?;
            roots.push(pem.contents);
        }
        anyhow::ensure!(
            !roots.is_empty(),
            "apple.roots {path} holds no certificate; name a PEM file with Apple's roots"
        );
        Ok(Self { roots, settings: settings.clone() })
    }

    /// The payload of a signed text, whose certificates end in a known root.
    fn open_signed(&self, signed: &str, now: Timestamp) -> Option<Value> {
        let mut parts = signed.split('.');
        let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let text = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        let fields: Value = serde_json::from_slice(&text(header)?).ok()?;
        if fields["alg"] != "ES256" {
            return None;
        }
        let chain: Vec<Vec<u8>> = fields["x5c"]
            .as_array()?
            .iter()
            .map(|certificate| BASE64_STANDARD.decode(certificate.as_str()?).ok())
            .collect::<Option<_>>()?;
        let [leaf, intermediate, root] = &chain[..] else { return None };
        if !self.roots.contains(root) {
            return None;
        }
        let key = signing_key([leaf, intermediate, root], now)?;
        let message = &signed.as_bytes()[..header.len() + 1 + payload.len()];
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, &text(signature)?).ok()?;
        serde_json::from_slice(&text(payload)?).ok()
    }

    /// The plan that a product is.
    fn plan(&self, product: &str) -> Option<PlanType> {
        let settings = &self.settings;
        let known = [
            (&settings.product_monthly, "all-monthly"),
            (&settings.product_yearly, "all-annual"),
            (&settings.product_ios_monthly, "ios-monthly"),
            (&settings.product_ios_yearly, "ios-annual"),
        ];
        let found = known.into_iter().find(|(known, _)| !known.is_empty() && *known == product);
        found.and_then(|(_, plan)| PlanType::parse(plan))
    }

    fn is_allowed(&self, environment: &Value) -> bool {
        environment == "Production" || self.settings.sandbox && environment == "Sandbox"
    }

    fn receipt(&self, transaction: &Value) -> Option<Receipt> {
        if transaction["bundleId"] != self.settings.bundle_id.as_str() || !self.is_allowed(&transaction["environment"])
        {
            return None;
        }
        let item = self.plan(transaction["productId"].as_str()?)?.item();
        let time = |name: &str| transaction[name].as_u64().map(Timestamp::from_millis);
        let state = if time("revocationDate").is_some() { ReceiptState::Revoked } else { ReceiptState::Active };
        Some(Receipt {
            key: format!("apple:{}", transaction["transactionId"].as_str()?),
            subscription: format!("apple:{}", transaction["originalTransactionId"].as_str()?),
            account: transaction["appAccountToken"].as_str().and_then(|id| id.parse().ok()),
            item,
            state,
            period: (time("purchaseDate")?, time("expiresDate")?),
        })
    }

    fn notification(&self, signed: &str, now: Timestamp) -> Option<Option<Receipt>> {
        let payload = self.open_signed(signed, now)?;
        let signed_time = Timestamp::from_millis(payload["signedDate"].as_u64()?);
        if now.since(signed_time) > OLDEST || signed_time.since(now) > AHEAD {
            return None;
        }
        let kind = payload["notificationType"].as_str()?;
        if !["SUBSCRIBED", "DID_RENEW", "REFUND", "REVOKE"].contains(&kind) {
            return Some(None);
        }
        let transaction = self.open_signed(payload.pointer("/data/signedTransactionInfo")?.as_str()?, now)?;
        let mut receipt = self.receipt(&transaction)?;
        if ["REFUND", "REVOKE"].contains(&kind) {
            receipt.state = ReceiptState::Revoked;
        }
        Some(Some(receipt))
    }
}

/// The key of a leaf certificate, when each of the three is signed by the next, is of its time, and has its mark.
fn signing_key(chain: [&Vec<u8>; 3], now: Timestamp) -> Option<Vec<u8>> {
    let [leaf, intermediate, root] = chain.map(|der| X509Certificate::from_der(der).ok());
    let (leaf, intermediate, root) = (whole(leaf?)?, whole(intermediate?)?, whole(root?)?);
    let now = ASN1Time::from_timestamp(i64::try_from(now.as_secs()).ok()?).ok()?;
    let has_mark = |certificate: &X509Certificate<'_>, mark: &str| {
        certificate.extensions().iter().any(|extension| extension.oid.to_id_string() == mark)
    };
    let is_authority = |certificate: &X509Certificate<'_>| certificate.is_ca();
    let is_sound = [&leaf, &intermediate, &root].iter().all(|certificate| certificate.validity().is_valid_at(now))
        && has_mark(&leaf, LEAF_MARK)
        && has_mark(&intermediate, INTERMEDIATE_MARK)
        && is_authority(&intermediate)
        && is_authority(&root)
        && leaf.issuer() == intermediate.subject()
        && intermediate.issuer() == root.subject()
        && leaf.verify_signature(Some(intermediate.public_key())).is_ok()
        && intermediate.verify_signature(Some(root.public_key())).is_ok();
    is_sound.then(|| leaf.public_key().subject_public_key.data.to_vec())
}

/// A certificate with nothing after it.
fn whole<'a>((rest, certificate): (&[u8], X509Certificate<'a>)) -> Option<X509Certificate<'a>> {
    rest.is_empty().then_some(certificate)
}

impl AppStore for Apple {
    fn verify(&self, signed_transaction: &str, now: Timestamp) -> Result<Receipt, StoreError> {
        let transaction = self.open_signed(signed_transaction, now).ok_or(StoreError::Invalid)?;
        self.receipt(&transaction).ok_or(StoreError::Invalid)
    }

    fn verify_notification(&self, signed_payload: &str, now: Timestamp) -> Result<Option<Receipt>, StoreError> {
        self.notification(signed_payload, now).ok_or(StoreError::Invalid)
    }
}
