//! The books of the server's own wallets: every posting has two sides that sum to zero.
//!
//! A wallet's row carries the sum of its postings and what of it is held for transfers under way; both change in the
//! transaction of the posting. What can be spent is never negative.

use serde::{Deserialize, Serialize};

use crate::domain::error::DomainError;
use crate::domain::network::NETWORKS;
use crate::domain::operation::Tx;
use crate::ids::{ChallengeId, NetworkId, RecordId, UserId, WalletId};
use crate::json_record;
use crate::store::StoreError;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Every wallet of the ledger.
pub const LEDGER_WALLETS: Table<WalletId, LedgerWallet> = Table::new(250, "ledger_wallets");

/// Whose wallet it is.
pub const WALLET_OWNERS: Table<(NetworkId, UserId), WalletId> = Table::new(251, "wallet_owners");

/// Every posting.
pub const POSTINGS: Table<RecordId, Posting> = Table::new(252, "postings");

/// The postings of a wallet.
pub const WALLET_POSTINGS: Table<(WalletId, RecordId), ()> = Table::new(253, "wallet_postings");

/// What an address of the ledger begins with. No chain has such addresses, so nobody sends coins there by mistake.
pub const ADDRESS_PREFIX: &str = "urledger:";

/// Most that one posting moves and one wallet holds: a billion USD.
pub const MAX_AMOUNT: i64 = 1_000_000_000 * 1_000_000_000;

/// Who a wallet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletOwner {
    /// The network.
    pub network_id: NetworkId,
    /// Its user.
    pub user_id: UserId,
}

/// A wallet of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerWallet {
    /// The network.
    pub network_id: NetworkId,
    /// Its user.
    pub user_id: UserId,
    /// The sum of its postings.
    pub posted: i64,
    /// The part of it that transfers under way keep.
    pub held: i64,
    /// When it was made.
    pub create_time: Timestamp,
    /// The last challenge of its making; an older one is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialize_challenge: Option<ChallengeId>,
}
json_record!(LedgerWallet, 1);

impl LedgerWallet {
    /// What can be spent.
    pub fn available(&self) -> i64 {
        self.posted - self.held
    }
}

/// One side of the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// A wallet.
    Wallet(WalletId),
    /// The operator: credits come from here.
    Operator,
    /// The chain: what left the ledger.
    Chain,
    /// Purchases.
    Sales,
    /// Cards: what subscriptions are paid with.
    Cards,
}

/// Why money moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The operator credited it.
    Credit,
    /// Its owner moved it.
    Transfer,
    /// It paid an order.
    Purchase,
    /// A payout.
    Payout,
    /// It paid a period of a subscription.
    Subscription,
    /// It was paid back.
    Refund,
}

/// A move of money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// When.
    pub time: Timestamp,
    /// Why.
    pub reason: Reason,
    /// What it belongs to: a challenge, an order, a memo.
    pub reference: String,
    /// What each account gains; sums to zero.
    pub legs: Vec<(Account, i64)>,
}
json_record!(Posting, 1);

