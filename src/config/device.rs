//! `[device]`: sharing and adopting devices.

use serde::{Deserialize, Serialize};

/// Settings of device codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    /// What stands before `?add=<code>` in the links of QR images.
    pub add_url_base: String,
}

impl Default for Device {
    fn default() -> Self {
        Self { add_url_base: "https://app.bringyour.com/".into() }
    }
}
