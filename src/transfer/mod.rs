//! The Transfer protocol as state machines: packs in order, acks, resends, contracts (`connect/transfer.go`).
//!
//! One engine in two roles. In the *control role* it is the server's side towards one client: no contracts, a pack is
//! acked only after the caller has applied it, and what cannot be delivered in time is answered with a fresh snapshot.
//! In the *client role* it is one client towards many peers: contracts are attached, verified and counted.
//!
//! Nothing here does I/O or reads a clock. Inputs carry the time, outputs are polled, and `poll_timeout` says when the
//! endpoint next wants waking. `endpoint` is the front door; the other files are its parts.

pub mod endpoint;
pub mod lane;
pub mod output;
pub mod settings;
pub mod simulation;

mod ack;
mod contract_window;
mod flight;
mod incoming;
mod outgoing;
mod receive_sequence;
mod rtt;
mod send_sequence;
mod sequences;
mod steady;
