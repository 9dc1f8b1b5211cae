//! The cap an owner puts on what a client provides (`/device/set-provide`).
//!
//! Secrets live on the device, so the server cannot switch a mode on; it can keep modes back. What the client has
//! registered is kept as it is, and lifting the cap restores service without a word from the device.

use serde::{Deserialize, Serialize};

use super::{ProvideSet, effective, published};
use crate::domain::client;
use crate::domain::effect::Effect;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{ClientId, NetworkId};
use crate::json_record;
use crate::store::table::Table;
use crate::wire::messages::ProvideMode;

/// The cap of each client that has one.
pub const PROVIDE_CAPS: Table<ClientId, ProvideCap> = Table::new(44, "provide_caps");

/// The number that stands for no cap.
pub const DEFAULT: i32 = -1;

/// The modes that are kept of what a client provides: a set for each value, not a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProvideCap {
    /// Nothing.
    None,
    /// Network and Stream.
    Network,
    /// Those and FriendsAndFamily.
    FriendsAndFamily,
    /// Everything.
    Public,
    /// Stream alone.
    Stream,
}
json_record!(ProvideCap, 1);

impl ProvideCap {
    /// The cap with this number; the numbers are those of the provide modes.
    pub fn from_number(number: i32) -> Option<Self> {
        match ProvideMode::try_from(number).ok()? {
            ProvideMode::None => Some(Self::None),
            ProvideMode::Network => Some(Self::Network),
            ProvideMode::FriendsAndFamily => Some(Self::FriendsAndFamily),
            ProvideMode::Public => Some(Self::Public),
            ProvideMode::Stream => Some(Self::Stream),
            ProvideMode::PublicStream => None,
        }
    }

    /// Whether it keeps a mode.
    pub fn keeps(self, mode: ProvideMode) -> bool {
        use ProvideMode::{FriendsAndFamily, Network, Stream};
        match self {
            Self::None => false,
            Self::Network => matches!(mode, Network | Stream),
            Self::FriendsAndFamily => matches!(mode, Network | Stream | FriendsAndFamily),
            Self::Public => true,
            Self::Stream => mode == Stream,
        }
    }

    /// What is left of a set.
    pub fn apply(self, mut set: ProvideSet) -> ProvideSet {
        set.retain(|mode| self.keeps(mode));
        set
    }
}

/// Sets or lifts the cap of a client.
#[derive(Clone, Copy, Debug)]
pub struct SetProvideCap {
    /// The caller's network.
    pub network_id: NetworkId,
    /// The client.
    pub client_id: ClientId,
    /// The cap; [`DEFAULT`] lifts it.
    pub number: i32,
}

/// How setting a cap ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetProvideCapOutcome {
    /// It holds from now on; open contracts run out.
    Set,
    /// Not an active client of the caller's network.
    InvalidClient,
    /// Not a cap.
    InvalidMode,
}

