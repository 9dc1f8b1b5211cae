//! The plan of an account, as its page shows it.

use serde::Serialize;

use super::error::PortalError;
use super::session::PortalUser;
use crate::domain::balance::BalanceView;
use crate::domain::subscription::plan::Devices;
use crate::domain::subscription::record::Subscription;
use crate::http::state::ApiState;

/// What an account pays for.
#[derive(Debug, Default, Serialize)]
pub struct Plan {
    /// Whether it is Pro.
    pub is_pro: bool,
    /// The day it ends or is renewed; none when it does neither.
    pub renewal: Option<String>,
    /// Its subscriptions that run, the one that ends last first.
    pub subscriptions: Vec<ShownPlan>,
    /// Whether there is something more to subscribe to.
    pub may_subscribe: bool,
    /// The plan in the store of a phone that a new one would replace; empty for none.
    pub upgrade: &'static str,
}

/// A subscription that runs.
#[derive(Debug, Default, Serialize)]
pub struct ShownPlan {
    /// Its name, `all-monthly`.
    pub name: &'static str,
    /// Where it is ended.
    pub cancel: String,
    /// The day it ends, or is renewed.
    pub end: String,
    /// Whether it is being tried.
    pub in_trial: bool,
    /// Whether it goes on after that.
    pub renews: bool,
}

impl ShownPlan {
    fn new(receipt_id: &str, plan: &Subscription) -> Self {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("receiptId", receipt_id).append_pair("receiptType", plan.receipt_type.name());
        Self {
            name: plan.plan.name(),
            cancel: format!("/cancel-subscription?{}", query.finish()),
            end: plan.expiration.to_date(),
            in_trial: plan.in_trial,
            renews: plan.renews,
        }
    }
}

/// The plan of an account: Pro as long as a balance says so, whoever has paid for that.
pub async fn of(state: &ApiState, user: &PortalUser, balance: &BalanceView) -> Result<Plan, PortalError> {
    let plans = state.subscriptions.active_plans(user.user_id)?;
    let upgrade = plans.iter().find(|(_, plan)| plan.plan.devices != Devices::All);
    let upgrade = upgrade.map_or("", |(_, plan)| plan.plan.name());
    let may_subscribe = !state.subscriptions.has_all(user.user_id)?;
    let of_balance = || balance.buckets.iter().filter(|bucket| bucket.is_pro).map(|bucket| bucket.end_time).max();
    let end = plans.first().map(|(_, plan)| plan.expiration).or_else(of_balance);
    Ok(Plan {
        is_pro: balance.is_pro,
        renewal: end.map(|end| end.to_date()),
        subscriptions: plans.iter().map(|(receipt_id, plan)| ShownPlan::new(receipt_id, plan)).collect(),
        may_subscribe,
        upgrade,
    })
}
