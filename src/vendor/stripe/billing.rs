//! Stripe as who takes cards and writes invoices for subscriptions.
//!
//! What it bills it reports through its webhook, invoices paid included, so what a paid period brings is given there.

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{CENT, Stripe, text};
use crate::domain::purchase::item::Item;
use crate::domain::subscription::billing::{
    Begun, Billing, BillingError, Card, Charge, InvoiceState, Payer, ShownInvoice, Source, Wish,
};
use crate::domain::subscription::discount::reduced;
use crate::domain::subscription::plan::Devices;
use crate::domain::subscription::record::{ReceiptType, Subscription};
use crate::time::Timestamp;
use crate::vendor::remote::{RemoteError, form_escape, idempotency_key};

/// What marks a subscription whose first period was paid apart, so that its trial is none.
pub(super) const PAID_FIRST: &str = "paid_first";

/// Most that is listed.
const LIST: usize = 100;

type Form<'a> = Vec<(&'a str, String)>;

impl Stripe {
    async fn change(&self, path: &str, form: Form<'_>) -> Result<Value, BillingError> {
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = self.remote.post_form(path, &form).bearer_auth(&self.settings.secret_key);
        let request = request.header("idempotency-key", idempotency_key());
        self.remote.send(request).await.map_err(refused)
    }

    async fn read_one(&self, path: &str) -> Result<Value, BillingError> {
        self.get(path).await.map_err(refused)
    }

