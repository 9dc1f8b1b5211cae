//! The daily bytes for links between networks: each network that came by a referral code gets them, and so does the
//! one that brought it, for each of those it brought.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Ledger;
use crate::config::contracts::ReferralPlan;
use crate::domain::error::DomainError;
use crate::domain::network::NETWORKS;
use crate::domain::operation::{Operation, Tx};
use crate::domain::service::Service;
use crate::ids::NetworkId;

/// Networks given their bytes in one step of the ledger.
const AT_ONCE: usize = 256;

/// Gives today's bytes to everyone who has a link and did not get them; says to how many. Nothing while the plan
/// grants no bytes.
pub(super) async fn grant(service: &Arc<Service>, ledger: &Ledger) -> Result<usize, DomainError> {
    let plan = &service.config().plan.referral;
    if plan.bytes.0 == 0 {
        return Ok(0);
    }
    // Every network may have to be read, so not on a thread that others wait for.
    let reader = Arc::clone(service);
    let read = tokio::task::spawn_blocking(move || reader.read(&ReadLinks));
    let links = read.await.unwrap_or(Err(DomainError::Unavailable))?;
    let mut granted = 0;
    for some in due(plan, &links).chunks(AT_ONCE) {
        granted += ledger.grant_referrals(some.to_vec()).await?;
    }
    Ok(granted)
}

/// A network that was brought by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    network_id: NetworkId,
    referred_by: NetworkId,
}

struct ReadLinks;

impl Operation for ReadLinks {
    type Output = Vec<Link>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Link>, DomainError> {
        let networks = tx.scan_snapshot(&NETWORKS, &())?;
        let known: HashSet<_> = networks.iter().map(|(id, _)| *id).collect();
        let links = networks.into_iter().filter_map(|(network_id, network)| {
            let referred_by = network.referred_by.filter(|by| known.contains(by))?;
            Some(Link { network_id, referred_by })
        });
        Ok(links.collect())
    }
}

/// What each network is due for its links.
fn due(plan: &ReferralPlan, links: &[Link]) -> Vec<(NetworkId, i64)> {
    let mut brought: HashMap<NetworkId, u32> = HashMap::new();
    let mut counts: HashMap<NetworkId, u64> = HashMap::new();
    for link in links {
        *counts.entry(link.network_id).or_default() += 1;
        let of_parent = brought.entry(link.referred_by).or_default();
        if *of_parent < plan.max {
            *of_parent += 1;
            *counts.entry(link.referred_by).or_default() += 1;
        }
    }
    let bytes = |count: u64| i64::try_from(plan.bytes.0.saturating_mul(count)).unwrap_or(i64::MAX);
    let mut due: Vec<_> = counts.into_iter().map(|(network, count)| (network, bytes(count))).collect();
    due.sort_unstable();
    due
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::ByteSize;
    use crate::domain::testing::id;

    #[test]
    fn either_end_of_a_link_gets_the_bytes_and_the_parent_up_to_a_bound() {
        let plan = ReferralPlan { bytes: ByteSize(10), max: 2 };
        let link = |network, by| Link { network_id: id(network), referred_by: id(by) };
        let links = [link(2, 1), link(3, 1), link(4, 1), link(1, 9)];
        let expected = [(id(1), 30), (id(2), 10), (id(3), 10), (id(4), 10), (id(9), 10)];
        assert_eq!(due(&plan, &links), expected);
    }
}
