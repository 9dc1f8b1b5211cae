//! Makes payments: into wallets of this server's ledger, and on chains through a company. What neither can pay waits for
//! the operator.
//!
//! The ledger of credit and the books of wallets commit apart, and a company is far away. So each step is written down
//! before the next begins, and each can be done again:
//!
//! ```text
//! planned ──claim──► recorded ──pay──► paid, marked in the books ──► completed
//!                        └── certain that nothing left ──► cancelled, its credit is unpaid again
//! ```
//!
//! A claimed payment is nobody else's: the operator cannot cancel it, except by force.

use futures_util::future::BoxFuture;

use super::wallet::address::Chain;

mod destination;
pub mod drive;
mod into_wallet;
mod run;
#[cfg(test)]
mod tests;

/// Sends USDC on chains.
pub trait PayoutSender: Send + Sync + 'static {
    /// Whether it pays on a chain.
    fn pays_on(&self, chain: Chain) -> bool;

    /// Sends money. The same key sends nothing a second time.
    fn send(&self, transfer: ChainTransfer) -> BoxFuture<'_, Result<SendOutcome, SenderUnreachable>>;

    /// How far something is that was sent.
    fn state(&self, sent_id: String) -> BoxFuture<'_, Result<SentState, SenderUnreachable>>;
}

/// Money to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainTransfer {
    /// Names it over all tries.
    pub key: String,
    /// The chain.
    pub chain: Chain,
    /// Where to.
    pub address: String,
    /// How much, in 10⁻⁹ USD; a multiple of what a chain can hold.
    pub amount: i64,
}

/// How a try to send ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It was taken, and is called so.
    Sent(String),
    /// It was refused: this try sends nothing.
    Refused,
}

/// How far something is that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentState {
    /// On its way.
    UnderWay,
    /// Arrived, by this transaction.
    Complete(String),
    /// It is certain that nothing left.
    Failed,
    /// Given up, but it may have left: for a person to look at.
    Unclear,
}

/// The company does not answer, or not as it should: nobody knows what it did. The cause is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the company that sends payments cannot be reached")]
pub struct SenderUnreachable;
