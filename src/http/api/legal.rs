//! The operator's legal texts: from a file, else by a link, else a few neutral words.

use std::path::Path;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::io::AsyncReadExt;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::state::ApiState;

/// Largest text, in bytes; the rest of a longer file is not shown.
const MAX_BYTES: u64 = 1 << 20;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(privacy)).routes(routes!(terms)).routes(routes!(vdp))
}

/// Shows what is kept about people.
#[utoipa::path(
    get,
    path = "/privacy.txt",
    tag = "discovery",
    responses(
        (status = 200, content_type = "text/plain", body = String),
        (status = 303, description = "It is at the address in `Location`.")
    )
)]
async fn privacy(State(state): State<ApiState>) -> Response {
    text(&state, "privacy.txt", "This server has published no privacy policy.").await
}

/// Shows the terms of use.
#[utoipa::path(
    get,
    path = "/terms.txt",
    tag = "discovery",
    responses(
        (status = 200, content_type = "text/plain", body = String),
        (status = 303, description = "It is at the address in `Location`.")
    )
)]
async fn terms(State(state): State<ApiState>) -> Response {
    text(&state, "terms.txt", "This server has published no terms of use.").await
}

/// Shows how to report security holes.
#[utoipa::path(
    get,
    path = "/vdp.txt",
    tag = "discovery",
    responses(
        (status = 200, content_type = "text/plain", body = String),
        (status = 303, description = "It is at the address in `Location`.")
    )
)]
async fn vdp(State(state): State<ApiState>) -> Response {
    text(&state, "vdp.txt", "Please report security holes of this server to its operator, in private.").await
}

async fn text(state: &ApiState, name: &str, neutral: &str) -> Response {
    let legal = &state.config().legal;
    let plain = |text: Vec<u8>| ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response();
    if !legal.dir.as_os_str().is_empty()
        && let Some(text) = read(&legal.dir.join(name)).await
    {
        return plain(text);
    }
    if !legal.base_url.is_empty() {
        let link = format!("{}/{name}", legal.base_url.trim_end_matches('/'));
        return (StatusCode::SEE_OTHER, [(header::LOCATION, link)]).into_response();
    }
    plain(match legal.contact.as_str() {
        "" => format!("{neutral}\n").into_bytes(),
        contact => format!("{neutral}\nContact: {contact}\n").into_bytes(),
    })
}

/// The start of a file; none when there is no such file.
async fn read(path: &Path) -> Option<Vec<u8>> {
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "a legal text cannot be read");
            }
            return None;
        }
    };
    let mut text = Vec::new();
    match file.take(MAX_BYTES).read_to_end(&mut text).await {
        Ok(_) => Some(text),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a legal text cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::http::testing::TestApi;

    const NAMES: [&str; 3] = ["/privacy.txt", "/terms.txt", "/vdp.txt"];

    #[tokio::test]
    async fn without_settings_the_words_are_neutral() {
        let api = TestApi::new();
        for name in NAMES {
            let answer = api.get(name).await;
            assert_eq!(answer.status, 200, "{name}");
            assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
            assert!(answer.text.ends_with(".\n") && !answer.text.contains("Contact"), "{}", answer.text);
        }
        let mut config = TestApi::config();
        config.legal.contact = "ada@hill.example".into();
        let answer = TestApi::with_config(config).get("/terms.txt").await;
        let expected = "This server has published no terms of use.\nContact: ada@hill.example\n";
        assert_eq!(answer.text, expected);
    }

    #[tokio::test]
    async fn a_file_comes_before_a_link() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("terms.txt"), "Be kind. ü\n").unwrap();
        let mut config = TestApi::config();
        config.legal.dir = folder.path().to_owned();
        config.legal.base_url = "https://hill.example/legal/".into();
        let api = TestApi::with_config(config);
        let answer = api.get("/terms.txt").await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "Be kind. ü\n"));
        let answer = api.get("/privacy.txt").await;
        assert_eq!(answer.status, 303);
        assert_eq!(answer.headers["location"], "https://hill.example/legal/privacy.txt");
    }

    #[tokio::test]
    async fn a_long_text_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("vdp.txt"), "x".repeat((1 << 20) + 5)).unwrap();
        let mut config = TestApi::config();
        config.legal.dir = folder.path().to_owned();
        assert_eq!(TestApi::with_config(config).get("/vdp.txt").await.bytes.len(), 1 << 20);
    }
}
