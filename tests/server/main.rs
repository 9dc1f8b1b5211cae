//! A real server on free ports over a temporary store, spoken to from outside.

mod client;
mod configuration;
mod demo;
mod http;
mod lifecycle;
mod overload;
mod support;
mod upgrade;
