//! The ledger in memory: every balance, every contract without an outcome, and what can be derived from them.
//!
//! A plain state machine: operations take the time, change memory at once and note which rows changed; nothing here
//! reads a clock or does I/O. `restore` rebuilds it from the store, `changes` turns what changed into one commit.
//!
//! ```text
//!  create -> open -- both final, near enough -> settled (archived)
//!              |                                   ^
//!              +-- both final, far apart -> disputed  (sweeper, at the average; operator, at one count)
//! ```

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::changes::Changes;
use super::codes::Codes;
use super::escrow::Balances;
use super::gate::{Gate, PairTraffic};
use super::grants::{Grants, Markers};
use super::links::Links;
use super::pairs::{COMPANION_LINGER, PairEntry, PairKey, Pairs};
use super::payout::{Payments, PayoutTotals};
use super::record::{Balance, BalanceKey, ContractRecord, Credit, Outcome};
use crate::config::Config;
use crate::config::contracts::{Dispute, Grant};
use crate::domain::balance::{BalanceBucket, BalanceView};
use crate::domain::stream::members::Members;
use crate::ids::{BalanceId, ClientId, ContractId, Id, IdGenerator, NetworkId};
use crate::time::Timestamp;

/// How often the sweeper looks at a contract, at the latest.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(60);

/// Contracts remembered as closed, for the answer to a close that comes late, and for how long.
const MAX_CLOSED: usize = 1 << 18;
pub(super) const CLOSED_REMEMBERED: Duration = Duration::from_secs(900);

/// What the state machine needs from the settings.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) free: Grant,
    /// Monthly balance of a network with a subscription.
    pub(super) pro_bytes: i64,
    pub(super) dispute: Dispute,
    pub(super) open_per_client: usize,
    pub(super) open_per_pair: usize,
    pub(super) companion_bytes_per_pair: i64,
    pub(super) gate_linger: Duration,
    /// Every frame between clients passes the gate, so that the relay's counters are complete.
    pub(super) is_traffic_counted: bool,
}

impl Rules {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            free: config.plan.free.bytes,
            pro_bytes: i64::try_from(config.plan.pro.bytes.0).unwrap_or(i64::MAX),
            dispute: config.contracts.dispute,
            open_per_client: config.contracts.open_per_client,
            open_per_pair: config.contracts.open_per_pair,
            companion_bytes_per_pair: i64::try_from(config.contracts.companion_bytes_per_pair.0).unwrap_or(i64::MAX),
            gate_linger: config.relay.contract_linger,
            is_traffic_counted: config.relay.contract_gate,
        }
    }
}

/// A contract without an outcome, and what only memory knows of it.
#[derive(Debug)]
pub(super) struct LiveContract {
    pub(super) record: ContractRecord,
    /// What the relay counts from source to destination; none once the contract is not open.
    pub(super) traffic: Option<Arc<PairTraffic>>,
    /// That count when the contract was made; unknown for contracts of before a restart, and where a stream of the pair
    /// carries what the relay does not see.
    pub(super) relayed_before: Option<u64>,
}

/// What is known of a network besides its balances.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) credit: Credit,
    /// Sizes of the open contracts it pays for.
    pub(super) open_bytes: i64,
    /// The last grant of each periodic kind.
    pub(super) markers: Markers,
    pub(super) payout: PayoutTotals,
}

/// The ledger in memory.
pub(super) struct State {
    pub(super) rules: Rules,
    pub(super) gate: Arc<Gate>,
    pub(super) links: Arc<Links>,
    /// The time of the operation at hand; never steps back.
    pub(super) now: Timestamp,
    /// When this process took over; stands in for frames relayed before.
    pub(super) started: Timestamp,
    pub(super) contracts: HashMap<ContractId, LiveContract>,
    pub(super) pairs: Pairs,
    pub(super) open_by_client: HashMap<ClientId, usize>,
    pub(super) balances: Balances,
    pub(super) accounts: HashMap<NetworkId, Account>,
    /// Days since the last commit, at least today.
    pub(super) days: HashMap<(u32, NetworkId), Credit>,
    /// When to look at each contract next; one entry per contract, stale ones are dropped when they come up.
    pub(super) checks: BinaryHeap<Reverse<(Timestamp, ContractId)>>,
    /// When each close may be forgotten by its pair and by the gate.
    pub(super) fading: VecDeque<(Timestamp, PairKey)>,
    closed: HashMap<ContractId, Outcome>,
    closed_order: VecDeque<(Timestamp, ContractId)>,
    pub(super) streams: Members,
    pub(super) codes: Codes,
    pub(super) grants: Grants,
    pub(super) payments: Payments,
    pub(super) changes: Changes,
    pub(super) archive_sequence: u64,
    pub(super) ids: IdGenerator,
    pub(super) entropy: Box<dyn FnMut() -> u128 + Send>,
}

