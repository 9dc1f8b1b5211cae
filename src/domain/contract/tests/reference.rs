//! The ledger once more, as plainly as possible: lists, no indexes, no batches. What the state machine must agree with.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::close::Report;
use super::super::create::{NewContract, Payment};
use super::money::Money;
use crate::ids::{BalanceId, ClientId, ContractId, NetworkId};
use crate::time::Timestamp;

#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub(super) id: BalanceId,
    pub(super) network: NetworkId,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) start_bytes: i64,
    pub(super) bytes: i64,
    pub(super) revenue: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vote {
    used: i64,
    is_final: bool,
    time: Timestamp,
    counts: (u64, u64),
}

#[derive(Clone, Debug)]
pub(super) struct Contract {
    pub(super) id: ContractId,
    pub(super) new: NewContract,
    pub(super) payer: Option<NetworkId>,
    pub(super) escrow: Vec<(BalanceId, i64)>,
    is_companion: bool,
    create: Timestamp,
    /// When it was disputed or settled.
    close: Option<Timestamp>,
    pub(super) is_settled: bool,
    pub(super) used: i64,
    votes: [Option<Vote>; 2],
    relayed_before: Option<u64>,
    in_stream: bool,
}

impl Contract {
    pub(super) fn is_open(&self) -> bool {
        self.close.is_none()
    }

    fn pair(&self) -> (ClientId, ClientId) {
        (self.new.source.client_id, self.new.destination.client_id)
    }

    /// Whether it is of these two clients, in either direction.
    fn joins(&self, (a, b): (ClientId, ClientId)) -> bool {
        self.pair() == (a, b) || self.pair() == (b, a)
    }

    fn is_extendable(&self) -> bool {
        self.votes[0].is_none_or(|vote| !vote.is_final) && self.votes.iter().any(Option::is_none)
    }

    pub(super) fn payee(&self) -> NetworkId {
        let (source, destination) = (self.new.source.network_id, self.new.destination.network_id);
        if self.payer == Some(source) { destination } else { source }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) now: Timestamp,
    started: Timestamp,
    pub(super) buckets: Vec<Bucket>,
    pub(super) contracts: Vec<Contract>,
    /// Bytes and revenue provided, bytes used.
    pub(super) credits: BTreeMap<NetworkId, (i64, i64, i64)>,
    pub(super) money: Money,
    /// Bytes relayed, and when last.
    traffic: BTreeMap<(ClientId, ClientId), (u64, Timestamp)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    Recorded,
    Malformed,
    NotFound,
    NotAParty,
    HasOutcome,
    InDispute,
}

impl Reference {
    pub(super) fn new(now: Timestamp) -> Self {
        let (buckets, contracts) = (Vec::new(), Vec::new());
        let (credits, money, traffic) = (BTreeMap::new(), Money::default(), BTreeMap::new());
        Self { now, started: now, buckets, contracts, credits, money, traffic }
    }

    /// What a restart forgets.
    pub(super) fn restart(&mut self) {
        self.started = self.now;
        self.traffic.clear();
        for contract in &mut self.contracts {
            contract.relayed_before = None;
        }
    }

    pub(super) fn reserved(&self, bucket: BalanceId) -> i64 {
        let unsettled = self.contracts.iter().filter(|contract| !contract.is_settled);
        unsettled.flat_map(|contract| &contract.escrow).filter(|(id, _)| *id == bucket).map(|(_, bytes)| bytes).sum()
    }

    /// Who would pay for a contract, and whether it is a companion; `None` without an anchor.
    fn payer(&self, new: &NewContract) -> Option<Option<NetworkId>> {
        match new.payment {
            Payment::None => Some(None),
            Payment::Source => Some(Some(new.source.network_id)),
            Payment::Companion => {
                let opposite = (new.destination.client_id, new.source.client_id);
                let from = self.now.before(Duration::from_secs(300));
                let anchors = self.contracts.iter().filter(|contract| {
                    contract.pair() == opposite && contract.close.is_none_or(|closed| closed >= from)
                });
                let anchor = anchors.min_by_key(|anchor| (anchor.is_companion, anchor.create, anchor.id))?;
                let chained = anchor.payer.filter(|_| anchor.is_companion);
                Some(Some(chained.unwrap_or(new.destination.network_id)))
            }
        }
    }

