//! Settled contracts counted by day. One way of counting, used to follow the archive and to count it again.
//!
//! Bytes and revenue belong to the day a contract was closed, the contract itself and its clients to the day it was
//! made. The provider is the end whose network earns, in either direction; a contract that nobody pays for has none.

use std::collections::HashMap;

use super::record::{Hours, PEER_DAYS, PROVIDER_DAYS, PeerDay, ProviderDay, ProviderHour, TRANSFER_DAYS, TransferDay};
use crate::domain::contract::record::{ContractRecord, Party, Settled};
use crate::ids::ClientId;
use crate::store::table::{Table, TableKey, TableValue};
use crate::store::{Key, Store, StoreError};
use crate::time::Timestamp;

/// A write to be committed.
pub(super) type Write = (Key, Option<bytes::Bytes>);

/// What some contracts add to the stored days.
#[derive(Clone, Debug, Default)]
pub(super) struct Rollup {
    pub(super) providers: HashMap<(u32, ClientId), Hours<ProviderHour>>,
    pub(super) peers: HashMap<(u32, ClientId, ClientId), PeerDay>,
    pub(super) transfers: HashMap<u32, TransferDay>,
}

/// The provider of a contract and the client it carried for; none when nobody pays.
pub(super) fn parties(contract: &ContractRecord) -> Option<(ClientId, ClientId)> {
    contract.payer?;
    let (source, destination) = contract.pair();
    Some(match contract.payee_party() {
        Party::Source => (source, destination),
        Party::Destination => (destination, source),
    })
}

/// The bit of an hour in a mask of a day's hours.
pub(super) fn hour_bit(at: Timestamp) -> u32 {
    1 << (at.hour_number() % 24)
}

impl Rollup {
    /// Counts one contract.
    pub(super) fn add(&mut self, settled: &Settled) {
        self.add_on(settled, |_| true);
    }

    /// Counts one contract as far as it concerns these days.
    pub(super) fn add_on(&mut self, settled: &Settled, is_wanted: impl Fn(u32) -> bool) {
        let (made, closed) = (settled.contract.create_time, settled.close_time);
        let (made_day, closed_day) = (made.day_number(), closed.day_number());
        if is_wanted(closed_day) {
            let transfer = TransferDay { bytes: settled.used_bytes, contracts: 1 };
            self.transfers.entry(closed_day).or_default().add(&transfer);
        }
        let Some((provider, other)) = parties(&settled.contract) else { return };
        if is_wanted(made_day) {
            let hour = self.providers.entry((made_day, provider)).or_default().at(made.hour_number());
            hour.contracts = hour.contracts.saturating_add(1);
            self.peers.entry((made_day, provider, other)).or_default().made_in |= hour_bit(made);
        }
        let revenue = settled.payouts.iter().fold(0i64, |sum, payout| sum.saturating_add(payout.revenue));
        if is_wanted(closed_day) && settled.used_bytes > 0 {
            let hour = self.providers.entry((closed_day, provider)).or_default().at(closed.hour_number());
            hour.bytes = hour.bytes.saturating_add(settled.used_bytes);
            hour.revenue = hour.revenue.saturating_add(revenue);
            let peer = self.peers.entry((closed_day, provider, other)).or_default();
            let bytes = peer.bytes.at(closed.hour_number());
            *bytes = bytes.saturating_add(settled.used_bytes);
        }
    }

    /// How many rows it touches.
    pub(super) fn row_count(&self) -> usize {
        self.providers.len() + self.peers.len() + self.transfers.len()
    }

    /// The rows after adding this to those that are stored.
    pub(super) fn merge(&self, store: &dyn Store) -> Result<Vec<Write>, StoreError> {
        let mut writes = Vec::with_capacity(self.row_count());
        let mut new_clients: HashMap<(u32, ClientId), u32> = HashMap::new();
        for (key, more) in &self.peers {
            let mut day = PEER_DAYS.get(store, key)?.unwrap_or_default();
            if day.made_in == 0 && more.made_in != 0 {
                *new_clients.entry((key.0, key.1)).or_default() += 1;
            }
            day.add(more);
            writes.push(row(&PEER_DAYS, key, &day));
        }
        // Every peer comes with its provider, so no new client is left over.
        for (key, more) in &self.providers {
            let mut day = PROVIDER_DAYS.get(store, key)?.unwrap_or_default();
            day.add_hours(more);
            day.clients += new_clients.get(key).copied().unwrap_or(0);
            writes.push(row(&PROVIDER_DAYS, key, &day));
        }
        for (key, more) in &self.transfers {
            let mut day = TRANSFER_DAYS.get(store, key)?.unwrap_or_default();
            day.add(more);
            writes.push(row(&TRANSFER_DAYS, key, &day));
        }
        Ok(writes)
    }

    /// The provider rows of a rollup that nothing was stored before.
    pub(super) fn provider_days(&self) -> HashMap<(u32, ClientId), ProviderDay> {
        let mut days: HashMap<(u32, ClientId), ProviderDay> = self
            .providers
            .iter()
            .map(|(key, hours)| (*key, ProviderDay { hours: hours.clone(), clients: 0 }))
            .collect();
        for ((day, provider, _), peer) in &self.peers {
            if peer.made_in != 0 {
                days.entry((*day, *provider)).or_default().clients += 1;
            }
        }
        days
    }
}

/// A row to write.
pub(super) fn row<K: TableKey, V: TableValue>(table: &Table<K, V>, key: &K, value: &V) -> Write {
    (table.key(key), Some(value.encode().into()))
}
