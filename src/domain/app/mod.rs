//! What the small client API keeps: devices under the names that apps give them, the tokens bound to them, and the numbers
//! by which apps know devices and servers.
//!
//! A device here is a top-level client of the user's network. It, its token and what was given out with the token end
//! together with the client, at whichever door that is removed.

pub mod device;
pub mod login;
pub mod number;
pub mod server;
pub mod token;

#[cfg(test)]
mod tests;
