//! What is known of a user's plans.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::plan::{Devices, PlanType};
use super::{card, due, invoice};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{RecordId, UserId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// What is known of a user beside their plans.
pub const SUBSCRIBERS: Table<UserId, Subscriber> = Table::new(285, "subscribers");

/// The plans of a user, by receipt.
pub const SUBSCRIPTIONS: Table<(UserId, String), Subscription> = Table::guarded(286, "subscriptions", 16);

/// When to look at a plan next.
pub const SUBSCRIPTION_CHECKS: Table<(u64, UserId, String), ()> = Table::new(287, "subscription_checks");

/// What a store is asked with about a plan that was bought there.
pub const SUBSCRIPTION_PROOFS: Table<(UserId, String), Proof> = Table::new(288, "subscription_proofs");

/// Whose plan it is.
pub const SUBSCRIPTION_USERS: Table<String, SubscriptionUser> = Table::new(289, "subscription_users");

/// Plans of one user that are remembered; above it the one that ended first is forgotten.
const MAX_PLANS: usize = 32;

/// What is known of a user beside their plans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscriber {
    /// Whether they had a plan, so that there is nothing to try any more.
    #[serde(default)]
    pub had_plan: bool,
    /// When the last of their plans that was not cancelled ends.
    #[serde(default)]
    pub active_until: Timestamp,
    /// The card that is charged, when this server keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_card: Option<RecordId>,
}
json_record!(Subscriber, 1);

/// Where a plan is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiptType {
    /// Apple's store.
    Ios,
    /// Google's store.
    Android,
    /// By card or invoice; clients know it by this name, whoever takes the money.
    Stripe,
}

impl ReceiptType {
    /// The type of a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Ios, Self::Android, Self::Stripe].into_iter().find(|known| known.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ios => "ios",
            Self::Android => "android",
            Self::Stripe => "stripe",
        }
    }
}

/// A plan of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// What it is.
    pub plan: PlanType,
    /// Where it is paid.
    pub receipt_type: ReceiptType,
    /// When it was first seen here.
    pub create_time: Timestamp,
    /// Until when it is paid, or may be tried.
    pub expiration: Timestamp,
    /// When it was taken back before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<Timestamp>,
    /// Whether it is being tried.
    #[serde(default)]
    pub in_trial: bool,
    /// Whether it goes on after that.
    pub renews: bool,
    /// When to look at it next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_time: Option<Timestamp>,
    /// What this server's own billing knows of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalPlan>,
}
json_record!(Subscription, 1);

impl Subscription {
    /// Whether it counts now.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.cancellation.is_none() && now < self.expiration
    }

    /// Whether it counts now and opens every device, so that there is nothing more to have.
    pub fn is_whole(&self, now: Timestamp) -> bool {
        self.is_active(now) && self.plan.devices == Devices::All
    }
}

/// What this server's own billing knows of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalPlan {
    /// The first paid period began here.
    pub anchor: Timestamp,
    /// Periods that are paid.
    pub periods: u32,
    /// Whether the operator collects the money, not a card.
    #[serde(default)]
    pub by_invoice: bool,
    /// The invoice that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_invoice: Option<RecordId>,
}

/// What a store is asked with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof(pub String);
json_record!(Proof, 1);

/// Whose plan it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionUser {
    /// The user.
    pub user_id: UserId,
}
json_record!(SubscriptionUser, 1);

/// Everything of a user, newest end first.
pub(super) fn plans(tx: &mut Tx<'_>, user_id: &UserId) -> Result<Vec<(String, Subscription)>, DomainError> {
    let rows = tx.scan(&SUBSCRIPTIONS, user_id)?;
    let mut plans: Vec<_> = rows.into_iter().map(|((_, receipt_id), plan)| (receipt_id, plan)).collect();
    plans.sort_by(|(left_id, left), (right_id, right)| {
        (Reverse(left.expiration), left_id).cmp(&(Reverse(right.expiration), right_id))
    });
    Ok(plans)
}

/// A plan of a user.
pub(super) fn plan(tx: &mut Tx<'_>, key: &(UserId, String)) -> Result<Option<Subscription>, DomainError> {
    Ok(tx.get(&SUBSCRIPTIONS, key)?)
}

