//! Providers: who may be asked to carry traffic, where they are, and which ones to offer.
//!
//! All of it is derived from presence and from what clients say they provide, and lives in memory only. [`index`]
//! holds the candidates, [`rank`] judges one, [`find`] draws a sample, [`places`] counts them by country. Two things are
//! written by others or for others: [`blocked`] countries, and the [`interest`] that searches showed.

pub mod blocked;
pub mod find;
pub mod index;
pub mod interest;
pub mod places;
pub mod rank;
