//! A payment into a wallet of this server: its posting and a mark of it are one commit, so that it is made once.

use serde::{Deserialize, Serialize};

use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::wallet::journal::{self, Account, LEDGER_WALLETS, Reason};
use crate::ids::{RecordId, WalletId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Payments that were made into wallets of the ledger.
pub const PAID_INTO_WALLETS: Table<RecordId, PaidIntoWallet> = Table::new(218, "paid_into_wallets");

/// A payment that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidIntoWallet {
    /// The wallet.
    pub wallet_id: WalletId,
    /// How much, in 10⁻⁹ USD.
    pub amount: i64,
    /// When.
    pub time: Timestamp,
}
json_record!(PaidIntoWallet, 1);

/// Makes a payment into a wallet of the ledger; a second time changes nothing.
pub struct PayIntoWallet<'a> {
    /// Which payment.
    pub payment_id: RecordId,
    /// The wallet's address.
    pub address: &'a str,
    /// How much, in 10⁻⁹ USD.
    pub amount: i64,
}

impl Operation for PayIntoWallet<'_> {
    /// Whether it is made; if not, it never was.
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        if tx.get(&PAID_INTO_WALLETS, &self.payment_id)?.is_some() {
            return Ok(true);
        }
        let Some(wallet_id) = journal::parse_address(self.address) else { return Ok(false) };
        if tx.get(&LEDGER_WALLETS, &wallet_id)?.is_none() {
            return Ok(false);
        }
        let (legs, reference) = ((Account::Operator, Account::Wallet(wallet_id)), self.payment_id.to_string());
        // One of nothing but bytes has nothing to move.
        if self.amount > 0 && !journal::post(tx, (Reason::Payout, &reference), legs, self.amount)? {
            return Ok(false);
        }
        let paid = PaidIntoWallet { wallet_id, amount: self.amount, time: tx.now };
        tx.put(&PAID_INTO_WALLETS, &self.payment_id, &paid)?;
        Ok(true)
    }
}
