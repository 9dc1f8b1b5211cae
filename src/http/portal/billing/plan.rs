//! Plans: those that a user has, a new one, the end of one.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde::Serialize;

use super::card::{self, ShownCard};
use super::{CARD, NO_SUBSCRIPTION, member, refusal};
use crate::domain::subscription::billing::{BillingError, Source};
use crate::domain::subscription::desk::NewPlan;
use crate::domain::subscription::discount::reduced;
use crate::domain::subscription::plan::{Devices, PlanType};
use crate::domain::subscription::record::{ReceiptType, Subscription};
use crate::http::portal::error::{PortalError, PortalResult};
use crate::http::portal::fields::{Fields, Query};
use crate::http::portal::page::Page;
use crate::http::portal::rate::Limit;
use crate::http::portal::reader::Reader;
use crate::http::portal::session::{PortalUser, SignedPost};
use crate::http::portal::{Route, go};
use crate::http::state::ApiState;
use crate::ids::UserId;
use crate::money::NanoCents;
use crate::time::Timestamp;

const ACCOUNT: &str = "/account";
const FORM: &str = "/new-subscription?browser=true";
/// What apps open when a plan was bought in their webview.
const APP: &str = "tunnels://stripesuccess";
/// Longest reason for an end that is kept.
const MAX_REASON_BYTES: usize = 500;

/// The routes of this file.
pub fn routes(state: &ApiState) -> Vec<Route> {
    let subscriptions = Limit::new("subscriptions", |limits| limits.subscriptions);
    let page = Limit::new("new_subscription_page", |limits| limits.new_subscription_page).on(state, get(new_page));
    let begun = Limit::new("new_subscription", |limits| limits.new_subscription).on(state, post(begin));
    let ending = Limit::new("cancel_subscription", |limits| limits.cancel_subscription).on(state, get(cancel_page));
    vec![
        ("/subscriptions", subscriptions.on(state, post(all))),
        ("/active-subscriptions", subscriptions.on(state, post(active))),
        ("/new-subscription", page.merge(begun)),
        ("/cancel-subscription", ending.merge(post(cancel))),
    ]
}

/// A plan as programs are told it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldPlan {
    plan_type: &'static str,
    receipt_id: String,
    expiration_date: String,
    expiration_date_string: String,
    expiration_date_ms: serde_json::Number,
    cancellation_date: Option<String>,
    cancellation_date_string: Option<String>,
    cancellation_date_ms: Option<serde_json::Number>,
    user_id: String,
    receipt_type: &'static str,
    in_trial: bool,
    renew_enabled: bool,
}

impl ToldPlan {
    fn new(user_id: UserId, receipt_id: String, plan: &Subscription) -> Self {
        Self {
            plan_type: plan.plan.name(),
            receipt_id,
            expiration_date: plan.expiration.to_iso8601(),
            expiration_date_string: plan.expiration.to_long_date(),
            expiration_date_ms: seconds(plan.expiration),
            cancellation_date: plan.cancellation.map(Timestamp::to_iso8601),
            cancellation_date_string: plan.cancellation.map(Timestamp::to_long_date),
            cancellation_date_ms: plan.cancellation.map(seconds),
            user_id: hex::encode(user_id.as_bytes()),
            receipt_type: plan.receipt_type.name(),
            in_trial: plan.in_trial,
            renew_enabled: plan.renews,
        }
    }
}

/// Seconds with a fraction where there is one: what clients read under a name that says milliseconds.
fn seconds(time: Timestamp) -> serde_json::Number {
    let millis = time.as_millis();
    let whole = millis.is_multiple_of(1000);
    let number = if whole { None } else { serde_json::Number::from_f64(millis as f64 / 1000.0) };
    number.unwrap_or_else(|| (millis / 1000).into())
}

fn told(user: &PortalUser, plans: Vec<(String, Subscription)>) -> PortalResult {
    let told = |(receipt_id, plan): (String, Subscription)| ToldPlan::new(user.user_id, receipt_id, &plan);
    Ok(Json(plans.into_iter().map(told).collect::<Vec<_>>()).into_response())
}

async fn all(State(state): State<ApiState>, post: SignedPost) -> PortalResult {
    told(&post.user, state.subscriptions.plans(post.user.user_id)?)
}

