use super::super::portal::Link;
use super::super::units::ByteSize;
use super::*;

/// The keys complained of after a change to the defaults.
fn keys(change: impl FnOnce(&mut Config)) -> Vec<&'static str> {
    let mut config = Config::default();
    change(&mut config);
    check(&config).into_iter().map(|complaint| complaint.key).collect()
}

#[test]
fn the_defaults_agree() {
    assert_eq!(check(&Config::default()), []);
}

#[test]
fn each_disagreement_names_its_key() {
    assert_eq!(keys(|config| config.http.path_prefix = "secret/".into()), ["http.path_prefix"]);
    assert_eq!(keys(|config| config.http.max_connections = 0), ["http.max_connections"]);
    assert_eq!(keys(|config| config.http.max_handshakes = 0), ["http.max_handshakes"]);
    assert_eq!(keys(|config| config.telemetry.listen = config.http.listen), ["telemetry.listen"]);
    assert_eq!(keys(|config| config.telemetry.log_filter = "warren=loud".into()), ["telemetry.log_filter"]);
    assert_eq!(keys(|config| config.relay.read_timeout = Duration::from_secs(1)), ["relay.read_timeout"]);
    assert_eq!(keys(|config| config.relay.keepalive = Duration::from_secs(20)), ["relay.keepalive"]);
    assert_eq!(keys(|config| config.relay.outbox_bytes = ByteSize(100)), ["relay.outbox_bytes"]);
    assert_eq!(keys(|config| config.relay.outbox_total_bytes = ByteSize::mib(1)), ["relay.outbox_total_bytes"]);
    assert_eq!(keys(|config| config.relay.resident_linger = Duration::ZERO), ["relay.peer_grace"]);
    assert_eq!(keys(|config| config.relay.peer_grace = Duration::from_secs(30)), ["relay.peer_grace"]);
    let uncounted = |config: &mut Config| {
        config.relay.contract_gate = false;
        config.contracts.dispute = Dispute::Relay;
    };
    assert_eq!(keys(uncounted), ["contracts.dispute"]);
    assert_eq!(keys(|config| config.tls.mode = TlsMode::Files), ["tls.certificate", "tls.key"]);
    assert_eq!(keys(|config| config.tls.names.clear()), ["tls.names"]);
    assert_eq!(keys(|config| config.portal.host = "a.org:80".into()), ["portal.host"]);
    assert_eq!(keys(|config| config.portal.base_url = "a.org".into()), ["portal.base_url"]);
    assert_eq!(keys(|config| config.portal.cookie_name = "a;b".into()), ["portal.cookie_name"]);
    assert_eq!(keys(|config| config.portal.sessions_per_user = 0), ["portal.sessions_per_user"]);
    assert_eq!(keys(|config| config.portal.session_idle = Duration::ZERO), ["portal.session_idle"]);
    assert_eq!(keys(|config| config.portal.templates = "/nowhere".into()), ["portal.templates"]);
    assert_eq!(keys(|config| config.portal.texts = "/nowhere".into()), ["portal.texts"]);
    assert_eq!(keys(|config| config.portal.admin_mail = "nobody".into()), ["portal.admin_mail"]);
    let never = Link { url: "https://a.org/x".into(), percent: 0 };
    assert_eq!(keys(|config| config.portal.downloads.mac_app = vec![never]), ["portal.downloads.mac_app"]);
    let script = Link { url: "javascript:0".into(), percent: 1 };
    assert_eq!(keys(|config| config.portal.downloads.mac_app = vec![script]), ["portal.downloads.mac_app"]);
    assert_eq!(keys(|config| config.auth.web_base = "example.org".into()), ["auth.web_base"]);
    assert_eq!(keys(|config| config.auth.argon2_memory = ByteSize(100)), ["auth.argon2_memory"]);
    let without_keys = |config: &mut Config| {
        config.auth.google.client_ids = vec!["app".into()];
        config.auth.google.issuers.clear();
        config.auth.google.keys = "/nowhere".into();
    };
    assert_eq!(keys(without_keys), ["auth.google.issuers", "auth.google.keys"]);
    assert_eq!(keys(|config| config.auth.apple.client_ids = vec!["app".into()]), [""; 0]);
    assert_eq!(keys(|config| config.geoip.default.country = "Germany".into()), ["geoip.default.country"]);
    assert_eq!(keys(|config| config.geoip.server.latitude = 91.0), ["geoip.server.latitude"]);
    assert_eq!(keys(|config| config.wallet.chain = "BTC".into()), ["wallet.chain"]);
    assert_eq!(keys(|config| config.geoip.path = "/nowhere".into()), ["geoip.path"]);
    assert_eq!(keys(|config| config.device.add_url_base = "".into()), ["device.add_url_base"]);
    assert_eq!(keys(|config| config.legal.base_url = "example.org".into()), ["legal.base_url"]);
    assert_eq!(keys(|config| config.portal.current_source_id = "a b".into()), ["portal.current_source_id"]);
    assert_eq!(keys(|config| config.client_api.host = "a.example:80".into()), ["client_api.host"]);
    assert_eq!(keys(|config| config.client_api.public_url = "a.example".into()), ["client_api.public_url"]);
    assert_eq!(keys(|config| config.portal.p12_password.clear()), ["portal.p12_password"]);
    assert_eq!(keys(|config| config.legal.dir = "/nowhere".into()), ["legal.dir"]);
    assert_eq!(keys(|config| config.log_upload.dir = "/nowhere".into()), ["log_upload.dir"]);
}

