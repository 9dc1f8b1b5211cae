//! Signing in with the receipt of an app store: the seam between this website and what verifies receipts.

use super::error::PortalError;
use super::reader::Reader;
use crate::domain::auth::web_session::WebSessionSecret;
use crate::http::state::ApiState;

/// The code of a receipt of a kind that nobody verifies here.
const UNKNOWN_KIND: i32 = 11;

/// A sign-in with a receipt; its fields have been looked at.
#[derive(Clone, Copy, Debug)]
pub struct ReceiptSignIn<'a> {
    /// `ios` or `android`.
    pub kind: &'a str,
    /// The receipt, in base64.
    pub receipt: &'a str,
    /// Who brought the user, `<partner>-<campaign>`.
    pub partner: Option<&'a str>,
}

/// Signs in the user of a receipt, whom a new one makes; a session begins.
pub async fn sign_in(
    _state: &ApiState,
    _reader: &Reader,
    sign_in: &ReceiptSignIn<'_>,
) -> Result<WebSessionSecret, PortalError> {
    tracing::debug!(kind = sign_in.kind, "nobody verifies receipts of this kind");
    Err(PortalError::refused(UNKNOWN_KIND, "error.receipt_unknown"))
}
