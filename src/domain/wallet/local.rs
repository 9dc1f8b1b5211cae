//! The wallet that the server keeps in its own ledger: the default, which needs no outside account.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::account_wallet;
use super::address::{self, Chain, named_uuid};
use super::challenge::{
    CHALLENGES, ChallengeKind, ChallengeStatus, Issued, NewChallenge, OPEN_TRANSFERS, expire_due, issue,
};
use super::custody::{
    Custody, CustodyError, KeeperReport, KeeperReportError, NoChallenge, TransferRefusal, TransferRequest, WalletView,
    is_payable,
};
use super::journal::{self, LEDGER_WALLETS, WalletOwner};
use super::transfer_limit::CountTransfer;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::service::Service;
use crate::ids::WalletId;

/// Transfers of a wallet that may wait at once.
pub const MAX_OPEN_TRANSFERS: usize = 5;

/// Wallets in the server's ledger.
pub struct LedgerCustody {
    service: Arc<Service>,
}

impl LedgerCustody {
    /// Over the store behind `service`.
    pub fn new(service: Arc<Service>) -> Self {
        Self { service }
    }
}

impl Custody for LedgerCustody {
    fn init(&self, owner: WalletOwner) -> BoxFuture<'_, Result<Result<Issued, NoChallenge>, CustodyError>> {
        Box::pin(async move { Ok(Ok(self.service.run(&InitWallet { owner }).await?)) })
    }

    fn balance(&self, owner: WalletOwner) -> BoxFuture<'_, Result<Option<WalletView>, CustodyError>> {
        Box::pin(async move { Ok(self.service.read(&ReadWallet { owner })?) })
    }

    fn transfer_out(
        &self,
        owner: WalletOwner,
        request: TransferRequest,
    ) -> BoxFuture<'_, Result<Result<Issued, TransferRefusal>, CustodyError>> {
        Box::pin(async move { Ok(self.service.run(&TransferOut { owner, request }).await?) })
    }

    fn has_ledger_address(&self, address: &str) -> Result<bool, DomainError> {
        match journal::parse_address(address) {
            Some(wallet_id) => self.service.read(&WalletExists(wallet_id)),
            None => Ok(false),
        }
    }

    fn take_report(&self, _: KeeperReport) -> BoxFuture<'_, Result<(), KeeperReportError>> {
        Box::pin(async { Err(KeeperReportError::NoKeeper) })
    }
}

struct WalletExists(WalletId);

impl Operation for WalletExists {
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        Ok(tx.get(&LEDGER_WALLETS, &self.0)?.is_some())
    }
}

/// Makes the wallet of a user, and names it as one the network can be paid at.
pub struct InitWallet {
    /// Whose.
    pub owner: WalletOwner,
}

impl Operation for InitWallet {
    type Output = Issued;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Issued, DomainError> {
        let (wallet_id, mut wallet) = journal::ensure_wallet(tx, &self.owner)?;
        let network_id = self.owner.network_id;
        let new = NewChallenge { kind: ChallengeKind::Initialize, to_address: String::new(), amount: 0 };
        let (challenge_id, issued) = issue(tx, (network_id, wallet_id), new)?;
        if let Some(former) = wallet.initialize_challenge.replace(challenge_id) {
            tx.delete(&CHALLENGES, &former)?;
        }
        tx.put(&LEDGER_WALLETS, &wallet_id, &wallet)?;
        let chain = tx.config.wallet.chain.clone();
        let (custody_id, address) = (wallet_id.to_string(), journal::address(wallet_id));
        account_wallet::add_custody_wallet(tx, network_id, &custody_id, (&chain, &address))?;
        Ok(issued)
    }
}

/// The wallet of a user.
pub struct ReadWallet {
    /// Whose.
    pub owner: WalletOwner,
}

impl Operation for ReadWallet {
    type Output = Option<WalletView>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<WalletView>, DomainError> {
        let Some((wallet_id, wallet)) = journal::wallet_of(tx, &self.owner)? else { return Ok(None) };
        let mut balance = wallet.available();
        // What only waits to be written down is free already.
        for ((_, id), ()) in tx.scan(&OPEN_TRANSFERS, &wallet_id)? {
            let challenge = tx.get(&CHALLENGES, &id)?;
            let now = tx.now;
            let expired = challenge.filter(|challenge| challenge.status_at(now) == ChallengeStatus::Expired);
            balance += expired.map_or(0, |challenge| challenge.amount);
        }
        let chain = &tx.config.wallet.chain;
        Ok(Some(WalletView {
            wallet_id: wallet_id.to_string(),
            token_id: named_uuid(&format!("usdc:{chain}")),
            blockchain: chain.clone(),
            symbol: "USDC".into(),
            create_date: wallet.create_time,
            balance,
            address: journal::address(wallet_id),
        }))
    }
}

/// Holds an amount for a transfer that its owner must confirm.
pub struct TransferOut {
    /// Whose wallet.
    pub owner: WalletOwner,
    /// What they want.
    pub request: TransferRequest,
}

impl Operation for TransferOut {
    type Output = Result<Issued, TransferRefusal>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let TransferRequest { to_address, amount, has_accepted_terms } = &self.request;
        if !has_accepted_terms {
            return Ok(Err(TransferRefusal::Terms));
        }
        let Some((wallet_id, _)) = journal::wallet_of(tx, &self.owner)? else {
            return Ok(Err(TransferRefusal::NoWallet));
        };
        if !is_payable(*amount) {
            return Ok(Err(TransferRefusal::Amount));
        }
        let Some(to_address) = destination(tx, to_address, wallet_id)? else {
            return Ok(Err(TransferRefusal::Address));
        };
        expire_due(tx, wallet_id)?;
        if tx.scan(&OPEN_TRANSFERS, &wallet_id)?.len() >= MAX_OPEN_TRANSFERS
            || !(CountTransfer { network_id: self.owner.network_id }).apply(tx)?
        {
            return Ok(Err(TransferRefusal::TooMany));
        }
        if !journal::hold(tx, wallet_id, *amount)? {
            return Ok(Err(TransferRefusal::Balance));
        }
        let new = NewChallenge { kind: ChallengeKind::Transfer, to_address, amount: *amount };
        let (_, issued) = issue(tx, (self.owner.network_id, wallet_id), new)?;
        Ok(Ok(issued))
    }
}

/// The address in its one form: on the chain of the wallet, or another wallet of the ledger.
fn destination(tx: &mut Tx<'_>, address: &str, own: WalletId) -> Result<Option<String>, DomainError> {
    if let Some(wallet_id) = journal::parse_address(address) {
        let is_other = wallet_id != own && tx.get(&LEDGER_WALLETS, &wallet_id)?.is_some();
        return Ok(is_other.then(|| journal::address(wallet_id)));
    }
    let settings = &tx.config.wallet;
    Ok(Chain::parse(&settings.chain).and_then(|chain| address::check(settings, chain, address)))
}
