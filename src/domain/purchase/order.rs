//! Orders on this server: paid from a wallet, or approved by the operator.
//!
//! ```text
//! open ──► paid ──► granted
//!   ├────► rejected
//!   └─24 h► expired
//! ```
//!
//! The payment and `paid` are one transaction; granting follows and is tried until it works.

use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::delivery::Purchase;
use super::item::Item;
use crate::domain::balance::Market;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::wallet::journal::{self, Account, Reason, WalletOwner};
use crate::ids::{NetworkId, UserId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::{DAY, Timestamp};

/// Every order.
pub const ORDERS: Table<String, Order> = Table::new(271, "orders");

/// The open orders of a network.
pub const OPEN_ORDERS: Table<(NetworkId, String), ()> = Table::guarded(272, "open_orders", 16);

/// Orders that are paid and not yet granted.
pub const PAID_ORDERS: Table<String, ()> = Table::new(273, "paid_orders");

/// Orders that may be open at once; above it the oldest goes.
const MAX_OPEN: usize = 20;

/// How long an order can be paid.
const LIFETIME: Duration = DAY;

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Can be paid.
    Open,
    /// Paid; what was bought is on its way.
    Paid,
    /// Done.
    Granted,
    /// Not paid in time.
    Expired,
    /// Refused by the operator.
    Rejected,
}

impl OrderStatus {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            OrderStatus::Open => "open",
            OrderStatus::Paid => "paid",
            OrderStatus::Granted => "granted",
            OrderStatus::Expired => "expired",
            OrderStatus::Rejected => "rejected",
        }
    }
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Who ordered.
    pub network_id: NetworkId,
    /// Their user, whose wallet pays.
    pub user_id: UserId,
    /// What.
    pub item: Item,
    /// The price at the time, in 10⁻⁹ USD.
    pub price: i64,
    /// How far it is.
    pub status: OrderStatus,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was paid: what was bought begins here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_time: Option<Timestamp>,
    /// Whether money was paid.
    #[serde(default)]
    pub has_revenue: bool,
}
json_record!(Order, 1);

impl Order {
    /// When it can no longer be paid.
    pub fn expire_time(&self) -> Timestamp {
        self.create_time + LIFETIME
    }

    /// How far it is now.
    pub fn status_at(&self, now: Timestamp) -> OrderStatus {
        match self.status {
            OrderStatus::Open if self.expire_time() <= now => OrderStatus::Expired,
            status => status,
        }
    }

    /// What it buys, once it is paid.
    pub fn purchase(&self, id: &str) -> Option<Purchase> {
        let start = self.paid_time?;
        Some(Purchase {
            network_id: self.network_id,
            market: Market::Manual,
            key: id.to_owned(),
            item: self.item,
            quantity: 1,
            start,
            end: self.item.end(start),
            revenue: if self.has_revenue { self.price } else { 0 },
        })
    }
}

/// Makes an order.
pub struct CreateOrder {
    /// Who orders.
    pub owner: WalletOwner,
    /// What.
    pub item: Item,
}

impl Operation for CreateOrder {
    /// Its id; `None` when the item is not for sale.
    type Output = Option<String>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<String>, DomainError> {
        let WalletOwner { network_id, user_id } = self.owner;
        // Where nothing costs anything there is no price to be missing.
        let price = match self.item.price(tx.config) {
            Some(price) => price.0,
            None if tx.config.purchase.free_of_charge => 0,
            None => return Ok(None),
        };
        let mut open = Vec::new();
        for ((_, id), ()) in tx.scan(&OPEN_ORDERS, &network_id)? {
            if let Some(order) = tx.get(&ORDERS, &id)? {
                open.push((order.create_time, id));
            }
        }
        open.sort_unstable();
        let surplus = (open.len() + 1).saturating_sub(MAX_OPEN);
        for (at, (create_time, id)) in open.into_iter().enumerate() {
            if at < surplus || create_time + LIFETIME <= tx.now {
                tx.delete(&OPEN_ORDERS, &(network_id, id.clone()))?;
                tx.delete(&ORDERS, &id)?;
            }
        }
        let id = new_id(tx);
        let order = Order {
            network_id,
            user_id,
            item: self.item,
            price,
            status: OrderStatus::Open,
            create_time: tx.now,
            paid_time: None,
            has_revenue: false,
        };
        tx.put(&ORDERS, &id, &order)?;
        tx.put(&OPEN_ORDERS, &(network_id, id.clone()), &())?;
        Ok(Some(id))
    }
}

