//! Letters of the account website: in the reader's language, never to somebody who has asked for none.

use super::opt_out;
use crate::domain::effect::{Effect, Message, MessageKind};
use crate::domain::error::DomainError;
use crate::domain::operation::Tx;

/// A letter on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalMail {
    /// What it says.
    pub letter: Letter,
    /// In which language.
    pub language: String,
    /// The code with which its receiver asks for no more; empty for a letter to the operator.
    pub opt_out_code: String,
}

/// What a letter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Letter {
    /// Proves that the address is the user's.
    ConfirmEmail {
        /// The code.
        code: String,
        /// Whether the link leads back to the website; else to the app.
        is_browser: bool,
    },
    /// Proves that a new address is the user's.
    ConfirmNewEmail {
        /// The code.
        code: String,
    },
    /// The address of the account was changed; to the old one.
    EmailChanged,
    /// Lets the user set a new password.
    ResetPassword {
        /// The code.
        code: String,
    },
    /// The password was changed.
    PasswordChanged,
    /// The website failed; to the operator.
    Failure {
        /// What was asked for.
        path: String,
        /// What lies behind it.
        cause: String,
    },
}

/// Sends a letter once the transaction is committed, unless its receiver wants none.
pub fn send(tx: &mut Tx<'_>, to: &str, language: &str, letter: Letter) -> Result<(), DomainError> {
    if opt_out::is_stopped(tx, to)? {
        tracing::debug!("a letter was not sent: its receiver has asked for none");
        return Ok(());
    }
    let opt_out_code = opt_out::code_for(tx, to)?;
    let mail = PortalMail { letter, language: language.to_owned(), opt_out_code };
    tx.effect(Effect::Send(Message { to: to.to_owned(), kind: MessageKind::Portal(Box::new(mail)) }));
    Ok(())
}