async fn active(State(state): State<ApiState>, post: SignedPost) -> PortalResult {
    told(&post.user, state.subscriptions.active_plans(post.user.user_id)?)
}

/// A plan for sale.
#[derive(Debug, Default, Serialize)]
pub struct Offer {
    /// Its name.
    pub plan: &'static str,
    /// Whether a period is a year.
    pub is_annual: bool,
    /// What a period costs; empty where the company's page says so.
    pub price: String,
    /// The same without the discount; empty when there is none.
    pub full_price: String,
    /// Whether it is the one asked for.
    pub is_chosen: bool,
}

/// The form for a new plan.
#[derive(Debug, Default, Serialize)]
pub struct NewSubscriptionPage {
    /// What is for sale.
    pub offers: Vec<Offer>,
    /// What is taken off, in percent.
    pub percent: u8,
    /// The cards of the user, the default first.
    pub cards: Vec<ShownCard>,
    /// Whether a card can be typed here.
    pub takes_typed: bool,
    /// Whether an invoice can be asked for.
    pub takes_invoices: bool,
    /// Days for which the plan can be tried; 0 for no trial.
    pub trial_days: u64,
    /// The plan that the new one shall replace; empty for none.
    pub upgrade: String,
    /// Whether it is shown in a browser.
    pub browser: bool,
    /// The payment that was just confirmed to the bank; empty for none.
    pub confirmed: String,
}

impl Page for NewSubscriptionPage {
    const TEMPLATE: &'static str = "new-subscription.html";
}

/// A plan that this website sells.
fn wanted(name: &str) -> Result<PlanType, PortalError> {
    let plan = PlanType::parse(name).filter(|plan| plan.devices == Devices::All);
    plan.ok_or_else(|| PortalError::field("error.plan").at(FORM))
}

/// The plan that is given up for the new one, bought in the store of a phone.
fn upgrade(fields: &Fields) -> Result<Option<PlanType>, PortalError> {
    match fields.text("upgrade") {
        "" => Ok(None),
        name => match PlanType::parse(name).filter(|plan| plan.devices != Devices::All) {
            Some(plan) => Ok(Some(plan)),
            None => Err(PortalError::field("error.upgrade").at(FORM)),
        },
    }
}

async fn new_page(
    State(state): State<ApiState>,
    reader: Reader,
    user: PortalUser,
    Query(query): Query,
) -> PortalResult {
    let chosen = match query.text("plan") {
        "" => "all-monthly",
        name => wanted(name)?.name(),
    };
    let upgrade = upgrade(&query)?.map_or("", PlanType::name);
    let desk = &state.subscriptions;
    if desk.has_all(user.user_id)? {
        return Ok(go::saying(ACCOUNT, "billing.already_active"));
    }
    let percent = desk.discount(user.network_id)?;
    let is_local = desk.takes_invoices();
    let browser = query.flag("browser");
    let offer = |plan: PlanType| {
        let price = plan.item().price(state.config()).map(|price| price.0);
        if price.is_none() && is_local {
            return None;
        }
        let usd = |price: i64| format!("{} USD", NanoCents(price));
        Some(Offer {
            plan: plan.name(),
            is_annual: plan == PlanType::EVERY[1],
            price: price.map(|price| usd(reduced(price, percent))).unwrap_or_default(),
            full_price: price.filter(|_| percent > 0).map(usd).unwrap_or_default(),
            is_chosen: plan.name() == chosen,
        })
    };
    // What a bank has confirmed comes back with both.
    let is_confirmed = query.has("source") && query.has("client_secret");
    let may_try = !is_confirmed && desk.may_try(user.user_id)?;
    let page = NewSubscriptionPage {
        offers: PlanType::EVERY[..2].iter().filter_map(|plan| offer(*plan)).collect(),
        percent,
        cards: card::shown_cards(&state, &user).await?,
        takes_typed: is_local,
        takes_invoices: is_local,
        trial_days: if may_try { state.config().subscription.trial.as_secs().div_ceil(86_400) } else { 0 },
        upgrade: upgrade.to_owned(),
        browser,
        confirmed: if is_confirmed { query.text("source").to_owned() } else { String::new() },
    };
    match browser {
        true => reader.page(&state, &page),
        false => reader.bare().page(&state, &page),
    }
}

