//! Where the keys of sign-in services come from: a URL, or a file that the operator keeps.

use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::config::Config;
use crate::domain::auth::key_set::{KeySetSource, MAX_BYTES};

/// Time for one key set: the person who signs in waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fetches key sets.
pub struct KeySets {
    /// None while no service that is switched on has its keys at a URL.
    http: Option<reqwest::Client>,
}

impl KeySets {
    /// A source for the services of these settings.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let services = [&config.auth.apple, &config.auth.google];
        let is_needed = services.iter().any(|service| service.is_on() && service.has_remote_keys());
        let client = || {
            let builder = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
            builder.build().context("the keys of sign-in services cannot be fetched")
        };
        Ok(Self { http: is_needed.then(client).transpose()? })
    }
}

impl KeySetSource for KeySets {
    fn fetch<'a>(&'a self, place: &'a str) -> BoxFuture<'a, Result<Vec<u8>, String>> {
        match &self.http {
            Some(http) if place.starts_with("http://") || place.starts_with("https://") => {
                download(http, place).boxed()
            }
            _ => read(place).boxed(),
        }
    }
}

async fn download(http: &reqwest::Client, url: &str) -> Result<Vec<u8>, String> {
    let failed = |error: reqwest::Error| error.to_string();
    let mut answer = http.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()));
    }
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        text.extend_from_slice(&chunk);
        check_size(text.len())?;
    }
    Ok(text)
}

async fn read(path: &str) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| error.to_string();
    let length = tokio::fs::metadata(path).await.map_err(failed)?.len();
    check_size(usize::try_from(length).unwrap_or(usize::MAX))?;
    tokio::fs::read(path).await.map_err(failed)
}

fn check_size(bytes: usize) -> Result<(), String> {
    if bytes > MAX_BYTES { Err(format!("it is longer than {MAX_BYTES} bytes")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(place: &str) -> KeySets {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut config = Config::default();
        config.auth.google.client_ids = vec!["app".into()];
        config.auth.google.keys = place.into();
        KeySets::new(&config).unwrap()
    }

    /// A web server on loopback with one answer; its base URL.
    async fn serve(router: axum::Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        base
    }

    #[tokio::test]
    async fn keys_come_from_a_url() {
        use axum::http::StatusCode;
        use axum::routing::get;
        let router = axum::Router::new()
            .route("/keys", get(async || r#"{"keys":[]}"#))
            .route("/huge", get(async || "x".repeat(MAX_BYTES + 1)))
            .route("/moved", get(async || (StatusCode::FOUND, [("location", "/keys")])));
        let base = serve(router).await;
        let keys = source(&base);
        assert_eq!(keys.fetch(&format!("{base}/keys")).await.unwrap(), br#"{"keys":[]}"#);
        for (path, complaint) in [("huge", "longer than"), ("moved", "302"), ("gone", "404")] {
            let error = keys.fetch(&format!("{base}/{path}")).await.unwrap_err();
            assert!(error.contains(complaint), "{path}: {error}");
        }
        assert!(keys.fetch("http://127.0.0.1:1/keys").await.is_err());
    }

    #[tokio::test]
    async fn keys_come_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let place = path.to_str().unwrap();
        let keys = source(place);
        assert!(keys.fetch(place).await.is_err());
        std::fs::write(&path, "text").unwrap();
        assert_eq!(keys.fetch(place).await.unwrap(), b"text");
        std::fs::write(&path, "x".repeat(MAX_BYTES + 1)).unwrap();
        assert!(keys.fetch(place).await.unwrap_err().contains("longer than"));
    }
}
