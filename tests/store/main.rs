//! One suite for every engine, and what only a real folder can show: the lock, damage, and a killed process.

// The helpers of tests may fail like tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod crash;
mod folder;
mod semantics;
