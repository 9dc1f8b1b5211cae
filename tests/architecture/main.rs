//! Rules about the source itself: what may use what, how long a file is, and that the documents tell the truth.

// The helpers of tests may fail like tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod documents;
mod layers;
mod sources;
