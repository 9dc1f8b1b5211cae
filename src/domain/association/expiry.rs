//! Adopt codes that nobody confirmed: forgotten a day after their end, so that until then their devices learn that they
//! came too late.

use std::sync::Arc;
use std::time::Duration;

use super::{ADOPT_ENDS, ASSOCIATIONS, remove};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::service::Service;
use crate::time::{DAY, Timestamp};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(3600);

/// Codes removed in one transaction.
const REMOVED_AT_ONCE: usize = 64;

/// The hour of a time, counted from 1970.
pub(super) fn hour(time: Timestamp) -> u32 {
    u32::try_from(time.as_secs() / 3600).unwrap_or(u32::MAX)
}

/// A round every hour; runs until dropped.
pub async fn drive(service: Arc<Service>) {
    loop {
        tokio::time::sleep(ROUND).await;
        if let Err(error) = run(&service).await {
            tracing::warn!(%error, "adopt codes could not be forgotten; the next round tries again");
        }
    }
}

/// One round: forgets the codes whose time came, and says how many.
pub async fn run(service: &Arc<Service>) -> Result<usize, DomainError> {
    let reading = Arc::clone(service);
    // Reads a whole table, away from the threads that serve.
    let found = tokio::task::spawn_blocking(move || reading.read(&FindEnded)).await;
    let ended = found.map_err(|_| DomainError::Unavailable)??;
    for ends in ended.chunks(REMOVED_AT_ONCE) {
        service.run(&Forget { ends }).await?;
    }
    Ok(ended.len())
}

struct FindEnded;

impl Operation for FindEnded {
    type Output = Vec<(u32, String)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<(u32, String)>, DomainError> {
        let before = hour(tx.now.before(DAY));
        let ends = tx.scan_snapshot(&ADOPT_ENDS, &())?.into_iter().map(|(key, ())| key);
        Ok(ends.take_while(|(hour, _)| *hour < before).collect())
    }
}

struct Forget<'a> {
    ends: &'a [(u32, String)],
}

impl Operation for Forget<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        for end in self.ends {
            match tx.get(&ASSOCIATIONS, &end.1)? {
                Some(association) => remove(tx, &end.1, &association)?,
                None => tx.delete(&ADOPT_ENDS, end)?,
            }
        }
        Ok(())
    }
}