    fn customer<'a>(&self, payer: &'a Payer) -> Result<&'a str, BillingError> {
        payer.customer.as_deref().ok_or(BillingError::Unreachable)
    }

    async fn list_cards(&self, payer: &Payer) -> Result<Vec<Card>, BillingError> {
        let customer = form_escape(self.customer(payer)?);
        let about = self.read_one(&format!("/v1/customers/{customer}")).await?;
        let default =
            text(&about, "/invoice_settings/default_payment_method").or_else(|| text(&about, "/default_source"));
        let path = format!("/v1/payment_methods?customer={customer}&type=card&limit={LIST}");
        let listed = self.read_one(&path).await?;
        let mut cards: Vec<Card> = entries(&listed).filter_map(|method| card(method, default.as_deref())).collect();
        cards.sort_by_key(|card| !card.is_default);
        // One that was added on Stripe's own page is the default of nobody yet.
        if let Some(first) = cards.first_mut() {
            first.is_default = true;
        }
        Ok(cards)
    }

    async fn attach(&self, payer: &Payer, source: &Source) -> Result<Card, BillingError> {
        let Source::Named(named) = source else {
            return Err(BillingError::Refused("Cards are taken on the page of the payment service only.".into()));
        };
        let cards = self.list_cards(payer).await?;
        if let Some(known) = cards.iter().find(|card| card.id == *named) {
            return Ok(known.clone());
        }
        let method = match named.starts_with("tok_") {
            true => {
                let form = vec![("type", "card".into()), ("card[token]", named.clone())];
                need(&self.change("/v1/payment_methods", form).await?, "/id")?
            }
            false => named.clone(),
        };
        let path = format!("/v1/payment_methods/{}/attach", form_escape(&method));
        let attached = self.change(&path, vec![("customer", self.customer(payer)?.to_owned())]).await?;
        let mut added = card(&attached, None).ok_or(BillingError::Unreachable)?;
        if cards.is_empty() {
            self.choose(payer, &added.id).await?;
            added.is_default = true;
        }
        Ok(added)
    }

    async fn choose(&self, payer: &Payer, card: &str) -> Result<(), BillingError> {
        let path = format!("/v1/customers/{}", form_escape(self.customer(payer)?));
        let form = vec![("invoice_settings[default_payment_method]", card.to_owned())];
        self.change(&path, form).await.map(drop)
    }

    async fn detach(&self, payer: &Payer, id: &str) -> Result<(), BillingError> {
        let cards = self.list_cards(payer).await?;
        let found = cards.iter().find(|card| card.id == id).ok_or(BillingError::NoCard)?;
        if cards.len() == 1 {
            return Err(BillingError::LastCard);
        }
        if found.is_default {
            return Err(BillingError::DefaultCard);
        }
        self.change(&format!("/v1/payment_methods/{}/detach", form_escape(id)), Vec::new()).await.map(drop)
    }

    /// The coupon of a discount, made when it is first needed.
    async fn coupon(&self, percent: u8) -> Result<String, BillingError> {
        let id = format!("warren-referral-{percent}");
        match self.get(&format!("/v1/coupons/{id}")).await {
            Ok(_) => return Ok(id),
            Err(RemoteError::Refused(404, _)) => {}
            Err(error) => return Err(refused(error)),
        }
        let form = vec![
            ("id", id.clone()),
            ("percent_off", percent.to_string()),
            ("duration", "forever".into()),
            ("name", "Referrals".into()),
        ];
        self.change("/v1/coupons", form).await?;
        Ok(id)
    }

    async fn begin_plan(&self, payer: &Payer, wish: &Wish) -> Result<Begun, BillingError> {
        let item = wish.plan.item();
        let price = self.price(item).filter(|_| wish.plan.devices == Devices::All).ok_or(BillingError::NotForSale)?;
        let customer = self.customer(payer)?.to_owned();
        let mut form: Form<'_> = vec![("customer", customer), ("items[0][price]", price.to_owned())];
        form.push(("metadata[network_id]", payer.network_id.to_string()));
        form.push(("metadata[user_id]", payer.user_id.to_string()));
        form.push(("payment_behavior", "error_if_incomplete".into()));
        if wish.percent > 0 {
            form.push(("discounts[0][coupon]", self.coupon(wish.percent).await?));
        }
        let mut charge = None;
        if wish.is_3ds {
            let paid = self.charge_first(payer, wish, (item, price)).await?;
            form.push(("trial_end", paid.period.1.as_secs().to_string()));
            form.push(("metadata[paid_first]", "true".into()));
            charge = Some(paid);
        } else {
            let method = self.attach(payer, &wish.source).await?.id;
            self.choose(payer, &method).await?;
            form.push(("default_payment_method", method));
            if let Some(trial_end) = wish.trial_end {
                form.push(("trial_end", trial_end.as_secs().to_string()));
            }
        }
        let made = self.change("/v1/subscriptions", form).await?;
        let receipt_id = need(&made, "/id")?;
        let expiration = period(&made).ok_or(BillingError::Unreachable)?.1;
        let record = Subscription {
            plan: wish.plan,
            receipt_type: ReceiptType::Stripe,
            create_time: seconds(&made, "/created").unwrap_or(expiration),
            expiration,
            cancellation: None,
            in_trial: made["status"] == "trialing" && charge.is_none(),
            renews: true,
            check_time: None,
            local: None,
        };
        Ok(Begun { receipt_id, record: Some(record), charge })
    }

    /// Charges the first period of a plan apart: its owner has confirmed exactly this payment to their bank.
    async fn charge_first(
        &self,
        payer: &Payer,
        wish: &Wish,
        (item, price): (Item, &str),
    ) -> Result<Charge, BillingError> {
        let Source::Named(source) = &wish.source else { return Err(BillingError::NoCard) };
        let known = self.read_one(&format!("/v1/prices/{}", form_escape(price))).await?;
        let cents = known["unit_amount"].as_i64().ok_or(BillingError::Unreachable)?;
        let amount = reduced(cents.saturating_mul(CENT), wish.percent) / CENT;
        if amount == 0 {
            return Err(BillingError::Refused("Nothing is to be paid, so nothing needs to be confirmed.".into()));
        }
        let mut form: Form<'_> = vec![
            ("amount", amount.to_string()),
            ("currency", text(&known, "/currency").unwrap_or_else(|| "usd".into())),
            ("customer", self.customer(payer)?.to_owned()),
            ("description", item.title().into()),
            ("metadata[network_id]", payer.network_id.to_string()),
        ];
        // A source of the old kind is charged; a payment method is confirmed.
        let (path, is_done): (_, fn(&Value) -> bool) = match source.starts_with("src_") {
            true => {
                form.push(("source", source.clone()));
                ("/v1/charges", |made| made["paid"] == true)
            }
            false => {
                form.push(("payment_method", source.clone()));
                form.push(("confirm", "true".into()));
                form.push(("off_session", "true".into()));
                ("/v1/payment_intents", |made| made["status"] == "succeeded")
            }
        };
        let made = self.change(path, form).await?;
        if !is_done(&made) {
            return Err(BillingError::Refused("The payment was not completed.".into()));
        }
        let id = need(&made, "/id")?;
        let start = seconds(&made, "/created").ok_or(BillingError::Unreachable)?;
        let kind = if path == "/v1/charges" { "charge" } else { "payment_intent" };
        let key = format!("stripe:{kind}:{id}");
        let paid = amount.saturating_mul(CENT);
        Ok(Charge { references: vec![key.clone()], key, paid, period: (start, wish.plan.after(start, 1)) })
    }
}

