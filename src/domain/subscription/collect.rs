//! What an operator does about invoices: collect one, pay one back.

use super::billing::InvoiceState;
use super::course::{give_up, settle};
use super::due;
use super::invoice::{self, Invoice, Payment};
use super::record::{self, Subscription};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::RecordId;

/// Why an operator's command about an invoice did nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvoiceRefusal {
    /// There is none.
    #[error("there is no such invoice")]
    Unknown,
    /// It is in another state.
    #[error("the invoice is {0}")]
    State(&'static str),
}

/// Marks an open invoice paid: an operator's command. A second time changes nothing.
pub struct PayInvoice {
    /// Which.
    pub id: RecordId,
    /// What the operator notes.
    pub memo: String,
}

impl Operation for PayInvoice {
    type Output = Result<Invoice, InvoiceRefusal>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let Some((user_id, invoice)) = invoice::find(tx, self.id)? else { return Ok(Err(InvoiceRefusal::Unknown)) };
        match invoice.state() {
            InvoiceState::Open => {}
            InvoiceState::Paid => return Ok(Ok(invoice)),
            state => return Ok(Err(InvoiceRefusal::State(state.name()))),
        }
        let key = (user_id, invoice.receipt_id.clone());
        let Some(plan) = record::plan(tx, &key)? else { return Ok(Err(InvoiceRefusal::State("of no subscription"))) };
        let payment = Payment { time: tx.now, card: None, memo: self.memo.clone() };
        settle(tx, (&key, plan), (self.id, &invoice), payment)?;
        let paid = invoice::find(tx, self.id)?.map_or(invoice, |(_, invoice)| invoice);
        Ok(Ok(paid))
    }
}

/// Pays a paid invoice back: an operator's command. What it brought is taken back, and with the last period that is
/// paid the plan ends.
pub struct RefundInvoice {
    /// Which.
    pub id: RecordId,
}

impl Operation for RefundInvoice {
    type Output = Result<Invoice, InvoiceRefusal>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let Some((user_id, invoice)) = invoice::find(tx, self.id)? else { return Ok(Err(InvoiceRefusal::Unknown)) };
        match invoice.state() {
            InvoiceState::Paid => {}
            InvoiceState::Refunded => return Ok(Ok(invoice)),
            state => return Ok(Err(InvoiceRefusal::State(state.name()))),
        }
        invoice::refund(tx, (user_id, self.id), &invoice)?;
        due::take_back(tx, &invoice::purchase_key(self.id))?;
        let key = (user_id, invoice.receipt_id.clone());
        if let Some(plan) = record::plan(tx, &key)?
            && invoice.period.is_some_and(|(_, end)| end == plan.expiration)
        {
            let cancellation = Some(plan.cancellation.unwrap_or(tx.now));
            give_up(tx, &key, Subscription { cancellation, ..plan })?;
        }
        let refunded = invoice::find(tx, self.id)?.map_or(invoice, |(_, invoice)| invoice);
        Ok(Ok(refunded))
    }
}
