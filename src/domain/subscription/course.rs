//! The course of a plan that this server bills: paid, renewed, given up.
//!
//! ```text
//! waits for its first payment ──► paid ──► paid … ──► over
//! tried ──────────────────────────►└─ refused: tried again until the grace ends ─►
//! ```

use std::time::Duration;

use super::billing::BillingError;
use super::card;
use super::discount;
use super::due::{self, PaidPeriod};
use super::invoice::{self, Invoice, Payment};
use super::local::Outcome;
use super::record::{self, LocalPlan, Subscription};
use crate::domain::balance::Market;
use crate::domain::error::DomainError;
use crate::domain::network::USERS;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{RecordId, UserId};
use crate::time::{DAY, Timestamp};

/// How long before a period ends its next invoice is written, when the operator collects it.
const INVOICE_AHEAD: Duration = Duration::from_secs(7 * 86_400);

/// Time between two tries of a card that was refused.
const RETRY: Duration = DAY;

/// Takes an invoice as paid: the money is posted, the plan reaches further, and what it brings is due.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    (key, mut plan): (&(UserId, String), Subscription),
    (id, invoice): (RecordId, &Invoice),
    payment: Payment,
) -> Result<(), DomainError> {
    let mut local =
        plan.local.unwrap_or(LocalPlan { anchor: tx.now, periods: 0, by_invoice: false, open_invoice: None });
    if local.periods == 0 && !plan.in_trial {
        local.anchor = tx.now;
    }
    let start = plan.plan.after(local.anchor, local.periods);
    let end = plan.plan.after(local.anchor, local.periods + 1);
    local.periods += 1;
    local.open_invoice = None;
    plan.in_trial = false;
    plan.expiration = end;
    plan.check_time = plan.renews.then(|| next_check(end, local.by_invoice));
    plan.local = Some(local);
    let period = PaidPeriod {
        network_id: invoice.network_id,
        market: Market::Manual,
        item: invoice.plan.item(),
        is_trial: false,
        start,
        end,
        revenue: invoice.amount,
    };
    invoice::pay(tx, (key.0, id), invoice, (start, end), payment)?;
    due::give(tx, &invoice::purchase_key(id), period)?;
    record::put(tx, key, &plan)
}

fn next_check(expiration: Timestamp, by_invoice: bool) -> Timestamp {
    if by_invoice { expiration.before(INVOICE_AHEAD) } else { expiration }
}

/// Does what a plan needs now: writes the next invoice, charges the card, or gives it up.
pub(super) struct RenewPlan {
    pub(super) key: (UserId, String),
}

impl Operation for RenewPlan {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let key = &self.key;
        let Some(mut plan) = record::plan(tx, key)? else { return Ok(()) };
        let Some(mut local) = plan.local else { return Ok(()) };
        if plan.check_time.is_none_or(|time| tx.now < time) {
            return Ok(());
        }
        plan.check_time = None;
        if !plan.renews || plan.cancellation.is_some() {
            return record::put(tx, key, &plan);
        }
        let is_over = plan.expiration + tx.config.subscription.grace <= tx.now;
        let open = match local.open_invoice {
            Some(id) => invoice::find(tx, id)?.map(|(_, invoice)| (id, invoice)),
            None => None,
        };
        let (id, invoice) = match open {
            Some(open) => open,
            None => match next_invoice(tx, key, &plan)? {
                Some(invoice) => (invoice::create(tx, key.0, &invoice)?, invoice),
                // It is no longer for sale, or the user is gone.
                None => return give_up(tx, key, plan),
            },
        };
        local.open_invoice = Some(id);
        plan.local = Some(local);
        if invoice.amount == 0 {
            return settle(tx, (key, plan), (id, &invoice), Payment::free(tx.now));
        }
        if local.by_invoice {
            if is_over {
                return give_up(tx, key, plan);
            }
            plan.check_time = Some(plan.expiration + tx.config.subscription.grace);
            return record::put(tx, key, &plan);
        }
        // The bank asks for a first payment only.
        let card = card::default_card(tx, &key.0)?.filter(|card| card.charge(true, tx.now).is_ok());
        if let Some(card) = card {
            return settle(tx, (key, plan), (id, &invoice), Payment::by_card(tx.now, &card.name()));
        }
        if is_over {
            return give_up(tx, key, plan);
        }
        let refused = Invoice { refusals: invoice.refusals + 1, ..invoice };
        tx.put(&invoice::INVOICES, &(key.0, id), &refused)?;
        plan.check_time = Some((tx.now + RETRY).min(plan.expiration + tx.config.subscription.grace));
        record::put(tx, key, &plan)
    }
}

