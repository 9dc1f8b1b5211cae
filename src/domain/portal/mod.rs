//! What the account website keeps about people beyond their account: letters, and who wants none.

pub mod mail;
pub mod opt_out;
pub mod report;
