//! What a shop for cards can do. Without one, orders are this server's own.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::code_sale::CodeSale;
use super::item::Item;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::NetworkId;
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// The customer that a network is at the shop.
pub const SHOP_CUSTOMERS: Table<NetworkId, Customer> = Table::new(274, "shop_customers");

/// Purchases by what the shop may call them later, in a refund.
pub const PURCHASE_REFERENCES: Table<String, PurchaseKeys> = Table::new(275, "purchase_references");

/// A customer of the shop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// What the shop calls it.
    pub id: String,
}
json_record!(Customer, 1);

/// The purchases that were paid together, such as the lines of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseKeys {
    /// Their keys.
    pub keys: Vec<String>,
}
json_record!(PurchaseKeys, 1);

/// The shop could not be asked; the cause is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckoutError {
    /// No answer, or not one that can be used.
    #[error("Could not start checkout. Please try again.")]
    Unreachable,
    /// The shop has no price for the item.
    #[error("That plan is not available.")]
    NotForSale,
}

/// How a session shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appearance {
    /// A page of the shop.
    Hosted,
    /// A part of the app's own page; `true` when it stays there in the end.
    Embedded {
        /// The page does not go elsewhere in the end.
        stays: bool,
    },
}

/// A session that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What the shop calls it.
    pub id: String,
    /// The page, when it is hosted.
    pub url: Option<String>,
    /// What an embedded one is opened with.
    pub client_secret: Option<String>,
}

/// What an app needs to take a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intents {
    /// The customer.
    pub customer_id: String,
    /// Lets the app act for the customer.
    pub ephemeral_key: String,
    /// One for each plan for sale.
    pub intents: Vec<(Item, String)>,
}

/// What the shop reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShopEvent {
    /// A network is this customer.
    Customer(NetworkId, String),
    /// Something was paid.
    Paid {
        /// Names the purchase.
        key: String,
        /// By whom.
        network_id: NetworkId,
        /// What.
        item: Item,
        /// How often.
        quantity: u32,
        /// From when to when it was paid for; data counts from now.
        period: Option<(Timestamp, Timestamp)>,
        /// What was paid, in 10⁻⁹ USD.
        paid: i64,
        /// What the shop may call it in a refund.
        references: Vec<String>,
    },
    /// Data was paid for by somebody of whom nothing but the mail address is known.
    SoldByMail {
        /// What, and by whom.
        sale: CodeSale,
        /// What the shop may call it in a refund.
        references: Vec<String>,
    },
    /// It was paid back, or is disputed.
    Refunded {
        /// What the shop calls what was paid.
        references: Vec<String>,
    },
}

/// Why a report was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Not from the shop.
    #[error("Bad signature.")]
    Signature,
    /// From the shop, but not to be understood.
    #[error("The report cannot be read.")]
    Malformed,
    /// What it is about could not be fetched; the shop shall send it again.
    #[error("Try again.")]
    Unreachable,
}

/// A shop for cards.
pub trait Checkout: Send + Sync + 'static {
    /// What apps are given to talk to the shop.
    fn publishable_key(&self) -> &str;

    /// Begins a session in which a network buys an item.
    fn create_session(
        &self,
        network_id: NetworkId,
        item: Item,
        appearance: Appearance,
    ) -> BoxFuture<'_, Result<Session, CheckoutError>>;

    /// Prepares a subscription of each plan for an app that takes the card itself.
    fn payment_intents(
        &self,
        network_id: NetworkId,
        customer_id: Option<String>,
    ) -> BoxFuture<'_, Result<Intents, CheckoutError>>;

    /// A page on which a customer manages their subscriptions.
    fn portal(&self, customer_id: String) -> BoxFuture<'_, Result<String, CheckoutError>>;

    /// Checks a report and reads what happened.
    fn read_report(
        &self,
        signature: String,
        body: bytes::Bytes,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<ShopEvent>, ReportError>>;
}

/// A shop for coins, which only reports.
pub trait CoinShop: Send + Sync + 'static {
    /// Checks a report and reads what was paid, if it is about that.
    fn read_report(&self, signature: &str, body: &[u8]) -> Result<Option<CodeSale>, ReportError>;
}

/// The customer that a network is.
pub(super) struct ReadCustomer(pub(super) NetworkId);

impl Operation for ReadCustomer {
    type Output = Option<String>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<String>, DomainError> {
        Ok(tx.get(&SHOP_CUSTOMERS, &self.0)?.map(|customer| customer.id))
    }
}

/// Notes which customer a network is.
pub(super) struct PutCustomer(pub(super) NetworkId, pub(super) String);

impl Operation for PutCustomer {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        Ok(tx.put(&SHOP_CUSTOMERS, &self.0, &Customer { id: self.1.clone() })?)
    }
}

/// Notes what the shop may call a purchase later.
pub(super) struct PutReferences<'a> {
    pub(super) key: &'a str,
    pub(super) references: &'a [String],
}

impl Operation for PutReferences<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        for reference in self.references {
            let mut purchases = tx.get(&PURCHASE_REFERENCES, reference)?.unwrap_or_default();
            if !purchases.keys.iter().any(|key| key == self.key) {
                purchases.keys.push(self.key.into());
                tx.put(&PURCHASE_REFERENCES, reference, &purchases)?;
            }
        }
        Ok(())
    }
}

/// The purchases behind what the shop calls them.
pub(super) struct FindPurchases<'a>(pub(super) &'a [String]);

impl Operation for FindPurchases<'_> {
    type Output = Vec<String>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<String>, DomainError> {
        let mut keys = Vec::new();
        for reference in self.0 {
            keys.extend(tx.get(&PURCHASE_REFERENCES, reference)?.unwrap_or_default().keys);
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}
