//! The surface as a stranger finds it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use warren::config::Config;

use crate::support::{TestServer, get};

#[tokio::test]
async fn status_health_and_metrics_answer() {
    let test = TestServer::start().await;
    let (status, body) = get(&test.url("/status")).await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["status"]), (200, &"ok".into()));
    assert_eq!(get(&test.telemetry_url("/health/live")).await.0, 200);
    assert_eq!(get(&test.telemetry_url("/health/ready")).await, (200, "ok\n".into()));
    assert!(test.metric("warren_http_connections_accepted_total").await >= 1);
    test.server.shutdown().await;
}

#[tokio::test]
async fn the_caller_sees_its_own_address() {
    let test = TestServer::start().await;
    let body: serde_json::Value = serde_json::from_str(&get(&test.url("/hello")).await.1).unwrap();
    assert!(body["client_address"].as_str().unwrap().starts_with("127.0.0.1:"), "{body}");
    assert_eq!(get(&test.url("/nope")).await.0, 404);
    assert_eq!(get(&test.url("/")).await.0, 400);
}

#[tokio::test]
async fn tls_serves_both_http_versions_with_the_certificate_made_at_first_start() {
    let test = TestServer::start_with(|config| config.tls.mode = warren::config::tls::TlsMode::SelfSigned).await;
    let certificate = reqwest::Certificate::from_der(&test.server.certificate().unwrap()).unwrap();
    let url = format!("https://localhost:{}/status", test.server.addresses().http.port());
    let builder = || reqwest::Client::builder().tls_certs_only([certificate.clone()]);
    let answer = builder().build().unwrap().get(&url).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
    let answer = builder().http1_only().build().unwrap().get(&url).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_11));
}

/// One answer of a connection that is kept: its head, and its body read to the end.
async fn read_answer(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("the connection is kept"));
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    socket.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap();
    head
}

#[tokio::test]
async fn a_refusal_that_needs_no_body_keeps_the_connection_for_a_body_that_comes_later() {
    let test = TestServer::start().await;
    let mut socket = TcpStream::connect(test.server.addresses().http).await.unwrap();
    socket.set_nodelay(true).unwrap();
    for (path, status) in [("/nope", 404), ("/hello", 405), ("/network/remove-client", 401)] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        // The server has the head before the body leaves.
        tokio::time::sleep(Duration::from_millis(50)).await;
        socket.write_all(b"{}").await.unwrap();
        let answer = read_answer(&mut socket).await;
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    socket.write_all(b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(read_answer(&mut socket).await.starts_with("http/1.1 200 "));
}

#[tokio::test]
async fn a_body_that_is_far_too_long_is_refused_and_ends_the_connection() {
    let test = TestServer::start().await;
    let mut socket = TcpStream::connect(test.server.addresses().http).await.unwrap();
    socket.write_all(b"POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n").await.unwrap();
    // As much as makes it too long, and no more.
    let limit = Config::default().http.body_limit.0 as usize;
    socket.write_all(&vec![b' '; limit + 1]).await.unwrap();
    let answer = read_answer(&mut socket).await;
    assert!(answer.starts_with("http/1.1 413 ") && answer.contains("connection: close"), "{answer}");
}
