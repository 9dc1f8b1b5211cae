//! The ledger as its callers see it, and its state machine against tables and a plain model.

mod codes;
mod companions;
mod disputes;
mod grants;
mod ledger;
mod model;
mod money;
mod payouts;
mod reference;
mod rules;
mod streams;
mod sweeper;
mod votes;

use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use super::Ledger;
use super::close::Report;
use super::create::{NewContract, Payment};
use super::record::{Balance, Credit, Side};
use super::state::State;
use crate::config::Config;
use crate::config::contracts::Grant;
use crate::config::units::ByteSize;
use crate::domain::client::CLIENTS;
use crate::domain::error::DomainError;
use crate::domain::provide::{PROVIDE_SETS, ProvideSet};
use crate::domain::testing::{TestDomain, client_record, id};
use crate::ids::{BalanceId, ClientId, ContractId, NetworkId};
use crate::store::{Store, Version};
use crate::time::Timestamp;
use crate::wire::messages::{CloseContract, Contract, ContractError, CreateContract, ProvideMode, StoredContract};

pub(super) const MIB: i64 = 1 << 20;

/// A consumer and a second client of the same network.
pub(super) const CONSUMER: u8 = 1;
pub(super) const SIBLING: u8 = 2;
/// A provider of another network.
pub(super) const PROVIDER: u8 = 3;

/// A ledger over three clients in two networks.
pub(super) struct World {
    pub(super) domain: TestDomain,
    pub(super) ledger: Arc<Ledger>,
}

impl World {
    /// Every client provides every mode; the free grant is `free` bytes a day.
    pub(super) async fn new(free: i64) -> Self {
        let mut config = Config::default();
        config.plan.free.bytes = Grant::Bytes(ByteSize(free as u64));
        Self::with_config(config).await
    }

    pub(super) async fn with_config(config: Config) -> Self {
        let domain = TestDomain::with_config(config);
        for client in [CONSUMER, SIBLING, PROVIDER] {
            domain.put(&CLIENTS, &id(client), &client_record(network_of(client))).await;
        }
        let world = Self { ledger: open(&domain), domain };
        for client in [CONSUMER, SIBLING, PROVIDER] {
            world.provide(client, &[ProvideMode::Network, ProvideMode::Public, ProvideMode::Stream]).await;
        }
        world
    }

    pub(super) async fn provide(&self, client: u8, modes: &[ProvideMode]) {
        let mut set = ProvideSet::default();
        for mode in modes {
            set.insert(*mode, secret(client, *mode));
        }
        self.domain.put(&PROVIDE_SETS, &id(client), &set).await;
    }

    /// Stops the ledger and opens it again over the same rows.
    pub(super) async fn reopen(&mut self) {
        self.ledger.shutdown().await;
        self.ledger = open(&self.domain);
    }

    pub(super) async fn create(&self, source: u8, destination: u8, companion: bool) -> Result<Made, ContractError> {
        self.ledger.create(id(source), &request(destination, companion)).await.map(Made::new)
    }

    pub(super) async fn close(&self, party: u8, contract: ContractId, acked: i64) {
        self.ledger.close(id(party), &close(contract, acked as u64, false)).await.unwrap();
    }

    pub(super) async fn available(&self, client: u8) -> i64 {
        self.ledger.balance(id(network_of(client))).await.unwrap().available_bytes
    }

    /// Which commit wrote every row that begins so.
    pub(super) fn commit_of(&self, prefix: Vec<u8>) -> Option<Version> {
        let rows = self.domain.store.scan(&prefix, None, 1000).unwrap();
        let first = rows.first().map(|(_, row)| row.version);
        first.filter(|version| rows.iter().all(|(_, row)| row.version == *version))
    }

    pub(super) async fn provided(&self, client: u8) -> i64 {
        self.ledger.balance(id(network_of(client))).await.unwrap().provided_bytes
    }
}

impl Ledger {
    /// Gives a network a balance that is usable from `start` until just before `end`, with no key that would keep it
    /// from being given twice. `None` for one of no bytes, which is not made.
    pub(crate) async fn grant(
        &self,
        network: NetworkId,
        start: Timestamp,
        end: Timestamp,
        balance: Balance,
    ) -> Result<Option<BalanceId>, DomainError> {
        self.run(move |state| state.grant(network, start, end, balance)).await
    }

    /// Makes a contract that `network` pays for, of which the source has counted nothing and the destination 64 MiB.
    pub(crate) async fn dispute(&self, network: NetworkId) -> ContractId {
        let dispute = move |state: &mut State| {
            let new = NewContract {
                source: Side { client_id: client(CONSUMER), network_id: network },
                destination: Side { client_id: client(PROVIDER), network_id: id(77) },
                transfer_bytes: 64 * MIB,
                provide_mode: ProvideMode::Public,
                payment: Payment::Source,
                stream: None,
            };
            let made = state.create(&new).unwrap().contract_id;
            for (party, acked) in [(CONSUMER, 0), (PROVIDER, 64 << 20)] {
                state.close(client(party), made, Report { acked, unacked: 0, is_checkpoint: false }).unwrap();
            }
            made
        };
        self.run(dispute).await.unwrap()
    }

    /// Lets a network earn, as if it had carried something.
    pub(crate) async fn earn(&self, network: NetworkId, bytes: i64, revenue: i64) {
        let earned = Credit { provided_bytes: bytes, provided_revenue: revenue, ..Credit::default() };
        let earn = move |state: &mut State| {
            state.add_credit(network, earned);
            state.note_unpaid(network);
        };
        self.run(earn).await.unwrap();
    }
}

fn open(domain: &TestDomain) -> Arc<Ledger> {
    let store: Arc<dyn Store> = domain.store.clone();
    let config = domain.service.config().clone();
    Ledger::open(domain.service.clone(), store, domain.clock.clone(), config).unwrap()
}

pub(super) fn network_of(client: u8) -> u8 {
    if client == PROVIDER { 11 } else { 10 }
}

pub(super) fn network(client: u8) -> NetworkId {
    id(network_of(client))
}

pub(super) fn client(client: u8) -> ClientId {
    id(client)
}

pub(super) fn secret(client: u8, mode: ProvideMode) -> Vec<u8> {
    vec![client ^ (mode as u8) << 4; 32]
}

pub(super) fn request(destination: u8, companion: bool) -> CreateContract {
    CreateContract {
        destination_id: Some(client(destination).into()),
        transfer_byte_count: MIB as u64,
        companion,
        ..Default::default()
    }
}

pub(super) fn close(contract: ContractId, acked: u64, checkpoint: bool) -> CloseContract {
    CloseContract { contract_id: contract.into(), acked_byte_count: acked, unacked_byte_count: 0, checkpoint }
}

/// A contract and what is in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Made {
    pub(super) id: ContractId,
    pub(super) contract: Contract,
    pub(super) stored: StoredContract,
}

impl Made {
    fn new(contract: Contract) -> Self {
        let stored = StoredContract::decode(contract.stored_contract_bytes.clone()).unwrap();
        Self { id: ContractId::from_slice(&stored.contract_id).unwrap(), contract, stored }
    }
}
