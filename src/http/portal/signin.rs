//! Signing in and out.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::json;

use super::checks::{mail_address, required};
use super::error::{PortalError, PortalResult, SIGNED_OUT};
use super::fields::{Fields, Post, Query};
use super::page::Page;
use super::rate::Limit;
use super::reader::Reader;
use super::{Route, billing, go, receipt, session};
use crate::domain::auth::web_session::{End, WebUser};
use crate::domain::portal::sign_in::WebSignIn;
use crate::http::state::ApiState;

/// The code of a sign-in before the address is proven.
const NOT_CONFIRMED: i32 = 1;
/// The code of an empty receipt.
const NO_RECEIPT: i32 = 5;

/// Where a sign-in may lead, and the form that leads there.
const TARGETS: [(&str, &str); 2] = [
    ("/new-subscription?browser=true", "/signin?redirecturi=%2Fnew-subscription%3Fbrowser%3Dtrue"),
    ("/payment-methods", "/signin?redirecturi=%2Fpayment-methods"),
];
/// Where it leads otherwise.
const ACCOUNT: (&str, &str) = ("/account", "/signin");

/// The routes of this file.
pub fn routes(state: &ApiState) -> Vec<Route> {
    let sign_in = Limit::new("sign_in", |limits| limits.sign_in);
    let log_out_limit = Limit::new("log_out", |limits| limits.log_out);
    vec![
        ("/signin", sign_in.on(state, get(sign_in_page).post(sign_in_post))),
        ("/logout", log_out_limit.on(state, get(log_out))),
    ]
}

/// The form to sign in.
#[derive(Debug, Default, Serialize)]
pub struct SignInPage {
    /// Where it leads; empty for the account.
    pub redirect_uri: &'static str,
}

impl Page for SignInPage {
    const TEMPLATE: &'static str = "signin.html";
}

/// Where a sign-in leads that asks for this, nowhere but to pages that are meant; and the form for another try.
fn target(fields: &Fields) -> (&'static str, &'static str) {
    let wished = fields.text("redirecturi");
    TARGETS.into_iter().find(|(target, _)| *target == wished).unwrap_or(ACCOUNT)
}

async fn sign_in_page(State(state): State<ApiState>, reader: Reader, Query(query): Query) -> PortalResult {
    let (target, _) = target(&query);
    if reader.is_signed_in() {
        return Ok(go::to(target));
    }
    let redirect_uri = if target == ACCOUNT.0 { "" } else { target };
    reader.page(&state, &SignInPage { redirect_uri })
}

async fn sign_in_post(State(state): State<ApiState>, reader: Reader, Post(fields): Post) -> PortalResult {
    match fields.has("authtype") || fields.has("authreceipt") {
        true => sign_in_with_receipt(&state, &reader, &fields).await,
        false => sign_in_with_password(&state, &reader, &fields).await.map_err(|error| error.at(target(&fields).1)),
    }
}

async fn sign_in_with_password(state: &ApiState, reader: &Reader, fields: &Fields) -> PortalResult {
    let address = mail_address(fields, "email")?;
    let password = required(fields, "password", "error.missing_password")?;
    let replaced = reader.user().map(|user: WebUser| user.session);
    let context = (reader.language(), replaced);
    match state.accounts.web_sign_in(&reader.origin(), &address, password, context).await? {
        WebSignIn::SignedIn(secret) => {
            let response = match reader.wants_html() {
                true => go::to(target(fields).0),
                false => signed_in(),
            };
            Ok(session::begin(response, secret))
        }
        WebSignIn::NotConfirmed => {
            Err(PortalError::said(NOT_CONFIRMED, "error.not_confirmed").at("/resend-confirm-code"))
        }
        WebSignIn::Wrong => {
            Err(PortalError::new(axum::http::StatusCode::UNAUTHORIZED, SIGNED_OUT, "error.incorrect_login"))
        }
    }
}

async fn sign_in_with_receipt(state: &ApiState, reader: &Reader, fields: &Fields) -> PortalResult {
    let store = billing::receipt_type(fields.text("authtype"))?;
    if !fields.has("authreceipt") {
        return Err(PortalError::refused(NO_RECEIPT, "error.no_receipt"));
    }
    let partner = partner(fields.text("partner"));
    let sign_in = receipt::ReceiptSignIn { store, receipt: fields.text("authreceipt"), partner: partner.as_deref() };
    let secret = receipt::sign_in(state, reader, &sign_in).await?;
    Ok(session::begin(signed_in(), secret))
}

/// `<partner>-<campaign>`, in lower case; the dash is there even without a campaign.
fn partner(text: &str) -> Option<String> {
    let text = text.to_lowercase();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_fine = !text.is_empty() && text.len() <= 100 && text.chars().all(is_plain);
    is_fine.then(|| if text.contains('-') { text } else { text + "-" })
}

fn signed_in() -> Response {
    Json(json!({"code": 0, "message": "Signed In"})).into_response()
}

async fn log_out(State(state): State<ApiState>, reader: Reader) -> PortalResult {
    if let Some(user) = reader.user() {
        state.service.run(&End { key: user.session }).await?;
    }
    Ok(session::end(go::to("/signin")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partner_has_a_dash() {
        assert_eq!(partner("Acme").as_deref(), Some("acme-"));
        assert_eq!(partner("acme-1").as_deref(), Some("acme-1"));
        for nobody in ["", "a b", "<x>", &"a".repeat(101)] {
            assert_eq!(partner(nobody), None, "{nobody}");
        }
    }
}
