//! The life of an account: signing up makes a network, which is renamed, shown to its user, and deleted.
//!
//! Uses `auth`, which proves who a user is, and the records of `network`; neither of them knows this folder.

pub mod create;
pub mod delete;
pub mod discount;
pub mod find;
pub mod name;
pub mod referral;
pub mod rename;
mod repeat;
pub mod user;
pub mod web_confirm;
pub mod web_sign_up;
