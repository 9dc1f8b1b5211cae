//! The surface as a stranger finds it.

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
