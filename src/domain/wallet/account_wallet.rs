//! The addresses a network names to be paid at, and which of them it is paid at.

use serde::{Deserialize, Serialize};

use super::address::{self, Chain};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{NetworkId, WalletId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// The wallets of a network, removed ones included.
pub const ACCOUNT_WALLETS: Table<(NetworkId, WalletId), AccountWallet> = Table::guarded(260, "account_wallets", 16);

/// A network's wallet by `chain:address`, so that an address that comes back keeps its id.
pub const ACCOUNT_WALLET_ADDRESSES: Table<(NetworkId, String), WalletId> = Table::new(261, "account_wallet_addresses");

/// The wallet that a network is paid at.
pub const PAYOUT_WALLETS: Table<NetworkId, WalletId> = Table::new(262, "payout_wallets");

/// Wallets a network may have.
pub const MAX_WALLETS: usize = 32;

/// Wallets a network may ever name: removed ones are kept, because payments name them.
const MAX_WALLETS_EVER: usize = 1024;

/// The only token there is.
pub const USDC: &str = "USDC";

/// Where a wallet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WalletType {
    /// The user's custody wallet, whoever keeps it.
    CircleUc,
    /// An address of the user's own.
    External,
}

impl WalletType {
    /// What clients call it.
    pub fn name(self) -> &'static str {
        match self {
            WalletType::CircleUc => "circle_uc",
            WalletType::External => "external",
        }
    }
}

/// A wallet of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountWallet {
    /// Where it comes from.
    pub wallet_type: WalletType,
    /// The custody wallet behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custody_id: Option<String>,
    /// Its chain.
    pub blockchain: String,
    /// Its address in its one form.
    pub address: String,
    /// False once removed.
    pub active: bool,
    /// When it was first named.
    pub create_time: Timestamp,
    /// Whether its owner holds a token of the makers of a phone.
    #[serde(default)]
    pub has_seeker_token: bool,
}
json_record!(AccountWallet, 1);

impl AccountWallet {
    fn external(chain: Chain, address: String, create_time: Timestamp) -> Self {
        let (wallet_type, blockchain) = (WalletType::External, chain.name().to_owned());
        Self { wallet_type, custody_id: None, blockchain, address, active: true, create_time, has_seeker_token: false }
    }
}

/// Why a wallet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddRefusal {
    /// Not a chain that wallets may be on.
    #[error("invalid blockchain, use SOL, MATIC, or TAO")]
    Chain,
    /// Not an address of the chain.
    #[error("invalid wallet address")]
    Address,
    /// Not USDC.
    #[error("invalid token type, use USDC")]
    Token,
    /// The network has [`MAX_WALLETS`].
    #[error("too many wallets, remove one first")]
    TooMany,
}

/// Names an address to be paid at.
pub struct AddWallet {
    /// Whose.
    pub network_id: NetworkId,
    /// The chain, by any of its names.
    pub blockchain: String,
    /// The address.
    pub address: String,
    /// `USDC`, or empty for it.
    pub token_type: String,
}

impl Operation for AddWallet {
    type Output = Result<WalletId, AddRefusal>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let names = ["SOL", "SOLANA", "MATIC", "POLY", "POLYGON", "ETH", "ETHEREUM", "TAO", "BITTENSOR"];
        let name = self.blockchain.trim();
        let is_offered = names.iter().any(|offered| offered.eq_ignore_ascii_case(name));
        let Some(chain) = Chain::parse(name).filter(|_| is_offered) else { return Ok(Err(AddRefusal::Chain)) };
        if !self.token_type.is_empty() && !self.token_type.eq_ignore_ascii_case(USDC) {
            return Ok(Err(AddRefusal::Token));
        }
        let Some(address) = address::check(&tx.config.wallet, chain, &self.address) else {
            return Ok(Err(AddRefusal::Address));
        };
        let new = AccountWallet::external(chain, address, tx.now);
        add(tx, self.network_id, new)
    }
}

/// Names an address that its owner has proven to be theirs, in its one form.
pub fn add_own_wallet(
    tx: &mut Tx<'_>,
    network_id: NetworkId,
    chain: Chain,
    address: String,
) -> Result<(), DomainError> {
    let new = AccountWallet::external(chain, address, tx.now);
    // The wallet signs in, whether or not there is room to name it.
    let _ = add(tx, network_id, new)?;
    Ok(())
}

/// Names the custody wallet of a network's user. One that was removed is active again.
pub fn add_custody_wallet(
    tx: &mut Tx<'_>,
    network_id: NetworkId,
    custody_id: &str,
    (blockchain, address): (&str, &str),
) -> Result<(), DomainError> {
    let new = AccountWallet {
        wallet_type: WalletType::CircleUc,
        custody_id: Some(custody_id.into()),
        blockchain: blockchain.into(),
        address: address.into(),
        active: true,
        create_time: tx.now,
        has_seeker_token: false,
    };
    // The wallet itself is there, whether or not there is room to name it.
    let _ = add(tx, network_id, new)?;
    Ok(())
}

