//! Rebuilding the ledger's memory from its rows at start.

use std::cmp::Reverse;
use std::ops::ControlFlow;

use super::changes::hour;
use super::pairs::COMPANION_LINGER;
use super::record::{ARCHIVE, BALANCES, CONTRACTS, CREDITS, NETWORK_DAYS, Settled};
use super::state::{CHECK_EVERY, CLOSED_REMEMBERED, LiveContract, State};
use crate::store::table::{Table, TableKey, TableValue};
use crate::store::{Store, StoreError};

/// Rows read at once.
pub(super) const PAGE: usize = 1024;

/// Archive rows read at once; each may hold a few hundred contracts.
const ARCHIVE_PAGE: usize = 32;

impl State {
    /// Fills an empty ledger from the store. Rows written in the future of a clock that stepped back move its time.
    pub(super) fn restore(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        for_each(store, &BALANCES, None, PAGE, |key, balance| self.balances.insert(key, balance))?;
        for_each(store, &CREDITS, None, PAGE, |network, credit| {
            self.accounts.entry(network).or_default().credit = credit;
        })?;
        self.restore_grants(store)?;
        self.restore_codes(store)?;
        self.restore_payments(store)?;
        let mut contracts = Vec::new();
        for_each(store, &CONTRACTS, None, PAGE, |id, record| contracts.push((id, record)))?;
        contracts.sort_by_key(|(id, record)| (record.create_time, *id));
        for (id, record) in contracts {
            let touched = record.create_time.max(record.last_vote());
            self.advance(touched.max(record.dispute_time.unwrap_or(touched)));
            self.restore_contract(id, record);
        }
        self.restore_closed(store)?;
        let from = NETWORK_DAYS.prefix(&self.now.day_number());
        for_each(store, &NETWORK_DAYS, Some(from), PAGE, |key, credit| {
            self.days.insert(key, credit);
        })?;
        self.started = self.now;
        self.streams.expire(self.now);
        self.finish_pending(store)
    }

    fn restore_contract(&mut self, id: crate::ids::ContractId, record: super::record::ContractRecord) {
        for (balance, bytes) in &record.escrow {
            if let Some((_, bucket)) = self.balances.by_id(*balance) {
                bucket.reserved += bytes;
            }
        }
        if record.anchor.is_some() {
            let reserved: i64 = record.escrow.iter().map(|(_, bytes)| bytes).sum();
            self.pairs.entry(record.pair()).companion_reserved += reserved;
        }
        let traffic = match record.dispute_time {
            None => {
                self.restore_stream(id, &record);
                Some(self.index_open(id, &record))
            }
            Some(at) => {
                self.remember_close(id, &record, at);
                let (source, destination) = record.pair();
                self.gate.publish_closed(source, destination, at);
                None
            }
        };
        self.checks.push(Reverse((self.now + CHECK_EVERY, id)));
        self.contracts.insert(id, LiveContract { record, traffic, relayed_before: None });
    }

    /// Recent closes matter to companions, to flows that linger at the gate, and to closes sent again.
    fn restore_closed(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let longest = COMPANION_LINGER.max(self.rules.gate_linger).max(CLOSED_REMEMBERED);
        let from = self.now.before(longest);
        let mut closed: Vec<Settled> = Vec::new();
        let mut last_sequence = 0;
        for_each(store, &ARCHIVE, Some(ARCHIVE.prefix(&hour(from))), ARCHIVE_PAGE, |(_, sequence), blob| {
            last_sequence = last_sequence.max(sequence);
            closed.extend(blob.0.into_iter().filter(|settled| settled.close_time >= from));
        })?;
        self.archive_sequence = last_sequence;
        closed.sort_by_key(|settled| settled.close_time);
        for settled in closed {
            let (id, at) = (settled.contract_id, settled.close_time);
            self.advance(at);
            self.remember_close(id, &settled.contract, at);
            self.remember_outcome(id, at, settled.outcome);
            let (source, destination) = settled.contract.pair();
            self.gate.publish_closed(source, destination, at);
        }
        let mut fading: Vec<_> = self.fading.drain(..).collect();
        fading.sort();
        self.fading = fading.into();
        Ok(())
    }
}

/// Every row of a table behind `after`, page by page.
pub(super) fn for_each<K: TableKey, V: TableValue>(
    store: &dyn Store,
    table: &Table<K, V>,
    after: Option<Vec<u8>>,
    page: usize,
    mut each: impl FnMut(K, V),
) -> Result<(), StoreError> {
    table.each(store, &table.prefix(&()), after, page, |key, value| {
        each(key, value);
        ControlFlow::Continue(())
    })
}
