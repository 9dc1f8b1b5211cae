//! `[tls]`: certificates of the API, the WebSocket relay and the QUIC relay.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// Plain `http` and `ws`; QUIC, which needs TLS, uses a self-signed certificate.
    Off,
    /// A chain and key from files, read again on SIGHUP.
    Files,
    /// A certificate made at first start; only clients told to trust it accept it.
    SelfSigned,
}

/// Settings of TLS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Where the certificate comes from.
    pub mode: TlsMode,
    /// PEM chain, leaf first, for mode `files`.
    pub certificate: PathBuf,
    /// PEM private key, for mode `files`.
    pub key: PathBuf,
    /// Names and addresses in the self-signed certificate.
    pub names: Vec<String>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            mode: TlsMode::Off,
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            names: vec!["localhost".into(), "127.0.0.1".into(), "::1".into()],
        }
    }
}
