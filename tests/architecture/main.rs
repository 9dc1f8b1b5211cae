//! Rules about the source itself: what may use what, how long a file is, and that the documents tell the truth.

mod documents;
mod layers;
mod sources;