#[test]
fn half_of_a_company_is_refused_and_the_missing_keys_are_named() {
    let rest = ["stripe.publishable_key", "stripe.signing_secret", "stripe.success_url", "stripe.cancel_url"];
    assert_eq!(keys(|config| config.stripe.secret_key = "x".into()), rest);
    assert_eq!(keys(|config| config.solana.receiver = "x".into()), ["solana.webhook_secret"]);
    assert_eq!(keys(|config| config.google.package = "x".into()).len(), 5);
    assert_eq!(keys(|config| config.apple.roots = "/nowhere".into()).len(), 4);
    let rest = ["circle.blockchain", "circle.blockchain_name"];
    assert_eq!(keys(|config| config.circle.api_token = "x".into()), rest);
    assert_eq!(keys(|config| config.circle.solana_wallet_id = "x".into()), ["circle.solana_wallet_id"]);
    let rest = ["circle.entity_secret", "circle.entity_secret", "circle.api_token"];
    assert_eq!(keys(|config| config.circle.entity_secret = "x".into()), rest);
    let other_chain = |config: &mut Config| {
        config.circle.api_token = "x".into();
        config.circle.blockchain = "MATIC".into();
        config.circle.blockchain_name = "Polygon".into();
    };
    assert_eq!(keys(other_chain), ["circle.blockchain"]);
    assert_eq!(keys(|config| config.apple.shared_secret = "x".into()), ["apple.shared_secret"]);
    assert_eq!(keys(|config| config.google.license_key = "x".into()), ["google.license_key"]);
}

#[test]
fn mail_settings_matter_only_when_mail_is_sent() {
    let spoil = |config: &mut Config| {
        config.mail.from = "nobody".into();
        config.mail.smtp_user = "ada".into();
    };
    assert!(keys(spoil).is_empty());
    let sent = |config: &mut Config| {
        spoil(config);
        config.mail.mode = MailMode::Smtp;
    };
    assert_eq!(keys(sent), ["mail.from", "mail.smtp_password"]);
    let sent = |config: &mut Config| {
        spoil(config);
        config.mail.mode = MailMode::Brevo;
    };
    assert_eq!(keys(sent), ["brevo.api_key", "mail.from"]);
    assert_eq!(keys(|config| config.brevo.list_id = 7), ["brevo.api_key"]);
}
