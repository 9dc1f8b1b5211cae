//! Invoices of this server's own billing: list them, mark them paid or paid back; and receipts that stand in for those of
//! the stores of phones.

use std::time::Duration;

use axum::Router;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{Command, PAGE_MAX, find_network, not_found, route};
use crate::domain::subscription::billing::InvoiceState;
use crate::domain::subscription::collect::{InvoiceRefusal, PayInvoice as Pay, RefundInvoice as Refund};
use crate::domain::subscription::invoice::{Invoice, ListInvoices as List, parse_id, text_id};
use crate::domain::subscription::plan::PlanType;
use crate::domain::subscription::record::ReceiptType;
use crate::domain::subscription::signed_receipt::SignedReceipt;
use crate::http::error::ApiError;
use crate::http::state::ApiState;
use crate::ids::{NetworkId, RecordId, UserId};
use crate::money::NanoCents;
use crate::time::{DAY, Timestamp};

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    Router::new()
        .merge(route::<ListInvoices>())
        .merge(route::<PayInvoice>())
        .merge(route::<RefundInvoice>())
        .merge(route::<SignReceipt>())
}

/// How far an invoice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// To be paid.
    Open,
    /// Paid.
    Paid,
    /// Given up.
    Void,
    /// Paid back.
    Refunded,
}

impl From<InvoiceState> for State {
    fn from(state: InvoiceState) -> Self {
        match state {
            InvoiceState::Open => Self::Open,
            InvoiceState::Paid => Self::Paid,
            InvoiceState::Void => Self::Void,
            InvoiceState::Refunded => Self::Refunded,
        }
    }
}

/// Lists invoices, newest first.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ListInvoices {
    /// Only those of this network, by id or name
    #[arg(long)]
    pub network: Option<String>,
    /// Only those in this state
    #[arg(long, value_enum)]
    pub state: Option<State>,
    /// Most invoices to list
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=PAGE_MAX as i64))]
    pub limit: u32,
}

/// Invoices.
#[derive(Debug, Serialize, Deserialize)]
pub struct Invoices {
    /// The invoices.
    pub invoices: Vec<ShownInvoice>,
    /// Whether the list was cut.
    pub is_more: bool,
}

/// An invoice.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownInvoice {
    /// Names it.
    pub invoice: String,
    /// Who is to pay.
    pub network_id: NetworkId,
    /// Their user.
    pub user_id: UserId,
    /// How far it is.
    pub state: State,
    /// The plan.
    pub plan: PlanType,
    /// What is to be paid.
    pub amount: NanoCents,
    /// What was taken off for referrals, in percent.
    pub discount: u8,
    /// When it was written.
    pub create_time: Timestamp,
    /// When it was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid_time: Option<Timestamp>,
    /// The card that paid, or what was noted.
    pub paid_with: String,
    /// Until when it pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid_until: Option<Timestamp>,
}

impl ShownInvoice {
    fn new(user_id: UserId, id: RecordId, invoice: Invoice) -> Self {
        let state = invoice.state().into();
        let payment = invoice.payment;
        Self {
            invoice: text_id(id),
            network_id: invoice.network_id,
            user_id,
            state,
            plan: invoice.plan,
            amount: NanoCents(invoice.amount),
            discount: invoice.percent,
            create_time: invoice.create_time,
            paid_time: payment.as_ref().map(|payment| payment.time),
            paid_with: payment.map_or_else(String::new, |payment| payment.card.unwrap_or(payment.memo)),
            paid_until: invoice.period.map(|(_, end)| end),
        }
    }
}

impl Command for ListInvoices {
    const PATH: &'static str = "/invoice/list";
    type Answer = Invoices;

    async fn run(self, state: &ApiState) -> Result<Invoices, ApiError> {
        let user_id = match &self.network {
            Some(named) => Some(find_network(state, named)?.1.admin_user_id),
            None => None,
        };
        let found = state.service.read(&List { user_id })?;
        let is_wanted = |invoice: &Invoice| self.state.is_none_or(|wanted| wanted == invoice.state().into());
        let mut wanted = found.into_iter().filter(|(_, _, invoice)| is_wanted(invoice));
        let limit = self.limit.min(PAGE_MAX) as usize;
        let listed = wanted.by_ref().take(limit).map(|(user_id, id, invoice)| ShownInvoice::new(user_id, id, invoice));
        let invoices = listed.collect();
        Ok(Invoices { invoices, is_more: wanted.next().is_some() })
    }
}

/// An invoice that has moved on.
#[derive(Debug, Serialize, Deserialize)]
pub struct MovedInvoice {
    /// The invoice.
    pub invoice: String,
    /// Where it is now.
    pub state: State,
    /// Until when it pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid_until: Option<Timestamp>,
}

