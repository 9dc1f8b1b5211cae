//! Receipts of Google Play as plans: what the store gave to the phone, signed with the app's licence key, then looked up
//! by its token.

use aws_lc_rs::signature::{RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Google, LookUpError};
use crate::domain::purchase::store_report::ReceiptState;
use crate::domain::subscription::plan::PlanType;
use crate::domain::subscription::receipt::{ReceiptProblem, ReceiptVerifier, StoreReceipt, TEST_RECEIPTS};
use crate::domain::subscription::record::ReceiptType;
use crate::time::Timestamp;

/// What a phone hands in, decoded.
#[derive(Deserialize)]
struct Handed<'a> {
    #[serde(rename = "RESPONSE_CODE")]
    response_code: Option<Value>,
    #[serde(rename = "INAPP_PURCHASE_DATA", borrow)]
    data: Option<&'a RawValue>,
    #[serde(rename = "INAPP_DATA_SIGNATURE")]
    signature: Option<String>,
}

impl Google {
    async fn take(&self, receipt: &str) -> Result<StoreReceipt, ReceiptProblem> {
        let (order, token) = self.read(receipt)?;
        let found = self.look_up_plan(&token).await?;
        match base_order(&order) == found.receipt_id {
            true => Ok(found),
            false => Err(ReceiptProblem::Order),
        }
    }

    /// The order and the token of a purchase, as far as the phone can prove it.
    fn read(&self, receipt: &str) -> Result<(String, String), ReceiptProblem> {
        // Phones break it into lines.
        let letters: String = receipt.split_ascii_whitespace().collect();
        let json = BASE64_STANDARD.decode(letters).map_err(|_| ReceiptProblem::Undecodable)?;
        let handed: Handed<'_> = serde_json::from_slice(&json).map_err(|_| ReceiptProblem::Undecodable)?;
        let code = handed.response_code.ok_or_else(|| missing("RESPONSE_CODE"))?;
        if code != 0 && code != "0" {
            return Err(ReceiptProblem::PhoneFailed(code.to_string()));
        }
        let data = handed.data.ok_or_else(|| missing("INAPP_PURCHASE_DATA"))?;
        let signature = handed.signature.ok_or_else(|| missing("INAPP_DATA_SIGNATURE"))?;
        let signed = self.signed_form(data.get(), &signature).ok_or(ReceiptProblem::Signature)?;
        let purchase: Value = serde_json::from_str(&signed).map_err(|_| ReceiptProblem::Undecodable)?;
        let text = |name: &str| purchase[name].as_str().map(str::to_owned).ok_or_else(|| missing(name));
        let (order, token) = (text("orderId")?, text("purchaseToken")?);
        if purchase["packageName"] != self.settings.package.as_str() {
            return Err(ReceiptProblem::Field("it is of another package".into()));
        }
        let product = text("productId")?;
        self.plan(&product).ok_or(ReceiptProblem::GoogleProduct(product))?;
        Ok((order, token))
    }

    /// The text that was signed. Apps put it into their JSON as an object or as a text, and some escape its slashes on
    /// the way.
    fn signed_form(&self, data: &str, signature: &str) -> Option<String> {
        let key = BASE64_STANDARD.decode(&self.settings.license_key).ok().filter(|key| !key.is_empty())?;
        let signature = BASE64_STANDARD.decode(signature.trim()).ok()?;
        let key = UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, key);
        let forms = match serde_json::from_str::<String>(data) {
            Ok(text) => vec![text],
            Err(_) => vec![data.replace("\\/", "/"), data.to_owned()],
        };
        forms.into_iter().find(|form| key.verify(form.as_bytes(), &signature).is_ok())
    }

    async fn look_up_plan(&self, token: &str) -> Result<StoreReceipt, ReceiptProblem> {
        let purchase = match self.fetch_purchase(token).await {
            Ok(purchase) => purchase,
            Err(LookUpError::Unknown) => return Err(ReceiptProblem::TokenGone),
            Err(LookUpError::Unreachable) => return Err(ReceiptProblem::Unreachable),
        };
        let line = purchase.pointer("/lineItems/0").ok_or_else(|| missing("lineItems"))?;
        let product = line["productId"].as_str().unwrap_or_default();
        let plan = self.plan(product).ok_or_else(|| ReceiptProblem::GoogleProduct(product.into()))?;
        let period = self.receipt(token, &purchase).map_err(|_| missing("expiryTime"))?;
        if period.state == ReceiptState::Pending {
            return Err(ReceiptProblem::Pending);
        }
        let order = line["latestSuccessfulOrderId"].as_str().or(purchase["latestOrderId"].as_str());
        let receipt_id = base_order(order.ok_or_else(|| missing("latestOrderId"))?).to_owned();
        if TEST_RECEIPTS.contains(&receipt_id.as_str()) {
            return Err(ReceiptProblem::TestSuite);
        }
        Ok(StoreReceipt {
            receipt_type: ReceiptType::Android,
            receipt_id,
            plan,
            in_trial: line.pointer("/offerPhase/freeTrial").is_some(),
            renews: line.pointer("/autoRenewingPlan/autoRenewEnabled") == Some(&true.into()),
            cancellation: None,
            period,
            proof: Some(token.to_owned()),
        })
    }

    pub(super) fn plan(&self, product: &str) -> Option<PlanType> {
        let settings = &self.settings;
        let known = [
            (&settings.product_monthly, "all-monthly"),
            (&settings.product_yearly, "all-annual"),
            (&settings.product_android_monthly, "android-monthly"),
            (&settings.product_android_yearly, "android-annual"),
        ];
        let found = known.into_iter().find(|(known, _)| !known.is_empty() && *known == product);
        found.and_then(|(_, plan)| PlanType::parse(plan))
    }

    fn product_of(&self, plan: PlanType) -> &str {
        match plan.name() {
            "all-annual" => &self.settings.product_yearly,
            "android-monthly" => &self.settings.product_android_monthly,
            "android-annual" => &self.settings.product_android_yearly,
            _ => &self.settings.product_monthly,
        }
    }
}

impl ReceiptVerifier for Google {
    fn verify(&self, receipt: String, _: Timestamp) -> BoxFuture<'_, Result<StoreReceipt, ReceiptProblem>> {
        Box::pin(async move { self.take(&receipt).await })
    }

    fn look_again(&self, proof: String, _: Timestamp) -> BoxFuture<'_, Result<StoreReceipt, ReceiptProblem>> {
        Box::pin(async move { self.look_up_plan(&proof).await })
    }

    fn acknowledge(&self, receipt: StoreReceipt) -> BoxFuture<'_, Result<(), ReceiptProblem>> {
        Box::pin(async move {
            let Some(token) = &receipt.proof else { return Ok(()) };
            let product = self.product_of(receipt.plan);
            self.acknowledge_product(product, token).await.map_err(|_| ReceiptProblem::Unreachable)
        })
    }
}

fn missing(name: &str) -> ReceiptProblem {
    ReceiptProblem::Field(format!("{name} is missing"))
}

/// An order without the number of its renewal: `GPA.1..3` is the third of `GPA.1`.
fn base_order(order: &str) -> &str {
    order.split_once("..").map_or(order, |(base, _)| base)
}