impl State {
    /// An empty ledger. `entropy` feeds the ids of contracts and balances.
    pub(super) fn new(
        rules: Rules,
        gate: Arc<Gate>,
        links: Arc<Links>,
        now: Timestamp,
        entropy: Box<dyn FnMut() -> u128 + Send>,
    ) -> Self {
        Self {
            rules,
            gate,
            links,
            now,
            started: now,
            contracts: HashMap::new(),
            pairs: Pairs::default(),
            open_by_client: HashMap::new(),
            balances: Balances::default(),
            accounts: HashMap::new(),
            days: HashMap::new(),
            checks: BinaryHeap::new(),
            fading: VecDeque::new(),
            closed: HashMap::new(),
            closed_order: VecDeque::new(),
            streams: Members::default(),
            codes: Codes::default(),
            grants: Grants::default(),
            payments: Payments::default(),
            changes: Changes::default(),
            archive_sequence: 0,
            ids: IdGenerator::new(),
            entropy,
        }
    }

    /// Takes note of the time; a clock that stepped back is not followed.
    pub(super) fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    pub(super) fn new_id<I: Id>(&mut self) -> I {
        self.ids.next(self.now, (self.entropy)())
    }

    /// Adds a balance; one of no bytes is not made.
    pub(super) fn grant(
        &mut self,
        network: NetworkId,
        start: Timestamp,
        end: Timestamp,
        balance: Balance,
    ) -> Option<BalanceId> {
        if balance.start_bytes <= 0 {
            return None;
        }
        let key = BalanceKey { network_id: network, end_time: end, start_time: start, balance_id: self.new_id() };
        self.balances.insert(key, balance);
        self.changes.balances.insert(key);
        Some(key.balance_id)
    }

    /// The balance of a network, after the grants that are due.
    pub(super) fn balance_view(&mut self, network: NetworkId) -> BalanceView {
        self.grant_due(network);
        let usable = self.balances.usable(network, self.now);
        let buckets: Vec<BalanceBucket> = usable
            .map(|(key, bucket)| BalanceBucket {
                balance_id: key.balance_id,
                network_id: network,
                start_time: key.start_time,
                end_time: key.end_time,
                start_bytes: bucket.balance.start_bytes,
                unsettled_bytes: bucket.balance.bytes,
                available_bytes: bucket.available(),
                net_revenue: bucket.balance.net_revenue,
                subsidy_net_revenue: bucket.balance.subsidy_net_revenue,
                is_pro: bucket.balance.is_pro,
                purchase_token: bucket.balance.purchase_token.clone(),
            })
            .collect();
        let sum = |field: fn(&BalanceBucket) -> i64| buckets.iter().map(field).fold(0, i64::saturating_add);
        let account = self.accounts.get(&network);
        let (credit, payout) = account.map(|account| (account.credit, account.payout)).unwrap_or_default();
        BalanceView {
            start_bytes: sum(|bucket| bucket.start_bytes),
            available_bytes: sum(|bucket| bucket.available_bytes),
            open_bytes: account.map_or(0, |account| account.open_bytes),
            is_pro: buckets.iter().any(|bucket| bucket.is_pro),
            buckets,
            subscriptions: self.subscriptions(network),
            paid_bytes: payout.paid_bytes,
            paid_revenue: payout.paid_revenue,
            provided_bytes: credit.provided_bytes,
            provided_revenue: credit.provided_revenue,
            used_bytes: credit.used_bytes,
            update_time: self.now,
        }
    }