/// `cs_local_` and 130 random bits.
fn new_id(tx: &mut Tx<'_>) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let secret: String = (0..26).map(|_| char::from(ALPHABET[tx.rng.random_range(0..32)])).collect();
    format!("cs_local_{secret}")
}

/// An order.
pub struct ReadOrder {
    /// Which.
    pub id: String,
}

impl Operation for ReadOrder {
    type Output = Option<Order>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Order>, DomainError> {
        let mut order = tx.get(&ORDERS, &self.id)?;
        if let Some(order) = &mut order {
            order.status = order.status_at(tx.now);
        }
        Ok(order)
    }
}

/// How an order is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// From the wallet of who ordered.
    Ledger,
    /// Not at all, where the operator allows it.
    Free,
    /// The operator vouches for it.
    Approved,
}

/// Why an order was not paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayRefusal {
    /// There is none, or it is another network's.
    #[error("Unknown order.")]
    Unknown,
    /// It is expired or rejected.
    #[error("This order can no longer be paid.")]
    Over,
    /// The wallet does not hold the price.
    #[error("Insufficient balance.")]
    Balance,
    /// Free orders are not allowed here.
    #[error("Unknown payment method.")]
    Method,
}

/// Pays an order; a second time changes nothing.
pub struct PayOrder {
    /// Which.
    pub id: String,
    /// Whose, unless the operator acts.
    pub network_id: Option<NetworkId>,
    /// How.
    pub method: Method,
}

impl Operation for PayOrder {
    type Output = Result<Order, PayRefusal>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let found = tx.get(&ORDERS, &self.id)?;
        let is_theirs = |order: &Order| self.network_id.is_none_or(|network_id| network_id == order.network_id);
        let Some(mut order) = found.filter(is_theirs) else { return Ok(Err(PayRefusal::Unknown)) };
        match order.status_at(tx.now) {
            OrderStatus::Open => {}
            OrderStatus::Paid | OrderStatus::Granted => return Ok(Ok(order)),
            OrderStatus::Expired | OrderStatus::Rejected => return Ok(Err(PayRefusal::Over)),
        }
        match self.method {
            Method::Free if !tx.config.purchase.free_of_charge => return Ok(Err(PayRefusal::Method)),
            Method::Free => {}
            Method::Approved => order.has_revenue = true,
            Method::Ledger => {
                let owner = WalletOwner { network_id: order.network_id, user_id: order.user_id };
                let Some((wallet_id, _)) = journal::wallet_of(tx, &owner)? else {
                    return Ok(Err(PayRefusal::Balance));
                };
                let sides = (Account::Wallet(wallet_id), Account::Sales);
                if !journal::post(tx, (Reason::Purchase, &self.id), sides, order.price)? {
                    return Ok(Err(PayRefusal::Balance));
                }
                order.has_revenue = true;
            }
        }
        order.status = OrderStatus::Paid;
        order.paid_time = Some(tx.now);
        tx.put(&ORDERS, &self.id, &order)?;
        tx.put(&PAID_ORDERS, &self.id, &())?;
        tx.delete(&OPEN_ORDERS, &(order.network_id, self.id.clone()))?;
        Ok(Ok(order))
    }
}

/// Refuses an open order: an operator's command.
pub struct RejectOrder {
    /// Which.
    pub id: String,
}

impl Operation for RejectOrder {
    /// How it stands then.
    type Output = Option<OrderStatus>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let Some(mut order) = tx.get(&ORDERS, &self.id)? else { return Ok(None) };
        if order.status_at(tx.now) == OrderStatus::Open {
            order.status = OrderStatus::Rejected;
            tx.put(&ORDERS, &self.id, &order)?;
            tx.delete(&OPEN_ORDERS, &(order.network_id, self.id.clone()))?;
        }
        Ok(Some(order.status_at(tx.now)))
    }
}

/// Orders that are paid and not yet granted.
pub struct PaidOrders;

impl Operation for PaidOrders {
    type Output = Vec<String>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<String>, DomainError> {
        Ok(tx.scan_snapshot(&PAID_ORDERS, &())?.into_iter().map(|(id, ())| id).collect())
    }
}

/// Notes that what was bought is given.
pub struct MarkGranted {
    /// Which.
    pub id: String,
}

impl Operation for MarkGranted {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        tx.delete(&PAID_ORDERS, &self.id)?;
        if let Some(mut order) = tx.get(&ORDERS, &self.id)?.filter(|order| order.status == OrderStatus::Paid) {
            order.status = OrderStatus::Granted;
            tx.put(&ORDERS, &self.id, &order)?;
        }
        Ok(())
    }
}
