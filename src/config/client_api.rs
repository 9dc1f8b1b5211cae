//! `[client_api]`: the small `/api` of phone apps and browser extensions.

use serde::{Deserialize, Serialize};

/// Settings of the client API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientApi {
    /// Whether it is served.
    pub enabled: bool,
    /// The host name it answers under; empty for any.
    pub host: String,
    /// Base of the addresses in its answers; empty for the one that the request came to.
    pub public_url: String,
}

impl Default for ClientApi {
    fn default() -> Self {
        Self { enabled: true, host: String::new(), public_url: String::new() }
    }
}