/// Writes a plan, and what follows from it: when it is looked at, whose it is, and until when its user has one.
pub(super) fn put(tx: &mut Tx<'_>, key: &(UserId, String), plan: &Subscription) -> Result<(), DomainError> {
    let (user_id, receipt_id) = key;
    let before = tx.get(&SUBSCRIPTIONS, key)?;
    if before.is_none() {
        forget_surplus(tx, user_id)?;
        tx.put(&SUBSCRIPTION_USERS, receipt_id, &SubscriptionUser { user_id: *user_id })?;
    }
    move_check(tx, key, before.and_then(|plan| plan.check_time), plan.check_time)?;
    tx.put(&SUBSCRIPTIONS, key, plan)?;
    let mut active_until = Timestamp::ZERO;
    for (_, plan) in plans(tx, user_id)?.into_iter().filter(|(_, plan)| plan.cancellation.is_none()) {
        active_until = active_until.max(plan.expiration);
    }
    let known = tx.get(&SUBSCRIBERS, user_id)?.unwrap_or_default();
    // One that waits for its first payment leaves the trial open.
    let had_plan = known.had_plan || plan.in_trial || plan.expiration > plan.create_time;
    tx.put(&SUBSCRIBERS, user_id, &Subscriber { active_until, had_plan, ..known })?;
    Ok(())
}

/// Removes a plan and what belongs to it; its invoices stay.
pub(super) fn remove(tx: &mut Tx<'_>, key: &(UserId, String)) -> Result<(), DomainError> {
    let Some(plan) = tx.get(&SUBSCRIPTIONS, key)? else { return Ok(()) };
    move_check(tx, key, plan.check_time, None)?;
    tx.delete(&SUBSCRIPTIONS, key)?;
    tx.delete(&SUBSCRIPTION_PROOFS, key)?;
    tx.delete(&SUBSCRIPTION_USERS, &key.1)?;
    Ok(())
}

fn move_check(
    tx: &mut Tx<'_>,
    (user_id, receipt_id): &(UserId, String),
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<(), DomainError> {
    let row = |time: Timestamp| (time.as_millis(), *user_id, receipt_id.clone());
    if let Some(from) = from.filter(|from| Some(*from) != to) {
        tx.delete(&SUBSCRIPTION_CHECKS, &row(from))?;
    }
    if let Some(to) = to {
        tx.put(&SUBSCRIPTION_CHECKS, &row(to), &())?;
    }
    Ok(())
}

/// Makes room for one more plan.
fn forget_surplus(tx: &mut Tx<'_>, user_id: &UserId) -> Result<(), DomainError> {
    let mut plans = plans(tx, user_id)?;
    while plans.len() >= MAX_PLANS {
        let Some((receipt_id, _)) = plans.pop() else { break };
        remove(tx, &(*user_id, receipt_id))?;
    }
    Ok(())
}

/// Removes everything of a user whose account ends. What runs at a company is ended there.
pub fn remove_all(tx: &mut Tx<'_>, user_id: &UserId) -> Result<(), DomainError> {
    for (receipt_id, plan) in plans(tx, user_id)? {
        if plan.receipt_type == ReceiptType::Stripe && plan.local.is_none() && plan.is_active(tx.now) {
            due::end_at_company(tx, &receipt_id)?;
        }
        remove(tx, &(*user_id, receipt_id))?;
    }
    card::remove_all(tx, user_id)?;
    invoice::remove_all(tx, user_id)?;
    Ok(tx.delete(&SUBSCRIBERS, user_id)?)
}

/// The plans of a user, newest end first.
pub struct ListPlans(pub UserId);

impl Operation for ListPlans {
    type Output = Vec<(String, Subscription)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        plans(tx, &self.0)
    }
}

/// What is known of a user beside their plans.
pub struct ReadSubscriber(pub UserId);

impl Operation for ReadSubscriber {
    type Output = Subscriber;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Subscriber, DomainError> {
        Ok(tx.get(&SUBSCRIBERS, &self.0)?.unwrap_or_default())
    }
}
