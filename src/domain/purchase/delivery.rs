//! Gives what was paid for, and takes it back when it was paid back.
//!
//! Each purchase has a key. The ledger gives a key once, whatever is reported again and wherever a crash falls. What was
//! paid back is noted first and taken back then, so that a refund that comes before its payment is not forgotten.

use std::sync::Arc;

use super::code_sale::{ChooseSecret, CodeSale, MailCode};
use super::item::Item;
use crate::domain::balance::Market;
use crate::domain::contract::Ledger;
use crate::domain::contract::codes::{CodeRefusal, DEFAULT_DURATION, NewCodes, RedeemOutcome};
use crate::domain::contract::grants::{GrantOnce, GrantOutcome};
use crate::domain::error::DomainError;
use crate::domain::network::NETWORKS;
use crate::domain::operation::{Operation, Tx};
use crate::domain::service::Service;
use crate::ids::NetworkId;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Purchases that were paid back: their keys give nothing any more.
pub const PAID_BACK: Table<String, ()> = Table::new(281, "paid_back");

/// Something that was paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// Who gets it.
    pub network_id: NetworkId,
    /// Where it was bought.
    pub market: Market,
    /// Names the purchase: the same key gives nothing a second time.
    pub key: String,
    /// What was bought.
    pub item: Item,
    /// How often.
    pub quantity: u32,
    /// Usable from here.
    pub start: Timestamp,
    /// Until just before here.
    pub end: Timestamp,
    /// What is left of the price after the shop's share, nano-cents.
    pub revenue: i64,
}

/// How giving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// Given now.
    Now,
    /// Given before, to this network.
    Before(NetworkId),
    /// Its network is gone, it was paid back, or it cannot be given; the log tells.
    Nothing,
}

/// How redeeming a voucher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redeemed {
    /// Now; usable until this time.
    Now(Timestamp),
    /// Before, by this network.
    Before(NetworkId),
    /// There is no such code, or it was cancelled.
    Unknown,
}

/// Gives and takes back, in the ledger of balances.
pub(super) struct Delivery {
    service: Arc<Service>,
    ledger: Arc<Ledger>,
}

impl Delivery {
    pub(super) fn new(service: Arc<Service>, ledger: Arc<Ledger>) -> Self {
        Self { service, ledger }
    }

    /// Gives a purchase, once.
    pub(super) async fn give(&self, purchase: Purchase) -> Result<Given, DomainError> {
        let Purchase { network_id, market, key, item, quantity, start, end, revenue } = purchase;
        if !self.service.read(&NetworkExists(network_id))? {
            tracing::warn!(network = %network_id, purchase = key, "something was paid for a network that is gone");
            return Ok(Given::Nothing);
        }
        let grant = GrantOnce {
            network_id,
            sku: item.sku(),
            market,
            key: key.clone(),
            start,
            end,
            bytes: item.bytes(self.service.config()).saturating_mul(i64::from(quantity)),
            revenue,
            is_pro: item.is_pro(),
        };
        let outcome = self.ledger.grant_once(grant).await?;
        // Asked only now: a refund that came in meanwhile has found nothing to take back.
        if self.service.read(&IsPaidBack(&key))? {
            tracing::info!(network = %network_id, purchase = key, "a purchase was reported that is paid back");
            self.ledger.revoke(key).await?;
            return Ok(Given::Nothing);
        }
        Ok(match outcome {
            GrantOutcome::Granted(_) => Given::Now,
            GrantOutcome::Already(given) => Given::Before(given.network_id),
            GrantOutcome::Malformed => {
                tracing::error!(network = %network_id, purchase = key, "what was paid for cannot be given");
                Given::Nothing
            }
        })
    }

    /// Makes the code of a purchase and sends it, once.
    pub(super) async fn sell(&self, sale: &CodeSale) -> Result<(), DomainError> {
        let Some(secret) = self.service.run(&ChooseSecret(&sale.key)).await? else { return Ok(()) };
        let new = NewCodes {
            count: 1,
            bytes: sale.item.bytes(self.service.config()).saturating_mul(i64::from(sale.quantity)),
            net_revenue: sale.revenue,
            duration: DEFAULT_DURATION,
            purchase_event_id: Some(sale.key.clone()),
            purchase_record: String::new(),
            // The shop knows it; the store shows no address.
            purchase_email: String::new(),
        };
        match self.ledger.create_code(new, secret).await? {
            Ok(_) | Err(CodeRefusal::EventTaken) => {}
            Err(refusal) => {
                tracing::error!(purchase = sale.key, %refusal, "what was paid for cannot be given");
                return Ok(());
            }
        }
        // Asked only now: a refund that came in meanwhile has found nothing to take back.
        if self.service.read(&IsPaidBack(&sale.key))? {
            tracing::info!(purchase = sale.key, "a purchase was reported that is paid back");
            self.ledger.cancel_code_of(sale.key.clone()).await?;
            return Ok(());
        }
        self.service.run(&MailCode(sale)).await
    }

    /// Ends what a purchase gave, or will give; a second time changes nothing.
    pub(super) async fn take_back(&self, key: String) -> Result<(), DomainError> {
        self.service.run(&NotePaidBack(&key)).await?;
        self.ledger.revoke(key.clone()).await?;
        self.ledger.cancel_code_of(key).await?;
        Ok(())
    }

    /// Redeems a balance code that came as a receipt.
    pub(super) async fn redeem(&self, network_id: NetworkId, code: &str) -> Result<Redeemed, DomainError> {
        Ok(match self.ledger.redeem_code(network_id, code).await? {
            RedeemOutcome::Redeemed(balance) => Redeemed::Now(balance.end_time),
            RedeemOutcome::Unknown | RedeemOutcome::AlreadyRedeemed => {
                self.ledger.redeemer(code).await?.map_or(Redeemed::Unknown, Redeemed::Before)
            }
        })
    }
}

struct NetworkExists(NetworkId);

impl Operation for NetworkExists {
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        Ok(tx.get(&NETWORKS, &self.0)?.is_some())
    }
}

struct IsPaidBack<'a>(&'a String);

impl Operation for IsPaidBack<'_> {
    type Output = bool;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, DomainError> {
        Ok(tx.get(&PAID_BACK, self.0)?.is_some())
    }
}

struct NotePaidBack<'a>(&'a String);

impl Operation for NotePaidBack<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        Ok(tx.put(&PAID_BACK, self.0, &())?)
    }
}
