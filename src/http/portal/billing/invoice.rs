//! Invoices: all of a user, and one as a page to print.

use axum::extract::State;
use axum::routing::get;
use serde::Serialize;

use super::{CARD, member, refusal};
use crate::domain::subscription::billing::{InvoiceState, ShownInvoice};
use crate::http::portal::Route;
use crate::http::portal::error::{PortalError, PortalResult};
use crate::http::portal::fields::Query;
use crate::http::portal::page::Page;
use crate::http::portal::rate::Limit;
use crate::http::portal::reader::Reader;
use crate::http::portal::session::PortalUser;
use crate::http::state::ApiState;

/// The routes of this file.
pub fn routes(state: &ApiState) -> Vec<Route> {
    vec![("/invoices", Limit::new("invoices", |limits| limits.invoices).on(state, get(invoices)))]
}

/// An invoice as pages show it.
#[derive(Debug, Default, Serialize)]
pub struct InvoiceLine {
    /// Names it.
    pub id: String,
    /// What it is for.
    pub text: String,
    /// `open`, `paid`, `void` or `refunded`.
    pub state: &'static str,
    /// The day it was written.
    pub date: String,
    /// The period it pays; empty while that is not known.
    pub period: String,
    /// What it costs without a discount.
    pub price: String,
    /// What is taken off, in percent.
    pub percent: u8,
    /// What is to be paid.
    pub amount: String,
    /// What paid it.
    pub paid_with: String,
    /// Where a company shows it; empty when this is the only place.
    pub url: String,
    /// Whether it is to be paid.
    pub is_open: bool,
}

impl From<ShownInvoice> for InvoiceLine {
    fn from(invoice: ShownInvoice) -> Self {
        let period = invoice.period.map(|(start, end)| format!("{} – {}", start.to_date(), end.to_date()));
        Self {
            id: invoice.id,
            text: invoice.text,
            state: invoice.state.name(),
            date: invoice.create_time.to_date(),
            period: period.unwrap_or_default(),
            price: invoice.price,
            percent: invoice.percent,
            amount: invoice.amount,
            paid_with: invoice.paid_with.unwrap_or_default(),
            url: invoice.url.unwrap_or_default(),
            is_open: invoice.state == InvoiceState::Open,
        }
    }
}

/// The invoices of a user.
#[derive(Debug, Default, Serialize)]
pub struct InvoicesPage {
    /// The invoices, newest first.
    pub invoices: Vec<InvoiceLine>,
}

impl Page for InvoicesPage {
    const TEMPLATE: &'static str = "invoices.html";
}

/// One invoice, to print.
#[derive(Debug, Default, Serialize)]
pub struct InvoicePage {
    /// The invoice.
    pub invoice: InvoiceLine,
    /// Whom to ask; empty for nobody.
    pub contact: String,
}

impl Page for InvoicePage {
    const TEMPLATE: &'static str = "invoice.html";
}

async fn invoices(
    State(state): State<ApiState>,
    reader: Reader,
    user: PortalUser,
    Query(query): Query,
) -> PortalResult {
    let desk = &state.subscriptions;
    match query.text("id") {
        "" => {
            let invoices = desk.invoices(member(&user)).await.map_err(|error| refusal(error, CARD))?;
            reader.page(&state, &InvoicesPage { invoices: invoices.into_iter().map(InvoiceLine::from).collect() })
        }
        id => {
            let found = desk.invoice(member(&user), id.to_owned()).await.map_err(|error| refusal(error, CARD))?;
            let invoice = found.ok_or_else(PortalError::not_found)?.into();
            reader.page(&state, &InvoicePage { invoice, contact: state.config().legal.contact.clone() })
        }
    }
}
