//! What a custody wallet can do, whoever keeps it.

use futures_util::future::BoxFuture;

use super::challenge::Issued;
use super::journal::WalletOwner;
use crate::domain::error::DomainError;
use crate::time::Timestamp;

/// One unit of USDC on a chain, which has six decimals.
pub const ON_CHAIN_UNIT: i64 = 1000;

/// The wallet of a user, kept here or by an outside company.
pub trait Custody: Send + Sync + 'static {
    /// Makes the wallet, or begins to: the user may have to finish it.
    fn init(&self, owner: WalletOwner) -> BoxFuture<'_, Result<Result<Issued, NoChallenge>, CustodyError>>;

    /// What is in it; `None` while there is none.
    fn balance(&self, owner: WalletOwner) -> BoxFuture<'_, Result<Option<WalletView>, CustodyError>>;

    /// Begins a transfer out of it, which the user must confirm.
    fn transfer_out(
        &self,
        owner: WalletOwner,
        request: TransferRequest,
    ) -> BoxFuture<'_, Result<Result<Issued, TransferRefusal>, CustodyError>>;

    /// Whether an address of the server's own ledger leads to a wallet. Companies know none.
    fn has_ledger_address(&self, address: &str) -> Result<bool, DomainError>;

    /// Takes a report of the company that keeps the wallets.
    fn take_report(&self, report: KeeperReport) -> BoxFuture<'_, Result<(), KeeperReportError>>;
}

/// What the company that keeps the wallets reports.
#[derive(Clone, Debug)]
pub struct KeeperReport {
    /// Names the key that it is signed with.
    pub key_id: String,
    /// The signature, as it came.
    pub signature: String,
    /// The report itself, as it came.
    pub body: bytes::Bytes,
}

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
pub enum KeeperReportError {
    /// The server keeps the wallets itself.
    #[error("No such route.")]
    NoKeeper,
    /// Not from the company.
    #[error("Bad signature.")]
    Signature,
    /// From the company, but not to be understood, or not true.
    #[error("The report cannot be used.")]
    Malformed,
    /// The company could not be asked about it; it shall send it again.
    #[error("Try again.")]
    Unreachable,
    /// The server itself.
    #[error(transparent)]
    Domain(#[from] DomainError),
}

/// Why the keeper of the wallet could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// The company does not answer, or not as it should; the cause is in the log.
    #[error("Wallet provider unavailable.")]
    Unreachable,
    /// The server itself.
    #[error(transparent)]
    Domain(#[from] DomainError),
}

/// The company answered without a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Bad challenge response.")]
pub struct NoChallenge;

/// A wallet as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletView {
    /// Names the wallet.
    pub wallet_id: String,
    /// Names USDC at the keeper.
    pub token_id: String,
    /// The chain.
    pub blockchain: String,
    /// What is in it: `USDC`.
    pub symbol: String,
    /// When it was made.
    pub create_date: Timestamp,
    /// What can be spent.
    pub balance: i64,
    /// Where it is paid to.
    pub address: String,
}

/// A transfer that a user wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRequest {
    /// Where to.
    pub to_address: String,
    /// How much.
    pub amount: i64,
    /// Whether the user accepted the terms.
    pub has_accepted_terms: bool,
}

/// Why no transfer was begun, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferRefusal {
    /// The terms are not accepted.
    #[error("You must accept the terms of transfer.")]
    Terms,
    /// The user has no wallet.
    #[error("No wallet.")]
    NoWallet,
    /// Not a positive number of units of the chain.
    #[error("Invalid amount.")]
    Amount,
    /// Not an address that can be paid to, or the wallet's own.
    #[error("Invalid address.")]
    Address,
    /// Too many transfers wait, or were begun in the last hour.
    #[error("Too many pending transfers.")]
    TooMany,
    /// Not that much can be spent.
    #[error("Insufficient balance.")]
    Balance,
}

/// Whether an amount can exist on a chain.
pub fn is_payable(amount: i64) -> bool {
    amount > 0 && amount % ON_CHAIN_UNIT == 0 && amount <= super::journal::MAX_AMOUNT
}