impl Billing for Stripe {
    fn make_customer(&self, payer: Payer) -> BoxFuture<'_, Result<Option<String>, BillingError>> {
        Box::pin(async move {
            let form = vec![
                ("metadata[network_id]", payer.network_id.to_string()),
                ("metadata[user_id]", payer.user_id.to_string()),
            ];
            need(&self.change("/v1/customers", form).await?, "/id").map(Some)
        })
    }

    fn card_page(&self, payer: Payer, back: String) -> BoxFuture<'_, Result<Option<String>, BillingError>> {
        Box::pin(async move {
            let form = vec![
                ("mode", "setup".into()),
                ("customer", self.customer(&payer)?.to_owned()),
                ("payment_method_types[0]", "card".into()),
                ("success_url", back.clone()),
                ("cancel_url", back),
            ];
            need(&self.change("/v1/checkout/sessions", form).await?, "/url").map(Some)
        })
    }

    fn cards(&self, payer: Payer) -> BoxFuture<'_, Result<Vec<Card>, BillingError>> {
        Box::pin(async move { self.list_cards(&payer).await })
    }

    fn add_card(&self, payer: Payer, source: Source) -> BoxFuture<'_, Result<Card, BillingError>> {
        Box::pin(async move { self.attach(&payer, &source).await })
    }

    fn set_default(&self, payer: Payer, card: String) -> BoxFuture<'_, Result<(), BillingError>> {
        Box::pin(async move {
            let cards = self.list_cards(&payer).await?;
            cards.iter().find(|known| known.id == card).ok_or(BillingError::NoCard)?;
            self.choose(&payer, &card).await
        })
    }

    fn delete_card(&self, payer: Payer, card: String) -> BoxFuture<'_, Result<(), BillingError>> {
        Box::pin(async move { self.detach(&payer, &card).await })
    }

    fn subscribe(&self, payer: Payer, wish: Wish) -> BoxFuture<'_, Result<Begun, BillingError>> {
        Box::pin(async move { self.begin_plan(&payer, &wish).await })
    }

    fn cancel(&self, _: Payer, receipt_id: String, reason: String) -> BoxFuture<'_, Result<(), BillingError>> {
        Box::pin(async move {
            let mut form = vec![("cancel_at_period_end", "true".to_owned())];
            if !reason.is_empty() {
                form.push(("cancellation_details[comment]", reason));
            }
            self.change(&format!("/v1/subscriptions/{}", form_escape(&receipt_id)), form).await.map(drop)
        })
    }

    fn end(&self, receipt_id: String) -> BoxFuture<'_, Result<(), BillingError>> {
        Box::pin(async move {
            let request = self.remote.delete(&format!("/v1/subscriptions/{}", form_escape(&receipt_id)));
            match self.remote.send(request.bearer_auth(&self.settings.secret_key)).await {
                // It has ended already.
                Ok(_) | Err(RemoteError::Refused(400 | 404, _)) => Ok(()),
                Err(error) => Err(refused(error)),
            }
        })
    }

    fn invoices(&self, payer: Payer) -> BoxFuture<'_, Result<Vec<ShownInvoice>, BillingError>> {
        Box::pin(async move {
            let customer = form_escape(self.customer(&payer)?);
            let listed = self.read_one(&format!("/v1/invoices?customer={customer}&limit={LIST}")).await?;
            Ok(entries(&listed).filter_map(invoice).collect())
        })
    }

    fn invoice(&self, payer: Payer, id: String) -> BoxFuture<'_, Result<Option<ShownInvoice>, BillingError>> {
        Box::pin(async move {
            let customer = self.customer(&payer)?;
            match self.get(&format!("/v1/invoices/{}", form_escape(&id))).await {
                // Whoever guesses ids learns nothing of others.
                Ok(found) if text(&found, "/customer").as_deref() == Some(customer) => Ok(invoice(&found)),
                Ok(_) | Err(RemoteError::Refused(..)) => Ok(None),
                Err(error) => Err(refused(error)),
            }
        })
    }

    fn takes_invoices(&self) -> bool {
        false
    }
}

