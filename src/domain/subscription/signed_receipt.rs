//! Receipts that this server signs itself, at the command of its operator: what stands in for the stores while their
//! keys are not set. Nothing else is a receipt then.
//!
//! Base64 of `{"receipt": {…}, "signature": "<hex>"}`, the signature being an HMAC-SHA256 of the receipt's JSON under a
//! key that never leaves the data folder.

use std::path::Path;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::plan::PlanType;
use super::receipt::{ReceiptProblem, ReceiptVerifier, StoreReceipt, TEST_RECEIPTS};
use super::record::ReceiptType;
use crate::domain::purchase::store_report::{Receipt, ReceiptState};
use crate::domain::secret_file::{self, SecretFileError};
use crate::time::Timestamp;

/// Name of the key's file in the data folder.
const FILE: &str = "receipt.key";

/// How the names of these receipts begin in the links of stores.
pub(super) const SIGNED_PREFIX: &str = "signed:";

const KEY_BYTES: usize = 32;

/// Signs receipts, and knows its own.
#[derive(Clone)]
pub struct ReceiptKey(hmac::Key);

/// A receipt as it is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// The store it stands in for.
    pub receipt_type: ReceiptType,
    /// Names the plan over all its periods.
    pub receipt_id: String,
    /// The plan's name.
    pub plan: String,
    /// The period begins here.
    pub start: Timestamp,
    /// It ends here.
    pub end: Timestamp,
    /// Whether it is only tried.
    pub in_trial: bool,
    /// Whether it goes on.
    pub renews: bool,
    /// Whether it is still to be paid.
    #[serde(default)]
    pub is_pending: bool,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    receipt: SignedReceipt,
    signature: String,
}

impl ReceiptKey {
    /// The key in a data folder, made when there is none.
    pub fn load_or_create(folder: &Path) -> Result<Self, SecretFileError> {
        let path = folder.join(FILE);
        let bytes = secret_file::load_or_create(&path, || rand::random::<[u8; KEY_BYTES]>().to_vec())?;
        if bytes.len() != KEY_BYTES {
            return Err(SecretFileError::Damaged(path, format!("it has {} bytes, not {KEY_BYTES}", bytes.len())));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// A key of its own, for tests.
    pub fn generate() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; KEY_BYTES]>()))
    }

    /// Signs a receipt.
    pub fn sign(&self, receipt: SignedReceipt) -> String {
        let signature = hex::encode(hmac::sign(&self.0, &message(&receipt)));
        let envelope = serde_json::to_vec(&Envelope { receipt, signature }).expect("plain records serialize");
        BASE64_STANDARD.encode(envelope)
    }

    fn is_signed(&self, envelope: &Envelope) -> bool {
        hex::decode(&envelope.signature)
            .is_ok_and(|tag| hmac::verify(&self.0, &message(&envelope.receipt), &tag).is_ok())
    }
}

fn message(receipt: &SignedReceipt) -> Vec<u8> {
    serde_json::to_vec(receipt).expect("plain records serialize")
}

/// Knows the receipts of this server that stand in for one store.
pub struct SignedReceipts {
    receipt_type: ReceiptType,
    key: ReceiptKey,
}

impl SignedReceipts {
    /// Those under `key`, for a store.
    pub fn new(receipt_type: ReceiptType, key: ReceiptKey) -> Self {
        Self { receipt_type, key }
    }

    fn read(&self, text: &str, now: Timestamp) -> Result<StoreReceipt, ReceiptProblem> {
        let is_ios = self.receipt_type == ReceiptType::Ios;
        let undecodable = || match is_ios {
            true => ReceiptProblem::Apple("it cannot be decoded".into()),
            false => ReceiptProblem::Undecodable,
        };
        let json = BASE64_STANDARD.decode(text).map_err(|_| undecodable())?;
        let value: serde_json::Value = serde_json::from_slice(&json).map_err(|_| undecodable())?;
        let envelope: Envelope = serde_json::from_value(value).map_err(|_| match is_ios {
            true => ReceiptProblem::Apple("a field is missing".into()),
            false => ReceiptProblem::Field("a field is missing".into()),
        })?;
        if !self.key.is_signed(&envelope) {
            return Err(match is_ios {
                true => ReceiptProblem::Apple("it was not signed by this server".into()),
                false => ReceiptProblem::Signature,
            });
        }
        let receipt = envelope.receipt;
        if receipt.receipt_type != self.receipt_type {
            return Err(match is_ios {
                true => ReceiptProblem::Apple("it is of another store".into()),
                false => ReceiptProblem::Field("it is of another store".into()),
            });
        }
        if TEST_RECEIPTS.contains(&receipt.receipt_id.as_str()) {
            return Err(ReceiptProblem::TestSuite);
        }
        if receipt.is_pending {
            return Err(ReceiptProblem::Pending);
        }
        let Some(plan) = PlanType::parse(&receipt.plan) else {
            return Err(match is_ios {
                true => ReceiptProblem::AppleProduct(receipt.plan),
                false => ReceiptProblem::GoogleProduct(receipt.plan),
            });
        };
        let subscription = format!("{SIGNED_PREFIX}{}:{}", receipt.receipt_type.name(), receipt.receipt_id);
        Ok(StoreReceipt {
            receipt_type: receipt.receipt_type,
            receipt_id: receipt.receipt_id,
            plan,
            period: Receipt {
                key: format!("{subscription}:{}", receipt.start.as_millis()),
                subscription,
                account: None,
                item: plan.item(),
                state: if receipt.end <= now { ReceiptState::Over } else { ReceiptState::Active },
                period: (receipt.start, receipt.end),
            },
            in_trial: receipt.in_trial,
            renews: receipt.renews,
            cancellation: None,
            // It says all there is to know.
            proof: None,
        })
    }
}

