//! `warren demo` as a stranger runs it.

use std::process::{Command, Output};

use tempfile::TempDir;

fn demo(arguments: &[&str]) -> Output {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    // Its folders go where this test can see that nothing is left.
    let output = command.arg("demo").args(arguments).env("TMPDIR", folder.path()).output().unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_file_arrives_over_both_transports_and_is_paid_for() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    let content: Vec<u8> = (0..5_000_000u32).map(|at| (at % 253) as u8).collect();
    std::fs::write(&file, &content).unwrap();
    let output = demo(&["--file", file.to_str().unwrap()]);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    for (what, count) in [
        ("websocket", 1),
        ("quic", 1),
        (sha256(&content).as_str(), 4),
        ("5000000 bytes", 2),
        ("everything matches", 2),
        ("latency p99", 2),
        ("payer's balance before", 2),
    ] {
        assert_eq!(stdout.matches(what).count(), count, "{what} in\n{stdout}");
    }
}

#[test]
fn one_transport_makes_one_table() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "a short one").unwrap();
    for transport in ["websocket", "quic"] {
        let output = demo(&["--transport", transport, "--file", file.to_str().unwrap()]);
        let stdout = text(&output.stdout);
        assert!(output.status.success(), "{stdout}{}", text(&output.stderr));
        assert_eq!(stdout.matches("everything matches").count(), 1, "{stdout}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = demo(&["--file", "/nowhere/at-all"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nowhere/at-all"), "{}", text(&output.stderr));
    assert_eq!(demo(&["--transport", "pigeon"]).status.code(), Some(2));
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}