impl Operation for SetProvideCap {
    type Output = SetProvideCapOutcome;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<SetProvideCapOutcome, DomainError> {
        if client::active(tx, &self.client_id)?.is_none_or(|client| client.network_id != self.network_id) {
            return Ok(SetProvideCapOutcome::InvalidClient);
        }
        let cap = match self.number {
            DEFAULT => None,
            number => match ProvideCap::from_number(number) {
                None => return Ok(SetProvideCapOutcome::InvalidMode),
                cap => cap,
            },
        };
        let registered = published(tx, self.client_id)?;
        let before = effective(tx, self.client_id, registered.clone())?;
        match &cap {
            Some(cap) => tx.put(&PROVIDE_CAPS, &self.client_id, cap)?,
            None => tx.delete(&PROVIDE_CAPS, &self.client_id)?,
        }
        if before.modes() != effective(tx, self.client_id, registered)?.modes() {
            tx.effect(Effect::ClientChanged(self.network_id, self.client_id));
        }
        Ok(SetProvideCapOutcome::Set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::client::{CLIENTS, RemoveClients};
    use crate::domain::provide::{PROVIDE_SETS, RegisterProvide, provide_set};
    use crate::domain::testing::{TestDomain, client_record, id};

    const ALL: [ProvideMode; 4] =
        [ProvideMode::Network, ProvideMode::FriendsAndFamily, ProvideMode::Public, ProvideMode::Stream];

    struct Effective(ClientId);

    impl Operation for Effective {
        type Output = Vec<ProvideMode>;
        fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
            Ok(provide_set(tx, self.0)?.modes())
        }
    }

    fn set(modes: &[ProvideMode]) -> ProvideSet {
        let mut set = ProvideSet::default();
        modes.iter().for_each(|mode| set.insert(*mode, vec![1; 32]));
        set
    }

    async fn provider(modes: &[ProvideMode]) -> TestDomain {
        let domain = TestDomain::new();
        domain.put(&CLIENTS, &id(1), &client_record(2)).await;
        let register = RegisterProvide { network_id: id(2), client_id: id(1), set: set(modes) };
        domain.run(&register).await.unwrap();
        domain.take_effects();
        domain
    }

    async fn cap(domain: &TestDomain, number: i32) -> SetProvideCapOutcome {
        domain.run(&SetProvideCap { network_id: id(2), client_id: id(1), number }).await.unwrap()
    }

    #[tokio::test]
    async fn each_cap_keeps_its_set() {
        use ProvideMode::{FriendsAndFamily, Network, Public, Stream};
        let domain = provider(&ALL).await;
        let cases: [(i32, &[ProvideMode]); 6] = [
            (0, &[]),
            (1, &[Network, Stream]),
            (2, &[Network, FriendsAndFamily, Stream]),
            (3, &[Network, FriendsAndFamily, Public, Stream]),
            (4, &[Stream]),
            (-1, &[Network, FriendsAndFamily, Public, Stream]),
        ];
        for (number, kept) in cases {
            assert_eq!(cap(&domain, number).await, SetProvideCapOutcome::Set);
            assert_eq!(domain.run(&Effective(id(1))).await.unwrap(), kept, "cap {number}");
        }
        for number in [-2, 5, 7, i32::MAX] {
            assert_eq!(cap(&domain, number).await, SetProvideCapOutcome::InvalidMode, "{number}");
        }
    }

    #[tokio::test]
    async fn a_cap_switches_nothing_on_and_outlives_a_registration() {
        let domain = provider(&[ProvideMode::Network]).await;
        cap(&domain, 3).await;
        assert_eq!(domain.run(&Effective(id(1))).await.unwrap(), [ProvideMode::Network]);
        assert_eq!(domain.take_effects(), [], "nothing has changed for others");
        cap(&domain, 1).await;
        let register = RegisterProvide { network_id: id(2), client_id: id(1), set: set(&ALL) };
        let change = domain.run(&register).await.unwrap();
        assert!(change.modes && !change.public, "others see Stream come, but not Public");
        assert_eq!(domain.run(&Effective(id(1))).await.unwrap(), [ProvideMode::Network, ProvideMode::Stream]);
        assert_eq!(domain.get(&PROVIDE_SETS, &id(1)), Some(set(&ALL)), "what the device registered is kept");
    }

    #[tokio::test]
    async fn others_are_told_and_strangers_are_refused() {
        let domain = provider(&ALL).await;
        cap(&domain, 0).await;
        assert_eq!(domain.take_effects(), [Effect::ClientChanged(id(2), id(1))]);
        let stranger = SetProvideCap { network_id: id(3), client_id: id(1), number: -1 };
        assert_eq!(domain.run(&stranger).await.unwrap(), SetProvideCapOutcome::InvalidClient);
        assert_eq!(domain.run(&Effective(id(1))).await.unwrap(), []);
    }

    #[tokio::test]
    async fn the_cap_goes_with_its_client() {
        let domain = provider(&ALL).await;
        cap(&domain, 0).await;
        domain.run(&RemoveClients { network_id: id(2), client_ids: vec![id(1)] }).await.unwrap();
        assert_eq!(domain.get(&PROVIDE_CAPS, &id(1)), None);
    }
}
