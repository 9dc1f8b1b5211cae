//! Streams of contracts: which one a contract enters as it is made, and that it leaves on every way out of open.

use super::create::{NewContract, Payment, Refusal};
use super::pairs::{PairEntry, PairKey};
use super::record::ContractRecord;
use super::state::State;
use crate::domain::stream::members::{Choice, ContractKind};
use crate::domain::stream::{Stream, StreamEvent};
use crate::ids::ContractId;

impl State {
    /// The stream that a contract to make shall enter; `anchor` is what it replies to.
    pub(super) fn choose_stream(&mut self, new: &NewContract, anchor: Option<&PairEntry>) -> Result<Choice, Refusal> {
        let Some(wish) = &new.stream else { return Ok(Choice::Apart) };
        let kind = match new.payment {
            Payment::None => ContractKind::Network,
            Payment::Source => ContractKind::Public,
            Payment::Companion => ContractKind::Companion(anchor.and_then(|anchor| anchor.stream_id)),
        };
        let pair = (new.source.client_id, new.destination.client_id);
        self.streams.choose(self.now, pair, kind, wish).map_err(|_| Refusal::TooMany)
    }

    /// Enters the stream chosen for a contract that is being made.
    pub(super) fn enter_stream(&mut self, contract: ContractId, choice: Choice) -> Option<Stream> {
        let is_new = matches!(choice, Choice::Open(_));
        let (ids, entropy) = (&self.ids, &mut self.entropy);
        let stream = self.streams.enter(self.now, contract, choice, || ids.next(self.now, entropy()))?;
        if is_new {
            let (a, b) = stream.key.ends();
            self.distrust_relayed_count((a, b));
            self.distrust_relayed_count((b, a));
        }
        Some(stream)
    }

    /// From now on the clients may reach each other directly, so that the relay sees only a part of what they exchange.
    fn distrust_relayed_count(&mut self, pair: PairKey) {
        for entry in self.pairs.get(pair).into_iter().flat_map(|contracts| &contracts.open) {
            if let Some(contract) = self.contracts.get_mut(&entry.id) {
                contract.relayed_before = None;
            }
        }
    }

    /// Whether the relay counts all that flows under a contract which is being made.
    pub(super) fn is_relay_alone(&self, record: &ContractRecord) -> bool {
        let (source, destination) = record.pair();
        self.rules.is_traffic_counted && !self.streams.has_stream(source, destination)
    }

    /// A contract is no longer open.
    pub(super) fn leave_stream(&mut self, id: ContractId) {
        let contract = self.contracts.get(&id);
        if let Some(stream) = contract.and_then(|contract| contract.record.stream.as_ref()) {
            self.streams.leave(id, stream);
        }
    }

    /// A contract of before a restart is open.
    pub(super) fn restore_stream(&mut self, id: ContractId, record: &ContractRecord) {
        if let Some(stream) = &record.stream {
            self.streams.restore(id, stream, record.create_time);
        }
    }

    /// Streams opened and closed since the last call. Their nodes may hear of it once the commit that follows is
    /// durable.
    pub(super) fn take_stream_events(&mut self) -> Vec<StreamEvent> {
        self.streams.expire(self.now);
        self.streams.take_events()
    }
}
