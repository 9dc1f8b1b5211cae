//! Clients that nobody uses any more: seen, forgotten by their apps, removed, and in the end erased.
//!
//! Apps make a derived client for every way to a provider and do not always remove it; without this a device would
//! run into its limit. The time a client was last seen is kept to the day, so that a connected client costs one write
//! a day, and the first round after a start comes late enough for everyone to have connected again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{CLIENTS, ClientRecord, DERIVED_CLIENTS, NETWORK_CLIENTS, TOMBSTONES, active, remove};
use crate::config::limits::Limits;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::presence::Presence;
use crate::domain::service::Service;
use crate::ids::ClientId;
use crate::time::{DAY, Timestamp};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(3600);

/// Clients written in one transaction.
const WRITTEN_AT_ONCE: usize = 64;

/// Clients looked at before others get a turn.
const READ_AT_ONCE: usize = 1024;

/// Keeps track of who is in use, and removes who is not.
pub struct Reaper {
    service: Arc<Service>,
    presence: Arc<Presence>,
}

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Clients noted as seen.
    pub seen: usize,
    /// Idle clients removed.
    pub removed: usize,
    /// Removed clients erased.
    pub erased: usize,
}

impl Reaper {
    /// A reaper that does nothing by itself.
    pub fn new(service: Arc<Service>, presence: Arc<Presence>) -> Self {
        Self { service, presence }
    }

    /// A round every hour, the first in an hour; runs until dropped.
    pub async fn drive(&self) {
        loop {
            tokio::time::sleep(ROUND).await;
            match self.run().await {
                Ok(Reaped { removed: 0, erased: 0, .. }) => {}
                Ok(reaped) => tracing::info!(removed = reaped.removed, erased = reaped.erased, "idle clients removed"),
                Err(error) => tracing::warn!(%error, "idle clients could not be removed; the next round tries again"),
            }
        }
    }

    /// One round.
    pub async fn run(&self) -> Result<Reaped, DomainError> {
        let mut reaped = Reaped::default();
        for client_ids in self.presence.all_connected().chunks(READ_AT_ONCE) {
            let unseen = self.service.read(&Unseen { client_ids: client_ids.to_vec() })?;
            for client_ids in unseen.chunks(WRITTEN_AT_ONCE) {
                reaped.seen += self.service.run(&NoteSeen { client_ids: client_ids.to_vec() }).await?;
            }
            tokio::task::yield_now().await;
        }
        for client_ids in self.read_all(FindIdle).await?.chunks(WRITTEN_AT_ONCE) {
            let operation = RemoveIdle { presence: &self.presence, client_ids: client_ids.to_vec() };
            reaped.removed += self.service.run(&operation).await?;
        }
        for tombstones in self.read_all(FindErasable).await?.chunks(WRITTEN_AT_ONCE) {
            reaped.erased += tombstones.len();
            self.service.run(&Erase { tombstones: tombstones.to_vec() }).await?;
        }
        Ok(reaped)
    }

    /// Reads whole tables, away from the threads that serve.
    async fn read_all<O: Operation + 'static>(&self, operation: O) -> Result<O::Output, DomainError>
    where
        O::Output: 'static,
    {
        let service = Arc::clone(&self.service);
        let read = tokio::task::spawn_blocking(move || service.read(&operation));
        read.await.map_err(|_| DomainError::Unavailable)?
    }
}

/// Whether a client was used too long ago.
fn is_idle(limits: &Limits, client: &ClientRecord, now: Timestamp) -> bool {
    let patience = if client.is_top_level() { limits.client_idle } else { limits.derived_idle };
    !patience.is_zero() && now.since(client.auth_time.max(client.seen_time)) >= patience
}

/// Which of some connected clients were not noted today, with the clients they are derived from.
struct Unseen {
    client_ids: Vec<ClientId>,
}

impl Operation for Unseen {
    type Output = Vec<ClientId>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<ClientId>, DomainError> {
        let mut unseen = BTreeSet::new();
        for client_id in &self.client_ids {
            let Some(client) = active(tx, client_id)? else { continue };
            if tx.now.since(client.seen_time) >= DAY {
                unseen.insert(*client_id);
                unseen.extend(client.source_client_id);
            }
        }
        Ok(unseen.into_iter().collect())
    }
}

struct NoteSeen {
    client_ids: Vec<ClientId>,
}

impl Operation for NoteSeen {
    type Output = usize;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<usize, DomainError> {
        for client_id in &self.client_ids {
            if let Some(client) = active(tx, client_id)? {
                let seen_time = tx.now;
                tx.put(&CLIENTS, client_id, &ClientRecord { seen_time, ..client })?;
            }
        }
        Ok(self.client_ids.len())
    }
}

struct FindIdle;

impl Operation for FindIdle {
    type Output = Vec<ClientId>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<ClientId>, DomainError> {
        let limits = &tx.config.limits;
        let mut idle = Vec::new();
        let top_level = tx.scan(&NETWORK_CLIENTS, &())?.into_iter().map(|((_, client_id), ())| client_id);
        let derived = tx.scan(&DERIVED_CLIENTS, &())?.into_iter().map(|((_, client_id), ())| client_id);
        // Derived ones first: what is left of a family decides about its head.
        for client_id in derived.chain(top_level) {
            if active(tx, &client_id)?.is_some_and(|client| is_idle(limits, &client, tx.now)) {
                idle.push(client_id);
            }
        }
        Ok(idle)
    }
}

