//! Plans that others bill: what the stores of phones and the company for cards say is written down here, and what they
//! were paid for is noted to be given.

use std::time::Duration;

use super::due::{self, PaidPeriod};
use super::receipt::StoreReceipt;
use super::record::{self, Proof, ReceiptType, SUBSCRIPTION_PROOFS, Subscription};
use super::signed_receipt::SIGNED_PREFIX;
use crate::domain::balance::Market;
use crate::domain::error::DomainError;
use crate::domain::network::NETWORKS;
use crate::domain::operation::{Operation, Tx};
use crate::domain::payment_id::FindPayer;
use crate::domain::purchase::checkout::PlanReport;
use crate::domain::purchase::shop::net;
use crate::domain::purchase::store_report::{ReceiptState, STORE_LINKS, StoreLink};
use crate::ids::{NetworkId, UserId};
use crate::time::Timestamp;

/// A store renews about when a period ends, so it is asked a little later.
const AFTER_END: Duration = Duration::from_secs(300);

/// The user and network that a receipt belongs to: the first to hand it in, or whom the app named to the store.
pub(in crate::domain) fn owner(
    tx: &mut Tx<'_>,
    receipt: &StoreReceipt,
) -> Result<Option<(UserId, NetworkId)>, DomainError> {
    let linked = tx.get(&STORE_LINKS, &receipt.period.subscription)?.map(|link| link.network_id);
    let network_id = match (linked, receipt.period.account) {
        (Some(network_id), _) => Some(network_id),
        (None, Some(account)) => FindPayer(account).apply(tx)?,
        (None, None) => None,
    };
    let Some(network_id) = network_id else { return Ok(None) };
    // The receipt of an account that is gone is anybody's.
    Ok(tx.get(&NETWORKS, &network_id)?.map(|network| (network.admin_user_id, network_id)))
}

/// Writes down what a receipt of a user says.
pub(in crate::domain) fn take(
    tx: &mut Tx<'_>,
    (user_id, network_id): (UserId, NetworkId),
    receipt: &StoreReceipt,
) -> Result<(), DomainError> {
    let period = &receipt.period;
    tx.put(&STORE_LINKS, &period.subscription, &StoreLink { network_id })?;
    let key = (user_id, receipt.receipt_id.clone());
    let known = record::plan(tx, &key)?;
    let (start, mut expiration) = period.period;
    if let Some(known) = &known {
        // An older receipt takes nothing away.
        expiration = expiration.max(known.expiration);
    }
    let is_latest = expiration == period.period.1;
    if known.is_some() && !is_latest {
        return Ok(());
    }
    let is_paid_back = receipt.cancellation.is_some() || period.state == ReceiptState::Revoked;
    let check_time = (receipt.proof.is_some() && receipt.renews && !is_paid_back).then(|| expiration + AFTER_END);
    let plan = Subscription {
        plan: receipt.plan,
        receipt_type: receipt.receipt_type,
        create_time: known.as_ref().map_or(start, |known| known.create_time),
        expiration,
        cancellation: is_paid_back.then(|| receipt.cancellation.unwrap_or(tx.now)),
        in_trial: receipt.in_trial,
        renews: receipt.renews && !is_paid_back,
        check_time,
        local: None,
    };
    record::put(tx, &key, &plan)?;
    if let Some(proof) = &receipt.proof {
        tx.put(&SUBSCRIPTION_PROOFS, &key, &Proof(proof.clone()))?;
    }
    if is_paid_back {
        return due::take_back(tx, &period.key);
    }
    let is_new = known.is_none_or(|known| known.expiration != expiration);
    if !is_new || period.state != ReceiptState::Active || expiration <= tx.now {
        return Ok(());
    }
    // What the operator signed was paid to nobody.
    let is_signed = period.subscription.starts_with(SIGNED_PREFIX);
    let market = match receipt.receipt_type {
        _ if is_signed => Market::Manual,
        ReceiptType::Ios => Market::Apple,
        ReceiptType::Android => Market::Google,
        ReceiptType::Stripe => Market::Stripe,
    };
    let price = period.item.price(tx.config).map_or(0, |price| price.0);
    let revenue = if is_signed || receipt.in_trial { 0 } else { net(price) };
    let item = period.item;
    let paid = PaidPeriod { network_id, market, item, is_trial: receipt.in_trial, start, end: expiration, revenue };
    due::give(tx, &period.key, paid)
}

/// Takes a receipt that a user hands in; says whether it is theirs.
pub(super) struct TakeReceipt<'a> {
    pub(super) user_id: UserId,
    pub(super) receipt: &'a StoreReceipt,
}

impl Operation for TakeReceipt<'_> {
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        let member = match owner(tx, self.receipt)? {
            Some((user_id, _)) if user_id != self.user_id => return Ok(false),
            Some(member) => member,
            None => {
                let user = tx.get(&crate::domain::network::USERS, &self.user_id)?;
                (self.user_id, user.ok_or(DomainError::Unauthorized)?.network_id)
            }
        };
        take(tx, member, self.receipt)?;
        Ok(true)
    }
}

/// Writes down how a plan stands at the company that bills it.
pub(super) struct NoteReport<'a> {
    pub(super) report: &'a PlanReport,
}

impl Operation for NoteReport<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let report = self.report;
        let Some(network) = tx.get(&NETWORKS, &report.network_id)? else { return Ok(()) };
        let Some(plan) = super::plan::PlanType::of_item(report.item) else { return Ok(()) };
        let key = (network.admin_user_id, report.id.clone());
        let known = record::plan(tx, &key)?;
        if known.as_ref().is_some_and(|known| known.local.is_some()) {
            return Ok(());
        }
        let known_until = known.as_ref().map_or(Timestamp::ZERO, |known| known.expiration);
        let ended = report.ended.or(known.as_ref().and_then(|known| known.cancellation));
        let plan = Subscription {
            plan,
            receipt_type: ReceiptType::Stripe,
            create_time: known.as_ref().map_or(tx.now, |known| known.create_time),
            // Reports may overtake each other: what was paid stays paid.
            expiration: report.until.max(known_until),
            // One that has run out was not taken back.
            cancellation: ended.filter(|ended| *ended < report.until.max(known_until)),
            in_trial: report.in_trial.unwrap_or(known.as_ref().is_some_and(|known| known.in_trial)),
            renews: ended.is_none() && report.renews.unwrap_or(known.as_ref().is_none_or(|known| known.renews)),
            check_time: None,
            local: None,
        };
        record::put(tx, &key, &plan)
    }
}
