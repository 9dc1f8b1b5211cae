//! A server without listeners: its parts over the store, for the operator's commands while no server runs.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::host_name;
use super::parts::Parts;
use crate::config::Config;
use crate::http;
use crate::http::state::ServerStatus;
use crate::store::sled::database_file;
use crate::telemetry::metrics::Metrics;
use crate::time::Clock;

/// The parts of a server that nobody can connect to.
pub struct Offline {
    parts: Parts,
    stop: CancellationToken,
    tasks: TaskTracker,
    mail_timeout: Duration,
}

impl Offline {
    /// Opens the store that the settings name. One that does not exist is not made: the folder is more likely a
    /// mistake than new.
    pub async fn open(config: Arc<Config>) -> anyhow::Result<Self> {
        let folder = &config.store.path;
        let database = database_file(folder);
        let owner = match std::fs::metadata(&database) {
            Ok(found) => found.uid(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
                "{} holds no data of a server; name the folder with --data or store.path, or make one with `warren serve`",
                folder.display()
            ),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", database.display())),
        };
        refuse_strangers(folder, owner, own_user()?)?;
        let status = Arc::new(ServerStatus::new(host_name()));
        status.set_failure(Some("no server runs".into()));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let parts = Parts::open(&config, Clock::system(), &status, &Metrics::new(), (&stop, &tasks)).await?;
        Ok(Self { parts, stop, tasks, mail_timeout: config.http.drain_timeout })
    }

    /// What answers the operator.
    pub fn router(&self) -> Router {
        http::admin::router(self.parts.api.clone())
    }

    /// Finishes what was begun and closes the store.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.parts.ledger.shutdown().await;
        self.parts.close(self.mail_timeout).await;
    }
}

/// Files that another user writes into the folder, root included, are files that the server cannot open later.
fn refuse_strangers(folder: &Path, owner: u32, user: u32) -> anyhow::Result<()> {
    if owner != user {
        bail!(
            "no server runs, and the data in {} belong to user {owner}; run this as that user, as with `sudo -u '#{owner}'`",
            folder.display()
        );
    }
    Ok(())
}

/// The user of this process.
fn own_user() -> anyhow::Result<u32> {
    let (left, _right) = tokio::net::UnixStream::pair()?;
    Ok(left.peer_cred()?.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_of_the_data_opens_them() {
        let folder = Path::new("/srv/warren");
        assert!(refuse_strangers(folder, 1000, 1000).is_ok());
        for user in [0, 1001] {
            let text = refuse_strangers(folder, 1000, user).unwrap_err().to_string();
            assert!(text.contains("/srv/warren") && text.contains("sudo -u '#1000'"), "{text}");
        }
    }
}
