//! Warren: a URnetwork-compatible network in one binary.
//!
//! The modules stand in dependency order: each may use only those above it. `http` and `relay` never
//! import each other; `server` joins them. `docs/architecture.md` describes the tree.

pub mod config;

pub mod ids;

pub mod time;

pub mod money;

pub mod telemetry;

pub mod wire;

pub mod transfer;

pub mod store;

pub mod domain;

pub mod vendor;

pub mod control;

pub mod relay;

pub mod http;

pub mod client;

pub mod server;

pub mod cli;
