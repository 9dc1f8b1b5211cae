//! Wallets in USDC, and the addresses that networks are paid at.
//!
//! [`custody`] is the front door to the wallet that the server keeps for a user: a ledger of its own by default, an
//! outside company when one is configured. [`account_wallet`] are the addresses a network names to be paid at.
//! Amounts are in 10⁻⁹ USD, which clients call nano-cents.

pub mod account_wallet;
pub mod address;
pub mod challenge;
pub mod confirm;
mod curve;
pub mod custody;
pub mod jobs;
pub mod journal;
pub mod keeper;
pub mod local;
pub mod operator;
pub mod seeker;
pub mod sending;
#[cfg(test)]
mod tests;
pub mod transfer_limit;
