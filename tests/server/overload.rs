//! Strangers who open connections and do nothing with them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PATIENCE, TestServer, eventually, get};

const OPEN: &str = "warren_http_connections_open";
const REFUSED: &str = "warren_http_connections_refused_total";
const UNFINISHED: &str = "warren_http_connections_unfinished_total";

/// How many half-open connections one test opens, ours and the server's end both in this process: 10,000 where the
/// limit of open files allows it.
fn crowd() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files = files.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(usize::MAX);
    10_000.min(files.saturating_sub(500))
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_stay_bounded_and_others_are_served() {
    const LIMIT: usize = 200;
    let test = TestServer::start_with(|config| {
        config.http.max_connections = LIMIT;
        config.http.header_timeout = Duration::from_secs(2);
    })
    .await;
    let address = test.server.addresses().http;
    let count = crowd();
    let mut crowd = Vec::new();
    for _ in 0..count {
        // Above the limit the server closes at once, which may show as a reset already here.
        crowd.extend(TcpStream::connect(address).await.ok());
    }
    assert!(test.metric(OPEN).await <= LIMIT as u64);
    eventually("the crowd is refused", async || test.metric(REFUSED).await >= (count - LIMIT) as u64 / 2).await;
    eventually("the first ones are closed", async || test.metric(OPEN).await == 0).await;
    assert!(test.metric(UNFINISHED).await >= LIMIT as u64);
    assert_eq!(get(&test.url("/status")).await.0, 200);
    drop(crowd);
}

/// Sends `bytes` and returns what comes back until the server closes.
async fn answer_to(test: &TestServer, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(test.server.addresses().http).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("the server closes in time").ok();
    answer
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let test = TestServer::start_with(|config| config.http.header_timeout = Duration::from_millis(300)).await;
    // The first is the beginning of an HTTP/2 preface as well as of a POST.
    for start in [&b"P"[..], b"GET /status HTTP/1.1\r\nhost: a\r\nx: ", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let answer = answer_to(&test, start).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{start:?}");
    }
    eventually("all are closed", async || test.metric(OPEN).await == 0).await;
}

#[tokio::test]
async fn a_slow_tls_handshake_is_cut_off() {
    let test = TestServer::start_with(|config| {
        config.tls.mode = warren::config::tls::TlsMode::SelfSigned;
        config.http.header_timeout = Duration::from_millis(300);
    })
    .await;
    // The head of a ClientHello record whose body never comes.
    assert!(answer_to(&test, &[22, 3, 1, 2, 0, 1, 0]).await.len() < 100);
    eventually("it is closed and counted", async || test.metric(UNFINISHED).await >= 1).await;
    assert_eq!(test.metric(OPEN).await, 0);
}

#[tokio::test]
async fn a_connection_that_has_gone_quiet_is_closed() {
    let test = TestServer::start_with(|config| config.http.idle_timeout = Duration::from_millis(300)).await;
    let answer = answer_to(&test, b"GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
}
