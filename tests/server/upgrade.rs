//! The way from the TCP listener to the relay.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PATIENCE, TestServer, eventually};

const OPEN: &str = "warren_http_connections_open";

/// Asks for an upgrade of `path` and returns the connection with the head of the answer.
async fn upgrade(test: &TestServer, path: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(test.server.addresses().http).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhpcyBpcyBhIGRlbW8hIQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (stream, String::from_utf8(head).unwrap())
}

/// Reads until the server closes, within the patience of these tests.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the server closes").ok();
}

#[tokio::test]
async fn an_upgrade_of_the_root_reaches_the_relay_and_no_other_path_does() {
    let test = TestServer::start_with(|config| config.http.path_prefix = "/secret".into()).await;
    for path in ["/", "/secret", "/secret/", "//"] {
        let (_stream, head) = upgrade(&test, path).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{path}: {head}");
    }
    for path in ["/hello", "/secret/hello", "/other"] {
        let (_stream, head) = upgrade(&test, path).await;
        assert!(!head.starts_with("HTTP/1.1 101 "), "{path}: {head}");
    }
}

#[tokio::test]
async fn a_transport_that_never_says_who_it_is_keeps_its_place_and_loses_it_in_time() {
    let test = TestServer::start_with(|config| config.relay.auth_timeout = Duration::from_millis(500)).await;
    let (stream, head) = upgrade(&test, "/").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(test.metric(OPEN).await, 1);
    closed(stream).await;
    eventually("its place is free again", async || test.metric(OPEN).await == 0).await;
}

#[tokio::test]
async fn a_stop_closes_open_transports() {
    let test = TestServer::start().await;
    let (stream, _) = upgrade(&test, "/").await;
    let (stopped, ()) = tokio::join!(tokio::time::timeout(PATIENCE, test.server.shutdown()), closed(stream));
    stopped.expect("the stop does not wait for the transport");
}
