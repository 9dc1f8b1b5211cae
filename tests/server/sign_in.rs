//! Sign-in with tokens of a service whose keys are fetched over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::TestServer;

/// A service on loopback: its key, where it publishes it, and how often it was asked.
struct Service {
    key: KeyPair,
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Service {
    async fn start() -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = key.public_key();
        let n = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
        let e = URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero());
        let keys = json!({"keys": [{"kty": "RSA", "kid": "one", "n": n, "e": e}]}).to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let answer = move || {
            count.fetch_add(1, SeqCst);
            std::future::ready(keys.clone())
        };
        let router = axum::Router::new().route("/keys", axum::routing::get(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { key, url, asked }
    }

    fn token(&self, audience: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({"iss": "accounts.google.com", "aud": audience, "email": "ada@hill.example",
                            "email_verified": true, "name": "Ada", "iat": now, "exp": now + 600});
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&self.key).unwrap();
        let body = STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        let header = Header { kid: Some("one".into()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()).unwrap()
    }
}

async fn post(server: &TestServer, path: &str, body: Value) -> (u16, Value) {
    let answer = reqwest::Client::new().post(server.url(path)).json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_service_signs_up_and_in() {
    let service = Service::start().await;
    let server = TestServer::start_with(|config| {
        config.auth.google.client_ids = vec!["our-app".into()];
        config.auth.google.keys = service.url.clone();
    })
    .await;
    let proof = |audience: &str| json!({"auth_jwt": service.token(audience), "auth_jwt_type": "google"});
    assert_eq!(service.asked.load(SeqCst), 0, "keys are fetched when they are needed");
    let (status, answer) = post(&server, "/auth/login", proof("our-app")).await;
    assert_eq!((status, &answer), (200, &json!({"user_name": "Ada"})));

    let mut new = proof("our-app");
    new["network_name"] = json!("google-lab");
    new["terms"] = json!(true);
    let (status, created) = post(&server, "/auth/network-create", new).await;
    assert_eq!((status, &created["user_auth"]), (200, &json!("ada@hill.example")), "{created}");
    let (_, answer) = post(&server, "/auth/login", proof("our-app")).await;
    assert!(answer["network"]["by_jwt"].is_string(), "{answer}");

    let (_, refused) = post(&server, "/auth/login", proof("their-app")).await;
    assert_eq!(refused, json!({"error": {"message": "Invalid login credentials."}}));
    assert_eq!(service.asked.load(SeqCst), 1, "keys are kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_cannot_be_asked_is_a_busy_server_and_no_wrong_token() {
    let service = Service::start().await;
    let server = TestServer::start_with(|config| {
        config.auth.google.client_ids = vec!["our-app".into()];
        config.auth.google.keys = service.url.replace("/keys", "/elsewhere");
    })
    .await;
    let proof = json!({"auth_jwt": service.token("our-app"), "auth_jwt_type": "google"});
    assert_eq!(post(&server, "/auth/login", proof).await.0, 503);
}
