//! A real server on free ports over a temporary store, spoken to from outside.

mod configuration;
mod http;
mod lifecycle;
mod overload;
mod support;
