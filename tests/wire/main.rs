//! The bytes on the wire: what each message looks like, what damaged bytes do, and that the two readers of an address
//! agree.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail like tests")]

mod captured;
mod damage;
mod messages;
mod path;
mod samples;
