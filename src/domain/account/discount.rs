//! What referrals are worth at the account website.

use super::referral::REFERRALS;
use crate::domain::error::DomainError;
use crate::domain::network::{self, NETWORKS};
use crate::domain::operation::{Operation, Tx};
use crate::ids::NetworkId;

/// Percent for each active referral, and for having come by one.
const PERCENT: u32 = 10;
/// Referrals that are looked at: ten are worth everything.
const LOOKED_AT: usize = 1000;

/// Reads the discount of a network in percent: 10 for each network it brought that is Pro, 10 for having been brought.
#[derive(Clone, Copy, Debug)]
pub struct ReadDiscount(
    /// The network.
    pub NetworkId,
);

impl Operation for ReadDiscount {
    type Output = u32;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<u32, DomainError> {
        percent(tx, &self.0)
    }
}

/// The discount of a network in percent, at most 100.
pub fn percent(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<u32, DomainError> {
    let own = tx.get(&NETWORKS, network_id)?.ok_or(DomainError::Unauthorized)?;
    let mut percent = if own.referred_by.is_some() { PERCENT } else { 0 };
    for ((_, brought), ()) in tx.scan_snapshot(&REFERRALS, network_id)?.into_iter().take(LOOKED_AT) {
        if percent >= 100 {
            break;
        }
        if network::is_pro(tx, &brought)? {
            percent += PERCENT;
        }
    }
    Ok(percent.min(100))
}
