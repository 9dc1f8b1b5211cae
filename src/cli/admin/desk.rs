//! Where the operator's commands are answered: by the running server, or in this process over the store.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::config::Config;
use crate::http::admin::Command;
use crate::http::admin::status::ShowStatus;
use crate::http::error::ErrorResult;
use crate::server::local::{COMMAND_TIMEOUT, socket_path};
use crate::server::offline::Offline;
use crate::store::StoreError;

/// Time for a server that works to say so.
const PATIENCE: Duration = Duration::from_secs(5);

/// Largest answer.
const ANSWER_BYTES: usize = 64 << 20;

/// Takes commands, and shows their answers.
pub struct Desk {
    door: Door,
    is_json: bool,
}

enum Door {
    /// The socket of a running server.
    Server(PathBuf),
    /// The store, opened by this process.
    Store(Box<Offline>),
}

impl Desk {
    /// Finds the running server, or opens the store.
    pub async fn open(config: Arc<Config>, is_json: bool) -> anyhow::Result<Self> {
        let socket = socket_path(&config.store.path);
        let door = match UnixStream::connect(&socket).await {
            Ok(_) => Door::Server(socket),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                Door::Store(Box::new(open_store(config, &socket).await?))
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                bail!("{} is closed to this user; run this as the user of the server, or as root", socket.display())
            }
            // A path that is too long for a socket has none.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                Door::Store(Box::new(open_store(config, &socket).await?))
            }
            Err(error) => return Err(error).with_context(|| format!("{} cannot be opened", socket.display())),
        };
        let desk = Self { door, is_json };
        if let Door::Server(socket) = &desk.door {
            // A server that hangs would otherwise keep the operator waiting for as long as a command may take.
            match timeout(PATIENCE, desk.ask(&ShowStatus {})).await {
                Ok(answer) => drop(answer?),
                Err(_) => bail!(
                    "the server does not answer on {} within {PATIENCE:?}; look at its log, or stop it and try again",
                    socket.display()
                ),
            }
        }
        Ok(desk)
    }

    /// Runs a command and prints its answer: as JSON when that is asked for, else as `show` puts it.
    pub async fn run<C: Command>(&self, command: C, show: impl FnOnce(&C::Answer) -> String) -> anyhow::Result<()> {
        let answer = self.ask(&command).await?;
        let text = match self.is_json {
            true => serde_json::to_string(&answer)?,
            false => show(&answer),
        };
        writeln!(std::io::stdout(), "{text}").context("the answer cannot be printed")
    }

    /// Lets go of the store.
    pub async fn close(self) {
        if let Door::Store(offline) = self.door {
            offline.close().await;
        }
    }

    /// Runs a command and gives its answer.
    pub async fn ask<C: Command>(&self, command: &C) -> anyhow::Result<C::Answer> {
        let request = Request::post(C::PATH)
            .header(header::HOST, "warren")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(serde_json::to_vec(command)?))?;
        let (status, body) = match &self.door {
            Door::Server(socket) => timeout(COMMAND_TIMEOUT, ask_server(socket, request))
                .await
                .unwrap_or_else(|_| bail!("the command took longer than {COMMAND_TIMEOUT:?}"))
                .with_context(|| format!("the server did not answer on {}", socket.display()))?,
            Door::Store(offline) => {
                let Ok(response) = offline.router().oneshot(request).await;
                let (parts, body) = response.into_parts();
                (parts.status, body.collect().await?.to_bytes())
            }
        };
        if status != StatusCode::OK {
            match serde_json::from_slice::<ErrorResult>(&body) {
                Ok(refusal) => bail!(refusal.error.message),
                Err(_) => bail!("the server refused with status {status}; look at its log"),
            }
        }
        serde_json::from_slice(&body)
            .context("the answer cannot be read; use the release of warren that the server runs")
    }
}

async fn ask_server(socket: &Path, request: Request<Body>) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
    connection.abort();
    Ok((parts.status, body))
}

async fn open_store(config: Arc<Config>, socket: &Path) -> anyhow::Result<Offline> {
    Offline::open(config).await.map_err(|error| match error.downcast_ref::<StoreError>() {
        Some(StoreError::InUse(folder)) => anyhow::anyhow!(
            "the data folder {} is in use by a process that does not answer on {}; if it is just starting or stopping try \
             again, else stop it",
            folder.display(),
            socket.display()
        ),
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    async fn refusal(folder: &Path) -> String {
        let mut config = Config::default();
        config.store.path = folder.to_owned();
        format!("{:#}", Desk::open(Arc::new(config), false).await.err().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let _silent = UnixListener::bind(socket_path(folder.path())).unwrap();
        let text = refusal(folder.path()).await;
        assert!(text.contains("does not answer on") && text.contains("admin.sock"), "{text}");
    }

    #[tokio::test]
    async fn a_server_that_hangs_up_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let hangs_up = UnixListener::bind(socket_path(folder.path())).unwrap();
        tokio::spawn(async move { while hangs_up.accept().await.is_ok() {} });
        let text = refusal(folder.path()).await;
        assert!(text.contains("did not answer on") && text.contains("admin.sock"), "{text}");
    }
}
