//! What the ledger's neighbours must do now and then: finish sign-ups that broke off, give the day's bytes for
//! referrals.

use std::sync::Arc;
use std::time::Duration;

use super::Ledger;
use super::codes::{PENDING_CODES, PendingCode};
use super::referrals;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::service::Service;
use crate::ids::NetworkId;

/// How often there is something to do. A new referral waits no longer for its first day.
const EVERY: Duration = Duration::from_secs(3600);

/// Does what is due for as long as it is driven.
pub struct Chores {
    service: Arc<Service>,
    ledger: Arc<Ledger>,
}

impl Chores {
    /// Reads accounts through `service`, gives through `ledger`.
    pub fn new(service: Arc<Service>, ledger: Arc<Ledger>) -> Self {
        Self { service, ledger }
    }

    /// Does what is due now and then every hour; never ends.
    pub async fn drive(&self) {
        loop {
            if let Err(error) = self.once().await {
                tracing::warn!(%error, "codes of sign-ups or bytes for referrals are not given; next try in an hour");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Does what is due now.
    pub async fn once(&self) -> Result<(), DomainError> {
        // A sign-up whose caller went away at the wrong moment; after a crash the ledger does this by itself.
        for (network, pending) in self.service.read(&ReadPending)? {
            self.ledger.redeem_pending(network, pending).await?;
        }
        let granted = referrals::grant(&self.service, &self.ledger).await?;
        if granted > 0 {
            tracing::debug!(granted, "bytes for referrals");
        }
        Ok(())
    }
}

struct ReadPending;

impl Operation for ReadPending {
    type Output = Vec<(NetworkId, PendingCode)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        Ok(tx.scan_snapshot(&PENDING_CODES, &())?)
    }
}
