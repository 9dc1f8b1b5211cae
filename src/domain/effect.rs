//! What must happen after a commit, and only then.

use super::portal::mail::PortalMail;
use crate::ids::{ClientId, NetworkId};

/// A message to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Mail address or phone number.
    pub to: String,
    /// What it says.
    pub kind: MessageKind,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Proves that the address is the user's.
    VerifyCode(String),
    /// Lets the user set a new password.
    ResetCode(String),
    /// The password was changed.
    PasswordChanged,
    /// A letter of the account website.
    Portal(Box<PortalMail>),
    /// A balance code that was bought.
    BalanceCode {
        /// Its secret.
        code: String,
        /// What it is worth, in words.
        item: String,
    },
}

/// Something outside the store that follows from a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a message.
    Send(Message),
    /// Close every transport of a removed client and forget its state.
    ClientRemoved(ClientId),
    /// Close every transport of a network, whose tokens are all dead.
    CredentialsChanged(NetworkId),
    /// Close every transport of a client: a certificate or token of its is not good any more. One that has another dials
    /// again.
    ProofEnded(ClientId),
    /// A client changed what it provides or how it presents itself: peers and discovery follow.
    ClientChanged(NetworkId, ClientId),
}

/// Carries effects out.
pub trait EffectSink: Send + Sync + 'static {
    /// Takes one effect; must not block.
    fn apply(&self, effect: Effect);
}
