//! What is written down for users agrees with the code.

use std::path::Path;

use warren::config::Config;
use warren::config::load::known_keys;
use warren::http::openapi::{self, PUBLIC};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn config_toml_lists_every_setting_with_its_default() {
    let text = read("config.toml");
    let written: Config = toml::from_str(&text).unwrap();
    assert_eq!(written, Config::default());
    let (mut section, mut keys, mut before) = ("", Vec::new(), "");
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            assert!(before.starts_with("# "), "config.toml: {section}.{name} has no meaning above it");
            keys.push(format!("{section}.{name}"));
        }
        before = line;
    }
    let mut known = known_keys();
    keys.sort();
    known.sort();
    assert_eq!(keys, known, "config.toml names other settings than the code");
}

#[test]
fn every_route_declares_its_security_or_is_listed_as_public() {
    let document = openapi::complete(warren::http::routes().into_openapi());
    let mut count = 0;
    for (method, path, operation) in openapi::each_operation(&document) {
        let is_secured = operation.security.as_ref().is_some_and(|security| !security.is_empty());
        let route = format!("{method} {path}");
        assert_ne!(is_secured, PUBLIC.contains(&route.as_str()), "{route}");
        count += 1;
    }
    assert!(count >= PUBLIC.len());
}