    /// What a create must reserve: `Err(false)` without an anchor, `Err(true)` without the bytes.
    pub(super) fn expect_create(&self, new: &NewContract) -> Result<Vec<(BalanceId, i64)>, bool> {
        let Some(payer) = self.payer(new).ok_or(false)? else { return Ok(Vec::new()) };
        let is_usable = |bucket: &&Bucket| bucket.start <= self.now && self.now < bucket.end;
        let mut usable: Vec<_> = self.buckets.iter().filter(|b| b.network == payer).filter(is_usable).collect();
        usable.sort_by_key(|bucket| (bucket.end, bucket.start, bucket.id));
        let mut missing = new.transfer_bytes;
        let mut escrow = Vec::new();
        for bucket in usable {
            let take = missing.min((bucket.bytes - self.reserved(bucket.id)).max(0));
            if take > 0 {
                escrow.push((bucket.id, take));
                missing -= take;
            }
        }
        if missing == 0 { Ok(escrow) } else { Err(true) }
    }

    pub(super) fn create(&mut self, id: ContractId, new: &NewContract, escrow: Vec<(BalanceId, i64)>, in_stream: bool) {
        let payer = self.payer(new).flatten();
        let pair = (new.source.client_id, new.destination.client_id);
        let mut relayed_before = Some(self.traffic.get(&pair).map_or(0, |(bytes, _)| *bytes));
        // What a stream carries is not relayed: neither under this contract, nor under those that are open beside it.
        let beside = self.contracts.iter_mut().filter(|other| other.is_open() && other.joins(pair));
        let beside: Vec<_> = beside.collect();
        if in_stream || beside.iter().any(|other| other.in_stream) {
            relayed_before = None;
            beside.into_iter().for_each(|other| other.relayed_before = None);
        }
        self.contracts.push(Contract {
            id,
            new: new.clone(),
            payer,
            escrow,
            is_companion: new.payment == Payment::Companion,
            create: self.now,
            close: None,
            is_settled: false,
            used: 0,
            votes: [None; 2],
            relayed_before,
            in_stream,
        });
    }

    pub(super) fn relay(&mut self, at: usize, bytes: u64) {
        let entry = self.traffic.entry(self.contracts[at].pair()).or_default();
        *entry = (entry.0 + bytes, self.now);
    }

    pub(super) fn close(&mut self, client: ClientId, id: ContractId, report: Report) -> Closed {
        if report.acked > i64::MAX as u64 {
            return Closed::Malformed;
        }
        let Some(contract) = self.contracts.iter_mut().find(|contract| contract.id == id) else {
            return Closed::NotFound;
        };
        if contract.is_settled {
            return Closed::HasOutcome;
        }
        let (source, destination) = contract.pair();
        if client != source && client != destination {
            return Closed::NotAParty;
        }
        if contract.close.is_some() {
            return Closed::InDispute;
        }
        let counts = (report.acked, report.unacked);
        let size = i128::from(contract.new.transfer_bytes);
        let vote = &mut contract.votes[usize::from(client == destination)];
        let before = vote.map_or(0, |vote| vote.used);
        let is_resent = vote.is_some_and(|vote| {
            let is_recent = self.now.since(vote.time) < Duration::from_secs(60);
            report.is_checkpoint && report.acked > 0 && vote.counts == counts && is_recent
        });
        if vote.is_some_and(|vote| vote.is_final) || is_resent {
            return Closed::Recorded;
        }
        let used = (i128::from(before) + i128::from(report.acked)).min(size) as i64;
        *vote = Some(Vote { used, is_final: !report.is_checkpoint, time: self.now, counts });
        self.conclude(id);
        Closed::Recorded
    }

    /// Settles or disputes a contract whose votes are both final; settles one whose sender would be paid and sent nothing.
    fn conclude(&mut self, id: ContractId) {
        let Some(contract) = self.contracts.iter_mut().find(|contract| contract.id == id) else { return };
        let is_paid_to_source = contract.payer.is_some_and(|payer| payer != contract.new.source.network_id);
        let sent = contract.votes[0].filter(|vote| vote.is_final).map(|vote| (vote.used, vote.counts.1));
        if is_paid_to_source && sent == Some((0, 0)) {
            return self.settle(id, 0);
        }
        let [Some(source), Some(destination)] = contract.votes else { return };
        if !(source.is_final && destination.is_final) {
            return;
        }
        if contract.payer.is_some() && (source.used - destination.used).abs() > 16_777_216 {
            contract.close = Some(self.now);
            return;
        }
        self.settle(id, (source.used + destination.used) / 2);
    }