/// The invoice for the period after the last that is paid.
fn next_invoice(
    tx: &mut Tx<'_>,
    (user_id, receipt_id): &(UserId, String),
    plan: &Subscription,
) -> Result<Option<Invoice>, DomainError> {
    let Some(user) = tx.get(&USERS, user_id)? else { return Ok(None) };
    let Some(price) = plan.plan.item().price(tx.config) else { return Ok(None) };
    let percent = discount::percent(tx, &user.network_id)?;
    let about = (user.network_id, receipt_id.as_str());
    Ok(Some(Invoice::new(about, plan.plan, tx.now, (price.0, percent))))
}

/// Lets a plan end with what is paid.
pub(super) fn give_up(tx: &mut Tx<'_>, key: &(UserId, String), mut plan: Subscription) -> Result<(), DomainError> {
    plan.renews = false;
    plan.in_trial = false;
    plan.check_time = None;
    if let Some(mut local) = plan.local {
        if let Some(id) = local.open_invoice.take() {
            invoice::void(tx, (key.0, id), false)?;
        }
        plan.local = Some(local);
    }
    record::put(tx, key, &plan)
}

/// Makes way for a new plan: what waits for a first payment is forgotten, and what waits for a later one is given up.
pub(super) fn make_way(
    tx: &mut Tx<'_>,
    user_id: UserId,
    plans: Vec<(String, Subscription)>,
) -> Result<(), DomainError> {
    for (receipt_id, plan) in plans {
        let Some(local) = plan.local else { continue };
        let key = (user_id, receipt_id);
        if local.periods > 0 || plan.in_trial {
            if plan.renews {
                give_up(tx, &key, plan)?;
            }
            continue;
        }
        if let Some(id) = local.open_invoice {
            invoice::void(tx, (user_id, id), true)?;
        }
        record::remove(tx, &key)?;
    }
    Ok(())
}

/// Lets a plan end with what is paid, because its user wants so. One that waits for its first payment is gone at once.
pub(super) struct CancelPlan {
    pub(super) user_id: UserId,
    pub(super) receipt_id: String,
    pub(super) reason: String,
}

impl Operation for CancelPlan {
    type Output = Result<(), BillingError>;

    fn apply(&self, tx: &mut Tx<'_>) -> Outcome<()> {
        let key = (self.user_id, self.receipt_id.clone());
        let Some(plan) = record::plan(tx, &key)? else { return Ok(Err(BillingError::NoSubscription)) };
        if !plan.renews {
            return Ok(Ok(()));
        }
        tracing::info!(user = %self.user_id, plan = plan.plan.name(), reason = self.reason, "a plan was cancelled");
        let was_paid = plan.in_trial || plan.local.is_some_and(|local| local.periods > 0);
        match was_paid {
            true => {
                // A trial stays one until its end.
                let in_trial = plan.in_trial;
                give_up(tx, &key, plan)?;
                if in_trial && let Some(plan) = record::plan(tx, &key)? {
                    record::put(tx, &key, &Subscription { in_trial, ..plan })?;
                }
            }
            false => make_way(tx, self.user_id, vec![(self.receipt_id.clone(), plan)])?,
        }
        Ok(Ok(()))
    }
}