fn named(invoice: &str) -> Result<RecordId, ApiError> {
    parse_id(invoice).ok_or_else(|| unknown(invoice))
}

fn unknown(invoice: &str) -> ApiError {
    not_found(format!("there is no invoice {invoice}; `warren admin invoices list` shows all"))
}

fn moved(name: String, outcome: Result<Invoice, InvoiceRefusal>) -> Result<MovedInvoice, ApiError> {
    match outcome {
        Ok(invoice) => {
            let paid_until = invoice.period.map(|(_, end)| end);
            Ok(MovedInvoice { invoice: name, state: invoice.state().into(), paid_until })
        }
        Err(InvoiceRefusal::Unknown) => Err(unknown(&name)),
        Err(refusal) => Err(ApiError::bad_request(format!("{name}: {refusal}"))),
    }
}

/// Marks an open invoice paid: its subscription goes on, and the period that it pays begins.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct PayInvoice {
    /// Id of the invoice, `in_…`
    pub invoice: String,
    /// What to note, such as the reference of a bank transfer
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub memo: String,
}

impl Command for PayInvoice {
    const PATH: &'static str = "/invoice/pay";
    type Answer = MovedInvoice;

    async fn run(self, state: &ApiState) -> Result<MovedInvoice, ApiError> {
        let id = named(&self.invoice)?;
        let outcome = state.service.run(&Pay { id, memo: self.memo }).await?;
        state.subscriptions.deliver().await?;
        moved(self.invoice, outcome)
    }
}

/// Notes that a paid invoice was paid back: what it brought is taken back, and its subscription ends.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct RefundInvoice {
    /// Id of the invoice, `in_…`
    pub invoice: String,
}

impl Command for RefundInvoice {
    const PATH: &'static str = "/invoice/refund";
    type Answer = MovedInvoice;

    async fn run(self, state: &ApiState) -> Result<MovedInvoice, ApiError> {
        let id = named(&self.invoice)?;
        let outcome = state.service.run(&Refund { id }).await?;
        state.subscriptions.deliver().await?;
        moved(self.invoice, outcome)
    }
}

/// A store of phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// Apple's.
    Ios,
    /// Google's.
    Android,
}

/// Signs a receipt that stands in for one of a store whose keys are not set. Whoever hands it in has the plan.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct SignReceipt {
    /// The store
    #[arg(value_enum)]
    pub store: Store,
    /// The plan: all-monthly, all-annual, and ios- or android- with monthly or annual
    pub plan: String,
    /// Names the subscription; the same name renews it. A new one is made up
    #[arg(long, value_name = "TEXT")]
    pub receipt_id: Option<String>,
    /// Days that it is good for; those of the plan by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3660))]
    pub days: Option<u32>,
    /// It is only tried
    #[arg(long)]
    #[serde(default)]
    pub trial: bool,
    /// It does not go on
    #[arg(long)]
    #[serde(default)]
    pub last: bool,
    /// It is not paid yet
    #[arg(long)]
    #[serde(default)]
    pub pending: bool,
}

/// A signed receipt.
#[derive(Debug, Serialize, Deserialize)]
pub struct MadeReceipt {
    /// Names the subscription.
    pub receipt_id: String,
    /// Until when it is good.
    pub end: Timestamp,
    /// What to hand in as `authreceipt`.
    pub receipt: String,
}

impl Command for SignReceipt {
    const PATH: &'static str = "/receipt/sign";
    type Answer = MadeReceipt;

    async fn run(self, state: &ApiState) -> Result<MadeReceipt, ApiError> {
        let Some(plan) = PlanType::parse(&self.plan) else {
            let known = PlanType::EVERY.map(PlanType::name).join(", ");
            return Err(ApiError::bad_request(format!("{:?} is no plan; there are {known}", self.plan)));
        };
        let receipt_id = match self.receipt_id {
            Some(text) if (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) => text,
            Some(_) => return Err(ApiError::bad_request("--receipt-id must be 1 to 64 letters, digits and signs")),
            None => format!("receipt-{}", hex::encode(rand::random::<[u8; 8]>())),
        };
        let start = state.now();
        let lasting = |days: u32| start + Duration::from_secs(u64::from(days) * DAY.as_secs());
        let end = self.days.map_or_else(|| plan.after(start, 1), lasting);
        let receipt_type = match self.store {
            Store::Ios => ReceiptType::Ios,
            Store::Android => ReceiptType::Android,
        };
        let receipt = state.subscriptions.receipt_key().sign(SignedReceipt {
            receipt_type,
            receipt_id: receipt_id.clone(),
            plan: plan.name().into(),
            start,
            end,
            in_trial: self.trial,
            renews: !self.last,
            is_pending: self.pending,
        });
        Ok(MadeReceipt { receipt_id, end, receipt })
    }
}
