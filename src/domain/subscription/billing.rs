//! Who takes cards and writes invoices: this server, or a company.

use futures_util::future::BoxFuture;

use super::plan::PlanType;
use super::record::Subscription;
use crate::domain::error::DomainError;
use crate::ids::{NetworkId, UserId};
use crate::time::Timestamp;

/// Who pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payer {
    /// The user.
    pub user_id: UserId,
    /// Their network, which gets what is paid.
    pub network_id: NetworkId,
    /// The customer that they are at the company; none when this server bills.
    pub customer: Option<String>,
}

/// A card as its owner sees it. No number is kept anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Names it.
    pub id: String,
    /// Who issued it, `Visa`.
    pub brand: String,
    /// The last four digits.
    pub last4: String,
    /// Year and month after which it is worthless.
    pub expiry: (u16, u8),
    /// Whether it is the one that is charged.
    pub is_default: bool,
}

/// What a payment is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A card that is known, or what the company's page gave for a new one.
    Named(String),
    /// A card as it was typed: never kept, never logged.
    Typed(TypedCard),
}

impl Source {
    /// What stands for paying an invoice instead of a card.
    pub const INVOICE: &'static str = "invoice";
}

/// A card as it was typed.
#[derive(Clone, PartialEq, Eq)]
pub struct TypedCard {
    /// Its digits.
    pub number: String,
    /// Year and month after which it is worthless.
    pub expiry: (u16, u8),
}

impl std::fmt::Debug for TypedCard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TypedCard(…)")
    }
}

/// A plan that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Which.
    pub plan: PlanType,
    /// What pays.
    pub source: Source,
    /// Until when it shall be tried first.
    pub trial_end: Option<Timestamp>,
    /// Whether its owner has just confirmed this payment to their bank.
    pub is_3ds: bool,
    /// What is taken off the price.
    pub percent: u8,
}

/// A plan that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Names it.
    pub receipt_id: String,
    /// What is to be written down, unless it was in the transaction of the payment.
    pub record: Option<Subscription>,
    /// What was charged apart, for refunds.
    pub charge: Option<Charge>,
}

/// A payment for the first period that is no invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Names the purchase.
    pub key: String,
    /// What was paid, in 10⁻⁹ USD.
    pub paid: i64,
    /// What the company may call it in a refund.
    pub references: Vec<String>,
    /// The period it paid.
    pub period: (Timestamp, Timestamp),
}

/// How far an invoice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvoiceState {
    /// To be paid.
    Open,
    /// Paid.
    Paid,
    /// Not to be paid any more.
    Void,
    /// Paid, and paid back.
    Refunded,
}

impl InvoiceState {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Void => "void",
            Self::Refunded => "refunded",
        }
    }
}

/// An invoice as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownInvoice {
    /// Names it.
    pub id: String,
    /// How far it is.
    pub state: InvoiceState,
    /// What it is for.
    pub text: String,
    /// When it was written.
    pub create_time: Timestamp,
    /// The period that it pays, once that is known.
    pub period: Option<(Timestamp, Timestamp)>,
    /// What it costs, as people read it: `9.99 USD`.
    pub price: String,
    /// What is taken off, in percent.
    pub percent: u8,
    /// What is to be paid.
    pub amount: String,
    /// What it was paid with.
    pub paid_with: Option<String>,
    /// Where the company shows it.
    pub url: Option<String>,
}

/// Why money was not taken, or something about it not done.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    /// The card was refused, for the reason given.
    #[error("{0}")]
    Refused(String),
    /// The user has no such card.
    #[error("There is no such card.")]
    NoCard,
    /// Others would be left without a default.
    #[error("The default card cannot be deleted. Make another one the default first.")]
    DefaultCard,
    /// A subscription would be left without a card.
    #[error("The last card cannot be deleted.")]
    LastCard,
    /// Too many.
    #[error("There is no room for another card. Delete one first.")]
    TooManyCards,
    /// Nobody sells it.
    #[error("That plan is not available.")]
    NotForSale,
    /// The user has no such subscription.
    #[error("There is no such subscription.")]
    NoSubscription,
    /// They had their trial.
    #[error("A trial was used before.")]
    SecondTrial,
    /// They have a plan.
    #[error("There is an active subscription already.")]
    AlreadyActive,
    /// The company does not answer; the cause is in the log.
    #[error("The payment service cannot be reached. Try again later.")]
    Unreachable,
    /// The server itself.
    #[error(transparent)]
    Domain(#[from] DomainError),
}

/// Takes cards and writes invoices.
pub trait Billing: Send + Sync + 'static {
    /// Makes a user known; gives what the company calls them.
    fn make_customer(&self, payer: Payer) -> BoxFuture<'_, Result<Option<String>, BillingError>>;

    /// A page of the company that takes a new card and comes back to `back`; none when this server takes it itself.
    fn card_page(&self, payer: Payer, back: String) -> BoxFuture<'_, Result<Option<String>, BillingError>>;

    /// The cards of a user, the default first.
    fn cards(&self, payer: Payer) -> BoxFuture<'_, Result<Vec<Card>, BillingError>>;

    /// Adds a card; the first one becomes the default.
    fn add_card(&self, payer: Payer, source: Source) -> BoxFuture<'_, Result<Card, BillingError>>;

    /// Makes a card the one that is charged.
    fn set_default(&self, payer: Payer, card: String) -> BoxFuture<'_, Result<(), BillingError>>;

    /// Deletes a card.
    fn delete_card(&self, payer: Payer, card: String) -> BoxFuture<'_, Result<(), BillingError>>;

    /// Begins a plan: takes the money for its first period, or lets it be tried.
    fn subscribe(&self, payer: Payer, wish: Wish) -> BoxFuture<'_, Result<Begun, BillingError>>;

    /// Lets a plan end with what is paid.
    fn cancel(&self, payer: Payer, receipt_id: String, reason: String) -> BoxFuture<'_, Result<(), BillingError>>;

    /// Ends a plan now, because its user is gone.
    fn end(&self, receipt_id: String) -> BoxFuture<'_, Result<(), BillingError>>;

    /// The last invoices of a user, newest first.
    fn invoices(&self, payer: Payer) -> BoxFuture<'_, Result<Vec<ShownInvoice>, BillingError>>;

    /// An invoice of a user.
    fn invoice(&self, payer: Payer, id: String) -> BoxFuture<'_, Result<Option<ShownInvoice>, BillingError>>;

    /// Whether a plan may also be paid by an invoice that the operator collects.
    fn takes_invoices(&self) -> bool;
}
