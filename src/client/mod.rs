//! The reference client: what an app does with the network, in the fewest moving parts.
//!
//! `api` speaks the JSON API with types of its own, so that it checks the server instead of mirroring it. `tls`
//! says whom to trust. `dial` opens one authenticated transport, `transport` reads and writes it, `link` keeps it
//! alive. `session` joins links, contracts and the transfer protocol into a `Client` that sends and receives. `key` is what
//! a person pastes, and `tunnel` the way out through a provider that follows from it.
//! It uses nothing of the server: the same code runs against any server of the protocol.

pub mod api;
pub mod contracts;
pub mod datagram;
pub mod dial;
mod drive;
pub mod key;
pub mod link;
pub mod session;
pub mod tls;
pub mod transport;
pub mod tunnel;
