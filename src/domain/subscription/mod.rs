//! Subscriptions: plans that are paid period after period, by card, by invoice, or through the store of a phone.
//!
//! A plan is a [`record::Subscription`] of a user. Whoever took the money says until when it is paid; what a paid period
//! brings is given by the ledger, once for each period, by way of [`due`], which a crash does not lose. Cards and
//! invoices are behind the trait [`billing::Billing`]: [`local`] is this server's own and the default, and a company's
//! stands in `vendor`. Receipts of stores are behind [`receipt::ReceiptVerifier`] in the same way. [`desk`] joins it all.

pub mod billing;
pub mod card;
pub mod collect;
mod course;
pub mod desk;
pub mod discount;
pub mod due;
pub mod invoice;
pub mod jobs;
pub mod local;
pub mod plan;
pub mod receipt;
pub mod record;
pub mod signed_receipt;
pub mod store;
#[cfg(test)]
mod tests;
