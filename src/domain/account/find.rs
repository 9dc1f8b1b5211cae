//! Looking networks up: by what an operator calls them, and all of them in pages.

use super::name::{NETWORK_NAMES, normalise};
use crate::domain::error::DomainError;
use crate::domain::network::{NETWORKS, NetworkRecord};
use crate::domain::operation::{Operation, Tx};
use crate::ids::NetworkId;

/// Finds a network by its id or by its name.
pub struct FindNetwork<'a> {
    /// Id or name, as typed.
    pub named: &'a str,
}

impl Operation for FindNetwork<'_> {
    type Output = Option<(NetworkId, NetworkRecord)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        // A name may look like an id; ids come first, since there is another way to write the network of such a name.
        if let Ok(network_id) = self.named.parse()
            && let Some(network) = tx.get(&NETWORKS, &network_id)?
        {
            return Ok(Some((network_id, network)));
        }
        let Some(name) = normalise(self.named, 1) else { return Ok(None) };
        let Some(holder) = tx.get(&NETWORK_NAMES, &name)? else { return Ok(None) };
        // A name that rests still leads to the network that gave it up.
        let network = tx.get(&NETWORKS, &holder.network_id)?.filter(|network| network.name == name);
        Ok(network.map(|network| (holder.network_id, network)))
    }
}

/// A page of all networks, oldest first.
pub struct PageNetworks {
    /// Only those behind this one.
    pub after: Option<NetworkId>,
    /// Most to give.
    pub count: usize,
}

impl Operation for PageNetworks {
    type Output = Vec<(NetworkId, NetworkRecord)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        Ok(tx.page_snapshot(&NETWORKS, self.after.as_ref(), self.count)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::name::NameRecord;
    use crate::domain::testing::{TestDomain, id};
    use crate::time::Timestamp;

    async fn network(domain: &TestDomain, byte: u8, name: &str) {
        let record = NetworkRecord {
            name: name.into(),
            admin_user_id: id(byte),
            create_time: Timestamp::ZERO,
            referral_code: String::new(),
            referred_by: None,
            former_names: Vec::new(),
        };
        domain.put(&NETWORKS, &id(byte), &record).await;
        domain.put(&NETWORK_NAMES, &name.into(), &NameRecord { network_id: id(byte), reserved_until: None }).await;
    }

    fn found(domain: &TestDomain, named: &str) -> Option<NetworkId> {
        domain.service.read(&FindNetwork { named }).unwrap().map(|(id, _)| id)
    }

    #[tokio::test]
    async fn a_network_is_found_by_id_and_by_name_but_not_by_a_name_it_gave_up() {
        let domain = TestDomain::new();
        network(&domain, 1, "hilltop-lab").await;
        let resting = NameRecord { network_id: id(1), reserved_until: Some(Timestamp::from_secs(2_000_000_000)) };
        domain.put(&NETWORK_NAMES, &"old-lab".into(), &resting).await;
        // A name of 32 hexadecimal digits that is nobody's id.
        network(&domain, 2, &"ab".repeat(16)).await;
        assert_eq!(found(&domain, &id::<NetworkId>(1).to_string()), Some(id(1)));
        assert_eq!(found(&domain, " Hilltop Lab"), Some(id(1)));
        assert_eq!(found(&domain, &"ab".repeat(16)), Some(id(2)));
        for unknown in ["old-lab", "nobody", "", "no/name", &id::<NetworkId>(9).to_string()] {
            assert_eq!(found(&domain, unknown), None, "{unknown}");
        }
    }

    #[tokio::test]
    async fn pages_hold_every_network_once() {
        let domain = TestDomain::new();
        for byte in 1..=5 {
            network(&domain, byte, &format!("network-{byte}")).await;
        }
        let (mut seen, mut after) = (Vec::<NetworkId>::new(), None);
        loop {
            let page = domain.service.read(&PageNetworks { after, count: 2 }).unwrap();
            assert!(page.len() <= 2);
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            seen.extend(page.iter().map(|(id, _)| *id));
        }
        assert_eq!(seen, (1..=5).map(id).collect::<Vec<_>>());
    }
}
