//! Providers: who may be asked to carry traffic, where they are, and which ones to offer.
//!
//! Who is there is derived from presence and from what clients say they provide. [`index`] follows both, [`candidates`]
//! holds who is offered, in a [`pool`] for each place; [`draw`] takes a sample, [`find`] answers a search, [`wish`] reads one from plain words, [`places`]
//! lists where providers are. How good one is, [`rank`] says, from what [`measure`] sees of its transports and what
//! [`reliability`] remembers; [`histories`] and [`reports`] write that down. Two more things are written by others or
//! for others: [`blocked`] countries, and the [`interest`] that searches showed.

pub mod blocked;
pub mod candidates;
pub mod draw;
pub mod fenwick;
pub mod find;
pub mod healthy;
pub mod histories;
pub mod history;
pub mod index;
pub mod interest;
pub mod known;
pub mod measure;
pub mod places;
pub mod pool;
pub mod rank;
pub mod reliability;
pub mod reports;
pub mod wish;
