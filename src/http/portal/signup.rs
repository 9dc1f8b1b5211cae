//! Signing up, and proving the mail address.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::json;

use super::checks::{mail_address, new_password, refuse_disposable};
use super::error::{PortalError, PortalResult};
use super::fields::{Fields, Post, Query};
use super::page::Page;
use super::rate::Limit;
use super::reader::Reader;
use super::session::SignedPost;
use super::{Route, go};
use crate::domain::account::referral::CheckReferralCode;
use crate::domain::account::web_confirm::{Confirm, ConfirmOutcome};
use crate::domain::account::web_sign_up::{AskOutcome, WebSignUp};
use crate::domain::portal::confirmation::is_code;
use crate::http::state::ApiState;

/// No such code was sent.
pub(super) const NO_CODE: i32 = 18;
/// A proven account has the address.
const TAKEN: i32 = 40;
/// The user's address is proven already.
const CONFIRMED: i32 = 48;
/// Nobody has the address.
const NOBODY: i32 = 59;
/// It is proven already.
const PROVEN: i32 = 60;
/// Nobody's referral code.
const NO_REFERRAL: i32 = 125;
/// A throw-away address, at sign-up and at conversion.
const DISPOSABLE: [i32; 2] = [397, 398];

/// The routes of this file.
pub fn routes(state: &ApiState) -> Vec<Route> {
    let sign_up = Limit::new("sign_up", |limits| limits.sign_up);
    let confirm = Limit::new("confirm_email", |limits| limits.confirm_email);
    let resend = Limit::new("resend_confirm_code", |limits| limits.resend_confirm_code);
    let convert_limit = Limit::new("convert_shadow_user", |limits| limits.convert_shadow_user);
    vec![
        ("/signup", sign_up.on(state, get(sign_up_page).post(sign_up_post))),
        ("/signup-success", get(success_page)),
        ("/confirm-email", confirm.on(state, get(confirm_email))),
        ("/resend-confirm-code", resend.on(state, get(resend_page).post(resend_post))),
        ("/convert-shadow-user", convert_limit.on(state, post(convert))),
    ]
}

/// What is answered to asking for the proof of an address; the same for all forms that do.
pub(super) fn refusal(outcome: AskOutcome) -> Option<PortalError> {
    Some(match outcome {
        AskOutcome::Asked | AskOutcome::Done => return None,
        AskOutcome::Taken => PortalError::refused(TAKEN, "error.taken"),
        AskOutcome::Confirmed => PortalError::refused(PROVEN, "error.proven"),
        AskOutcome::Unknown => PortalError::refused(NOBODY, "error.no_such_email"),
        AskOutcome::Unconfirmed => PortalError::refused(110, "error.unconfirmed"),
        AskOutcome::Closed => PortalError::status(StatusCode::FORBIDDEN, "error.closed"),
    })
}

fn sent() -> Response {
    Json(json!({"code": 1, "message": "Email Confirmation Sent"})).into_response()
}

/// The form to sign up.
#[derive(Debug, Default, Serialize)]
pub struct SignUpPage {
    /// The referral code that is active; empty for none.
    pub refer: String,
}

impl Page for SignUpPage {
    const TEMPLATE: &'static str = "signup.html";
}

async fn sign_up_page(State(state): State<ApiState>, reader: Reader, Query(query): Query) -> PortalResult {
    if reader.is_signed_in() {
        return Ok(go::to("/account"));
    }
    let refer = query.text("refer").to_owned();
    if !refer.is_empty() {
        check_referral(&state, &refer)?;
    }
    reader.page(&state, &SignUpPage { refer })
}

fn check_referral(state: &ApiState, code: &str) -> Result<(), PortalError> {
    match state.service.read(&CheckReferralCode { code: code.to_owned() })?.is_valid {
        true => Ok(()),
        false => Err(PortalError::refused(NO_REFERRAL, "error.no_referral").at("/signup")),
    }
}

async fn sign_up_post(State(state): State<ApiState>, reader: Reader, Post(fields): Post) -> PortalResult {
    sign_up(&state, &reader, &fields).await.map_err(|error| error.at("/signup"))
}