impl crate::store::table::TableValue for WalletId {
    fn encode(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
    fn decode(bytes: &[u8]) -> Option<Self> {
        WalletId::from_slice(bytes)
    }
}

/// The address of a wallet of the ledger.
pub fn address(wallet_id: WalletId) -> String {
    format!("{ADDRESS_PREFIX}{wallet_id}")
}

/// The wallet behind an address of the ledger, whether or not it exists.
pub fn parse_address(text: &str) -> Option<WalletId> {
    let id = text.trim().strip_prefix(ADDRESS_PREFIX)?;
    let wallet_id: WalletId = id.parse().ok()?;
    // One text form only: addresses are compared as text elsewhere.
    (wallet_id.to_string() == id).then_some(wallet_id)
}

/// The wallet of an owner.
pub fn wallet_of(tx: &mut Tx<'_>, owner: &WalletOwner) -> Result<Option<(WalletId, LedgerWallet)>, DomainError> {
    let Some(wallet_id) = tx.get(&WALLET_OWNERS, &(owner.network_id, owner.user_id))? else { return Ok(None) };
    Ok(Some((wallet_id, wallet(tx, wallet_id)?)))
}

/// The wallet of an owner, made when there is none.
pub fn ensure_wallet(tx: &mut Tx<'_>, owner: &WalletOwner) -> Result<(WalletId, LedgerWallet), DomainError> {
    if let Some(found) = wallet_of(tx, owner)? {
        return Ok(found);
    }
    let WalletOwner { network_id, user_id } = *owner;
    let wallet_id: WalletId = tx.new_id();
    let create_time = tx.now;
    let wallet = LedgerWallet { network_id, user_id, posted: 0, held: 0, create_time, initialize_challenge: None };
    tx.put(&WALLET_OWNERS, &(network_id, user_id), &wallet_id)?;
    tx.put(&LEDGER_WALLETS, &wallet_id, &wallet)?;
    Ok((wallet_id, wallet))
}

/// The wallet of a network's administrator, made when there is none; `None` for an unknown network.
pub fn ensure_network_wallet(tx: &mut Tx<'_>, network_id: NetworkId) -> Result<Option<WalletId>, DomainError> {
    let Some(network) = tx.get(&NETWORKS, &network_id)? else { return Ok(None) };
    let owner = WalletOwner { network_id, user_id: network.admin_user_id };
    Ok(Some(ensure_wallet(tx, &owner)?.0))
}

/// A wallet that another row names.
pub fn wallet(tx: &mut Tx<'_>, wallet_id: WalletId) -> Result<LedgerWallet, DomainError> {
    Ok(tx.get(&LEDGER_WALLETS, &wallet_id)?.ok_or_else(damaged)?)
}

/// Keeps a part of a wallet for a transfer; false when that much cannot be spent.
pub fn hold(tx: &mut Tx<'_>, wallet_id: WalletId, amount: i64) -> Result<bool, DomainError> {
    let mut row = wallet(tx, wallet_id)?;
    if amount <= 0 || amount > row.available() {
        return Ok(false);
    }
    row.held += amount;
    tx.put(&LEDGER_WALLETS, &wallet_id, &row)?;
    Ok(true)
}

/// Gives back what was held.
pub fn release(tx: &mut Tx<'_>, wallet_id: WalletId, amount: i64) -> Result<(), DomainError> {
    let mut row = wallet(tx, wallet_id)?;
    if amount > row.held {
        return Err(damaged().into());
    }
    row.held -= amount;
    Ok(tx.put(&LEDGER_WALLETS, &wallet_id, &row)?)
}

/// Moves money; false when the payer, a wallet, cannot spend that much, or the payee cannot hold more.
pub fn post(
    tx: &mut Tx<'_>,
    (reason, reference): (Reason, &str),
    (from, to): (Account, Account),
    amount: i64,
) -> Result<bool, DomainError> {
    if !(1..=MAX_AMOUNT).contains(&amount) || from == to {
        return Ok(false);
    }
    if let Account::Wallet(wallet_id) = from
        && wallet(tx, wallet_id)?.available() < amount
    {
        return Ok(false);
    }
    if let Account::Wallet(wallet_id) = to
        && wallet(tx, wallet_id)?.posted > MAX_AMOUNT - amount
    {
        return Ok(false);
    }
    let id: RecordId = tx.new_id();
    let legs = vec![(from, -amount), (to, amount)];
    for (account, change) in &legs {
        if let Account::Wallet(wallet_id) = account {
            let mut row = wallet(tx, *wallet_id)?;
            row.posted += change;
            tx.put(&LEDGER_WALLETS, wallet_id, &row)?;
            tx.put(&WALLET_POSTINGS, &(*wallet_id, id), &())?;
        }
    }
    tx.put(&POSTINGS, &id, &Posting { time: tx.now, reason, reference: reference.into(), legs })?;
    Ok(true)
}

/// The books name what is not there.
fn damaged() -> StoreError {
    StoreError::BadValue(LEDGER_WALLETS.name)
}
