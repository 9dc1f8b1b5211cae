//! Tells the operator of a failure by mail.

use super::mail::{Letter, PortalMail};
use crate::domain::effect::{Effect, Message, MessageKind};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};

/// A failure of the website.
pub struct Report {
    /// What was asked for.
    pub path: String,
    /// What lies behind it.
    pub cause: String,
}

impl Operation for Report {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let portal = &tx.config.portal;
        let letter = Letter::Failure { path: self.path.clone(), cause: self.cause.clone() };
        let mail = PortalMail { letter, language: portal.language.clone(), opt_out_code: String::new() };
        let message = Message { to: portal.admin_mail.clone(), kind: MessageKind::Portal(Box::new(mail)) };
        tx.effect(Effect::Send(message));
        Ok(())
    }
}
