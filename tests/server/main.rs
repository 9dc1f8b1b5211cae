//! A real server on free ports over a temporary store, spoken to from outside.

// The helpers of tests may fail like tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod admin;
mod bad_input;
mod certificate;
mod client;
mod configuration;
mod datagrams;
mod demo;
mod devices;
mod doors;
mod http;
mod kill;
mod lifecycle;
mod overload;
mod restart;
mod sign_in;
mod stats;
mod storm;
mod streams;
mod support;
mod upgrade;
