//! Settings that must agree with each other, and values that their type alone does not rule out.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::Config;
use super::address_range::AddressRange;
use super::auth::SignInService;
use super::contracts::Dispute;
use super::mail::MailMode;
use super::purchase::is_complete;
use super::tls::TlsMode;

/// Clients of every age close a transport that was silent for this long (`connect/transport.go`).
const CLIENT_PATIENCE: Duration = Duration::from_secs(15);

/// Longest network name; the shortest must leave room.
const LONGEST_NETWORK_NAME: usize = 50;

/// One thing that is wrong, and the key to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The dotted key.
    pub key: &'static str,
    /// What is wrong and what to do.
    pub text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.text)
    }
}

/// Everything that is wrong with the settings; empty when they can be used.
pub fn check(config: &Config) -> Vec<Complaint> {
    let mut complaints = Complaints(Vec::new());
    complaints.http(config);
    complaints.relay(config);
    complaints.tls(config);
    complaints.accounts(config);
    complaints.sign_in_service(&config.auth.apple, ["auth.apple.issuers", "auth.apple.keys"]);
    complaints.sign_in_service(&config.auth.google, ["auth.google.issuers", "auth.google.keys"]);
    complaints.mail(config);
    complaints.wallet(config);
    complaints.companies(config);
    complaints.geoip(config);
    complaints.texts(config);
    complaints.portal(config);
    complaints.client_api(config);
    complaints.telemetry(config);
    complaints.0
}

struct Complaints(Vec<Complaint>);

impl Complaints {
    fn unless(&mut self, is_fine: bool, key: &'static str, text: impl Into<String>) {
        if !is_fine {
            self.0.push(Complaint { key, text: text.into() });
        }
    }

    fn positive(&mut self, count: usize, key: &'static str) {
        self.unless(count > 0, key, "must be at least 1");
    }

    fn lasting(&mut self, duration: Duration, key: &'static str) {
        self.unless(!duration.is_zero(), key, "must be longer than 0s");
    }

    fn http(&mut self, config: &Config) {
        let http = &config.http;
        let prefix = &http.path_prefix;
        let is_path = prefix.is_empty() || prefix.starts_with('/') && !prefix.ends_with('/') && is_plain(prefix);
        self.unless(is_path, "http.path_prefix", format!("is '{prefix}'; write /name, or nothing"));
        self.unless(
            !http.cors_origin.is_empty() && is_plain(&http.cors_origin),
            "http.cors_origin",
            "must be * or one origin such as https://app.example.org",
        );
        self.unless(http.body_limit.0 > 0, "http.body_limit", "must be at least 1B");
        self.lasting(http.header_timeout, "http.header_timeout");
        self.lasting(http.request_timeout, "http.request_timeout");
        self.lasting(http.idle_timeout, "http.idle_timeout");
        self.positive(http.max_connections, "http.max_connections");
        self.positive(http.max_handshakes, "http.max_handshakes");
        let is_shared = http.listen == config.telemetry.listen && http.listen.port() != 0;
        self.unless(!is_shared, "telemetry.listen", "is the address of http.listen; give it another port");
    }

    fn relay(&mut self, config: &Config) {
        let relay = &config.relay;
        self.lasting(relay.keepalive, "relay.keepalive");
        self.unless(
            relay.keepalive < CLIENT_PATIENCE,
            "relay.keepalive",
            "must be shorter than 15s, after which clients give a silent transport up",
        );
        self.unless(
            relay.keepalive < relay.read_timeout,
            "relay.read_timeout",
            "must be longer than relay.keepalive, or idle transports are closed",
        );
        self.unless(
            relay.contract_gate || config.contracts.dispute == Dispute::Average,
            "contracts.dispute",
            "must be \"average\" while relay.contract_gate is off: the relay then counts only a part",
        );
        self.lasting(relay.write_timeout, "relay.write_timeout");
        self.lasting(relay.auth_timeout, "relay.auth_timeout");
        self.positive(relay.max_unauthenticated, "relay.max_unauthenticated");
        self.positive(relay.transports_per_client, "relay.transports_per_client");
        self.positive(relay.outbox_frames, "relay.outbox_frames");
        self.unless(
            relay.outbox_bytes.0 >= 4096,
            "relay.outbox_bytes",
            "must be at least 4KiB, the size of the largest frame",
        );
        self.unless(
            relay.outbox_total_bytes.0 >= relay.outbox_bytes.0,
            "relay.outbox_total_bytes",
            "must not be below relay.outbox_bytes, or no transport can use its own",
        );
        self.unless(
            relay.peer_grace > Duration::from_secs(30),
            "relay.peer_grace",
            "must be longer than 30s, or a client that reconnects loses its direct streams",
        );
        self.unless(
            relay.peer_grace <= relay.resident_linger,
            "relay.peer_grace",
            "must not be longer than relay.resident_linger, after which the client is forgotten",
        );
        self.positive(relay.destinations_per_client, "relay.destinations_per_client");
        self.positive(config.contracts.open_per_client, "contracts.open_per_client");
        self.positive(config.contracts.open_per_pair, "contracts.open_per_pair");
    }

