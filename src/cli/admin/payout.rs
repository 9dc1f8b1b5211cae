//! `warren admin payout`.

use clap::Subcommand;

use super::desk::Desk;
use super::show::{bytes, or_dash, table};
use crate::http::admin::payout::{
    CancelPayment, CompletePayment, ListPayments, MovedPayment, Payments, PlanPayout, PlannedPayout, RecordPayment,
    State,
};

/// The commands on payments to networks.
#[derive(Subcommand)]
pub enum Payout {
    /// Put all that is earned and unpaid into payments
    Plan(PlanPayout),
    /// List payments, newest first
    List(ListPayments),
    /// Note how a planned payment is being made
    Record(RecordPayment),
    /// Note that a recorded payment has been made
    Complete(CompletePayment),
    /// Give a payment up; what it held is unpaid again
    Cancel(CancelPayment),
}

impl Payout {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::Plan(command) => desk.run(command, planned).await,
            Self::List(command) => desk.run(command, list).await,
            Self::Record(command) => desk.run(command, moved).await,
            Self::Complete(command) => desk.run(command, moved).await,
            Self::Cancel(command) => desk.run(command, moved).await,
        }
    }
}

fn planned(plan: &PlannedPayout) -> String {
    let sum = format!("{} payments of {} USD for {}", plan.payments, plan.amount, bytes(plan.bytes));
    match plan.left {
        0 => format!("planned {}: {sum}", plan.plan_id),
        left => format!("planned {}: {sum}\n\n{left} more networks are due: plan again", plan.plan_id),
    }
}

fn list(answer: &Payments) -> String {
    let rows = answer.payments.iter().map(|payment| {
        [
            payment.payment_id.to_string(),
            word(payment.state).into(),
            payment.network_id.to_string(),
            bytes(payment.bytes),
            payment.amount.to_string(),
            payment.create_time.to_string(),
            or_dash(payment.record.as_ref().map(|record| &record.reference)),
        ]
    });
    let list = table(["payment", "state", "network", "bytes", "USD", "planned", "reference"], rows);
    if answer.is_more { format!("{list}\n\nThere is more: raise --limit") } else { list }
}

fn moved(payment: &MovedPayment) -> String {
    format!("{} payment {}", word(payment.state), payment.payment_id)
}

fn word(state: State) -> &'static str {
    match state {
        State::Planned => "planned",
        State::Recorded => "recorded",
        State::Completed => "completed",
        State::Cancelled => "cancelled",
    }
}
