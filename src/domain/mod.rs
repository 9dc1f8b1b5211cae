//! What the product does: operations over one store transaction, and the ledger.
//!
//! No sockets, no HTTP and no clock of its own. An [`operation::Operation`] is a small struct of inputs; the
//! [`service::Service`] runs it, commits, and only then hands its effects on.

pub mod account;
pub mod address_bucket;
pub mod api_key;
pub mod app;
pub mod association;
pub mod auth;
pub mod balance;
pub mod caller;
pub mod certificate;
pub mod client;
pub mod client_key;
pub mod contract;
pub mod device;
pub mod effect;
pub mod error;
pub mod feedback;
pub mod location;
pub mod log_upload;
pub mod network;
pub mod news;
pub mod operation;
pub mod password;
pub mod payment_id;
pub mod payout;
pub mod peer;
pub mod portal;
pub mod preferences;
pub mod presence;
pub mod provide;
pub mod provider;
pub mod purchase;
pub mod push;
pub mod seal;
pub mod secret_file;
pub mod service;
pub mod stats;
pub mod stream;
pub mod subnet;
#[cfg(test)]
pub(crate) mod testing;
pub mod token;
pub mod vitals;
pub mod wallet;
