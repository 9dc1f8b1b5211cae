//! Google Play: what a purchase token stands for, and that it was delivered
//! (`https://developers.google.com/android-publisher`).

use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::Mutex;

use super::remote::{Remote, RemoteError, form_escape};
use crate::config::purchase::Google as Settings;
use crate::domain::purchase::checkout::ReportError;
use crate::domain::purchase::item::Item;
use crate::domain::purchase::store_report::{PlayPush, PlayStore, Receipt, ReceiptState, StoreError};
use crate::time::{DAY, Timestamp};

/// A token is replaced this long before it expires.
const EARLY: Duration = Duration::from_secs(60);

/// Longest token of a purchase, and of whoever pushes.
const MAX_TOKEN_BYTES: usize = 4096;

/// The kind of a push which says that a subscription was taken back.
const REVOKED: u64 = 12;

/// Google Play with the keys of an account.
pub struct Google {
    tokens: Remote,
    remote: Remote,
    identities: Remote,
    settings: Settings,
    access: Mutex<Option<(String, Instant)>>,
}

impl Google {
    /// With the keys of these settings.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            tokens: Remote::new("google", "google.token_url", &settings.token_url)?,
            remote: Remote::new("google", "google.base_url", &settings.base_url)?,
            identities: Remote::new("google", "google.tokeninfo_url", &settings.tokeninfo_url)?,
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

impl Google {
    /// Whether a token names the configured account as the one who pushes. Google itself is asked, but only about
    /// tokens that claim so: strangers send what they like.
    async fn is_publisher(&self, authorization: &str) -> Result<bool, ReportError> {
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        let publisher = self.settings.publisher_email.as_str();
        let claims = token.split('.').nth(1).and_then(|claims| BASE64_URL_SAFE_NO_PAD.decode(claims).ok());
        let claims: Value = claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
        if token.len() > MAX_TOKEN_BYTES || claims["email"] != publisher {
            return Ok(false);
        }
        let request = self.identities.get(&format!("?id_token={}", form_escape(token)));
        match self.identities.send(request).await {
            Ok(told) => {
                let is_verified = told["email_verified"] == true || told["email_verified"] == "true";
                Ok(is_verified && told["email"] == publisher)
            }
            Err(RemoteError::Refused(..)) => Ok(false),
            Err(RemoteError::Unreachable) => Err(ReportError::Unreachable),
        }
    }

    async fn push(&self, authorization: &str, body: &[u8]) -> Result<Option<PlayPush>, ReportError> {
        if !self.is_publisher(authorization).await? {
            return Err(ReportError::Signature);
        }
        let envelope: Value = serde_json::from_slice(body).map_err(|_| ReportError::Malformed)?;
        let data = envelope["message"]["data"].as_str().and_then(|data| BASE64_STANDARD.decode(data).ok());
        let data = data.and_then(|data| serde_json::from_slice::<Value>(&data).ok()).ok_or(ReportError::Malformed)?;
        if data["packageName"] != self.settings.package.as_str() {
            return Ok(None);
        }
        let (subscription, voided) = (&data["subscriptionNotification"], &data["voidedPurchaseNotification"]);
        let about = if subscription.is_object() { subscription } else { voided };
        let Some(token) = about["purchaseToken"].as_str().filter(|token| token.len() <= MAX_TOKEN_BYTES) else {
            return Ok(None);
        };
        let is_revocation = voided.is_object() || subscription["notificationType"] == REVOKED;
        Ok(Some(PlayPush { token: token.into(), is_revocation }))
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

    fn takes_pushes(&self) -> bool {
        !self.settings.publisher_email.is_empty()
    }

    fn read_push(&self, authorization: String, body: Bytes) -> BoxFuture<'_, Result<Option<PlayPush>, ReportError>> {
        Box::pin(async move { self.push(&authorization, &body).await })
    }
}
