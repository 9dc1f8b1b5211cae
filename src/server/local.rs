//! The operator's door: a socket in the data folder, on which the server answers `warren admin`.
//!
//! Only the server's own user and root get in: the file has mode 0600 in a folder of mode 0700, and the system says who
//! is at the other end. A connection carries one request.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Body;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Name of the socket in the data folder.
const NAME: &str = "admin.sock";

/// Connections at once; more are closed as they come.
const MAX_CONNECTIONS: usize = 32;

/// Largest head of a request.
const HEAD_BYTES: usize = 16 * 1024;

/// Time for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for one command, its answer included.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);

/// Rest after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the socket of a data folder is.
pub fn socket_path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// The open socket; its file goes with it.
pub struct LocalListener {
    socket: UnixListener,
    path: PathBuf,
    /// Who runs this server.
    owner: u32,
}

impl LocalListener {
    /// Opens the socket of a data folder. The caller holds the folder's store, so a socket that is there was left by an
    /// earlier run, unless something answers on it.
    pub fn bind(folder: &Path) -> anyhow::Result<Self> {
        let path = socket_path(folder);
        remove_stale(&path)?;
        let socket = UnixListener::bind(&path).with_context(|| format!("{} cannot be opened", path.display()))?;
        let attempt = || {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
            std::fs::metadata(&path)
        };
        let owner = attempt().with_context(|| format!("{} cannot be made private", path.display()))?.uid();
        Ok(Self { socket, path, owner })
    }

    /// Answers until `stop`; the file goes at once, requests that have begun get to end. Connections run as tasks of
    /// `tasks`.
    pub async fn run(self, router: Router, stop: CancellationToken, tasks: TaskTracker) {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "an operator's connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match stream.peer_cred() {
                Ok(peer) if may_enter(peer.uid(), self.owner) => {}
                peer => {
                    let user = peer.map(|peer| peer.uid()).ok();
                    tracing::warn!(user, "an operator's connection of another user was refused");
                    continue;
                }
            }
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                tracing::warn!("too many operator's connections at once");
                continue;
            };
            tasks.spawn(serve(stream, router.clone(), stop.clone(), permit));
        }
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        // A file that is gone already, or stays, is replaced by the next server.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether a user may command a server that `owner` runs.
fn may_enter(user: u32, owner: u32) -> bool {
    user == owner || user == 0
}

fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.with_context(|| format!("{} cannot be looked at", path.display()))?.file_type(),
    };
    if !kind.is_socket() {
        bail!("{} is no socket; move it away", path.display());
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("another process answers on {}; stop it", path.display());
    }
    std::fs::remove_file(path).with_context(|| format!("{} of an earlier run cannot be removed", path.display()))
}

async fn serve(stream: UnixStream, router: Router, stop: CancellationToken, permit: OwnedSemaphorePermit) {
    let service = service_fn(|request: hyper::Request<_>| router.clone().oneshot(request.map(Body::new)));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let work = async {
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    };
    match timeout(COMMAND_TIMEOUT, work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an operator's connection broke"),
        Err(_) => tracing::warn!("an operator's connection took too long"),
    }
    drop(permit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_user_and_root_enter_and_nobody_else() {
        assert!(may_enter(1000, 1000) && may_enter(0, 1000) && may_enter(0, 0));
        assert!(!may_enter(1001, 1000) && !may_enter(1000, 0));
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = socket_path(folder.path());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = LocalListener::bind(folder.path()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_that_answers_and_a_file_that_is_none_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = socket_path(folder.path());
        let living = LocalListener::bind(folder.path()).unwrap();
        let text = format!("{:#}", LocalListener::bind(folder.path()).err().unwrap());
        assert!(text.contains("answers on") && text.contains(path.to_str().unwrap()), "{text}");
        drop(living);
        std::fs::write(&path, "notes").unwrap();
        assert!(LocalListener::bind(folder.path()).err().unwrap().to_string().contains("is no socket"));
        assert_eq!(std::fs::read(&path).unwrap(), b"notes");
    }
}
