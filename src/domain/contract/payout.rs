//! Payouts: the credit of providers, gathered into payments, which [`payout`](crate::domain::payout) makes where it can,
//! and an operator by whatever means there are.
//!
//! Nothing here moves money. What a network has earned is at any time unpaid, in a payment, or paid, and the three add
//! up to its lifetime credit. All of a network's unpaid credit goes into one payment; a cancelled one gives it back.
//!
//! ```text
//!  plan -> planned -> recorded -> completed
//!             |          |
//!             +----------+-> cancelled
//! ```

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Ledger;
use super::record::Credit;
use super::restore::{PAGE, for_each};
use super::state::State;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{NetworkId, RecordId};
use crate::json_record;
use crate::store::table::Table;
use crate::store::{Store, StoreError};
use crate::time::Timestamp;

/// Payments of each network.
pub const PAYMENTS: Table<(NetworkId, RecordId), Payment> = Table::new(211, "payments");

/// What of each network's credit is in payments.
pub const PAYOUT_TOTALS: Table<NetworkId, PayoutTotals> = Table::new(212, "payout_totals");

/// Payments planned at once, the largest ones: a plan is one commit.
pub const MAX_PAYMENTS: usize = 10_000;

/// Payments in one list.
const MAX_LISTED: usize = 2000;

/// Longest text about a payment.
const MAX_TEXT_BYTES: usize = 1024;

const GIB: i128 = 1 << 30;

/// A payment to a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// The run that planned it.
    pub plan_id: RecordId,
    /// Bytes it pays for.
    pub bytes: i64,
    /// The network's share of the revenue behind them, nano-cents.
    pub revenue: i64,
    /// What the operator adds for the bytes, nano-cents.
    #[serde(default)]
    pub bonus: i64,
    /// When the first of the bytes was earned.
    pub first_earned: Timestamp,
    /// When it was planned.
    pub create_time: Timestamp,
    /// How it is being paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<PaymentRecord>,
    /// When it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_time: Option<Timestamp>,
    /// Names the transaction that paid it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tx_hash: String,
    /// When it was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_time: Option<Timestamp>,
    /// When it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_time: Option<Timestamp>,
}
json_record!(Payment, 1);

impl Payment {
    /// What is to be paid, nano-cents.
    pub fn amount(&self) -> i64 {
        self.revenue.saturating_add(self.bonus)
    }

    /// How far it has come.
    pub fn state(&self) -> PaymentState {
        match (self.complete_time, self.cancel_time, &self.record) {
            (Some(_), _, _) => PaymentState::Completed,
            (None, Some(_), _) => PaymentState::Cancelled,
            (None, None, Some(_)) => PaymentState::Recorded,
            (None, None, None) => PaymentState::Planned,
        }
    }
}

/// How far a payment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// To be made.
    Planned,
    /// Under way.
    Recorded,
    /// Made.
    Completed,
    /// Given up; its credit is unpaid again.
    Cancelled,
}

impl PaymentState {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Recorded => "recorded",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How a payment is being made, as the operator or a processor tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRecord {
    /// Names it at whoever makes it.
    pub reference: String,
    /// What is paid in, such as `USDC`; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token_type: String,
    /// Where to; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub wallet_address: String,
    /// The chain of that address, such as `SOL`; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub blockchain: String,
    /// Who makes it.
    #[serde(default, skip_serializing_if = "Payer::is_operator")]
    pub payer: Payer,
}

/// Who makes a payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payer {
    /// The operator.
    #[default]
    Operator,
    /// The server, into a wallet of its own ledger.
    Ledger,
    /// The server, through a company, on a chain.
    Chain,
}

impl Payer {
    fn is_operator(&self) -> bool {
        *self == Self::Operator
    }
}

/// What of a network's credit is in payments, and in completed ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutTotals {
    /// Bytes in payments that are neither completed nor cancelled.
    pub planned_bytes: i64,
    /// Revenue in them, nano-cents.
    pub planned_revenue: i64,
    /// Bytes in completed payments.
    pub paid_bytes: i64,
    /// Revenue in them, nano-cents.
    pub paid_revenue: i64,
    /// Since when there is credit in no payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpaid_since: Option<Timestamp>,
}
json_record!(PayoutTotals, 1);

impl PayoutTotals {
    /// Bytes and revenue that are in no payment, out of the lifetime credit.
    pub fn unpaid(&self, credit: &Credit) -> (i64, i64) {
        let bytes = credit.provided_bytes - self.planned_bytes - self.paid_bytes;
        (bytes, credit.provided_revenue - self.planned_revenue - self.paid_revenue)
    }
}

/// What a run shall pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayoutRun {
    /// Networks that would get less are left for the next run, nano-cents.
    pub minimum: i64,
    /// Added to the revenue for each GiB, nano-cents.
    pub bonus_per_gib: i64,
}

