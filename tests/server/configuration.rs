//! Exit codes and sentences of a wrong configuration.

use std::path::Path;

use crate::support::command;

/// Exit code, stdout and stderr of the binary.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = command(Path::new("data"));
    let output = command.args(arguments).envs(environment.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn wrong_settings_end_with_code_2_and_name_the_key() {
    let (code, _, stderr) = run(&["serve"], &[("WARREN__HTTP__LISEN", "127.0.0.1:0")]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("http.lisen (WARREN__HTTP__LISEN)") && stderr.contains("http.listen"), "{stderr}");
    let (code, _, stderr) = run(&["config", "check"], &[("WARREN__TLS__MODE", "files")]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("tls.certificate") && stderr.contains("tls.key"), "{stderr}");
    let (code, _, stderr) = run(&["config", "check", "--config", "/nowhere.toml"], &[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("/nowhere.toml"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one sentence: {stderr}");
}

#[test]
fn wrong_usage_ends_with_code_2() {
    assert_eq!(run(&["serve", "--no-such-option"], &[]).0, Some(2));
    assert_eq!(run(&["frobnicate"], &[]).0, Some(2));
    assert_eq!(run(&[], &[]).0, Some(2));
}

#[test]
fn the_settings_in_force_are_shown_with_their_origin_and_without_secrets() {
    let (code, stdout, _) = run(&["config", "show"], &[("WARREN__MAIL__SMTP_PASSWORD", "hunter2")]);
    assert_eq!(code, Some(0));
    let line = |name: &str| stdout.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("smtp_password =").ends_with("# WARREN__MAIL__SMTP_PASSWORD"), "{stdout}");
    assert!(line("max_connections").ends_with("# default"), "{stdout}");
    assert!(!stdout.contains("hunter2"));
    assert_eq!(
        run(&["config", "check", "--config", concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml")], &[]).0,
        Some(0)
    );
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, stdout, _) = run(&["completions", shell], &[]);
        assert!(code == Some(0) && stdout.contains("warren"), "{shell}");
    }
}