    fn tls(&mut self, config: &Config) {
        let tls = &config.tls;
        if tls.mode == TlsMode::Files {
            self.file(&tls.certificate, "tls.certificate", "the PEM chain that tls.mode = \"files\" needs");
            self.file(&tls.key, "tls.key", "the PEM key that tls.mode = \"files\" needs");
        } else {
            self.unless(!tls.names.is_empty(), "tls.names", "must hold a name for the self-signed certificate");
        }
    }

    fn file(&mut self, path: &Path, key: &'static str, purpose: &str) {
        let state = if path.as_os_str().is_empty() {
            format!("is empty; name {purpose}")
        } else {
            format!("names {}, which is not a file; name {purpose}", path.display())
        };
        self.unless(path.is_file(), key, state);
    }

    fn accounts(&mut self, config: &Config) {
        let auth = &config.auth;
        self.lasting(auth.token_lifetime, "auth.token_lifetime");
        self.unless(
            (1..=LONGEST_NETWORK_NAME).contains(&auth.network_name_min),
            "auth.network_name_min",
            format!("must be between 1 and {LONGEST_NETWORK_NAME}"),
        );
        // Argon2 takes whole KiB, at least 8 per lane, in 32 bits.
        let kib = auth.argon2_memory.0 / 1024;
        let is_possible = (8..=u64::from(u32::MAX)).contains(&kib);
        self.unless(is_possible, "auth.argon2_memory", "must be at least 8KiB and below 4TiB");
        self.positive(auth.argon2_passes as usize, "auth.argon2_passes");
        let is_link = ["http://", "https://"].iter().any(|scheme| auth.web_base.starts_with(scheme));
        self.unless(is_link, "auth.web_base", "must start with http:// or https://");
    }