/// What a refusal means: a card's is told to its owner, any other is not theirs to mend.
fn refused(error: RemoteError) -> BillingError {
    match error {
        RemoteError::Refused(402, answer) => {
            BillingError::Refused(text(&answer, "/error/message").unwrap_or_else(|| "Your card was declined.".into()))
        }
        RemoteError::Refused(400 | 404, answer)
            if answer.pointer("/error/code") == Some(&"resource_missing".into()) =>
        {
            BillingError::NoCard
        }
        RemoteError::Refused(..) | RemoteError::Unreachable => BillingError::Unreachable,
    }
}

fn need(value: &Value, path: &str) -> Result<String, BillingError> {
    text(value, path).ok_or_else(|| {
        tracing::warn!(company = "stripe", path, "an answer lacks what was asked for");
        BillingError::Unreachable
    })
}

fn entries(list: &Value) -> impl Iterator<Item = &Value> {
    list["data"].as_array().into_iter().flatten()
}

pub(super) fn seconds(value: &Value, path: &str) -> Option<Timestamp> {
    value.pointer(path)?.as_u64().map(Timestamp::from_secs)
}

/// The period of a subscription; newer versions of the API note it with what is sold.
pub(super) fn period(subscription: &Value) -> Option<(Timestamp, Timestamp)> {
    let bound = |name: &str| {
        let whole = seconds(subscription, &format!("/current_period_{name}"));
        whole.or_else(|| seconds(subscription, &format!("/items/data/0/current_period_{name}")))
    };
    Some((bound("start")?, bound("end")?))
}

fn card(method: &Value, default: Option<&str>) -> Option<Card> {
    let id = text(method, "/id")?;
    let about = &method["card"];
    let brand = about["brand"].as_str().unwrap_or("card");
    let mut letters = brand.chars();
    let brand = letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect());
    let number = |name: &str| about[name].as_u64().unwrap_or(0);
    Some(Card {
        brand,
        last4: about["last4"].as_str().unwrap_or_default().to_owned(),
        expiry: (number("exp_year") as u16, number("exp_month") as u8),
        is_default: default == Some(id.as_str()),
        id,
    })
}

/// Cents of a currency as people read them.
fn money(cents: &Value, currency: &str) -> String {
    let cents = cents.as_i64().unwrap_or(0);
    format!("{}.{:02} {currency}", cents / 100, cents.unsigned_abs() % 100)
}

fn invoice(found: &Value) -> Option<ShownInvoice> {
    let currency = text(found, "/currency").unwrap_or_default().to_uppercase();
    let state = match found["status"].as_str().unwrap_or_default() {
        "open" | "draft" => InvoiceState::Open,
        "paid" => InvoiceState::Paid,
        _ => InvoiceState::Void,
    };
    let line = found.pointer("/lines/data/0");
    let bounds = line.and_then(|line| Some((seconds(line, "/period/start")?, seconds(line, "/period/end")?)));
    Some(ShownInvoice {
        id: text(found, "/id")?,
        state,
        text: line.and_then(|line| text(line, "/description")).unwrap_or_else(|| "Subscription".into()),
        create_time: seconds(found, "/created").unwrap_or(Timestamp::ZERO),
        period: bounds,
        price: money(&found["subtotal"], &currency),
        percent: found.pointer("/discount/coupon/percent_off").and_then(Value::as_f64).unwrap_or(0.0) as u8,
        amount: money(&found["total"], &currency),
        paid_with: None,
        url: text(found, "/hosted_invoice_url").filter(|url| url.starts_with("https://")),
    })
}