    /// The operator's word on a dispute: `Err(true)` for a contract that is open, `Err(false)` for one that is settled.
    pub(super) fn resolve(&mut self, id: ContractId, party: usize) -> Result<i64, bool> {
        let contract = self.contracts.iter().find(|contract| contract.id == id).unwrap();
        if contract.is_settled || contract.is_open() {
            return Err(contract.is_open());
        }
        let used = contract.votes[party].unwrap().used;
        self.settle(id, used);
        Ok(used)
    }

    fn settle(&mut self, id: ContractId, used: i64) {
        let Some(contract) = self.contracts.iter_mut().find(|contract| contract.id == id) else { return };
        assert!(!contract.is_settled);
        contract.is_settled = true;
        contract.close = Some(self.now);
        contract.used = used;
        let Some(payer) = contract.payer else { return };
        let (payee, escrow) = (contract.payee(), contract.escrow.clone());
        let mut unpaid = used;
        let mut revenue = 0;
        for (balance, reserved) in escrow {
            let bucket = self.buckets.iter_mut().find(|bucket| bucket.id == balance).unwrap();
            let payout = unpaid.min(reserved);
            unpaid -= payout;
            bucket.bytes -= payout;
            // Twice the exact share, so that half of a unit can be seen: round(x / 2) = (x + 1) / 2 for whole x.
            let twice = 2 * i128::from(bucket.revenue) * i128::from(payout);
            let start = 2 * i128::from(bucket.start_bytes);
            revenue += ((twice / 2 + start / 2) / start) as i64;
        }
        if used > 0 {
            let provided = self.credits.entry(payee).or_default();
            *provided = (provided.0 + used, provided.1 + revenue, provided.2);
            self.credits.entry(payer).or_default().2 += used;
        }
    }

    /// What the sweeper must do now, looking at every contract once.
    pub(super) fn sweep(&mut self) {
        let due: Vec<_> = (0..self.contracts.len()).filter(|at| self.is_due(*at)).collect();
        for at in due {
            let contract = &mut self.contracts[at];
            let id = contract.id;
            match contract.votes {
                [None, None] => self.settle(id, 0),
                [Some(source), Some(destination)] if contract.close.is_some() => {
                    self.settle(id, (source.used + destination.used) / 2);
                }
                [Some(_), Some(_)] => {
                    contract.votes.iter_mut().flatten().for_each(|vote| vote.is_final = true);
                    self.conclude(id);
                }
                [source, destination] => {
                    let claimant = if source.is_some() { contract.new.source } else { contract.new.destination };
                    let claimed = source.or(destination).map_or(0, |vote| vote.used);
                    // Within one network the destination of a contract counts as its payee.
                    let is_of_payee = match contract.payer {
                        Some(payer) if payer == contract.new.source.network_id => destination.is_some(),
                        Some(_) => claimant == contract.new.source,
                        None => false,
                    };
                    let relayed = self.traffic.get(&contract.pair()).map_or(0, |(bytes, _)| *bytes);
                    let used = match contract.relayed_before {
                        Some(before) if is_of_payee => claimed.min(((relayed - before) * 11 / 10) as i64),
                        _ => claimed,
                    };
                    self.settle(id, used);
                }
            }
        }
    }

    fn is_due(&self, at: usize) -> bool {
        let contract = &self.contracts[at];
        if contract.is_settled {
            return false;
        }
        let last_vote = contract.votes.iter().flatten().map(|vote| vote.time).max().unwrap_or_default();
        let mut active = contract.create.max(last_vote);
        let newer = self.contracts.iter().skip(at + 1).filter(|newer| newer.pair() == contract.pair());
        let newer = newer.filter(|newer| newer.is_open() && newer.is_extendable()).count();
        if contract.is_extendable() && newer < 32 {
            let frame = self.traffic.get(&contract.pair()).map_or(Timestamp::ZERO, |(_, last)| *last);
            active = active.max(frame).max(self.started);
        }
        let due = (active + Duration::from_secs(300)).min(contract.create + Duration::from_secs(86_400));
        due <= self.now
    }
}
