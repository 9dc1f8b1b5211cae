//! Where a network is paid.

use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::wallet::account_wallet::{ACCOUNT_WALLETS, PAYOUT_WALLETS};
use crate::domain::wallet::address::Chain;
use crate::domain::wallet::journal::{LEDGER_WALLETS, parse_address};
use crate::ids::NetworkId;

/// Where a network is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The chain, as the wallet's owner sees it.
    pub blockchain: String,
    /// The address.
    pub address: String,
    /// What has to be done.
    pub place: Place,
}

/// What kind of place an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A wallet of this server.
    Ledger,
    /// An address on a chain.
    Chain(Chain),
}

/// Finds where a network is paid; `None` when it names no wallet, or one that is no more.
pub struct FindDestination(pub NetworkId);

impl Operation for FindDestination {
    type Output = Option<Destination>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Destination>, DomainError> {
        let Some(wallet_id) = tx.get(&PAYOUT_WALLETS, &self.0)? else { return Ok(None) };
        let found = tx.get(&ACCOUNT_WALLETS, &(self.0, wallet_id))?;
        let Some(wallet) = found.filter(|wallet| wallet.active) else { return Ok(None) };
        let place = match parse_address(&wallet.address) {
            Some(ledger_wallet) if tx.get(&LEDGER_WALLETS, &ledger_wallet)?.is_some() => Place::Ledger,
            Some(_) => return Ok(None),
            None => match Chain::parse(&wallet.blockchain) {
                Some(chain) => Place::Chain(chain),
                None => return Ok(None),
            },
        };
        Ok(Some(Destination { blockchain: wallet.blockchain, address: wallet.address, place }))
    }
}
