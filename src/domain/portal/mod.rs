//! What the account website does and keeps beyond accounts themselves: proofs of mail addresses, signing in, passwords,
//! letters, and who wants none. `account` uses it to make accounts; sessions are in `auth`.

use std::sync::Arc;
use std::time::Duration;

use super::service::Service;

pub mod confirmation;
pub mod mail;
pub mod opt_out;
pub mod password;
pub mod profile;
pub mod report;
pub mod sign_in;

/// How often what has run out is deleted.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// Deletes sessions and codes that have run out, for ever.
pub async fn drive(service: Arc<Service>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        if let Err(error) = sweep(&service).await {
            tracing::warn!(%error, "what has run out at the portal could not be deleted");
        }
    }
}

async fn sweep(service: &Service) -> Result<(), super::error::DomainError> {
    let mut after = None;
    loop {
        after = service.run(&super::auth::web_session::Sweep { after }).await?;
        if after.is_none() {
            break;
        }
    }
    loop {
        after = service.run(&confirmation::Sweep { after }).await?;
        if after.is_none() {
            return Ok(());
        }
    }
}