async fn begin(State(state): State<ApiState>, post: SignedPost) -> PortalResult {
    let (user, fields) = (&post.user, &post.fields);
    let source = card::source(fields).map_err(|error| error.at(FORM))?;
    if !fields.has("trial") {
        return Err(PortalError::field("error.missing_trial").at(FORM));
    }
    let plan = match fields.text("plan") {
        "" => return Err(PortalError::field("error.missing_plan").at(FORM)),
        name => wanted(name)?,
    };
    let upgrade = upgrade(fields)?;
    let is_invoice = source == Source::Named(Source::INVOICE.into());
    let new = NewPlan { plan, source, trial: fields.flag("trial"), is_3ds: fields.flag("is3ds") };
    match state.subscriptions.subscribe(member(user), new).await {
        Ok(_) => {}
        Err(BillingError::AlreadyActive) => return Ok(go::saying(ACCOUNT, "billing.already_active")),
        Err(error) => return Err(refusal(error, CARD).at(FORM)),
    }
    if is_invoice && !state.subscriptions.has_all(user.user_id)? {
        return Ok(go::saying("/invoices", "billing.invoice_waits"));
    }
    Ok(match (upgrade.map(|plan| plan.devices), fields.flag("browser")) {
        (Some(Devices::Android), _) => go::saying(ACCOUNT, "billing.cancel_android"),
        (Some(_), _) => go::saying(ACCOUNT, "billing.cancel_ios"),
        (None, true) => go::saying("/clients", "billing.subscribed"),
        (None, false) => go::to(APP),
    })
}

/// The form that ends a plan.
#[derive(Debug, Default, Serialize)]
pub struct CancelSubscriptionPage {
    /// Names it.
    pub receipt_id: String,
    /// The day until which it is paid.
    pub until: String,
}

impl Page for CancelSubscriptionPage {
    const TEMPLATE: &'static str = "cancel-subscription.html";
}

/// A plan of a user.
fn own_plan(state: &ApiState, user: &PortalUser, receipt_id: &str) -> Result<Subscription, PortalError> {
    if receipt_id.is_empty() {
        return Err(PortalError::field("error.missing_receipt_id").at(ACCOUNT));
    }
    let plans = state.subscriptions.plans(user.user_id)?;
    let found = plans.into_iter().find(|(known, _)| known == receipt_id).map(|(_, plan)| plan);
    found.ok_or_else(|| PortalError::refused(NO_SUBSCRIPTION, "error.no_subscription").at(ACCOUNT))
}

async fn cancel_page(
    State(state): State<ApiState>,
    reader: Reader,
    user: PortalUser,
    Query(query): Query,
) -> PortalResult {
    let receipt_id = query.text("receiptId");
    match ReceiptType::parse(query.text("receiptType")) {
        None => Err(PortalError::field("error.any_receipt_type").at(ACCOUNT)),
        Some(_) if receipt_id.is_empty() => Err(PortalError::field("error.missing_receipt_id").at(ACCOUNT)),
        Some(ReceiptType::Ios | ReceiptType::Android) => Ok(go::saying(ACCOUNT, "billing.cancel_at_store")),
        Some(ReceiptType::Stripe) => {
            let plan = own_plan(&state, &user, receipt_id)?;
            let until = plan.expiration.to_date();
            reader.page(&state, &CancelSubscriptionPage { receipt_id: receipt_id.to_owned(), until })
        }
    }
}

async fn cancel(State(state): State<ApiState>, post: SignedPost) -> PortalResult {
    let (user, fields) = (&post.user, &post.fields);
    let receipt_id = fields.text("receiptId");
    if own_plan(&state, user, receipt_id)?.receipt_type != ReceiptType::Stripe {
        return Ok(go::saying(ACCOUNT, "billing.cancel_at_store"));
    }
    let reason = crate::domain::device::cut(fields.text("reason"), MAX_REASON_BYTES).to_owned();
    let ended = state.subscriptions.cancel(member(user), receipt_id.to_owned(), reason).await;
    ended.map_err(|error| refusal(error, NO_SUBSCRIPTION).at(ACCOUNT))?;
    Ok(go::saying(ACCOUNT, "billing.cancelled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_seconds_with_its_fraction() {
        assert_eq!(seconds(Timestamp::from_millis(1_520_666_046_065)).to_string(), "1520666046.065");
        assert_eq!(seconds(Timestamp::from_secs(1_520_666_046)).to_string(), "1520666046");
    }
}
