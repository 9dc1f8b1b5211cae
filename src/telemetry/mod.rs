//! What an operator watches: metrics and logs.
//!
//! `metrics` names every series once and has no global state, so that several servers can run in one process;
//! `tracing` sets up the process's log and can change its filter later.

pub mod metrics;
pub mod relay_metrics;
pub mod tracing;
