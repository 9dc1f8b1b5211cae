//! What a caller of the domain must tell apart. Outcomes that a client parses are typed results instead.

use std::time::Duration;

use crate::store::StoreError;

/// Why an operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// No valid credentials.
    #[error("Not authorized.")]
    Unauthorized,
    /// Valid credentials that do not allow this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Input that cannot be used.
    #[error("{0}")]
    BadRequest(String),
    /// The thing named does not exist.
    #[error("{0}")]
    NotFound(&'static str),
    /// Too many attempts.
    #[error("Too many requests. Try again later.")]
    TooMany {
        /// When the next attempt may succeed.
        retry_after: Duration,
    },
    /// Starting, draining or overloaded; the same call may succeed later.
    #[error("The server is busy. Try again.")]
    Unavailable,
    /// The store failed; details go to the log only.
    #[error("Internal error.")]
    Store(#[from] StoreError),
}
