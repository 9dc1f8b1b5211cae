//! Invoices of this server's own billing, and the money behind them in the books.
//!
//! ```text
//! open ──► paid ──► refunded
//!   └────► void
//! ```
//!
//! Paying an invoice posts its amount to the sales, and refunding it posts it back, so the books say what was earned.

use serde::{Deserialize, Serialize};

use super::billing::{InvoiceState, ShownInvoice};
use super::discount::reduced;
use super::plan::PlanType;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::wallet::journal::{self, Account, Reason};
use crate::ids::{NetworkId, RecordId, UserId};
use crate::json_record;
use crate::money::NanoCents;
use crate::store::table::Table;
use crate::time::Timestamp;

/// The invoices of a user.
pub const INVOICES: Table<(UserId, RecordId), Invoice> = Table::guarded(292, "invoices", 16);

/// Whose invoice it is.
pub const INVOICE_USERS: Table<RecordId, InvoiceUser> = Table::new(293, "invoice_users");

/// Invoices that are shown to their owner.
const SHOWN: usize = 120;

const ID_PREFIX: &str = "in_";

/// An invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    /// Who gets what it pays for.
    pub network_id: NetworkId,
    /// The plan it belongs to.
    pub receipt_id: String,
    /// What that is.
    pub plan: PlanType,
    /// When it was written.
    pub create_time: Timestamp,
    /// The price of the plan, in 10⁻⁹ USD.
    pub price: i64,
    /// What is taken off, in percent.
    pub percent: u8,
    /// What is to be paid, in 10⁻⁹ USD.
    pub amount: i64,
    /// The period it pays, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<(Timestamp, Timestamp)>,
    /// What it was paid with, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Payment>,
    /// When it was given up, or paid back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// How often its card was refused.
    #[serde(default)]
    pub refusals: u32,
}
json_record!(Invoice, 1);

/// How an invoice was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// When.
    pub time: Timestamp,
    /// The card as people read it; none when the operator collected the money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// What the operator noted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub memo: String,
}

impl Payment {
    /// A card was charged.
    pub(super) fn by_card(time: Timestamp, card: &str) -> Self {
        Self { time, card: Some(card.to_owned()), memo: String::new() }
    }

    /// A discount has left nothing to pay.
    pub(super) fn free(time: Timestamp) -> Self {
        Self { time, card: None, memo: "nothing to pay".into() }
    }
}

/// Whose invoice it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceUser {
    /// The user.
    pub user_id: UserId,
}
json_record!(InvoiceUser, 1);

impl Invoice {
    /// An open invoice for a period of a plan: its price, and what is taken off in percent.
    pub(super) fn new(
        (network_id, receipt_id): (NetworkId, &str),
        plan: PlanType,
        now: Timestamp,
        (price, percent): (i64, u8),
    ) -> Self {
        Self {
            network_id,
            receipt_id: receipt_id.to_owned(),
            plan,
            create_time: now,
            price,
            percent,
            amount: reduced(price, percent),
            period: None,
            payment: None,
            end_time: None,
            refusals: 0,
        }
    }

    /// How far it is.
    pub fn state(&self) -> InvoiceState {
        match (&self.payment, self.end_time) {
            (None, None) => InvoiceState::Open,
            (Some(_), None) => InvoiceState::Paid,
            (None, Some(_)) => InvoiceState::Void,
            (Some(_), Some(_)) => InvoiceState::Refunded,
        }
    }

    fn shown(self, id: RecordId) -> ShownInvoice {
        let usd = |amount: i64| format!("{} USD", NanoCents(amount));
        let paid_with = self.payment.as_ref().map(|payment| payment.card.clone().unwrap_or_default());
        ShownInvoice {
            id: text_id(id),
            state: self.state(),
            text: self.plan.item().title().into(),
            create_time: self.create_time,
            period: self.period,
            price: usd(self.price),
            percent: self.percent,
            amount: usd(self.amount),
            paid_with: paid_with.filter(|card| !card.is_empty()),
            url: None,
        }
    }
}

/// The id of an invoice as people see it.
pub fn text_id(id: RecordId) -> String {
    format!("{ID_PREFIX}{}", hex::encode(id.as_bytes()))
}

/// The invoice of such an id.
pub fn parse_id(text: &str) -> Option<RecordId> {
    text.strip_prefix(ID_PREFIX).filter(|id| id.len() == 32)?.parse().ok()
}

/// The key of what an invoice pays for.
pub(super) fn purchase_key(id: RecordId) -> String {
    format!("invoice:{id}")
}

/// Writes an invoice down.
pub(super) fn create(tx: &mut Tx<'_>, user_id: UserId, invoice: &Invoice) -> Result<RecordId, DomainError> {
    let id: RecordId = tx.new_id();
    tx.put(&INVOICES, &(user_id, id), invoice)?;
    tx.put(&INVOICE_USERS, &id, &InvoiceUser { user_id })?;
    Ok(id)
}

