//! Recorded exchanges: request, status and body, with what differs from run to run replaced.

use std::collections::HashMap;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Compares an exchange with its file under `tests/golden/<surface>/<route>/<case>.json`, or writes the file.
#[track_caller]
pub fn check(surface: &str, case: &str, asked: &Value, status: u16, body: &Value) {
    let path = asked["path"].as_str().unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let part = |part: &str| if is_id(part) { "id".to_owned() } else { part.to_owned() };
    let route = path.trim_matches('/').split('/').map(part).collect::<Vec<_>>().join("-");
    let route = if route.is_empty() { "root" } else { &route };
    let file = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", surface, route].iter().collect::<PathBuf>();
    let file = file.join(format!("{case}.json"));
    let mut exchange = json!({"request": asked, "status": status, "body": body});
    Neutral::default().replace("", &mut exchange);
    let found = serde_json::to_string_pretty(&exchange).unwrap() + "\n";
    if std::env::var("WARREN_UPDATE_GOLDEN").is_ok_and(|value| value == "1") {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, found).unwrap();
        return;
    }
    let recorded = std::fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!("{}: {error}; found:\n{found}\nrecord it with WARREN_UPDATE_GOLDEN=1", file.display())
    });
    assert!(recorded == found, "{} differs.\nrecorded:\n{recorded}\nfound:\n{found}", file.display());
}

/// Replaces ids, times, tokens and secrets by names; the same value gets the same name.
#[derive(Default)]
struct Neutral {
    ids: HashMap<String, usize>,
}

impl Neutral {
    fn replace(&mut self, key: &str, value: &mut Value) {
        match value {
            Value::Object(members) => members.iter_mut().for_each(|(key, member)| self.replace(key, member)),
            Value::String(text) if key == "path" => {
                *text = text
                    .split('/')
                    .map(|part| self.name(key, part).unwrap_or(part.to_owned()))
                    .collect::<Vec<_>>()
                    .join("/")
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.replace(key, item)),
            Value::String(text) => {
                if let Some(name) = self.name(key, text) {
                    *text = name;
                }
            }
            _ => {}
        }
    }

    fn name(&mut self, key: &str, text: &str) -> Option<String> {
        if let Some(kind) = token_kind(text).filter(|_| key != "auth_jwt") {
            return Some(format!("<{kind} token>"));
        }
        if is_id(text) {
            let next = self.ids.len() + 1;
            let number = *self.ids.entry(text.to_ascii_lowercase()).or_insert(next);
            return Some(format!("<id {number}>"));
        }
        if text.ends_with('Z') && crate::time::Timestamp::parse_rfc3339(text).is_some() {
            return Some("<time>".into());
        }
        if let Some(id) = text.strip_prefix("urledger:") {
            return Some(format!("urledger:{}", self.name("", id)?));
        }
        (is_secret(key, text) || key == "version").then(|| format!("<{key}>"))
    }
}

/// `user` or `client` for a signed token, `device` for one of the client API.
pub fn token_kind(text: &str) -> Option<&'static str> {
    if text.len() == 68 && text.starts_with("app_") {
        return Some("device");
    }
    let payload = text.strip_prefix("eyJ")?.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Some(if claims.get("client_id").is_some() { "client" } else { "user" })
}

/// `word-word-NN`: what a network without a wanted name is called.
fn is_made_up_name(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts[..], [_, _, number] if number.len() >= 2 && number.bytes().all(|digit| digit.is_ascii_digit()))
}

fn is_id(text: &str) -> bool {
    text.len() == 36 && text.parse::<crate::ids::RecordId>().is_ok()
}

/// Values that a test cannot choose: made codes have a length that invented ones in requests have not.
fn is_secret(key: &str, text: &str) -> bool {
    match key {
        "verify_code" => text.len() == 8 && text.bytes().all(|digit| digit.is_ascii_hexdigit()),
        "challenge"
        | "nonce"
        | "auth_code"
        | "reset_code"
        | "api_key"
        | "transfer_balance_code"
        | "secret"
        | "user_token"
        | "encryption_key"
        | "session_id"
        | "checkout_url" => text.len() >= 26,
        // A balance code as a receipt.
        "purchase_token" | "signed_transaction" => text.len() == 26,
        "seedphrase" => text.split(' ').count() == 24,
        "code" | "share_code" | "adopt_code" | "adopt_secret" => {
            text.split_whitespace().count() == 6 || text.len() == 256
        }
        "message_template" | "wallet_message" => text.starts_with("Sign in to URnetwork\n"),
        "wallet_signature" => text.len() == 88,
        "auth_jwt" => text.len() > 26,
        "key" => text.starts_with("warren://"),
        "referral_code" => text.len() == 6,
        "network_name" | "associated_network_name" | "name" => is_made_up_name(text),
        _ => false,
    }
}