    fn sign_in_service(&mut self, service: &SignInService, [issuers, keys]: [&'static str; 2]) {
        if !service.is_on() {
            return;
        }
        self.unless(!service.issuers.is_empty(), issuers, "must name who makes the tokens");
        if service.has_remote_keys() {
            self.unless(is_plain(&service.keys), keys, format!("is '{}'; write https://…", service.keys));
        } else {
            self.file(Path::new(&service.keys), keys, "the URL or file of the service's key set");
        }
    }

    fn mail(&mut self, config: &Config) {
        let mail = &config.mail;
        let (brevo, is_brevo) = (&config.brevo, mail.mode == MailMode::Brevo);
        let needs_key = is_brevo || brevo.list_id != 0;
        self.unless(!needs_key || !brevo.api_key.is_empty(), "brevo.api_key", "is empty; Brevo gives one");
        if !is_brevo && mail.mode != MailMode::Smtp {
            return;
        }
        let is_address = mail.from.parse::<lettre::Address>().is_ok();
        self.unless(is_address, "mail.from", format!("is '{}', which is not a mail address", mail.from));
        let is_line = !mail.product.contains(char::is_control);
        self.unless(is_line, "mail.product", "must be one line, because it stands in the sender of messages");
        self.positive(mail.queue, "mail.queue");
        if is_brevo {
            return;
        }
        self.unless(!mail.smtp_host.is_empty(), "mail.smtp_host", "must name the server that takes messages");
        self.unless(mail.smtp_port != 0, "mail.smtp_port", "must not be 0");
        self.lasting(mail.timeout, "mail.timeout");
        self.unless(
            mail.smtp_user.is_empty() == mail.smtp_password.is_empty(),
            "mail.smtp_password",
            "and mail.smtp_user belong together; set both or neither",
        );
    }

    /// A company is used when all of its keys are set; some of them are a mistake.
    fn companies(&mut self, config: &Config) {
        self.all_or_none(&config.stripe.required());
        self.all_or_none(&config.apple.required());
        self.all_or_none(&config.google.required());
        self.all_or_none(&config.solana.required());
        self.circle(config);
        if !config.apple.roots.as_os_str().is_empty() {
            self.file(&config.apple.roots, "apple.roots", "a PEM file of root certificates");
        }
        let (secret, key) = (&config.apple.shared_secret, &config.google.license_key);
        let is_used = secret.is_empty() || is_complete(&config.apple.required());
        self.unless(is_used, "apple.shared_secret", "needs the other keys of apple; set them too");
        let is_used = key.is_empty() || is_complete(&config.google.required());
        self.unless(is_used, "google.license_key", "needs the other keys of google; set them too");
    }

    fn circle(&mut self, config: &Config) {
        let circle = &config.circle;
        self.all_or_none(&circle.required());
        let chain = &config.wallet.chain;
        let is_same = circle.blockchain.is_empty() || circle.blockchain.starts_with(chain.as_str());
        let complaint = format!("is '{}' while wallet.chain is '{chain}'; let them be of one chain", circle.blockchain);
        self.unless(is_same, "circle.blockchain", complaint);
        let has_wallet = !circle.solana_wallet_id.is_empty() || !circle.polygon_wallet_id.is_empty();
        let secret = &circle.entity_secret;
        if secret.is_empty() {
            let text = "and circle.polygon_wallet_id need circle.entity_secret";
            self.unless(!has_wallet, "circle.solana_wallet_id", text);
            return;
        }
        let is_secret = secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.unless(is_secret, "circle.entity_secret", "must be the 64 hex digits that Circle registered");
        self.unless(has_wallet, "circle.entity_secret", "needs circle.solana_wallet_id or circle.polygon_wallet_id");
        self.unless(!circle.api_token.is_empty(), "circle.api_token", "is empty while circle.entity_secret is set");
    }

    fn all_or_none(&mut self, required: &[(&'static str, bool)]) {
        let Some((set, _)) = required.iter().find(|(_, is_set)| *is_set) else { return };
        for (key, is_set) in required {
            self.unless(*is_set, key, format!("is empty while {set} is set; set it too, or neither"));
        }
    }

    fn wallet(&mut self, config: &Config) {
        let chain = &config.wallet.chain;
        self.unless(
            ["SOL", "MATIC"].contains(&chain.as_str()),
            "wallet.chain",
            format!("is '{chain}'; write SOL or MATIC"),
        );
    }

    fn geoip(&mut self, config: &Config) {
        let geoip = &config.geoip;
        if !geoip.path.as_os_str().is_empty() {
            self.file(&geoip.path, "geoip.path", "an MMDB file or a text table, or nothing");
        }
        for entry in &geoip.overrides {
            let range = &entry.range;
            let is_range = range.parse::<AddressRange>().is_ok();
            self.unless(is_range, "geoip.overrides", format!("holds range '{range}'; write address/bits"));
            let country = &entry.country;
            self.unless(
                is_country(country),
                "geoip.overrides",
                format!("holds country '{country}'; write two letters"),
            );
            let is_point = is_point(entry.latitude, entry.longitude);
            self.unless(is_point, "geoip.overrides", format!("has a point for '{range}' that is not on earth"));
        }
        let server = &geoip.server;
        let is_point = is_point(server.latitude, server.longitude);
        self.unless(is_point, "geoip.server.latitude", "and longitude must be degrees on earth, or 0.0 and 0.0");
        let country = &geoip.default.country;
        let is_fine = country.is_empty() || is_country(country);
        self.unless(is_fine, "geoip.default.country", format!("is '{country}'; write two letters, or nothing"));
    }

    fn texts(&mut self, config: &Config) {
        let base = &config.device.add_url_base;
        self.unless(is_url(base), "device.add_url_base", format!("is '{base}'; write https://…"));
        let base = &config.legal.base_url;
        let is_fine = base.is_empty() || is_url(base);
        self.unless(is_fine, "legal.base_url", format!("is '{base}'; write https://…, or nothing"));
        for (folder, key) in [(&config.legal.dir, "legal.dir"), (&config.log_upload.dir, "log_upload.dir")] {
            let is_fine = folder.as_os_str().is_empty() || folder.is_dir();
            self.unless(is_fine, key, format!("names {}, which is not a folder", folder.display()));
        }
        self.lasting(config.log_upload.keep, "log_upload.keep");
    }

    fn portal(&mut self, config: &Config) {
        let portal = &config.portal;
        let is_fine = is_short_name(&portal.current_source_id);
        self.unless(is_fine, "portal.current_source_id", "must be 1 to 64 printable characters without spaces");
        self.unless(
            (1..=64).contains(&portal.p12_password.len()) && is_plain(&portal.p12_password),
            "portal.p12_password",
            "must be 1 to 64 printable ASCII characters; readers do not agree on what an empty one is",
        );
        let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let host = &portal.host;
        self.unless(is_name(host), "portal.host", format!("is '{host}'; write a name without port, or nothing"));
        let base = &portal.base_url;
        let is_fine = base.is_empty() || is_url(base);
        self.unless(is_fine, "portal.base_url", format!("is '{base}'; write https://…, or nothing"));
        let cookie = &portal.cookie_name;
        let is_fine = !cookie.is_empty() && is_name(cookie);
        self.unless(is_fine, "portal.cookie_name", format!("is '{cookie}'; write letters and digits"));
        self.lasting(portal.session_idle, "portal.session_idle");
        self.positive(portal.sessions_per_user, "portal.sessions_per_user");
        for (folder, key) in [(&portal.templates, "portal.templates"), (&portal.texts, "portal.texts")] {
            let is_fine = folder.as_os_str().is_empty() || folder.is_dir();
            self.unless(is_fine, key, format!("names {}, which is not a folder", folder.display()));
        }
        let mail = &portal.admin_mail;
        let is_fine = mail.is_empty() || mail.parse::<lettre::Address>().is_ok();
        self.unless(is_fine, "portal.admin_mail", format!("is '{mail}', which is not a mail address"));
        let lists = &portal.downloads;
        for (links, key) in [
            (&lists.mac_app, "portal.downloads.mac_app"),
            (&lists.mac_update, "portal.downloads.mac_update"),
            (&lists.windows_app, "portal.downloads.windows_app"),
            (&lists.windows_update, "portal.downloads.windows_update"),
        ] {
            let is_fine = links.iter().all(|link| is_url(&link.url));
            self.unless(is_fine, key, "must hold links that start with https://");
            let is_fine = links.is_empty() || links.iter().any(|link| link.percent > 0);
            self.unless(is_fine, key, "must hold a link whose percent is above 0");
        }
    }

    fn client_api(&mut self, config: &Config) {
        let host = &config.client_api.host;
        let is_host = host.is_empty() || is_plain(host) && !host.contains(['/', ':', '@']);
        self.unless(is_host, "client_api.host", format!("is '{host}'; write a host name without port, or nothing"));
        let base = &config.client_api.public_url;
        let is_fine = base.is_empty() || is_url(base);
        self.unless(is_fine, "client_api.public_url", format!("is '{base}'; write https://…, or nothing"));
    }

    fn telemetry(&mut self, config: &Config) {
        let filter = &config.telemetry.log_filter;
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(filter) {
            self.unless(false, "telemetry.log_filter", format!("is '{filter}', which is not a filter: {error}"));
        }
    }
}

fn is_point(latitude: f64, longitude: f64) -> bool {
    (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude)
}

fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Where a link may lead.
fn is_url(text: &str) -> bool {
    (text.starts_with("https://") || text.starts_with("http://")) && is_plain(text)
}

/// Whether a text may name a source of certificates.
pub fn is_short_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && is_plain(text)
}

/// Printable and without spaces, so that it can stand in a header or a path.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
