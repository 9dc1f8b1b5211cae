//! Signing in with the receipt of an app store.

use super::billing::receipt_refusal;
use super::error::PortalError;
use super::reader::Reader;
use crate::domain::account::guest::{self, Opened};
use crate::domain::auth::web_session::{self, WebSessionSecret};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::portal::profile;
use crate::domain::subscription::record::ReceiptType;
use crate::http::state::ApiState;

/// A sign-in with a receipt; its fields have been looked at.
#[derive(Clone, Copy, Debug)]
pub struct ReceiptSignIn<'a> {
    /// The store.
    pub store: ReceiptType,
    /// The receipt, in base64.
    pub receipt: &'a str,
    /// Who brought the user, `<partner>-<campaign>`.
    pub partner: Option<&'a str>,
}

/// Signs in the user of a receipt, whom a new one makes; a session begins.
///
/// # Errors
/// What is wrong with the receipt, with its code.
pub async fn sign_in(
    state: &ApiState,
    reader: &Reader,
    sign_in: &ReceiptSignIn<'_>,
) -> Result<WebSessionSecret, PortalError> {
    let ReceiptSignIn { store, receipt, partner } = *sign_in;
    let opened = guest::open(&state.service, &state.subscriptions, store, receipt, partner).await;
    let opened = opened.map_err(receipt_refusal)?;
    let replaced = reader.user().map(|user| user.session);
    Ok(state.service.run(&Begin { opened, language: reader.language(), replaced }).await?)
}

struct Begin<'a> {
    opened: Opened,
    language: &'a str,
    replaced: Option<[u8; 32]>,
}

impl Operation for Begin<'_> {
    type Output = WebSessionSecret;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<WebSessionSecret, DomainError> {
        let user_id = self.opened.user_id;
        profile::note_language(tx, &user_id, self.language)?;
        web_session::start(tx, &user_id, self.replaced.as_ref())
    }
}