/// What a run has planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayoutPlan {
    /// Names the run.
    pub plan_id: RecordId,
    /// Payments made.
    pub payments: usize,
    /// Bytes in them.
    pub bytes: i64,
    /// What is to be paid altogether, nano-cents.
    pub amount: i64,
    /// Networks that were due too, but more than one run can take.
    pub left: usize,
}

/// Why a payment did not move on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentRefusal {
    /// No such payment, or it is completed or cancelled.
    #[error("no open payment has the id {0}")]
    NotOpen(RecordId),
    /// Recorded before.
    #[error("the payment {0} is recorded already")]
    AlreadyRecorded(RecordId),
    /// Completed before it was recorded.
    #[error("the payment {0} is only planned: record how it is paid first")]
    NotRecorded(RecordId),
    /// The server is making it, so that it may be made already.
    #[error("the payment {0} is being made by the server; give it up by force when it is certain that it was not made")]
    UnderWay(RecordId),
    /// A text is too long, or the reference is empty.
    #[error("a payment needs a reference, and texts of at most 1 KiB")]
    Malformed,
}

/// Payments that are planned or recorded; all others are rows only.
#[derive(Debug, Default)]
pub(super) struct Payments {
    open: BTreeMap<RecordId, (NetworkId, Payment)>,
}

impl Ledger {
    /// Puts the unpaid credit of every network that has enough of it into a payment.
    pub async fn plan_payout(&self, run: PayoutRun) -> Result<PayoutPlan, DomainError> {
        self.run(move |state| state.plan_payout(run)).await
    }

    /// Notes how a planned payment is being made.
    pub async fn record_payment(
        &self,
        payment: RecordId,
        record: PaymentRecord,
    ) -> Result<Result<(), PaymentRefusal>, DomainError> {
        self.run(move |state| state.record_payment(payment, record)).await
    }

    /// Notes that a recorded payment has been made; its credit is paid.
    pub async fn complete_payment(
        &self,
        payment: RecordId,
        tx_hash: String,
    ) -> Result<Result<(), PaymentRefusal>, DomainError> {
        self.run(move |state| state.complete_payment(payment, tx_hash)).await
    }

    /// Gives a payment up that is not made by the server; its credit is unpaid again.
    pub async fn cancel_payment(&self, payment: RecordId) -> Result<Result<(), PaymentRefusal>, DomainError> {
        self.run(move |state| state.cancel_payment(payment)).await
    }

    /// Gives a payment up of which it is certain that it was not made; its credit is unpaid again.
    pub async fn return_payment(&self, payment: RecordId) -> Result<Result<(), PaymentRefusal>, DomainError> {
        self.run(move |state| state.return_payment(payment)).await
    }

    /// The payments that are neither completed nor cancelled, oldest first.
    pub async fn open_payments(&self) -> Result<Vec<(RecordId, NetworkId, Payment)>, DomainError> {
        self.run(|state| {
            let open = state.payments.open.iter();
            open.map(|(id, (network, payment))| (*id, *network, payment.clone())).collect()
        })
        .await
    }
}

impl State {
    pub(super) fn plan_payout(&mut self, run: PayoutRun) -> PayoutPlan {
        let bonus = |bytes: i64| (i128::from(bytes) * i128::from(run.bonus_per_gib.max(0)) / GIB) as i64;
        let due = self.accounts.iter().filter_map(|(network, account)| {
            let (bytes, revenue) = account.payout.unpaid(&account.credit);
            let amount = revenue.saturating_add(bonus(bytes));
            ((bytes > 0 || revenue > 0) && amount >= run.minimum).then_some((*network, bytes, revenue, amount))
        });
        let mut due: Vec<_> = due.collect();
        due.sort_unstable_by_key(|(network, _, _, amount)| (Reverse(*amount), *network));
        let left = due.len().saturating_sub(MAX_PAYMENTS);
        due.truncate(MAX_PAYMENTS);
        let plan_id = self.new_id();
        let mut plan = PayoutPlan { plan_id, payments: due.len(), bytes: 0, amount: 0, left };
        for (network, bytes, revenue, amount) in due {
            plan.bytes = plan.bytes.saturating_add(bytes);
            plan.amount = plan.amount.saturating_add(amount);
            let now = self.now;
            let totals = self.totals(network, |totals| {
                totals.planned_bytes += bytes;
                totals.planned_revenue += revenue;
                totals.unpaid_since.take()
            });
            let payment = Payment {
                plan_id,
                bytes,
                revenue,
                bonus: bonus(bytes),
                first_earned: totals.unwrap_or(now),
                create_time: now,
                record: None,
                record_time: None,
                tx_hash: String::new(),
                complete_time: None,
                cancel_time: None,
            };
            let id = self.new_id();
            self.changes.put(&PAYMENTS, &(network, id), &payment);
            self.payments.open.insert(id, (network, payment));
        }
        plan
    }

