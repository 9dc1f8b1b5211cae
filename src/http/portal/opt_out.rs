//! No more letters: for whoever holds the code of one, signed in or not.

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;

use super::checks::{mail_address, required};
use super::error::{PortalError, PortalResult};
use super::fields::{Fields, Post, Query};
use super::page::Page;
use super::rate::Limit;
use super::reader::Reader;
use super::{Route, go};
use crate::domain::portal::opt_out::{CheckOptOut, OptOut, Spare};
use crate::http::state::ApiState;

/// A wrong address or code.
const WRONG_PAIR: i32 = 89;

/// The routes of this file.
pub fn routes(state: &ApiState) -> Vec<Route> {
    let page_limit = Limit::new("opt_out_page", |limits| limits.opt_out_page);
    let form_limit = Limit::new("opt_out", |limits| limits.opt_out);
    let route = |spare: Spare| {
        let page = get(move |State(state): State<ApiState>, reader: Reader, Query(query): Query| async move {
            show(&state, &reader, &query, spare).await
        });
        let form = axum::routing::post(move |State(state): State<ApiState>, query: Query, post: Post| async move {
            spare_somebody(&state, (query, post), spare).await
        });
        page_limit.on(state, page).merge(form_limit.on(state, form))
    };
    vec![
        ("/do-not-email", route(Spare::All)),
        ("/newsletter-unsubscribe", route(Spare::Newsletter)),
        ("/newsletter-unsubscribe-success", get(success)),
    ]
}

/// Asks whether somebody is sure.
#[derive(Debug, Default, Serialize)]
pub struct OptOutPage {
    /// The section of the texts.
    pub topic: &'static str,
    /// The path of the form.
    pub action: &'static str,
    /// The address.
    pub email: String,
    /// Its code.
    pub code: String,
}

impl Page for OptOutPage {
    const TEMPLATE: &'static str = "opt-out.html";
}

fn pair(fields: &Fields) -> Result<(String, String), PortalError> {
    let address = mail_address(fields, "email")?.as_str().to_owned();
    Ok((address, required(fields, "code", "error.code_form")?.trim().to_owned()))
}

fn wrong_pair() -> PortalError {
    PortalError::refused(WRONG_PAIR, "error.wrong_opt_out")
}

async fn show(state: &ApiState, reader: &Reader, query: &Fields, spare: Spare) -> PortalResult {
    let (email, code) = pair(query)?;
    if !state.service.run(&CheckOptOut { address: &email, code: &code }).await? {
        return Err(wrong_pair());
    }
    let (topic, action) = match spare {
        Spare::All => ("do_not_email", "/do-not-email"),
        Spare::Newsletter => ("newsletter", "/newsletter-unsubscribe"),
    };
    reader.page(state, &OptOutPage { topic, action, email, code })
}

/// Mail programs send the fields in the query and something else in the body (RFC 8058).
async fn spare_somebody(state: &ApiState, (query, post): (Query, Post), spare: Spare) -> PortalResult {
    let fields = if post.0.has("email") || post.0.has("code") { post.0 } else { query.0 };
    let (address, code) = pair(&fields)?;
    if !state.service.run(&OptOut { address: &address, code: &code, spare }).await? {
        return Err(wrong_pair());
    }
    Ok(done(spare))
}

fn done(spare: Spare) -> Response {
    match spare {
        Spare::All => go::saying("/signin", "do_not_email.done"),
        Spare::Newsletter => go::to("/newsletter-unsubscribe-success"),
    }
}

/// Says that there will be no more newsletters.
#[derive(Debug, Default, Serialize)]
pub struct OptedOutPage {}

impl Page for OptedOutPage {
    const TEMPLATE: &'static str = "opted-out.html";
}

async fn success(State(state): State<ApiState>, reader: Reader) -> PortalResult {
    reader.page(&state, &OptedOutPage {})
}
