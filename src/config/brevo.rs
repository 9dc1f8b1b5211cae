//! `[brevo]`: mail through Brevo, and its list of who wants to hear of news.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Settings of Brevo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Brevo {
    /// Key of the API.
    pub api_key: String,
    /// File that holds it instead.
    pub api_key_file: PathBuf,
    /// The list of those who want to hear of news; 0 for none.
    pub list_id: u64,
    /// What webhooks send as the name in their basic authorization; empty when none are taken.
    pub webhook_token: String,
    /// File that holds it instead.
    pub webhook_token_file: PathBuf,
    /// Where requests go.
    pub base_url: String,
}

impl Default for Brevo {
    fn default() -> Self {
        Self {
            api_key: String::new(),
            api_key_file: PathBuf::new(),
            list_id: 0,
            webhook_token: String::new(),
            webhook_token_file: PathBuf::new(),
            base_url: "https://api.brevo.com/v3".into(),
        }
    }
}

impl Brevo {
    /// Whether there is a list.
    pub fn has_list(&self) -> bool {
        !self.api_key.is_empty() && self.list_id != 0
    }
}
