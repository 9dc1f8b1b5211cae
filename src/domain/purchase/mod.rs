//! Purchases: what is for sale, orders paid on this server, and what outside shops and stores report.
//!
//! Whatever was paid is given by [`delivery`], once for each purchase. The [`shop`] joins the parts: it gives what was
//! paid, and tries again after a crash.

pub mod checkout;
pub mod code_sale;
pub mod delivery;
pub mod item;
pub mod order;
pub mod shop;
pub mod solana;
pub mod store_report;