    pub(super) fn record_payment(&mut self, id: RecordId, record: PaymentRecord) -> Result<(), PaymentRefusal> {
        let texts = [&record.reference, &record.token_type, &record.wallet_address, &record.blockchain];
        if record.reference.is_empty() || texts.iter().any(|text| text.len() > MAX_TEXT_BYTES) {
            return Err(PaymentRefusal::Malformed);
        }
        let (network, payment) = self.payments.open.get_mut(&id).ok_or(PaymentRefusal::NotOpen(id))?;
        if payment.record.is_some() {
            return Err(PaymentRefusal::AlreadyRecorded(id));
        }
        payment.record = Some(record);
        payment.record_time = Some(self.now);
        self.changes.put(&PAYMENTS, &(*network, id), payment);
        Ok(())
    }

    pub(super) fn complete_payment(&mut self, id: RecordId, tx_hash: String) -> Result<(), PaymentRefusal> {
        if tx_hash.len() > MAX_TEXT_BYTES {
            return Err(PaymentRefusal::Malformed);
        }
        let (_, payment) = self.payments.open.get(&id).ok_or(PaymentRefusal::NotOpen(id))?;
        if payment.record.is_none() {
            return Err(PaymentRefusal::NotRecorded(id));
        }
        let Some((network, mut payment)) = self.payments.open.remove(&id) else { return Ok(()) };
        payment.tx_hash = tx_hash;
        payment.complete_time = Some(self.now);
        self.totals(network, |totals| {
            totals.planned_bytes -= payment.bytes;
            totals.planned_revenue -= payment.revenue;
            totals.paid_bytes += payment.bytes;
            totals.paid_revenue += payment.revenue;
        });
        self.changes.put(&PAYMENTS, &(network, id), &payment);
        Ok(())
    }

    pub(super) fn cancel_payment(&mut self, id: RecordId) -> Result<(), PaymentRefusal> {
        let (_, payment) = self.payments.open.get(&id).ok_or(PaymentRefusal::NotOpen(id))?;
        if payment.record.as_ref().is_some_and(|record| record.payer != Payer::Operator) {
            return Err(PaymentRefusal::UnderWay(id));
        }
        self.return_payment(id)
    }

    pub(super) fn return_payment(&mut self, id: RecordId) -> Result<(), PaymentRefusal> {
        let (network, mut payment) = self.payments.open.remove(&id).ok_or(PaymentRefusal::NotOpen(id))?;
        payment.cancel_time = Some(self.now);
        self.totals(network, |totals| {
            totals.planned_bytes -= payment.bytes;
            totals.planned_revenue -= payment.revenue;
            let since = totals.unpaid_since.unwrap_or(payment.first_earned);
            totals.unpaid_since = Some(since.min(payment.first_earned));
        });
        self.changes.put(&PAYMENTS, &(network, id), &payment);
        Ok(())
    }

    /// Notes that a network has earned something, so that its next payment tells since when.
    pub(super) fn note_unpaid(&mut self, network: NetworkId) {
        let now = self.now;
        if self.accounts.get(&network).is_some_and(|account| account.payout.unpaid_since.is_none()) {
            self.totals(network, |totals| totals.unpaid_since = Some(now));
        }
    }

    fn totals<T>(&mut self, network: NetworkId, change: impl FnOnce(&mut PayoutTotals) -> T) -> T {
        let totals = &mut self.accounts.entry(network).or_default().payout;
        let answer = change(totals);
        self.changes.put(&PAYOUT_TOTALS, &network, totals);
        answer
    }

    pub(super) fn restore_payments(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        for_each(store, &PAYOUT_TOTALS, None, PAGE, |network, totals| {
            self.accounts.entry(network).or_default().payout = totals;
        })?;
        for_each(store, &PAYMENTS, None, PAGE, |(network, id), payment| {
            if matches!(payment.state(), PaymentState::Planned | PaymentState::Recorded) {
                self.payments.open.insert(id, (network, payment));
            }
        })
    }

    /// The open payments, for tests.
    #[cfg(test)]
    pub(super) fn open_payments(&self) -> &BTreeMap<RecordId, (NetworkId, Payment)> {
        &self.payments.open
    }
}

/// Lists payments, newest first, at most 2000: those of one network, or of all.
pub struct ListPayments {
    /// Whose; everybody's when none.
    pub network_id: Option<NetworkId>,
}

impl Operation for ListPayments {
    type Output = Vec<(NetworkId, RecordId, Payment)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let rows = match &self.network_id {
            Some(network) => tx.scan_snapshot(&PAYMENTS, network)?,
            None => tx.scan_snapshot(&PAYMENTS, &())?,
        };
        let mut payments: Vec<_> = rows.into_iter().map(|((network, id), payment)| (network, id, payment)).collect();
        payments.sort_unstable_by_key(|(_, id, _)| Reverse(*id));
        payments.truncate(MAX_LISTED);
        Ok(payments)
    }
}