    /// Puts a contract into every index of open ones.
    pub(super) fn index_open(&mut self, id: ContractId, record: &ContractRecord) -> Arc<PairTraffic> {
        let pair = record.pair();
        let contracts = self.pairs.entry(pair);
        contracts.open.push(pair_entry(id, record));
        *self.open_by_client.entry(pair.0).or_default() += 1;
        if let Some(payer) = record.payer {
            self.accounts.entry(payer).or_default().open_bytes += record.transfer_bytes;
        }
        self.gate.publish(pair.0, pair.1, record.has_votes())
    }

    /// Takes a contract that is being disputed or settled out of every index of open ones.
    pub(super) fn unindex_open(&mut self, id: ContractId) {
        self.leave_stream(id);
        let Some(contract) = self.contracts.get_mut(&id) else { return };
        let Some(traffic) = contract.traffic.take() else { return };
        let record = &contract.record;
        let pair = record.pair();
        traffic.record_close(record.has_votes(), self.now);
        self.pairs.entry(pair).remove_open(id);
        if let Some(open) = self.open_by_client.get_mut(&pair.0) {
            *open -= 1;
            if *open == 0 {
                self.open_by_client.remove(&pair.0);
            }
        }
        if let Some(account) = record.payer.and_then(|payer| self.accounts.get_mut(&payer)) {
            account.open_bytes -= record.transfer_bytes;
        }
    }

    /// Remembers a close with its pair, for companions that come after it.
    pub(super) fn remember_close(&mut self, id: ContractId, record: &ContractRecord, close_time: Timestamp) {
        let pair = record.pair();
        let entry = PairEntry { close_time: Some(close_time), ..pair_entry(id, record) };
        self.pairs.entry(pair).remember(entry);
        let linger = COMPANION_LINGER.max(self.rules.gate_linger) + Duration::from_millis(1);
        self.fading.push_back((close_time + linger, pair));
    }

    /// Remembers that a contract has an outcome.
    pub(super) fn remember_outcome(&mut self, id: ContractId, close_time: Timestamp, outcome: Outcome) {
        if self.closed_order.len() == MAX_CLOSED
            && let Some((_, oldest)) = self.closed_order.pop_front()
        {
            self.closed.remove(&oldest);
        }
        self.closed.insert(id, outcome);
        self.closed_order.push_back((close_time, id));
    }

    /// The outcome of a contract that has one and is remembered.
    pub(super) fn outcome(&self, id: ContractId) -> Option<Outcome> {
        self.closed.get(&id).copied()
    }

    /// Forgets what no rule asks about any more: closes, outcomes, balances that ended long ago. At most `limit` of
    /// each; returns whether more is waiting.
    pub(super) fn forget_old(&mut self, limit: usize) -> bool {
        let mut left = limit;
        while left > 0
            && let Some(&(due, pair)) = self.fading.front()
            && due <= self.now
        {
            self.fading.pop_front();
            self.pairs.prune(pair, self.now);
            self.gate.forget(pair.0, pair.1, self.now);
            left -= 1;
        }
        let until = self.now.before(CLOSED_REMEMBERED);
        while let Some(&(closed, id)) = self.closed_order.front()
            && closed < until
        {
            self.closed_order.pop_front();
            self.closed.remove(&id);
        }
        let removed = self.balances.remove_expired(self.now, limit);
        let is_more = left == 0 || removed.len() == limit;
        self.changes.balances.extend(removed);
        self.forget_grants(limit) || is_more
    }
}

fn pair_entry(id: ContractId, record: &ContractRecord) -> PairEntry {
    PairEntry {
        id,
        create_time: record.create_time,
        close_time: record.dispute_time,
        is_companion: record.anchor.is_some(),
        payer: record.payer,
        stream_id: record.stream.as_ref().map(|stream| stream.id),
        is_extendable: is_extendable(record),
    }
}

/// Whether the source may still send under it and the destination has not spoken either way.
pub(super) fn is_extendable(record: &ContractRecord) -> bool {
    !record.has_both_votes() && !record.votes[0].is_some_and(|vote| vote.is_final)
}