struct RemoveIdle<'p> {
    presence: &'p Presence,
    client_ids: Vec<ClientId>,
}

impl Operation for RemoveIdle<'_> {
    type Output = usize;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<usize, DomainError> {
        let mut removed = 0;
        for client_id in &self.client_ids {
            let Some(client) = active(tx, client_id)? else { continue };
            let family = tx.scan(&DERIVED_CLIENTS, client_id)?;
            let is_connected = self.presence.is_connected(*client_id)
                || family.iter().any(|((_, derived), ())| self.presence.is_connected(*derived));
            if !is_connected && is_idle(&tx.config.limits, &client, tx.now) {
                remove(tx, *client_id, client)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

struct FindErasable;

impl Operation for FindErasable {
    type Output = Vec<(u32, ClientId)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<(u32, ClientId)>, DomainError> {
        let before = tx.now.before(tx.config.limits.removed_kept).day_number();
        let tombstones = tx.scan(&TOMBSTONES, &())?.into_iter().map(|(key, ())| key);
        Ok(tombstones.take_while(|(day, _)| *day < before).collect())
    }
}

struct Erase {
    tombstones: Vec<(u32, ClientId)>,
}

impl Operation for Erase {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        for tombstone in &self.tombstones {
            tx.delete(&CLIENTS, &tombstone.1)?;
            tx.delete(&TOMBSTONES, tombstone)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::domain::client::RemoveClients;
    use crate::domain::presence::{PresenceEntry, PresenceGuard};
    use crate::domain::testing::{TestDomain, client_record, id};

    struct Fleet {
        domain: TestDomain,
        presence: Arc<Presence>,
        reaper: Reaper,
    }

    impl Fleet {
        /// Client 1, and client 2 derived from it; both authorised now.
        async fn new() -> Self {
            let domain = TestDomain::new();
            let presence = Presence::new(domain.clock.clone());
            let reaper = Reaper::new(Arc::clone(&domain.service), Arc::clone(&presence));
            let record = ClientRecord { auth_time: domain.clock.now(), ..client_record(1) };
            let derived = ClientRecord { source_client_id: Some(id(1)), ..record.clone() };
            domain.put(&CLIENTS, &id(1), &record).await;
            domain.put(&NETWORK_CLIENTS, &(id(1), id(1)), &()).await;
            domain.put(&CLIENTS, &id(2), &derived).await;
            domain.put(&DERIVED_CLIENTS, &(id(1), id(2)), &()).await;
            Self { domain, presence, reaper }
        }

        fn connect(&self, client: u8) -> PresenceGuard {
            self.presence.attach(PresenceEntry {
                connection_id: id(client),
                client_id: id(client),
                network_id: id(1),
                instance_id: id(client),
                address: IpAddr::from([203, 0, 113, 9]),
            })
        }

        async fn after_days(&self, days: u32) -> Reaped {
            self.domain.clock.advance(DAY * days);
            self.reaper.run().await.unwrap()
        }

        fn is_active(&self, client: u8) -> bool {
            self.domain.get(&CLIENTS, &id(client)).is_some_and(|client| client.active)
        }
    }

    #[tokio::test]
    async fn derived_clients_go_after_a_week_and_top_level_ones_after_a_month() {
        let fleet = Fleet::new().await;
        assert_eq!(fleet.after_days(6).await, Reaped::default());
        assert_eq!(fleet.after_days(1).await, Reaped { removed: 1, ..Reaped::default() });
        assert!(fleet.is_active(1) && !fleet.is_active(2));
        assert_eq!(fleet.after_days(22).await, Reaped::default());
        assert_eq!(fleet.after_days(1).await.removed, 1);
        assert!(!fleet.is_active(1));
    }

    #[tokio::test]
    async fn a_connected_client_keeps_itself_and_its_source_alive_at_one_write_a_day() {
        let fleet = Fleet::new().await;
        let guard = fleet.connect(2);
        assert_eq!(fleet.after_days(100).await, Reaped { seen: 2, ..Reaped::default() });
        fleet.domain.clock.advance(ROUND);
        assert_eq!(fleet.reaper.run().await.unwrap(), Reaped::default());
        drop(guard);
        assert_eq!(fleet.after_days(6).await, Reaped::default());
        assert_eq!(fleet.after_days(1).await.removed, 1);
        assert!(fleet.is_active(1));
    }

    #[tokio::test]
    async fn a_client_that_connects_between_search_and_removal_stays() {
        let fleet = Fleet::new().await;
        fleet.domain.clock.advance(DAY * 40);
        let _guard = fleet.connect(2);
        let operation = RemoveIdle { presence: &fleet.presence, client_ids: vec![id(2), id(1)] };
        assert_eq!(fleet.domain.run(&operation).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_removed_client_is_erased_after_a_month() {
        let fleet = Fleet::new().await;
        let removal = RemoveClients { network_id: id(1), client_ids: vec![id(1)] };
        fleet.domain.run(&removal).await.unwrap();
        assert_eq!(fleet.after_days(30).await, Reaped::default());
        assert!(fleet.domain.get(&CLIENTS, &id::<ClientId>(1)).is_some());
        assert_eq!(fleet.after_days(1).await.erased, 2);
        assert_eq!(fleet.domain.get(&CLIENTS, &id::<ClientId>(1)), None);
        assert_eq!(fleet.after_days(1).await, Reaped::default());
    }
}
