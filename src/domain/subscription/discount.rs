//! What is taken off a price for having brought others, and for having been brought.

use crate::domain::error::DomainError;
use crate::domain::network::{NETWORKS, REFERRALS};
use crate::domain::operation::{Operation, Tx};
use crate::ids::NetworkId;

use super::record::SUBSCRIBERS;

/// Percent for each network that was brought here and has a plan, and for having been brought.
pub const PERCENT_EACH: u8 = 10;

/// A cent in 10⁻⁹ USD.
const CENT: i128 = 10_000_000;

/// Most that is taken off.
const MAX_PERCENT: u8 = 100;

/// The discount of a network in percent.
pub(super) fn percent(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<u8, DomainError> {
    let mut percent: u8 = 0;
    let network = tx.get(&NETWORKS, network_id)?;
    if let Some(parent_id) = network.and_then(|network| network.referred_by)
        && tx.get(&NETWORKS, &parent_id)?.is_some()
    {
        percent += PERCENT_EACH;
    }
    // A moment old is new enough: somebody's sign-up must not make a payment fail.
    for ((_, child_id), ()) in tx.scan_snapshot(&REFERRALS, network_id)? {
        if percent >= MAX_PERCENT {
            break;
        }
        let Some(child) = tx.get(&NETWORKS, &child_id)? else { continue };
        let active_until = tx.get(&SUBSCRIBERS, &child.admin_user_id)?.unwrap_or_default().active_until;
        // One whose renewal is under way counts.
        if tx.now < active_until + tx.config.subscription.grace {
            percent += PERCENT_EACH;
        }
    }
    Ok(percent.min(MAX_PERCENT))
}

/// What is left of a price, in whole cents.
pub fn reduced(price: i64, percent: u8) -> i64 {
    let left = i128::from(price) * i128::from(MAX_PERCENT.saturating_sub(percent)) / i128::from(MAX_PERCENT);
    if percent == 0 { price } else { (left - left % CENT) as i64 }
}

/// The discount of a network in percent.
pub struct ReadDiscount(pub NetworkId);

impl Operation for ReadDiscount {
    type Output = u8;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<u8, DomainError> {
        percent(tx, &self.0)
    }
}
