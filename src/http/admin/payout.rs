//! Payouts: gather what networks have earned into payments, and note how those are made that the server does not make
//! itself.

use axum::Router;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{Command, PAGE_MAX, find_network, not_found, route};
use crate::domain::contract::payout::{
    ListPayments as List, Payer, Payment, PaymentRecord, PaymentRefusal, PaymentState, PayoutRun,
};
use crate::http::error::ApiError;
use crate::http::state::ApiState;
use crate::ids::{NetworkId, RecordId};
use crate::money::NanoCents;
use crate::time::Timestamp;

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    Router::new()
        .merge(route::<PlanPayout>())
        .merge(route::<ListPayments>())
        .merge(route::<RecordPayment>())
        .merge(route::<CompletePayment>())
        .merge(route::<CancelPayment>())
}

/// Puts all that each network has earned and not been paid into a payment.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct PlanPayout {
    /// Networks that would get less wait for a later run, in dollars
    #[arg(long, value_name = "USD", default_value = "1")]
    pub minimum: NanoCents,
    /// What to add for each GiB provided, in dollars
    #[arg(long, value_name = "USD", default_value = "0")]
    pub per_gib: NanoCents,
}

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlannedPayout {
    /// Names it.
    pub plan_id: RecordId,
    /// Payments in it.
    pub payments: usize,
    /// Bytes they pay for.
    pub bytes: i64,
    /// What they cost.
    pub amount: NanoCents,
    /// Networks that are due too, and that the next run takes.
    pub left: usize,
}

impl Command for PlanPayout {
    const PATH: &'static str = "/payout/plan";
    type Answer = PlannedPayout;

    async fn run(self, state: &ApiState) -> Result<PlannedPayout, ApiError> {
        let run = PayoutRun { minimum: self.minimum.0, bonus_per_gib: self.per_gib.0 };
        let plan = state.ledger.plan_payout(run).await?;
        let (payments, bytes, left) = (plan.payments, plan.bytes, plan.left);
        Ok(PlannedPayout { plan_id: plan.plan_id, payments, bytes, amount: NanoCents(plan.amount), left })
    }
}

/// How far a payment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// To be made.
    Planned,
    /// Under way.
    Recorded,
    /// Made.
    Completed,
    /// Given up.
    Cancelled,
}

impl From<PaymentState> for State {
    fn from(state: PaymentState) -> Self {
        match state {
            PaymentState::Planned => Self::Planned,
            PaymentState::Recorded => Self::Recorded,
            PaymentState::Completed => Self::Completed,
            PaymentState::Cancelled => Self::Cancelled,
        }
    }
}

/// Lists payments, newest first.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ListPayments {
    /// Only those to this network, by id or name
    #[arg(long)]
    pub network: Option<String>,
    /// Only those in this state
    #[arg(long, value_enum)]
    pub state: Option<State>,
    /// Most payments to list
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=PAGE_MAX as i64))]
    pub limit: u32,
}

/// Payments.
#[derive(Debug, Serialize, Deserialize)]
pub struct Payments {
    /// The payments.
    pub payments: Vec<ShownPayment>,
    /// Whether the list was cut.
    pub is_more: bool,
}

/// A payment.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownPayment {
    /// Names it.
    pub payment_id: RecordId,
    /// The run that planned it.
    pub plan_id: RecordId,
    /// Who is paid.
    pub network_id: NetworkId,
    /// How far it has come.
    pub state: State,
    /// Bytes it pays for.
    pub bytes: i64,
    /// The whole amount.
    pub amount: NanoCents,
    /// The part of it that was added for the bytes.
    pub bonus: NanoCents,
    /// When it was planned.
    pub create_time: Timestamp,
    /// How it is being made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<PaymentRecord>,
    /// Names the transaction.
    pub tx_hash: String,
    /// When it was completed or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
}

impl ShownPayment {
    fn new(network_id: NetworkId, payment_id: RecordId, payment: Payment) -> Self {
        Self {
            payment_id,
            plan_id: payment.plan_id,
            network_id,
            state: payment.state().into(),
            bytes: payment.bytes,
            amount: NanoCents(payment.amount()),
            bonus: NanoCents(payment.bonus),
            create_time: payment.create_time,
            record: payment.record,
            tx_hash: payment.tx_hash,
            end_time: payment.complete_time.or(payment.cancel_time),
        }
    }
}

