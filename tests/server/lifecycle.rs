//! Start, signals, stop.

use std::process::Output;
use std::sync::Arc;

use warren::server::{Server, ServerOptions};

use crate::support::{Process, TestServer, command, config, eventually, get, install_crypto};

#[tokio::test]
async fn a_stopped_server_leaves_its_folder_to_the_next_one() {
    let test = TestServer::start().await;
    let address = test.server.addresses().http;
    test.server.shutdown().await;
    assert!(reqwest::get(format!("http://{address}/status")).await.is_err());
    let again = Server::start(Arc::new(config(test.folder.path())), ServerOptions::default()).await.unwrap();
    again.shutdown().await;
}

#[tokio::test]
async fn a_folder_in_use_and_a_taken_port_are_refused_by_name() {
    let test = TestServer::start().await;
    let refusal = |error: anyhow::Error| format!("{error:#}");
    let second = Server::start(Arc::new(config(test.folder.path())), ServerOptions::default()).await;
    let text = refusal(second.err().unwrap());
    assert!(text.contains(test.folder.path().to_str().unwrap()) && text.contains("in use"), "{text}");
    let other = tempfile::tempdir().unwrap();
    let mut taken = config(other.path());
    taken.http.listen = test.server.addresses().http;
    let text = refusal(Server::start(Arc::new(taken), ServerOptions::default()).await.err().unwrap());
    assert!(text.starts_with(&format!("http.listen {}", test.server.addresses().http)), "{text}");
}

#[tokio::test]
async fn the_ready_file_names_every_address_and_sigterm_drains() {
    install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path(), |_| ());
    let addresses = process.addresses();
    let http = addresses["http"].as_str().unwrap().to_owned();
    assert_eq!(get(&format!("http://{http}/status")).await.0, 200);
    let telemetry = addresses["telemetry"].as_str().unwrap();
    assert_eq!(get(&format!("http://{telemetry}/health/ready")).await.0, 200);
    assert!(addresses["quic"].as_str().unwrap().starts_with("127.0.0.1:"));
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    let log = process.log();
    for expected in ["listener=\"http\"", "listener=\"quic\"", "listener=\"telemetry\"", "draining", "stopped"] {
        assert!(log.contains(expected), "no {expected} in {log}");
    }
}

#[tokio::test]
async fn sighup_takes_over_the_log_filter_and_survives_a_bad_one() {
    install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings.toml");
    let write = |filter: &str| std::fs::write(&settings, format!("[telemetry]\nlog_filter = '{filter}'")).unwrap();
    write("info");
    let mut process = Process::start(folder.path(), |command| {
        command.arg("--config").arg(&settings);
    });
    write("warren=loud");
    process.signal("HUP");
    eventually("the bad filter is refused", async || process.log().contains("not everything was reloaded")).await;
    let url = format!("http://{}/status", process.addresses()["http"].as_str().unwrap());
    assert_eq!(get(&url).await.0, 200);
    write("warn,warren::cli=info");
    process.signal("HUP");
    eventually("the good filter is taken", async || process.log().contains("reloaded certificates")).await;
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    let log = process.log();
    assert!(log.contains("warren=loud"), "{log}");
}

#[test]
fn a_server_that_cannot_start_fails_with_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let Output { status, stderr, .. } = command(&file).arg("serve").output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    let last = stderr.lines().last().unwrap();
    assert!(last.starts_with("warren: ") && last.contains(file.to_str().unwrap()), "{stderr}");
}
