//! What is paid on the website: plans, cards and invoices, and what opens the apps for it.

use super::Route;
use super::error::PortalError;
use super::session::PortalUser;
use super::texts::Text;
use crate::domain::subscription::billing::BillingError;
use crate::domain::subscription::desk::Member;
use crate::domain::subscription::receipt::ReceiptProblem;
use crate::domain::subscription::record::ReceiptType;
use crate::http::state::ApiState;

pub mod card;
pub mod invoice;
mod key;
pub mod plan;
mod receipt;

#[cfg(test)]
mod tests;

/// The routes of this folder.
pub fn routes(state: &ApiState) -> Vec<Route> {
    let mut routes = card::routes(state);
    routes.extend(invoice::routes(state));
    routes.extend(plan::routes(state));
    routes.extend(receipt::routes(state));
    routes.extend(key::routes(state));
    routes
}

/// A card was refused when it was added, or charged.
const CARD: i32 = 108;
/// A card was refused as the default.
const DEFAULT_CARD: i32 = 109;
/// The default card cannot be deleted.
const DELETE_DEFAULT: i32 = 81;
/// The last card cannot be deleted.
const DELETE_LAST: i32 = 82;
/// There is no such subscription of this user.
const NO_SUBSCRIPTION: i32 = 26;
/// A second trial.
const SECOND_TRIAL: i32 = 29;

fn member(user: &PortalUser) -> Member {
    (user.user_id, user.network_id)
}

fn plain(text: impl ToString) -> Text {
    Text::from("error.plain").with("text", text)
}

/// A refusal of the billing; `code` is that of a card where this was tried.
fn refusal(error: BillingError, code: i32) -> PortalError {
    match error {
        BillingError::Refused(text) => PortalError::refused(code, plain(text)),
        BillingError::NoCard => PortalError::refused(code, "error.no_card"),
        BillingError::TooManyCards => PortalError::refused(code, "error.too_many_cards"),
        BillingError::DefaultCard => PortalError::refused(DELETE_DEFAULT, "error.default_card"),
        BillingError::LastCard => PortalError::refused(DELETE_LAST, "error.last_card"),
        BillingError::NotForSale => PortalError::field("error.not_for_sale"),
        BillingError::NoSubscription => PortalError::refused(NO_SUBSCRIPTION, "error.no_subscription"),
        BillingError::SecondTrial => PortalError::refused(SECOND_TRIAL, "error.second_trial"),
        BillingError::AlreadyActive => PortalError::field("billing.already_active"),
        BillingError::Unreachable => PortalError::internal("the payment service does not answer".into()),
        BillingError::Domain(error) => error.into(),
    }
}

/// What is wrong with a receipt. What a retry cannot cure is said with status 200, as apps expect.
pub(super) fn receipt_refusal(problem: ReceiptProblem) -> PortalError {
    let text = plain(&problem);
    match (problem.code(), problem) {
        (Some(code), problem) if problem.is_final() => PortalError::said(code, text),
        (Some(code), _) => PortalError::refused(code, text),
        (None, ReceiptProblem::Domain(error)) => error.into(),
        (None, problem) => PortalError::internal(format!("a receipt cannot be checked: {problem}")),
    }
}

/// The store of a receipt.
pub(super) fn receipt_type(name: &str) -> Result<ReceiptType, PortalError> {
    match ReceiptType::parse(name) {
        Some(receipt_type @ (ReceiptType::Ios | ReceiptType::Android)) => Ok(receipt_type),
        _ => Err(PortalError::field("error.receipt_type")),
    }
}