impl ReceiptVerifier for SignedReceipts {
    fn verify(&self, receipt: String, now: Timestamp) -> BoxFuture<'_, Result<StoreReceipt, ReceiptProblem>> {
        Box::pin(async move { self.read(receipt.trim(), now) })
    }

    fn look_again(&self, proof: String, now: Timestamp) -> BoxFuture<'_, Result<StoreReceipt, ReceiptProblem>> {
        self.verify(proof, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_770_091_506);

    fn receipt() -> SignedReceipt {
        SignedReceipt {
            receipt_type: ReceiptType::Android,
            receipt_id: "GPA.1".into(),
            plan: "all-monthly".into(),
            start: NOW,
            end: NOW.months_later(1),
            in_trial: false,
            renews: true,
            is_pending: false,
        }
    }

    fn code(receipt_type: ReceiptType, key: &ReceiptKey, text: &str) -> Option<i32> {
        SignedReceipts::new(receipt_type, key.clone()).read(text, NOW).err().and_then(|problem| problem.code())
    }

    #[test]
    fn only_what_this_server_signed_is_a_receipt() {
        let (key, other) = (ReceiptKey::generate(), ReceiptKey::generate());
        let text = key.sign(receipt());
        let read = SignedReceipts::new(ReceiptType::Android, key.clone()).read(&text, NOW).unwrap();
        assert_eq!((read.receipt_id.as_str(), read.plan.name(), read.renews), ("GPA.1", "all-monthly", true));
        assert_eq!(code(ReceiptType::Android, &other, &text), Some(63));
        assert_eq!(code(ReceiptType::Ios, &other, &text), Some(9));
        assert_eq!(code(ReceiptType::Ios, &key, &text), Some(9), "of the other store");
        let json = String::from_utf8(BASE64_STANDARD.decode(&text).unwrap()).unwrap();
        for changed in [json.replace("all-monthly", "all-annual"), json.replace("GPA.1", "GPA.2")] {
            assert_eq!(code(ReceiptType::Android, &key, &BASE64_STANDARD.encode(changed)), Some(63));
        }
    }

    #[test]
    fn what_is_no_receipt_says_why() {
        let key = ReceiptKey::generate();
        let sign = |change: fn(&mut SignedReceipt)| {
            let mut receipt = receipt();
            change(&mut receipt);
            key.sign(receipt)
        };
        let android = |text: &str| code(ReceiptType::Android, &key, text);
        assert_eq!(android("%"), Some(65));
        assert_eq!(android(&BASE64_STANDARD.encode("[")), Some(65));
        assert_eq!(android(&BASE64_STANDARD.encode("{}")), Some(66));
        assert_eq!(android(&sign(|receipt| receipt.plan = "free".into())), Some(68));
        assert_eq!(android(&sign(|receipt| receipt.is_pending = true)), Some(67));
        assert_eq!(android(&sign(|receipt| receipt.receipt_id = TEST_RECEIPTS[1].into())), Some(57));
        let ios = |text: &str| code(ReceiptType::Ios, &key, text);
        assert_eq!(ios("%"), Some(9));
        assert_eq!(
            ios(&sign(|receipt| {
                receipt.receipt_type = ReceiptType::Ios;
                receipt.plan = "free".into();
            })),
            Some(49)
        );
    }

    #[test]
    fn the_key_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let text = ReceiptKey::load_or_create(folder.path()).unwrap().sign(receipt());
        let again = ReceiptKey::load_or_create(folder.path()).unwrap();
        assert_eq!(code(ReceiptType::Android, &again, &text), None);
        std::fs::write(folder.path().join(FILE), "short").unwrap();
        assert!(ReceiptKey::load_or_create(folder.path()).is_err());
    }
}
