//! Making a contract: limits, the origin of a companion, the payer, the reservation.

use std::cmp::Reverse;

use super::escrow::Reservation;
use super::pairs::PairEntry;
use super::record::{ContractRecord, Side};
use super::state::{CHECK_EVERY, LiveContract, State};
use crate::config::contracts::Grant;
use crate::domain::stream::members::StreamWish;
use crate::ids::{ContractId, NetworkId, StreamId};
use crate::wire::messages::ProvideMode;

/// Priority of a contract that nobody pays for.
const PRIORITY_FREE: u32 = 200;

/// Who pays for a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payment {
    /// Nobody: both ends are of one network.
    None,
    /// The network of the source.
    Source,
    /// The network of the destination, as the reply to a contract in the other direction.
    Companion,
}

/// A contract to make.
#[derive(Clone, Debug)]
pub(super) struct NewContract {
    pub(super) source: Side,
    pub(super) destination: Side,
    pub(super) transfer_bytes: i64,
    pub(super) provide_mode: ProvideMode,
    pub(super) payment: Payment,
    /// None from a client that knows no streams.
    pub(super) stream: Option<StreamWish>,
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Created {
    pub(super) contract_id: ContractId,
    pub(super) priority: u32,
    pub(super) stream_id: Option<StreamId>,
}

/// Why nothing was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The payer's balances do not suffice.
    InsufficientBalance,
    /// There is nothing to reply to, yet.
    NoAnchor,
    /// A limit of open contracts, reserved bytes or streams is reached.
    TooMany,
}

impl State {
    /// Makes a contract, or nothing at all. Checking the balance and reserving from it are one step.
    pub(super) fn create(&mut self, new: &NewContract) -> Result<Created, Refusal> {
        let pair = (new.source.client_id, new.destination.client_id);
        let is_at = |count: usize, limit: usize| count >= limit;
        let open_in_pair = self.pairs.get(pair).map_or(0, |contracts| contracts.open.len());
        let open_of_client = self.open_by_client.get(&pair.0).copied().unwrap_or(0);
        if is_at(open_in_pair, self.rules.open_per_pair) || is_at(open_of_client, self.rules.open_per_client) {
            return Err(Refusal::TooMany);
        }
        let (anchor, payer) = self.payer(new)?;
        let stream = self.choose_stream(new, anchor.as_ref())?;
        let reservation = match payer {
            None => Reservation { escrow: Vec::new(), priority: PRIORITY_FREE },
            Some(payer) => self.reserve(payer, new, anchor.is_some())?,
        };
        let contract_id = self.new_id();
        let reserved: i64 = reservation.escrow.iter().map(|(_, bytes)| bytes).sum();
        let record = ContractRecord {
            source: new.source,
            destination: new.destination,
            transfer_bytes: new.transfer_bytes,
            anchor: anchor.map(|anchor| anchor.id),
            payer,
            priority: reservation.priority,
            provide_mode: new.provide_mode as u8,
            create_time: self.now,
            dispute_time: None,
            escrow: reservation.escrow,
            votes: [None; 2],
            stream: self.enter_stream(contract_id, stream),
        };
        let stream_id = record.stream.as_ref().map(|stream| stream.id);
        let traffic = self.index_open(contract_id, &record);
        if anchor.is_some() {
            self.pairs.entry(pair).companion_reserved += reserved;
        }
        let relayed_before = self.is_relay_alone(&record).then(|| traffic.relayed_bytes());
        self.contracts.insert(contract_id, LiveContract { record, traffic: Some(traffic), relayed_before });
        self.checks.push(Reverse((self.now + CHECK_EVERY, contract_id)));
        self.changes.contracts.insert(contract_id);
        Ok(Created { contract_id, priority: reservation.priority, stream_id })
    }

    /// The contract it replies to, and who pays.
    fn payer(&self, new: &NewContract) -> Result<(Option<PairEntry>, Option<NetworkId>), Refusal> {
        match new.payment {
            Payment::None => Ok((None, None)),
            Payment::Source => Ok((None, Some(new.source.network_id))),
            Payment::Companion => {
                let opposite = (new.destination.client_id, new.source.client_id);
                let anchor = self.pairs.anchor(opposite, self.now).ok_or(Refusal::NoAnchor)?;
                // Whoever pays for the anchor: the destination's network for a plain one, and for a reply to a reply
                // whoever began, or a provider would pay for the replies of its consumer's encryption handshake.
                let payer = anchor.payer.unwrap_or(new.destination.network_id);
                Ok((Some(anchor), Some(payer)))
            }
        }
    }

    fn reserve(&mut self, payer: NetworkId, new: &NewContract, is_companion: bool) -> Result<Reservation, Refusal> {
        if self.rules.free == Grant::Unlimited {
            return Ok(Reservation { escrow: Vec::new(), priority: 0 });
        }
        let pair = (new.source.client_id, new.destination.client_id);
        let of_companions = self.pairs.get(pair).map_or(0, |contracts| contracts.companion_reserved);
        if is_companion && of_companions.saturating_add(new.transfer_bytes) > self.rules.companion_bytes_per_pair {
            return Err(Refusal::TooMany);
        }
        self.grant_due(payer);
        self.balances.reserve(payer, new.transfer_bytes, self.now).ok_or(Refusal::InsufficientBalance)
    }
}
