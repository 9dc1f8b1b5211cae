//! `[mail]`: verification codes, reset links and notices.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::duration;

/// How messages leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailMode {
    /// One log line at `info` per message, code included: for a lab.
    Log,
    /// An SMTP server.
    Smtp,
    /// Brevo, with the key of `[brevo]`.
    Brevo,
    /// Nothing is sent; new accounts are verified at once.
    Off,
}

/// Protection of the SMTP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// Plain first, then upgraded.
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// No protection: only for a server on this machine.
    None,
}

/// Settings of outgoing messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// How messages leave.
    pub mode: MailMode,
    /// Host of the SMTP server.
    pub smtp_host: String,
    /// Port of the SMTP server.
    pub smtp_port: u16,
    /// Protection of the SMTP connection.
    pub smtp_tls: SmtpTls,
    /// User at the SMTP server; empty for none.
    pub smtp_user: String,
    /// Password at the SMTP server.
    pub smtp_password: String,
    /// File that holds the password instead.
    pub smtp_password_file: PathBuf,
    /// Sender address.
    pub from: String,
    /// Name of the product in subjects and texts.
    pub product: String,
    /// Time for one attempt; three are made.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Messages waiting to be sent; more are dropped and counted.
    pub queue: usize,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            mode: MailMode::Log,
            smtp_host: "localhost".into(),
            smtp_port: 587,
            smtp_tls: SmtpTls::Starttls,
            smtp_user: String::new(),
            smtp_password: String::new(),
            smtp_password_file: PathBuf::new(),
            from: "warren@localhost".into(),
            product: "Warren".into(),
            timeout: Duration::from_secs(10),
            queue: 1024,
        }
    }
}