async fn sign_up(state: &ApiState, reader: &Reader, fields: &Fields) -> PortalResult {
    let address = mail_address(fields, "email")?;
    refuse_disposable(state, &address, DISPOSABLE[0])?;
    let password = new_password(fields, "password")?;
    let referral_code = fields.text("refer");
    if !referral_code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(PortalError::field("error.referral_form"));
    }
    if !referral_code.is_empty() {
        check_referral(state, referral_code)?;
    }
    let is_browser = fields.flag("browser");
    let request = WebSignUp { address: &address, password, referral_code, is_browser, language: reader.language() };
    let outcome = state.accounts.web_sign_up(&reader.origin(), &request).await?;
    match refusal(outcome) {
        Some(error) => Err(error),
        None if !is_browser => Ok(sent()),
        None if outcome == AskOutcome::Done => Ok(go::saying("/signin", "signup.ready")),
        None => Ok(go::to("/signup-success")),
    }
}

/// Asks to look for the letter.
#[derive(Debug, Default, Serialize)]
pub struct SignUpSuccessPage {}

impl Page for SignUpSuccessPage {
    const TEMPLATE: &'static str = "signup-success.html";
}

async fn success_page(State(state): State<ApiState>, reader: Reader) -> PortalResult {
    reader.page(&state, &SignUpSuccessPage {})
}

/// Leads back to the app.
#[derive(Debug, Default, Serialize)]
pub struct EmailConfirmedPage {}

impl Page for EmailConfirmedPage {
    const TEMPLATE: &'static str = "email-confirmed.html";
}

/// The address and the code of a link.
pub(super) fn pair(query: &Fields) -> Result<(String, &str), PortalError> {
    let address = mail_address(query, "email")?.as_str().to_owned();
    let code = query.text("code");
    if !is_code(code) {
        return Err(PortalError::field("error.code_form"));
    }
    Ok((address, code))
}

async fn confirm_email(State(state): State<ApiState>, reader: Reader, Query(query): Query) -> PortalResult {
    let back = |error: PortalError| error.at("/resend-confirm-code");
    let (address, code) = pair(&query).map_err(back)?;
    let confirm = Confirm { address: &address, code, is_replacement: false };
    match state.service.run(&confirm).await? {
        ConfirmOutcome::Unknown => return Err(back(PortalError::refused(NO_CODE, "error.no_such_code"))),
        ConfirmOutcome::Taken => return Err(back(PortalError::refused(TAKEN, "error.taken"))),
        ConfirmOutcome::Confirmed => {}
    }
    match query.flag("browser") {
        true => Ok(go::saying("/signin", "signup.confirmed")),
        false => reader.bare().page(&state, &EmailConfirmedPage {}),
    }
}

/// The form to ask for the letter once more.
#[derive(Debug, Default, Serialize)]
pub struct ResendPage {}

impl Page for ResendPage {
    const TEMPLATE: &'static str = "resend-confirm-code.html";
}

async fn resend_page(State(state): State<ApiState>, reader: Reader) -> PortalResult {
    reader.page(&state, &ResendPage {})
}

async fn resend_post(State(state): State<ApiState>, reader: Reader, Post(fields): Post) -> PortalResult {
    let back = |error: PortalError| error.at("/resend-confirm-code");
    let address = mail_address(&fields, "email").map_err(back)?;
    let resent = state.accounts.web_resend(&reader.origin(), &address, reader.language()).await;
    match refusal(resent.map_err(|error| back(error.into()))?) {
        Some(error) => Err(back(error)),
        None => Ok(go::saying("/signin", "resend.sent")),
    }
}

async fn convert(State(state): State<ApiState>, reader: Reader, post: SignedPost) -> PortalResult {
    let SignedPost { user, fields } = post;
    let address = mail_address(&fields, "newemail")?;
    refuse_disposable(&state, &address, DISPOSABLE[1])?;
    let password = new_password(&fields, "newpassword")?;
    let new = (&address, password);
    match state.accounts.web_convert(&reader.origin(), user.user_id, new, reader.language()).await? {
        AskOutcome::Confirmed => Err(PortalError::refused(CONFIRMED, "error.already_confirmed")),
        outcome => match refusal(outcome) {
            Some(error) => Err(error),
            None => Ok(sent()),
        },
    }
}
