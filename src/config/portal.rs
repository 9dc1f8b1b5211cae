//! `[portal]`: the account website, and the certificates that its users get.

use serde::{Deserialize, Serialize};

/// How a PKCS#12 bundle is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum P12Encryption {
    /// Triple DES and SHA-1: the only form that the importers of many phones and desktops read.
    Legacy,
    /// AES-256 and SHA-256.
    Modern,
}

/// Settings of the account website.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Portal {
    /// Names the client certificates that are good now; those under any other name are not.
    pub current_source_id: String,
    /// Password of the bundles that clients get; no secret, because every client is told.
    pub p12_password: String,
    /// How the bundles are encrypted.
    pub p12_encryption: P12Encryption,
}

impl Default for Portal {
    fn default() -> Self {
        Self { current_source_id: "main".into(), p12_password: "warren".into(), p12_encryption: P12Encryption::Legacy }
    }
}
