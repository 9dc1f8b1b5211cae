//! `[portal]`: the account website, where people sign up, pay and manage their account in a browser or a webview, and the
//! certificates that its users get.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::duration;

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
    /// Whether there is one.
    pub enabled: bool,
    /// Host name it answers under, and then alone; empty for beside the API, under every name.
    pub host: String,
    /// Base of the links to it in messages; empty for `auth.web_base`.
    pub base_url: String,
    /// What `/health` calls the place: `www.<domain>`.
    pub domain: String,
    /// Name of the session cookie.
    pub cookie_name: String,
    /// A session that was not used for so long ends.
    #[serde(with = "duration")]
    pub session_idle: Duration,
    /// Sessions of one user; above it the one longest without use ends.
    pub sessions_per_user: usize,
    /// Folder with templates and the stylesheet that replace those in the binary; empty for none.
    pub templates: PathBuf,
    /// Folder with texts, `<language>.toml`, that replace those in the binary or add a language; empty for none.
    pub texts: PathBuf,
    /// Language of readers whose own is not there.
    pub language: String,
    /// Whom unexpected failures are mailed to; empty for nobody.
    pub admin_mail: String,
    /// Mail domains that cannot be used, their subdomains included.
    pub disposable_domains: Vec<String>,
    /// What `/download-speed-test` answers.
    pub speed_test_bucket: String,
    /// Names the client certificates that are good now; those under any other name are not.
    pub current_source_id: String,
    /// Password of the bundles that clients get; no secret, because every client is told.
    pub p12_password: String,
    /// How the bundles are encrypted.
    pub p12_encryption: P12Encryption,
    /// Where apps are downloaded from.
    pub downloads: Downloads,
    /// Failed requests a minute.
    pub rate_limits: RateLimits,
}

impl Default for Portal {
    fn default() -> Self {
        Self {
            enabled: true,
            host: String::new(),
            base_url: String::new(),
            domain: "localhost".into(),
            cookie_name: "confirmedid".into(),
            session_idle: Duration::from_secs(2 * 3600),
            sessions_per_user: 20,
            templates: PathBuf::new(),
            texts: PathBuf::new(),
            language: "en".into(),
            admin_mail: String::new(),
            disposable_domains: Vec::new(),
            speed_test_bucket: String::new(),
            current_source_id: "main".into(),
            p12_password: "warren".into(),
            p12_encryption: P12Encryption::Legacy,
            downloads: Downloads::default(),
            rate_limits: RateLimits::default(),
        }
    }
}

impl super::Config {
    /// Base of the links to the portal, without a slash at its end.
    pub fn portal_base(&self) -> &str {
        let own = &self.portal.base_url;
        let base = if own.is_empty() { &self.auth.web_base } else { own };
        base.trim_end_matches('/')
    }

    /// Whether browsers reach the portal over TLS.
    pub fn portal_is_secure(&self) -> bool {
        self.tls.mode != super::tls::TlsMode::Off || self.portal_base().starts_with("https://")
    }
}

/// Where apps are downloaded from: for each, links with how often each is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Downloads {
    /// The app for macOS.
    pub mac_app: Vec<Link>,
    /// Its updates.
    pub mac_update: Vec<Link>,
    /// The app for Windows.
    pub windows_app: Vec<Link>,
    /// Its updates.
    pub windows_update: Vec<Link>,
}

/// One place to download from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Where it is.
    pub url: String,
    /// How often it is given, in comparison with the others of the list.
    pub percent: u32,
}

macro_rules! rate_limits {
    ($($(#[doc = $doc:literal])+ $name:ident = $limit:literal,)+) => {
        /// Failed requests from one address within a minute, by route; 0 for no limit.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct RateLimits {
            $($(#[doc = $doc])+ pub $name: u32,)+
        }

        impl Default for RateLimits {
            fn default() -> Self {
                Self { $($name: $limit,)+ }
            }
        }
    };
}

rate_limits! {
    /// `/signin`.
    sign_in = 50,
    /// `/signup`.
    sign_up = 50,
    /// `/confirm-email`.
    confirm_email = 50,
    /// `/resend-confirm-code`.
    resend_confirm_code = 20,
    /// `/convert-shadow-user`.
    convert_shadow_user = 30,
    /// `/forgot-password`.
    forgot_password = 20,
    /// `/reset-password`.
    reset_password = 20,
    /// `/get-key`.
    get_key = 200,
    /// `/change-email`.
    change_email = 25,
    /// `/confirm-change-email`.
    confirm_change_email = 50,
    /// `/change-password`.
    change_password = 20,
    /// `/account` and `/remove-device`.
    account = 1000,
    /// `/subscriptions` and `/active-subscriptions`.
    subscriptions = 300,
    /// `GET /new-subscription`.
    new_subscription_page = 100,
    /// `POST /new-subscription`.
    new_subscription = 50,
    /// `/subscription-event`.
    subscription_event = 100,
    /// `/cancel-subscription`.
    cancel_subscription = 50,
    /// `/add-new-card`.
    add_card = 20,
    /// `/set-default-card`.
    default_card = 50,
    /// `/delete-card`.
    delete_card = 20,
    /// `/payment-methods`.
    payment_methods = 200,
    /// `/invoices`.
    invoices = 200,
    /// The pages of `/do-not-email` and `/newsletter-unsubscribe`.
    opt_out_page = 200,
    /// Their forms.
    opt_out = 20,
    /// `/logout`.
    log_out = 20,
    /// `/download-mac-app` and `/download-windows-app`.
    download_app = 100,
    /// `/download-mac-update` and `/download-windows-update`.
    download_update = 800,
}
