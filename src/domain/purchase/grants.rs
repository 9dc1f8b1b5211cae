//! What purchases give: each once, however often it is reported.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::contract::Ledger;
use crate::domain::contract::record::Balance;
use crate::domain::error::DomainError;
use crate::domain::network::NETWORKS;
use crate::domain::operation::{Operation, Tx};
use crate::domain::service::Service;
use crate::ids::{BalanceId, NetworkId, RecordId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// What was given for each purchase.
pub const GIVEN_PURCHASES: Table<String, GivenPurchase> = Table::new(270, "given_purchases");

/// What was given for a purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenPurchase {
    /// To whom.
    pub network_id: NetworkId,
    /// The balance.
    pub balance_id: BalanceId,
    /// When it ends.
    pub end_time: Timestamp,
    /// Whether it was taken back.
    #[serde(default)]
    pub ended: bool,
}
json_record!(GivenPurchase, 1);

/// Where something was bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shopfront {
    /// On this server.
    Manual,
    /// Stripe.
    Stripe,
    /// Solana.
    Solana,
    /// The App Store.
    Apple,
    /// Google Play.
    Google,
}

/// Something bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// Who gets it.
    pub network_id: NetworkId,
    /// Where it was bought.
    pub shopfront: Shopfront,
    /// Names the purchase: the same key gives nothing a second time.
    pub key: String,
    /// Usable from here.
    pub start: Timestamp,
    /// Until just before here.
    pub end: Timestamp,
    /// How many bytes.
    pub bytes: i64,
    /// Whether it makes the network Pro.
    pub is_pro: bool,
    /// What is left of the price after the shop's share, in 10⁻⁹ USD.
    pub revenue: i64,
}

/// How giving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Given now.
    Now,
    /// Given before, to this network.
    Before(NetworkId),
    /// There is nobody to give it to.
    NoNetwork,
}

/// How redeeming a balance code ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// Now; usable until this time.
    Now(Timestamp),
    /// Before, by this network.
    Before,
    /// Before, by another network.
    ByAnother,
    /// There is no such code.
    Unknown,
}

/// Gives what was paid for.
pub trait Grants: Send + Sync + 'static {
    /// Gives a purchase, once.
    fn give(&self, purchase: Purchase) -> BoxFuture<'_, Result<Given, DomainError>>;

    /// Ends what a purchase gave; false when it gave nothing, or was ended before.
    fn end(&self, key: String) -> BoxFuture<'_, Result<bool, DomainError>>;

    /// Redeems a balance code.
    fn redeem(&self, network_id: NetworkId, code: String) -> BoxFuture<'_, Result<Redeemed, DomainError>>;

    /// The network behind what a store reports as the account: a payment id, or the network itself.
    fn payer(&self, reported: RecordId) -> Result<Option<NetworkId>, DomainError>;
}

/// Grants over the ledger of balances, which knows no keys of its own: the row of a key is written after the balance,
/// one purchase at a time, and a crash between the two is noticed by the key that the balance carries.
pub struct LedgerGrants {
    service: Arc<Service>,
    ledger: Arc<Ledger>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl LedgerGrants {
    /// Over the ledger.
    pub fn new(service: Arc<Service>, ledger: Arc<Ledger>) -> Self {
        Self { service, ledger, one_at_a_time: tokio::sync::Mutex::new(()) }
    }

    async fn give_once(&self, purchase: Purchase) -> Result<Given, DomainError> {
        let _turn = self.one_at_a_time.lock().await;
        if let Some(given) = self.service.read(&ReadGiven(&purchase.key))? {
            return Ok(Given::Before(given.network_id));
        }
        if !self.service.read(&NetworkExists(purchase.network_id))? {
            return Ok(Given::NoNetwork);
        }
        let Purchase { network_id, key, start, end, bytes, is_pro, revenue, .. } = purchase;
        let view = self.ledger.balance(network_id).await?;
        let is_it = |token: &Option<String>| token.as_deref() == Some(key.as_str());
        let left_by_crash = view.buckets.iter().find(|bucket| is_it(&bucket.purchase_token));
        let balance_id = match left_by_crash {
            Some(bucket) => Some(bucket.balance_id),
            None => {
                let net_revenue = if is_pro { 0 } else { revenue };
                let balance = Balance {
                    start_bytes: bytes,
                    bytes,
                    net_revenue,
                    subsidy_net_revenue: revenue - net_revenue,
                    is_pro,
                    purchase_token: Some(key.clone()),
                };
                self.ledger.grant(network_id, start, end, balance).await?
            }
        };
        if let Some(balance_id) = balance_id {
            let given = GivenPurchase { network_id, balance_id, end_time: end, ended: false };
            self.service.run(&PutGiven { key: &key, given }).await?;
        }
        Ok(Given::Now)
    }

    async fn end_once(&self, key: String) -> Result<bool, DomainError> {
        let _turn = self.one_at_a_time.lock().await;
        let Some(given) = self.service.read(&ReadGiven(&key))?.filter(|given| !given.ended) else { return Ok(false) };
        self.ledger.claw_back(given.balance_id).await?;
        self.service.run(&PutGiven { key: &key, given: GivenPurchase { ended: true, ..given } }).await?;
        Ok(true)
    }
}

impl Grants for LedgerGrants {
    fn give(&self, purchase: Purchase) -> BoxFuture<'_, Result<Given, DomainError>> {
        Box::pin(self.give_once(purchase))
    }

    fn end(&self, key: String) -> BoxFuture<'_, Result<bool, DomainError>> {
        Box::pin(self.end_once(key))
    }

    fn redeem(&self, _network_id: NetworkId, _code: String) -> BoxFuture<'_, Result<Redeemed, DomainError>> {
        // No codes are made yet.
        Box::pin(async { Ok(Redeemed::Unknown) })
    }

    fn payer(&self, reported: RecordId) -> Result<Option<NetworkId>, DomainError> {
        let network_id = NetworkId::new(*reported.as_bytes());
        Ok(self.service.read(&NetworkExists(network_id))?.then_some(network_id))
    }
}

struct ReadGiven<'a>(&'a String);

impl Operation for ReadGiven<'_> {
    type Output = Option<GivenPurchase>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        Ok(tx.get(&GIVEN_PURCHASES, self.0)?)
    }
}

struct PutGiven<'a> {
    key: &'a String,
    given: GivenPurchase,
}

impl Operation for PutGiven<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        Ok(tx.put(&GIVEN_PURCHASES, self.key, &self.given)?)
    }
}

struct NetworkExists(NetworkId);

impl Operation for NetworkExists {
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        Ok(tx.get(&NETWORKS, &self.0)?.is_some())
    }
}
