//! Google Play: what a purchase token stands for, and that it was delivered
//! (`https://developers.google.com/android-publisher`).

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::Mutex;

use super::remote::{Remote, RemoteError, form_escape};
use crate::config::purchase::Google as Settings;
use crate::domain::purchase::item::Item;
use crate::domain::purchase::store_report::{PlayStore, Receipt, ReceiptState, StoreError};
use crate::time::{DAY, Timestamp};

/// A token is replaced this long before it expires.
const EARLY: Duration = Duration::from_secs(60);

/// Google Play with the keys of an account.
pub struct Google {
    tokens: Remote,
    remote: Remote,
    settings: Settings,
    access: Mutex<Option<(String, Instant)>>,
}

impl Google {
    /// With the keys of these settings.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            tokens: Remote::new("google", "google.token_url", &settings.token_url)?,
            remote: Remote::new("google", "google.base_url", &settings.base_url)?,
            settings: settings.clone(),
            access: Mutex::new(None),
        })
    }

    fn item(&self, product: &str) -> Option<Item> {
        match product {
            _ if product == self.settings.product_monthly => Some(Item::ProMonthly),
            _ if product == self.settings.product_yearly => Some(Item::ProYearly),
            _ => None,
        }
    }

    fn product(&self, item: Item) -> &str {
        if item == Item::ProYearly { &self.settings.product_yearly } else { &self.settings.product_monthly }
    }

    /// A token for requests; kept until it is about to expire.
    async fn access_token(&self) -> Result<String, StoreError> {
        let mut access = self.access.lock().await;
        if let Some((token, until)) = &*access
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", &self.settings.client_id),
            ("client_secret", &self.settings.client_secret),
            ("refresh_token", &self.settings.refresh_token),
        ];
        // Refused keys are the operator's to mend: the phone keeps its proof until then.
        let answer = self.tokens.send(self.tokens.post_form("", &form)).await.map_err(|_| StoreError::Unreachable)?;
        let token = answer["access_token"].as_str().ok_or(StoreError::Unreachable)?.to_owned();
        let lifetime = Duration::from_secs(answer["expires_in"].as_u64().unwrap_or(0));
        *access = Some((token.clone(), Instant::now() + lifetime.saturating_sub(EARLY)));
        Ok(token)
    }

    fn path(&self, rest: &str) -> String {
        let package = form_escape(&self.settings.package);
        format!("/androidpublisher/v3/applications/{package}/purchases/{rest}")
    }

    async fn fetch(&self, token: &str) -> Result<Receipt, StoreError> {
        let access = self.access_token().await?;
        let path = self.path(&format!("subscriptionsv2/tokens/{}", form_escape(token)));
        match self.remote.send(self.remote.get(&path).bearer_auth(access)).await {
            Ok(purchase) => self.receipt(token, &purchase),
            Err(RemoteError::Refused(400 | 404 | 410, _)) => Err(StoreError::Invalid),
            Err(RemoteError::Refused(..)) => {
                // The token may have been withdrawn.
                *self.access.lock().await = None;
                Err(StoreError::Unreachable)
            }
            Err(RemoteError::Unreachable) => Err(StoreError::Unreachable),
        }
    }

    fn receipt(&self, token: &str, purchase: &Value) -> Result<Receipt, StoreError> {
        let line = purchase.pointer("/lineItems/0").ok_or(StoreError::Invalid)?;
        let item = self.item(line["productId"].as_str().unwrap_or_default()).ok_or(StoreError::Invalid)?;
        let state = match purchase["subscriptionState"].as_str().unwrap_or_default() {
            // One that was cancelled is paid until its end.
            "SUBSCRIPTION_STATE_ACTIVE" | "SUBSCRIPTION_STATE_CANCELED" => ReceiptState::Active,
            "SUBSCRIPTION_STATE_PENDING"
            | "SUBSCRIPTION_STATE_PAUSED"
            | "SUBSCRIPTION_STATE_ON_HOLD"
            | "SUBSCRIPTION_STATE_IN_GRACE_PERIOD" => ReceiptState::Pending,
            _ => ReceiptState::Over,
        };
        let time = |value: &Value| value.as_str().and_then(Timestamp::parse_rfc3339);
        let end = match time(&line["expiryTime"]) {
            Some(end) => end,
            // What is not paid yet has no end.
            None if state == ReceiptState::Active => return Err(StoreError::Invalid),
            None => Timestamp::ZERO,
        };
        let days = if item == Item::ProYearly { 366 } else { 31 };
        let start = time(&purchase["startTime"]).unwrap_or(Timestamp::ZERO).max(end.before(DAY * days));
        let account = purchase.pointer("/externalAccountIdentifiers/obfuscatedExternalAccountId");
        // Renewals keep the token, and each has an order of its own.
        let order = line["latestSuccessfulOrderId"].as_str().or(purchase["latestOrderId"].as_str()).unwrap_or(token);
        Ok(Receipt {
            key: key(order),
            subscription: key(token),
            account: account.and_then(Value::as_str).and_then(|id| id.parse().ok()),
            item,
            state,
            period: (start, end),
        })
    }
}

/// Tokens are long, so their hash stands for them.
fn key(of: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, of.as_bytes());
    format!("google:{}", hex::encode(hash.as_ref()))
}

impl PlayStore for Google {
    fn look_up(&self, token: String) -> BoxFuture<'_, Result<Receipt, StoreError>> {
        Box::pin(async move { self.fetch(&token).await })
    }

    fn acknowledge(&self, item: Item, token: String) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let access = self.access_token().await?;
            let (product, token) = (form_escape(self.product(item)), form_escape(&token));
            let path = self.path(&format!("subscriptions/{product}/tokens/{token}:acknowledge"));
            match self.remote.send(self.remote.post_form(&path, &[]).bearer_auth(access)).await {
                Ok(_) => Ok(()),
                // It was acknowledged before.
                Err(RemoteError::Refused(400, _)) => Ok(()),
                Err(_) => Err(StoreError::Unreachable),
            }
        })
    }

    fn is_ours(&self, package: &str, product: &str) -> bool {
        (package.is_empty() || package == self.settings.package) && (product.is_empty() || self.item(product).is_some())
    }
}