/// Whose it is, and what it says.
pub(super) fn find(tx: &mut Tx<'_>, id: RecordId) -> Result<Option<(UserId, Invoice)>, DomainError> {
    let Some(InvoiceUser { user_id }) = tx.get(&INVOICE_USERS, &id)? else { return Ok(None) };
    Ok(tx.get(&INVOICES, &(user_id, id))?.map(|invoice| (user_id, invoice)))
}

/// Marks an open invoice paid, and posts the money: from cards, or from the operator who collected it.
pub(super) fn pay(
    tx: &mut Tx<'_>,
    (user_id, id): (UserId, RecordId),
    invoice: &Invoice,
    period: (Timestamp, Timestamp),
    payment: Payment,
) -> Result<(), DomainError> {
    let payer = if payment.card.is_some() { Account::Cards } else { Account::Operator };
    // Nothing is posted for what a discount made free.
    journal::post(tx, (Reason::Subscription, &purchase_key(id)), (payer, Account::Sales), invoice.amount)?;
    let paid = Invoice { period: Some(period), payment: Some(payment), ..invoice.clone() };
    Ok(tx.put(&INVOICES, &(user_id, id), &paid)?)
}

/// Gives an open invoice up. One that never began anything is forgotten.
pub(super) fn void(tx: &mut Tx<'_>, (user_id, id): (UserId, RecordId), is_forgotten: bool) -> Result<(), DomainError> {
    let Some(invoice) = tx.get(&INVOICES, &(user_id, id))?.filter(|invoice| invoice.state() == InvoiceState::Open)
    else {
        return Ok(());
    };
    if is_forgotten {
        tx.delete(&INVOICES, &(user_id, id))?;
        return Ok(tx.delete(&INVOICE_USERS, &id)?);
    }
    let end_time = Some(tx.now);
    Ok(tx.put(&INVOICES, &(user_id, id), &Invoice { end_time, ..invoice })?)
}

/// Marks a paid invoice as paid back, and posts the money back.
pub(super) fn refund(tx: &mut Tx<'_>, (user_id, id): (UserId, RecordId), invoice: &Invoice) -> Result<(), DomainError> {
    let is_card = invoice.payment.as_ref().is_some_and(|payment| payment.card.is_some());
    let payer = if is_card { Account::Cards } else { Account::Operator };
    journal::post(tx, (Reason::Refund, &purchase_key(id)), (Account::Sales, payer), invoice.amount)?;
    let end_time = Some(tx.now);
    Ok(tx.put(&INVOICES, &(user_id, id), &Invoice { end_time, ..invoice.clone() })?)
}

/// Forgets the invoices of a user; the postings stay in the books.
pub(super) fn remove_all(tx: &mut Tx<'_>, user_id: &UserId) -> Result<(), DomainError> {
    for (key, _) in tx.scan(&INVOICES, user_id)? {
        tx.delete(&INVOICES, &key)?;
        tx.delete(&INVOICE_USERS, &key.1)?;
    }
    Ok(())
}

/// The last invoices of a user, newest first.
pub(super) struct ListOwnInvoices(pub(super) UserId);

impl Operation for ListOwnInvoices {
    type Output = Vec<ShownInvoice>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<ShownInvoice>, DomainError> {
        let rows = tx.scan_snapshot(&INVOICES, &self.0)?;
        Ok(rows.into_iter().rev().take(SHOWN).map(|((_, id), invoice)| invoice.shown(id)).collect())
    }
}

/// An invoice of a user.
pub(super) struct ReadOwnInvoice {
    pub(super) user_id: UserId,
    pub(super) id: String,
}

impl Operation for ReadOwnInvoice {
    type Output = Option<ShownInvoice>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<ShownInvoice>, DomainError> {
        let Some(id) = parse_id(&self.id) else { return Ok(None) };
        Ok(tx.get(&INVOICES, &(self.user_id, id))?.map(|invoice| invoice.shown(id)))
    }
}

/// Every invoice, newest first: an operator's list.
pub struct ListInvoices {
    /// Only those of this user.
    pub user_id: Option<UserId>,
}

impl Operation for ListInvoices {
    type Output = Vec<(UserId, RecordId, Invoice)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let rows = match &self.user_id {
            Some(user_id) => tx.scan_snapshot(&INVOICES, user_id)?,
            None => tx.scan_snapshot(&INVOICES, &())?,
        };
        let mut invoices: Vec<_> = rows.into_iter().map(|((user_id, id), invoice)| (user_id, id, invoice)).collect();
        invoices.sort_by_key(|(_, id, _)| std::cmp::Reverse(*id));
        Ok(invoices)
    }
}
