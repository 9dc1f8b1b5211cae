//! The statistics over a store in memory: what is counted, what survives a crash, what is told.

mod answers;
mod rollups;

use std::net::IpAddr;
use std::sync::Arc;

use super::Stats;
use crate::domain::contract::record::{
    ARCHIVE, ArchiveBlob, CONTRACTS, ContractRecord, Outcome, Payout, Settled, Side,
};
use crate::domain::location::geoip::Geography;
use crate::domain::presence::{Presence, PresenceEntry, PresenceGuard};
use crate::domain::provide::{PROVIDE_SETS, ProvideSet};
use crate::domain::provider::index::ProviderIndex;
use crate::domain::testing::{TestDomain, client_record, id};
use crate::ids::{ClientId, ContractId, NetworkId};
use crate::store::table::TableValue;
use crate::store::{Commit, Store};
use crate::time::Timestamp;
use crate::wire::messages::ProvideMode;

pub(in crate::domain::stats) const GIB: i64 = 1 << 30;

/// A server's worth of statistics that can crash.
pub(in crate::domain::stats) struct World {
    pub(in crate::domain::stats) domain: TestDomain,
    pub(in crate::domain::stats) presence: Arc<Presence>,
    pub(in crate::domain::stats) providers: Arc<ProviderIndex>,
    pub(in crate::domain::stats) stats: Arc<Stats>,
    sequence: u64,
}

impl World {
    pub(in crate::domain::stats) fn new() -> Self {
        let domain = TestDomain::new();
        let (presence, providers, stats) = open(&domain);
        Self { domain, presence, providers, stats, sequence: 0 }
    }

    /// Loses everything that is only in memory; the caller has forgotten its guards.
    pub(in crate::domain::stats) async fn crash(&mut self) {
        (self.presence, self.providers, self.stats) = open(&self.domain);
        self.stats.recover().await.unwrap();
    }

    pub(in crate::domain::stats) fn store(&self) -> &dyn Store {
        &*self.domain.store
    }

    pub(in crate::domain::stats) fn now(&self) -> Timestamp {
        self.domain.clock.now()
    }

    /// An active client of a network that provides.
    pub(in crate::domain::stats) async fn provider(&self, client: u8, network: u8, modes: &[ProvideMode]) {
        self.domain.put(&crate::domain::client::CLIENTS, &id(client), &client_record(network)).await;
        let owned = (id::<NetworkId>(network), id::<ClientId>(client));
        self.domain.put(&crate::domain::client::NETWORK_CLIENTS, &owned, &()).await;
        let mut set = ProvideSet::default();
        modes.iter().for_each(|mode| set.insert(*mode, vec![7; 32]));
        self.domain.put(&PROVIDE_SETS, &id(client), &set).await;
    }

    pub(in crate::domain::stats) fn attach(&self, client: u8, network: u8, connection: u8) -> PresenceGuard {
        self.presence.attach(PresenceEntry {
            connection_id: id(connection),
            client_id: id(client),
            network_id: id(network),
            instance_id: id(1),
            address: IpAddr::from([203, 0, 113, client]),
        })
    }

    /// What the ledger does when it settles: the archive grows at its end, and what was open is gone.
    pub(in crate::domain::stats) async fn archive(&mut self, settled: Vec<Settled>) {
        self.sequence += 1;
        let mut writes: Vec<_> = settled.iter().map(|settled| (CONTRACTS.key(&settled.contract_id), None)).collect();
        let key = (self.now().hour_number(), self.sequence);
        writes.push((ARCHIVE.key(&key), Some(ArchiveBlob(settled).encode().into())));
        self.domain.store.commit(Commit { reads: Vec::new(), writes }).await.unwrap();
    }

    /// What the ledger does when it makes a contract.
    pub(in crate::domain::stats) async fn open(&self, contract: ContractId, record: &ContractRecord) {
        self.domain.put(&CONTRACTS, &contract, record).await;
    }
}

fn open(domain: &TestDomain) -> (Arc<Presence>, Arc<ProviderIndex>, Arc<Stats>) {
    let geography = Geography::open(&domain.service.config().geoip).unwrap();
    let presence = Presence::new(domain.clock.clone());
    let providers = ProviderIndex::new(domain.service.clone(), presence.clone(), geography);
    let stats = Stats::new(domain.store.clone(), domain.service.clone(), presence.clone(), providers.clone());
    presence.follow(providers.clone());
    presence.follow(stats.clone());
    (presence, providers, stats)
}

/// The network of a client in these tests.
pub(in crate::domain::stats) fn network_of(client: u8) -> u8 {
    100 + client
}

/// A contract from one client to another. A paid one is paid by `payer`'s network.
pub(in crate::domain::stats) fn contract(
    source: u8,
    destination: u8,
    payer: Option<u8>,
    create_time: Timestamp,
) -> ContractRecord {
    let side = |client: u8| Side { client_id: id(client), network_id: id(network_of(client)) };
    ContractRecord {
        source: side(source),
        destination: side(destination),
        transfer_bytes: 8 * GIB,
        anchor: None,
        payer: payer.map(|client| id(network_of(client))),
        priority: 0,
        provide_mode: ProvideMode::Public as u8,
        create_time,
        dispute_time: None,
        escrow: Vec::new(),
        votes: [None, None],
        stream: None,
    }
}

pub(in crate::domain::stats) fn settled(
    contract_id: ContractId,
    contract: ContractRecord,
    close_time: Timestamp,
    used_bytes: i64,
    revenue: i64,
) -> Settled {
    let payouts = match contract.payer {
        Some(_) => vec![Payout { balance_id: id(1), bytes: used_bytes, revenue }],
        None => Vec::new(),
    };
    Settled { contract_id, contract, close_time, used_bytes, outcome: Outcome::Settled, payouts }
}
