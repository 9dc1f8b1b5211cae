//! Changing a password, and setting one that was forgotten.

use axum::extract::State;
use axum::routing::get;
use serde::Serialize;

use super::checks::{mail_address, new_password, required};
use super::error::{PortalError, PortalResult};
use super::fields::{Fields, Post, Query};
use super::page::Page;
use super::rate::Limit;
use super::reader::Reader;
use super::session::{PortalUser, SignedPost, TokenPost};
use super::{Route, go};
use crate::domain::auth::web_session::WebUser;
use crate::domain::portal::confirmation::is_code;
use crate::domain::portal::password::PasswordChange;
use crate::http::state::ApiState;

const CHANGE: &str = "/change-password";
const FORGOT: &str = "/forgot-password";
/// A code that sets no password.
const NO_CODE: i32 = 77;

/// The routes of this file.
pub fn routes(state: &ApiState) -> Vec<Route> {
    let change = Limit::new("change_password", |limits| limits.change_password);
    let forgot = Limit::new("forgot_password", |limits| limits.forgot_password);
    let reset = Limit::new("reset_password", |limits| limits.reset_password);
    vec![
        (CHANGE, change.on(state, get(change_page).post(change_post))),
        (FORGOT, forgot.on(state, get(forgot_page).post(forgot_post))),
        ("/reset-password", reset.on(state, get(reset_page).post(reset_post))),
    ]
}

/// The form to change a password.
#[derive(Debug, Default, Serialize)]
pub struct ChangePasswordPage {}

impl Page for ChangePasswordPage {
    const TEMPLATE: &'static str = "change-password.html";
}

async fn change_page(State(state): State<ApiState>, reader: Reader, _user: PortalUser) -> PortalResult {
    reader.page(&state, &ChangePasswordPage {})
}

async fn change_post(State(state): State<ApiState>, reader: Reader, TokenPost(post): TokenPost) -> PortalResult {
    change(&state, &reader, &post).await.map_err(|error| error.at(CHANGE))
}

async fn change(state: &ApiState, reader: &Reader, post: &SignedPost) -> PortalResult {
    let SignedPost { user, fields } = post;
    let current = required(fields, "currentPassword", "error.missing_current_password")?;
    let new = new_password(fields, "newPassword")?;
    let user = WebUser { user_id: user.user_id, network_id: user.network_id, session: user.session };
    let passwords = (current, new);
    match state.accounts.web_change_password(&reader.origin(), &user, passwords, reader.language()).await? {
        PasswordChange::Done => Ok(go::saying("/account", "change_password.done")),
        PasswordChange::WrongPassword => Err(PortalError::field("error.wrong_current_password")),
    }
}

/// The form of those who have forgotten theirs.
#[derive(Debug, Default, Serialize)]
pub struct ForgotPasswordPage {}

impl Page for ForgotPasswordPage {
    const TEMPLATE: &'static str = "forgot-password.html";
}

async fn forgot_page(State(state): State<ApiState>, reader: Reader) -> PortalResult {
    reader.page(&state, &ForgotPasswordPage {})
}

async fn forgot_post(State(state): State<ApiState>, reader: Reader, Post(fields): Post) -> PortalResult {
    let back = |error: PortalError| error.at(FORGOT);
    let address = mail_address(&fields, "email").map_err(back)?;
    let sent = state.accounts.web_forgot_password(&reader.origin(), &address, reader.language()).await;
    sent.map_err(|error| back(error.into()))?;
    Ok(go::saying("/signin", "forgot_password.sent"))
}

/// The form that a code opens.
#[derive(Debug, Default, Serialize)]
pub struct ResetPasswordPage {
    /// The code.
    pub code: String,
}

impl Page for ResetPasswordPage {
    const TEMPLATE: &'static str = "reset-password.html";
}

fn reset_code(fields: &Fields) -> Result<&str, PortalError> {
    let code = fields.text("code");
    if is_code(code) { Ok(code) } else { Err(PortalError::field("error.code_form").at(FORGOT)) }
}

fn no_such_code() -> PortalError {
    PortalError::refused(NO_CODE, "error.no_reset_code").at(FORGOT)
}

async fn reset_page(State(state): State<ApiState>, reader: Reader, Query(query): Query) -> PortalResult {
    let code = reset_code(&query)?;
    if !state.accounts.is_web_reset_code(code)? {
        return Err(no_such_code());
    }
    reader.page(&state, &ResetPasswordPage { code: code.to_owned() })
}

async fn reset_post(State(state): State<ApiState>, reader: Reader, Post(fields): Post) -> PortalResult {
    let code = reset_code(&fields)?;
    // A reader of pages who has typed a weak password still has the link, and goes back to it.
    let new =
        new_password(&fields, "newPassword").map_err(|error| error.back_to(format!("/reset-password?code={code}")))?;
    match state.accounts.web_reset_password(&reader.origin(), (code, new), reader.language()).await? {
        true => Ok(go::saying("/signin", "reset_password.done")),
        false => Err(no_such_code()),
    }
}
