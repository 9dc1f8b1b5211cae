//! Contracts by ordered pair of clients: the open ones, and those closed so recently that a companion may still reply.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::ids::{ClientId, ContractId, NetworkId, StreamId};
use crate::time::Timestamp;

/// How long a companion may still be made after its origin has closed.
pub const COMPANION_LINGER: Duration = Duration::from_secs(300);

/// Recently closed contracts remembered per pair; the newest closes win.
const MAX_RECENT: usize = 64;

/// Sender and receiver.
pub(super) type PairKey = (ClientId, ClientId);

/// A contract as its pair remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PairEntry {
    pub(super) id: ContractId,
    pub(super) create_time: Timestamp,
    /// When it was closed or disputed.
    pub(super) close_time: Option<Timestamp>,
    pub(super) is_companion: bool,
    pub(super) payer: Option<NetworkId>,
    /// The stream it is or was in.
    pub(super) stream_id: Option<StreamId>,
    /// The source may still send under it, so that traffic keeps it alive.
    pub(super) is_extendable: bool,
}

/// The contracts of one ordered pair.
#[derive(Debug, Default)]
pub(super) struct PairContracts {
    /// Oldest first.
    pub(super) open: Vec<PairEntry>,
    /// Earliest close first.
    recent: VecDeque<PairEntry>,
    /// Bytes reserved by companions that have no outcome yet.
    pub(super) companion_reserved: i64,
}

/// Every pair that has something to remember.
#[derive(Debug, Default)]
pub(super) struct Pairs(HashMap<PairKey, PairContracts>);

impl Pairs {
    pub(super) fn get(&self, pair: PairKey) -> Option<&PairContracts> {
        self.0.get(&pair)
    }

    pub(super) fn entry(&mut self, pair: PairKey) -> &mut PairContracts {
        self.0.entry(pair).or_default()
    }

    /// The contract that a companion in the opposite direction of `pair` replies to.
    pub(super) fn anchor(&self, pair: PairKey, now: Timestamp) -> Option<PairEntry> {
        let contracts = self.0.get(&pair)?;
        let from = now.before(COMPANION_LINGER);
        let recent = contracts.recent.iter().filter(|entry| entry.close_time.is_some_and(|closed| closed >= from));
        // Plain ones before companions, then the earliest.
        contracts.open.iter().chain(recent).min_by_key(|e| (e.is_companion, e.create_time, e.id)).copied()
    }

    /// Forgets what closed too long ago to matter, and the pair itself once nothing is left of it.
    pub(super) fn prune(&mut self, pair: PairKey, now: Timestamp) {
        let Some(contracts) = self.0.get_mut(&pair) else { return };
        let from = now.before(COMPANION_LINGER);
        while contracts.recent.front().is_some_and(|entry| entry.close_time.is_none_or(|closed| closed < from)) {
            contracts.recent.pop_front();
        }
        if contracts.open.is_empty() && contracts.recent.is_empty() && contracts.companion_reserved == 0 {
            self.0.remove(&pair);
        }
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PairKey, &PairContracts)> {
        self.0.iter()
    }
}

impl PairContracts {
    /// Takes a contract out of the open ones.
    pub(super) fn remove_open(&mut self, id: ContractId) -> Option<PairEntry> {
        let at = self.open.iter().position(|entry| entry.id == id)?;
        Some(self.open.remove(at))
    }

    /// Remembers a closed contract; one that is already there, because it was disputed, moves to its new close time.
    pub(super) fn remember(&mut self, entry: PairEntry) {
        self.recent.retain(|known| known.id != entry.id);
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(entry);
    }

    /// How many contracts that traffic may extend are newer than this one, counted up to `limit`.
    pub(super) fn newer_extendable(&self, id: ContractId, limit: usize) -> usize {
        let newer = self.open.iter().rev().take_while(|entry| entry.id != id);
        newer.filter(|entry| entry.is_extendable).take(limit).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: PairKey = (ClientId::new([1; 16]), ClientId::new([2; 16]));

    fn entry(id: u8, create: u64, close: Option<u64>, is_companion: bool) -> PairEntry {
        PairEntry {
            id: ContractId::new([id; 16]),
            create_time: Timestamp::from_secs(create),
            close_time: close.map(Timestamp::from_secs),
            is_companion,
            payer: None,
            stream_id: None,
            is_extendable: true,
        }
    }

    fn anchor(pairs: &Pairs, now: u64) -> Option<u8> {
        pairs.anchor(PAIR, Timestamp::from_secs(now)).map(|entry| entry.id.as_bytes()[0])
    }

    #[test]
    fn the_earliest_plain_contract_is_the_anchor_open_or_recently_closed() {
        let mut pairs = Pairs::default();
        pairs.entry(PAIR).open = vec![entry(1, 10, None, true), entry(2, 30, None, false), entry(3, 40, None, false)];
        assert_eq!(anchor(&pairs, 50), Some(2));
        pairs.entry(PAIR).remember(entry(4, 20, Some(45), false));
        assert_eq!(anchor(&pairs, 50), Some(4));
        assert_eq!(anchor(&pairs, 45 + 300), Some(4));
        assert_eq!(anchor(&pairs, 45 + 301), Some(2));
        pairs.entry(PAIR).open.truncate(1);
        assert_eq!(anchor(&pairs, 45 + 301), Some(1), "a companion, when there is nothing else");
    }

    #[test]
    fn the_oldest_closes_are_forgotten_beyond_the_bound() {
        let mut pairs = Pairs::default();
        for at in 0..70 {
            pairs.entry(PAIR).remember(entry(at as u8, at, Some(100 + at), false));
        }
        assert_eq!(pairs.get(PAIR).unwrap().recent.len(), MAX_RECENT);
        assert_eq!(anchor(&pairs, 200), Some(6));
        pairs.prune(PAIR, Timestamp::from_secs(169 + 301));
        assert!(pairs.get(PAIR).is_none());
    }

    #[test]
    fn newer_extendable_contracts_are_counted_up_to_the_limit() {
        let open = (0..40).map(|id| entry(id, u64::from(id), None, false)).collect();
        let mut contracts = PairContracts { open, ..PairContracts::default() };
        contracts.open[39].is_extendable = false;
        assert_eq!(contracts.newer_extendable(ContractId::new([0; 16]), 32), 32);
        assert_eq!(contracts.newer_extendable(ContractId::new([30; 16]), 32), 8);
    }
}
