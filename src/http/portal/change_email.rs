//! Changing the mail address of an account: the new one counts once it is proven.

use axum::extract::State;
use axum::routing::get;
use serde::Serialize;

use super::checks::{mail_address, refuse_disposable, required};
use super::error::{PortalError, PortalResult};
use super::fields::Query;
use super::page::Page;
use super::rate::Limit;
use super::reader::Reader;
use super::session::{PortalUser, SignedPost, TokenPost};
use super::signup::{NO_CODE, pair, refusal};
use super::{Route, go};
use crate::domain::account::web_confirm::{Confirm, ConfirmOutcome};
use crate::domain::account::web_sign_up::AskOutcome;
use crate::http::state::ApiState;

const FORM: &str = "/change-email";
/// A throw-away address.
const DISPOSABLE: i32 = 399;

/// The routes of this file.
pub fn routes(state: &ApiState) -> Vec<Route> {
    let change = Limit::new("change_email", |limits| limits.change_email);
    let confirm_limit = Limit::new("confirm_change_email", |limits| limits.confirm_change_email);
    vec![
        (FORM, change.on(state, get(form).post(ask))),
        ("/confirm-change-email", confirm_limit.on(state, get(confirm))),
    ]
}

/// The form.
#[derive(Debug, Default, Serialize)]
pub struct ChangeEmailPage {}

impl Page for ChangeEmailPage {
    const TEMPLATE: &'static str = "change-email.html";
}

async fn form(State(state): State<ApiState>, reader: Reader, _user: PortalUser) -> PortalResult {
    reader.page(&state, &ChangeEmailPage {})
}

async fn ask(State(state): State<ApiState>, reader: Reader, TokenPost(post): TokenPost) -> PortalResult {
    change(&state, &reader, &post).await.map_err(|error| error.at(FORM))
}

async fn change(state: &ApiState, reader: &Reader, post: &SignedPost) -> PortalResult {
    let SignedPost { user, fields } = post;
    let password = required(fields, "currentPassword", "error.missing_current_password")?;
    let address = mail_address(fields, "newEmail")?;
    refuse_disposable(state, &address, DISPOSABLE)?;
    let origin = reader.origin();
    if !state.accounts.has_proven_address(user.user_id)? {
        return Err(refusal(AskOutcome::Unconfirmed).unwrap_or_else(PortalError::not_found));
    }
    if state.accounts.check_own_password(&origin, &user.user_id, password).await?.is_none() {
        return Err(PortalError::field("error.wrong_current_password"));
    }
    let outcome = state.accounts.web_change_email(&origin, user.user_id, &address, reader.language()).await?;
    match (refusal(outcome), outcome) {
        (Some(error), _) => Err(error),
        (None, AskOutcome::Done) => Ok(go::saying("/account", "change_email.done")),
        (None, _) => Ok(go::saying("/account", "change_email.sent")),
    }
}

async fn confirm(State(state): State<ApiState>, reader: Reader, Query(query): Query) -> PortalResult {
    let back = |error: PortalError| match reader.is_signed_in() {
        true => error.at(FORM),
        false => error.at("/signin"),
    };
    let (address, code) = pair(&query).map_err(back)?;
    match state.service.run(&Confirm { address: &address, code, is_replacement: true }).await? {
        ConfirmOutcome::Confirmed => Ok(go::saying("/account", "change_email.done")),
        ConfirmOutcome::Unknown => Err(back(PortalError::refused(NO_CODE, "error.no_such_code"))),
        ConfirmOutcome::Taken => Err(back(refusal(AskOutcome::Taken).unwrap_or_else(PortalError::not_found))),
    }
}
