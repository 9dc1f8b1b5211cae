//! What wallets need done in time, whether or not anybody asks.

use std::sync::Arc;
use std::time::Duration;

use super::challenge::{DueChallenges, MeetDeadline};
use crate::domain::error::DomainError;
use crate::domain::service::Service;

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(30);

/// Lets pending transfers expire and forgets ended ones, a round every half minute; runs until dropped.
pub async fn drive(service: Arc<Service>) {
    loop {
        if let Err(error) = meet_deadlines(&service).await {
            tracing::warn!(%error, "old transfers could not be ended; the next round tries again");
        }
        tokio::time::sleep(ROUND).await;
    }
}

/// Does what every deadline up to now asks for; returns how many there were.
pub async fn meet_deadlines(service: &Service) -> Result<usize, DomainError> {
    let due = service.read(&DueChallenges)?;
    for deadline in &due {
        service.run(&MeetDeadline(*deadline)).await?;
    }
    Ok(due.len())
}
