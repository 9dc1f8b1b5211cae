//! `[telemetry]`: metrics, health and logs.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// Settings of metrics, health and logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// Address of `/metrics`, `/health/live` and `/health/ready`.
    pub listen: SocketAddr,
    /// The form of log lines.
    pub log_format: LogFormat,
    /// Which events are logged, e.g. `info` or `warren::relay=debug,info`.
    pub log_filter: String,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            log_format: LogFormat::Text,
            log_filter: "info".into(),
        }
    }
}
