//! Stripe: checkout sessions, subscriptions for apps that take the card themselves, the customer portal, and signed
//! reports (`https://docs.stripe.com/api`).

use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::remote::{Remote, RemoteError, form_escape, idempotency_key};
use crate::config::purchase::Stripe as Settings;
use crate::domain::auth::user_auth::UserAuth;
use crate::domain::purchase::checkout::{
    Appearance, Checkout, CheckoutError, Intents, ReportError, Session, ShopEvent,
};
use crate::domain::purchase::code_sale::CodeSale;
use crate::domain::purchase::item::Item;
use crate::ids::NetworkId;
use crate::time::Timestamp;

/// A report may be this old, or this far ahead.
const SIGNATURE_WINDOW: Duration = Duration::from_secs(300);

/// The version of the API whose ephemeral keys apps understand.
const EPHEMERAL_KEY_VERSION: &str = "2023-08-16";

/// A cent in 10⁻⁹ USD.
const CENT: i64 = 10_000_000;

/// Stripe with an account's keys.
pub struct Stripe {
    remote: Remote,
    settings: Settings,
}

/// Who bought in a session: a network, or somebody who gets a code by mail.
enum Buyer {
    Network(NetworkId),
    Address(String),
}

impl Stripe {
    /// With the keys of these settings.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self { remote: Remote::new("stripe", "stripe.base_url", &settings.base_url)?, settings: settings.clone() })
    }

    fn price(&self, item: Item) -> Option<&str> {
        let price = match item {
            Item::ProMonthly => &self.settings.price_monthly,
            Item::ProYearly => &self.settings.price_yearly,
            Item::Data1Tib => &self.settings.price_data_1tib,
            Item::Data10Tib => &self.settings.price_data_10tib,
        };
        (!price.is_empty()).then_some(price)
    }

    fn item(&self, price: &str) -> Option<Item> {
        let all = [Item::ProMonthly, Item::ProYearly, Item::Data1Tib, Item::Data10Tib];
        all.into_iter().find(|item| self.price(*item) == Some(price))
    }

    async fn post(
        &self,
        path: &str,
        form: &[(&str, &str)],
        version: Option<&'static str>,
    ) -> Result<Value, CheckoutError> {
        let mut request = self.remote.post_form(path, form).bearer_auth(&self.settings.secret_key);
        request = request.header("idempotency-key", idempotency_key());
        if let Some(version) = version {
            request = request.header("stripe-version", version);
        }
        self.remote.send(request).await.map_err(unreachable)
    }

    async fn get(&self, path: &str) -> Result<Value, RemoteError> {
        self.remote.send(self.remote.get(path).bearer_auth(&self.settings.secret_key)).await
    }

    async fn begin(&self, network_id: NetworkId, item: Item, appearance: Appearance) -> Result<Session, CheckoutError> {
        let price = self.price(item).ok_or(CheckoutError::NotForSale)?;
        let network = network_id.to_string();
        let mut form = vec![
            ("client_reference_id", network.as_str()),
            ("mode", if item.is_pro() { "subscription" } else { "payment" }),
            ("line_items[0][price]", price),
            ("line_items[0][quantity]", "1"),
        ];
        if item.is_pro() {
            form.push(("subscription_data[metadata][network_id]", &network));
        }
        match appearance {
            Appearance::Hosted => {
                form.push(("success_url", &self.settings.success_url));
                form.push(("cancel_url", &self.settings.cancel_url));
            }
            Appearance::Embedded { stays } => {
                form.push(("ui_mode", "embedded"));
                form.push(match stays {
                    true => ("redirect_on_completion", "never"),
                    false => ("return_url", &self.settings.success_url),
                });
            }
        }
        let answer = self.post("/v1/checkout/sessions", &form, None).await?;
        let session = Session {
            id: need(&answer, "/id")?,
            url: text(&answer, "/url"),
            client_secret: text(&answer, "/client_secret"),
        };
        let is_usable = match appearance {
            Appearance::Hosted => session.url.is_some(),
            Appearance::Embedded { .. } => session.client_secret.is_some(),
        };
        if is_usable { Ok(session) } else { Err(CheckoutError::Unreachable) }
    }

    async fn prepare(&self, network_id: NetworkId, customer: Option<String>) -> Result<Intents, CheckoutError> {
        let network = network_id.to_string();
        let customer_id = match customer {
            Some(customer_id) => customer_id,
            None => need(&self.post("/v1/customers", &[("metadata[network_id]", &network)], None).await?, "/id")?,
        };
        let form = [("customer", customer_id.as_str())];
        let key = self.post("/v1/ephemeral_keys", &form, Some(EPHEMERAL_KEY_VERSION)).await?;
        let ephemeral_key = need(&key, "/secret")?;
        let mut intents = Vec::new();
        for item in [Item::ProMonthly, Item::ProYearly] {
            let Some(price) = self.price(item) else { continue };
            let form = [
                ("customer", customer_id.as_str()),
                ("items[0][price]", price),
                ("payment_behavior", "default_incomplete"),
                ("payment_settings[save_default_payment_method]", "on_subscription"),
                ("metadata[network_id]", &network),
                ("expand[]", "latest_invoice"),
            ];
            let subscription = self.post("/v1/subscriptions", &form, None).await?;
            let invoice = need(&subscription, "/latest_invoice/id")?;
            let path = format!("/v1/invoices/{}?expand[]=payment_intent", form_escape(&invoice));
            let invoice = self.get(&path).await.map_err(unreachable)?;
            intents.push((item, need(&invoice, "/payment_intent/client_secret")?));
        }
        if intents.is_empty() {
            Err(CheckoutError::NotForSale)
        } else {
            Ok(Intents { customer_id, ephemeral_key, intents })
        }
    }

    /// `t=<seconds>,v1=<hex>[,v1=…]` over `<seconds>.<body>`.
    fn is_signed(&self, signature: &str, body: &[u8], now: Timestamp) -> bool {
        let parts = || signature.split(',').filter_map(|part| part.trim().split_once('='));
        let Some(time) = parts().find_map(|(name, value)| (name == "t").then_some(value)) else { return false };
        let Ok(seconds) = time.parse::<u64>() else { return false };
        if seconds.abs_diff(now.as_secs()) > SIGNATURE_WINDOW.as_secs() {
            return false;
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.settings.signing_secret.as_bytes());
        let signed = [time.as_bytes(), b".", body].concat();
        let is_right = |(name, value): (&str, &str)| {
            name == "v1" && hex::decode(value).is_ok_and(|tag| hmac::verify(&key, &signed, &tag).is_ok())
        };
        parts().any(is_right)
    }

    async fn read(&self, signature: &str, body: &[u8], now: Timestamp) -> Result<Vec<ShopEvent>, ReportError> {
        if !self.is_signed(signature, body, now) {
            return Err(ReportError::Signature);
        }
        let report: Value = serde_json::from_slice(body).map_err(|_| ReportError::Malformed)?;
        let object = report.pointer("/data/object").ok_or(ReportError::Malformed)?;
        match text(&report, "/type").ok_or(ReportError::Malformed)?.as_str() {
            "checkout.session.completed" | "checkout.session.async_payment_succeeded" => self.completed(object).await,
            "invoice.paid" => self.invoice_paid(object).await,
            // Also of a partial refund, which takes nothing back.
            "charge.refunded" if object["refunded"] != true => Ok(Vec::new()),
            "charge.refunded" | "charge.dispute.created" => {
                let charge = text(object, "/charge").or_else(|| text(object, "/id"));
                let mut references: Vec<String> = charge.into_iter().map(|id| format!("stripe:charge:{id}")).collect();
                references.extend(references_of(object));
                Ok(vec![ShopEvent::Refunded { references }])
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn completed(&self, session: &Value) -> Result<Vec<ShopEvent>, ReportError> {
        let id = text(session, "/id").ok_or(ReportError::Malformed)?;
        let network_id = text(session, "/client_reference_id").and_then(|id| id.parse::<NetworkId>().ok());
        let address = text(session, "/customer_details/email").or_else(|| text(session, "/customer_email"));
        let address =
            address.and_then(|address| UserAuth::parse_mail(&address)).map(|address| address.as_str().to_owned());
        let buyer = match (network_id, address) {
            (Some(network_id), _) => Buyer::Network(network_id),
            (None, Some(address)) => Buyer::Address(address),
            (None, None) => {
                tracing::warn!(session = id, "a checkout session without a network or an address was completed");
                return Err(ReportError::Unreachable);
            }
        };
        let mut events = Vec::new();
        if let (Buyer::Network(network_id), Some(customer)) = (&buyer, text(session, "/customer")) {
            events.push(ShopEvent::Customer(*network_id, customer));
        }
        // A subscription is given for its invoices.
        if session["mode"] != "payment" || session["payment_status"] != "paid" {
            return Ok(events);
        }
        let path = format!("/v1/checkout/sessions/{}/line_items?limit=100", form_escape(&id));
        let lines = self.get(&path).await.map_err(|_| ReportError::Unreachable)?;
        for (at, line) in lines["data"].as_array().into_iter().flatten().enumerate() {
            let price = text(line, "/price/id").unwrap_or_default();
            let Some(item) = self.item(&price).filter(|item| !item.is_pro()) else {
                tracing::warn!(session = id, price, "a price was paid that is not in the settings");
                continue;
            };
            let quantity = line["quantity"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(1).max(1);
            let key = if at == 0 { format!("stripe:session:{id}") } else { format!("stripe:session:{id}/{at}") };
            let paid = line["amount_total"].as_i64().unwrap_or(0).saturating_mul(CENT);
            let references = references_of(session);
            events.push(match &buyer {
                Buyer::Network(network_id) => {
                    let network_id = *network_id;
                    ShopEvent::Paid { key, network_id, item, quantity, period: None, paid, references }
                }
                Buyer::Address(address) => {
                    let sale = CodeSale { key, item, quantity, revenue: paid, address: address.clone() };
                    ShopEvent::SoldByMail { sale, references }
                }
            });
        }
        Ok(events)
    }

    async fn invoice_paid(&self, invoice: &Value) -> Result<Vec<ShopEvent>, ReportError> {
        let id = text(invoice, "/id").ok_or(ReportError::Malformed)?;
        let subscription =
            text(invoice, "/subscription").or_else(|| text(invoice, "/parent/subscription_details/subscription"));
        let Some(subscription) = subscription else { return Ok(Vec::new()) };
        let network_id = self.network_of(invoice, &subscription).await?;
        let line = invoice.pointer("/lines/data/0").ok_or(ReportError::Malformed)?;
        let price = text(line, "/price/id").or_else(|| text(line, "/pricing/price_details/price")).unwrap_or_default();
        let Some(item) = self.item(&price).filter(|item| item.is_pro()) else {
            tracing::warn!(invoice = id, price, "a subscription was paid whose price is not in the settings");
            return Ok(Vec::new());
        };
        let second = |path| line.pointer(path).and_then(Value::as_u64).map(Timestamp::from_secs);
        let (Some(start), Some(end)) = (second("/period/start"), second("/period/end")) else {
            return Err(ReportError::Malformed);
        };
        let mut references = vec![format!("stripe:invoice:{id}")];
        references.extend(references_of(invoice));
        Ok(vec![ShopEvent::Paid {
            key: format!("stripe:invoice:{id}"),
            network_id,
            item,
            quantity: 1,
            period: Some((start, end)),
            paid: invoice["amount_paid"].as_i64().unwrap_or(0).saturating_mul(CENT),
            references,
        }])
    }

    /// Whose subscription it is: as its metadata says, else as the session said in which it was bought. Never by the
    /// address of the customer, which anybody can give.
    async fn network_of(&self, invoice: &Value, subscription: &str) -> Result<NetworkId, ReportError> {
        let parse = |id: Option<String>| id.and_then(|id| id.parse::<NetworkId>().ok());
        let noted = parse(text(invoice, "/subscription_details/metadata/network_id"))
            .or_else(|| parse(text(invoice, "/parent/subscription_details/metadata/network_id")));
        if let Some(network_id) = noted {
            return Ok(network_id);
        }
        let subscription = form_escape(subscription);
        let found = self.get(&format!("/v1/subscriptions/{subscription}")).await;
        let found = found.map_err(|_| ReportError::Unreachable)?;
        if let Some(network_id) = parse(text(&found, "/metadata/network_id")) {
            return Ok(network_id);
        }
        let sessions = self.get(&format!("/v1/checkout/sessions?subscription={subscription}")).await;
        let sessions = sessions.map_err(|_| ReportError::Unreachable)?;
        parse(text(&sessions, "/data/0/client_reference_id")).ok_or_else(|| {
            tracing::warn!(subscription, "a subscription was paid that belongs to no network");
            ReportError::Unreachable
        })
    }
}

impl Checkout for Stripe {
    fn publishable_key(&self) -> &str {
        &self.settings.publishable_key
    }

    fn create_session(
        &self,
        network_id: NetworkId,
        item: Item,
        appearance: Appearance,
    ) -> BoxFuture<'_, Result<Session, CheckoutError>> {
        Box::pin(self.begin(network_id, item, appearance))
    }

    fn payment_intents(
        &self,
        network_id: NetworkId,
        customer_id: Option<String>,
    ) -> BoxFuture<'_, Result<Intents, CheckoutError>> {
        Box::pin(self.prepare(network_id, customer_id))
    }

    fn portal(&self, customer_id: String) -> BoxFuture<'_, Result<String, CheckoutError>> {
        Box::pin(async move {
            let form = [("customer", customer_id.as_str()), ("return_url", self.settings.success_url.as_str())];
            need(&self.post("/v1/billing_portal/sessions", &form, None).await?, "/url")
        })
    }

    fn read_report(
        &self,
        signature: String,
        body: Bytes,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<ShopEvent>, ReportError>> {
        Box::pin(async move { self.read(&signature, &body, now).await })
    }
}

/// What a refund may name instead of the purchase itself.
fn references_of(object: &Value) -> Vec<String> {
    let named = |kind| text(object, &format!("/{kind}")).map(|id| format!("stripe:{kind}:{id}"));
    ["invoice", "charge", "payment_intent"].into_iter().filter_map(named).collect()
}

/// A text at a place, an object's own id included.
fn text(value: &Value, path: &str) -> Option<String> {
    let found = value.pointer(path)?;
    let found = if found.is_object() { found.get("id")? } else { found };
    found.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn need(value: &Value, path: &str) -> Result<String, CheckoutError> {
    text(value, path).ok_or_else(|| {
        tracing::warn!(company = "stripe", path, "an answer lacks what was asked for");
        CheckoutError::Unreachable
    })
}

fn unreachable(_: RemoteError) -> CheckoutError {
    CheckoutError::Unreachable
}