/// Adds a wallet, or brings the same one back; the first that can be paid at becomes the payout wallet.
fn add(
    tx: &mut Tx<'_>,
    network_id: NetworkId,
    new: AccountWallet,
) -> Result<Result<WalletId, AddRefusal>, DomainError> {
    let address_key = (network_id, format!("{}:{}", new.blockchain, new.address));
    let known = match tx.get(&ACCOUNT_WALLET_ADDRESSES, &address_key)? {
        Some(wallet_id) => tx.get(&ACCOUNT_WALLETS, &(network_id, wallet_id))?.map(|wallet| (wallet_id, wallet)),
        None => None,
    };
    let is_active = known.as_ref().is_some_and(|(_, wallet)| wallet.active);
    if !is_active {
        let all = tx.scan(&ACCOUNT_WALLETS, &network_id)?;
        let active_count = all.iter().filter(|(_, wallet)| wallet.active).count();
        if active_count >= MAX_WALLETS || known.is_none() && all.len() >= MAX_WALLETS_EVER {
            return Ok(Err(AddRefusal::TooMany));
        }
    }
    let is_payable = is_payable(&new);
    let wallet_id = match known {
        Some((wallet_id, wallet)) => {
            tx.put(&ACCOUNT_WALLETS, &(network_id, wallet_id), &AccountWallet { active: true, ..wallet })?;
            wallet_id
        }
        None => {
            let wallet_id: WalletId = tx.new_id();
            tx.put(&ACCOUNT_WALLETS, &(network_id, wallet_id), &new)?;
            tx.put(&ACCOUNT_WALLET_ADDRESSES, &address_key, &wallet_id)?;
            wallet_id
        }
    };
    if is_payable && tx.get(&PAYOUT_WALLETS, &network_id)?.is_none() {
        tx.put(&PAYOUT_WALLETS, &network_id, &wallet_id)?;
    }
    Ok(Ok(wallet_id))
}

/// Whether payments can go there: the chains that payouts are sent on, and the server's own ledger.
fn is_payable(wallet: &AccountWallet) -> bool {
    matches!(Chain::parse(&wallet.blockchain), Some(Chain::Solana | Chain::Polygon))
}

/// The active wallets of a network, oldest first.
pub struct ListWallets {
    /// Whose.
    pub network_id: NetworkId,
}

impl Operation for ListWallets {
    type Output = Vec<(WalletId, AccountWallet)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let all = tx.scan(&ACCOUNT_WALLETS, &self.network_id)?;
        Ok(all.into_iter().filter(|(_, wallet)| wallet.active).map(|((_, id), wallet)| (id, wallet)).collect())
    }
}

/// Removes a wallet; when payments went there, they wait until another is named.
pub struct RemoveWallet {
    /// Whose.
    pub network_id: NetworkId,
    /// Which.
    pub wallet_id: WalletId,
}

impl Operation for RemoveWallet {
    /// Whether the network had it.
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        let key = (self.network_id, self.wallet_id);
        let Some(wallet) = tx.get(&ACCOUNT_WALLETS, &key)? else { return Ok(false) };
        if wallet.active {
            tx.put(&ACCOUNT_WALLETS, &key, &AccountWallet { active: false, ..wallet })?;
        }
        if tx.get(&PAYOUT_WALLETS, &self.network_id)? == Some(self.wallet_id) {
            tx.delete(&PAYOUT_WALLETS, &self.network_id)?;
        }
        Ok(true)
    }
}

/// The wallet that a network is paid at.
pub struct ReadPayoutWallet {
    /// Whose.
    pub network_id: NetworkId,
}

impl Operation for ReadPayoutWallet {
    type Output = Option<WalletId>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<WalletId>, DomainError> {
        Ok(tx.get(&PAYOUT_WALLETS, &self.network_id)?)
    }
}

/// Why a wallet cannot be the payout wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayoutRefusal {
    /// Not an active wallet of the network.
    #[error("Wallet must be an active wallet owned by the network.")]
    NotTheirs,
    /// Bittensor.
    #[error("Bittensor wallets cannot be the payout wallet.")]
    Bittensor,
    /// Another chain that payments cannot go to.
    #[error("Wallet chain is not supported for payouts.")]
    Chain,
}

/// Names the wallet that a network is paid at.
pub struct SetPayoutWallet {
    /// Whose.
    pub network_id: NetworkId,
    /// Which.
    pub wallet_id: WalletId,
}

impl Operation for SetPayoutWallet {
    type Output = Result<(), PayoutRefusal>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let found = tx.get(&ACCOUNT_WALLETS, &(self.network_id, self.wallet_id))?;
        let Some(wallet) = found.filter(|wallet| wallet.active) else { return Ok(Err(PayoutRefusal::NotTheirs)) };
        if !is_payable(&wallet) {
            let is_bittensor = Chain::parse(&wallet.blockchain) == Some(Chain::Bittensor);
            return Ok(Err(if is_bittensor { PayoutRefusal::Bittensor } else { PayoutRefusal::Chain }));
        }
        tx.put(&PAYOUT_WALLETS, &self.network_id, &self.wallet_id)?;
        Ok(Ok(()))
    }
}

/// Forgets the wallets of a network that ends.
pub fn remove_all(tx: &mut Tx<'_>, network_id: NetworkId) -> Result<(), DomainError> {
    for (key, wallet) in tx.scan(&ACCOUNT_WALLETS, &network_id)? {
        let address_key = (network_id, format!("{}:{}", wallet.blockchain, wallet.address));
        tx.delete(&ACCOUNT_WALLET_ADDRESSES, &address_key)?;
        tx.delete(&ACCOUNT_WALLETS, &key)?;
    }
    Ok(tx.delete(&PAYOUT_WALLETS, &network_id)?)
}