impl Command for ListPayments {
    const PATH: &'static str = "/payout/list";
    type Answer = Payments;

    async fn run(self, state: &ApiState) -> Result<Payments, ApiError> {
        let network_id = match &self.network {
            Some(named) => Some(find_network(state, named)?.0),
            None => None,
        };
        let is_wanted = |payment: &Payment| self.state.is_none_or(|wanted| wanted == payment.state().into());
        let found = state.service.read(&List { network_id })?;
        let mut wanted = found.into_iter().filter(|(_, _, payment)| is_wanted(payment));
        let limit = self.limit.min(PAGE_MAX) as usize;
        let listed = wanted.by_ref().take(limit).map(|(network, id, payment)| ShownPayment::new(network, id, payment));
        let payments = listed.collect();
        Ok(Payments { payments, is_more: wanted.next().is_some() })
    }
}

/// A payment that has moved on.
#[derive(Debug, Serialize, Deserialize)]
pub struct MovedPayment {
    /// The payment.
    pub payment_id: RecordId,
    /// Where it is now.
    pub state: State,
}

fn moved(payment_id: RecordId, state: State, result: Result<(), PaymentRefusal>) -> Result<MovedPayment, ApiError> {
    match result {
        Ok(()) => Ok(MovedPayment { payment_id, state }),
        Err(refusal @ PaymentRefusal::NotOpen(_)) => {
            Err(not_found(format!("{refusal}; `warren admin payout list` shows all")))
        }
        Err(refusal) => Err(ApiError::bad_request(refusal.to_string())),
    }
}

/// Notes how a planned payment is being made.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct RecordPayment {
    /// The payment
    pub payment_id: RecordId,
    /// Names it at whoever makes it
    pub reference: String,
    /// What it is made in, such as USDC
    #[arg(long, value_name = "TOKEN", default_value = "")]
    pub token: String,
    /// Where it goes
    #[arg(long, default_value = "")]
    pub address: String,
    /// The chain of that address, SOL or MATIC
    #[arg(long, default_value = "")]
    pub chain: String,
}

impl Command for RecordPayment {
    const PATH: &'static str = "/payout/record";
    type Answer = MovedPayment;

    async fn run(self, state: &ApiState) -> Result<MovedPayment, ApiError> {
        let record = PaymentRecord {
            reference: self.reference,
            token_type: self.token,
            wallet_address: self.address,
            blockchain: self.chain,
            payer: Payer::Operator,
        };
        moved(self.payment_id, State::Recorded, state.ledger.record_payment(self.payment_id, record).await?)
    }
}

/// Notes that a recorded payment has been made.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct CompletePayment {
    /// The payment
    pub payment_id: RecordId,
    /// Names the transaction
    #[arg(long, value_name = "HASH", default_value = "")]
    pub tx: String,
}

impl Command for CompletePayment {
    const PATH: &'static str = "/payout/complete";
    type Answer = MovedPayment;

    async fn run(self, state: &ApiState) -> Result<MovedPayment, ApiError> {
        moved(self.payment_id, State::Completed, state.ledger.complete_payment(self.payment_id, self.tx).await?)
    }
}

/// Gives a payment up; what it held is unpaid again.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct CancelPayment {
    /// The payment
    pub payment_id: RecordId,
    /// Also one that the server is making, and may have made already
    #[arg(long)]
    #[serde(default)]
    pub force: bool,
}

impl Command for CancelPayment {
    const PATH: &'static str = "/payout/cancel";
    type Answer = MovedPayment;

    async fn run(self, state: &ApiState) -> Result<MovedPayment, ApiError> {
        let given_up = match self.force {
            true => state.ledger.return_payment(self.payment_id).await?,
            false => state.ledger.cancel_payment(self.payment_id).await?,
        };
        moved(self.payment_id, State::Cancelled, given_up)
    }
}
