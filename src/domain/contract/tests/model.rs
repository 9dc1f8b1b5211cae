//! Random operations against the state machine and the plain reference, with the ledger's invariants after every step
//! and a crash at any of them: what was committed must come back, and nothing else.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::CloseError;
use super::super::close::Report;
use super::super::create::{NewContract, Payment, Refusal};
use super::super::gate::Gate;
use super::super::links::Links;
use super::super::record::{BALANCES, Balance, CONTRACTS, CREDITS, Credit, NETWORK_DAYS, Settled, Side};
use super::super::restore::for_each;
use super::super::state::{Rules, State};
use super::money::{self, MoneyStep};
use super::reference::{Closed, Reference};
use super::*;
use crate::config::store::Store as StoreSettings;
use crate::domain::stream::members::{LIFETIME, StreamWish};
use crate::ids::BalanceId;
use crate::store::StoreError;
use crate::store::memory::MemoryStore;
use crate::store::sled::SledStore;
use crate::time::Timestamp;

/// One step of a run. Contracts are named by position, modulo how many there are.
#[derive(Clone, Debug)]
enum Step {
    Create { source: u8, destination: u8, payment: Payment, bytes: i64, stream: Option<bool> },
    Close { contract: usize, party: u8, acked: u64, unacked: u64, is_checkpoint: bool },
    Unknown { acked: u64 },
    Grant { network: u8, bytes: i64, revenue: i64, starts_in: u64, lasts: u64 },
    Relay { contract: usize, bytes: u64 },
    Pass { secs: u64 },
    Sweep { after: u64 },
    Money(MoneyStep),
    Commit,
    Crash,
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..=300u64 << 20,
        2 => (0..=16u64).prop_map(|mib| mib << 20),
        1 => Just(0),
        1 => Just(i64::MAX as u64),
        1 => any::<u64>(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let payment = prop_oneof![3 => Just(Payment::Source), 2 => Just(Payment::Companion), 1 => Just(Payment::None)];
    let create = (1..=3u8, 1..=3u8, payment, 1..=256 * MIB, any::<Option<bool>>());
    let create = create.prop_filter("of two clients", |(source, destination, ..)| source != destination);
    let close = (any::<usize>(), 0..7u8, count(), 0..2u64, any::<bool>());
    let grant = (1..=3u8, 1..2000 * MIB, 0..1_000_000i64, 0..100u64, 1..5000u64);
    prop_oneof![
        6 => create.prop_map(|(source, destination, payment, bytes, stream)| {
            Step::Create { source, destination, payment, bytes, stream }
        }),
        9 => close.prop_map(|(contract, party, acked, unacked, is_checkpoint)| {
            Step::Close { contract, party, acked, unacked, is_checkpoint }
        }),
        1 => count().prop_map(|acked| Step::Unknown { acked }),
        2 => grant.prop_map(|(network, bytes, revenue, starts_in, lasts)| {
            Step::Grant { network, bytes, revenue, starts_in, lasts }
        }),
        2 => (any::<usize>(), 0..400u64 << 20).prop_map(|(contract, bytes)| Step::Relay { contract, bytes }),
        2 => (0..400u64).prop_map(|secs| Step::Pass { secs }),
        2 => prop_oneof![Just(0u64), 200..400u64, Just(100_000)].prop_map(|after| Step::Sweep { after }),
        9 => money::step().prop_map(Step::Money),
        3 => Just(Step::Commit),
        1 => Just(Step::Crash),
    ]
}

/// Where the rows are, and how to find them again after a crash.
enum Engine {
    Memory(Arc<MemoryStore>),
    Sled(tempfile::TempDir, Option<Arc<SledStore>>),
}

impl Engine {
    fn sled() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut engine = Engine::Sled(folder, None);
        engine.reopen();
        engine
    }

    fn store(&self) -> Arc<dyn Store> {
        match self {
            Engine::Memory(store) => store.clone(),
            Engine::Sled(_, store) => store.clone().unwrap(),
        }
    }

    fn reopen(&mut self) {
        if let Engine::Sled(folder, store) = self {
            drop(store.take());
            let cache = ByteSize::mib(4);
            let settings = StoreSettings { path: folder.path().join("data"), cache, ..StoreSettings::default() };
            // The engine's own threads let go of the folder a moment after the last handle.
            let opened =
                std::iter::repeat_with(|| SledStore::open(&settings)).take(1000).find_map(|opened| match opened {
                    Err(StoreError::InUse(_)) => {
                        std::thread::sleep(Duration::from_millis(5));
                        None
                    }
                    opened => Some(opened.unwrap()),
                });
            *store = Some(Arc::new(opened.expect("the folder stays in use")));
        }
    }
}

/// The durable part of a ledger, in an order that can be compared.
#[derive(Debug, PartialEq)]
struct View {
    contracts: BTreeMap<ContractId, super::super::record::ContractRecord>,
    balances: BTreeMap<BalanceId, (Balance, i64)>,
    credits: BTreeMap<NetworkId, Credit>,
    open_bytes: BTreeMap<NetworkId, i64>,
    open_pairs: BTreeMap<(ClientId, ClientId), Vec<ContractId>>,
}

impl View {
    fn of(state: &State) -> Self {
        let accounts = || state.accounts.iter();
        let pairs = state.pairs.iter().filter(|(_, contracts)| !contracts.open.is_empty());
        Self {
            contracts: state.contracts.iter().map(|(id, contract)| (*id, contract.record.clone())).collect(),
            balances: (state.balances.iter())
                .map(|(key, bucket)| (key.balance_id, (bucket.balance.clone(), bucket.reserved)))
                .collect(),
            credits: accounts()
                .map(|(network, account)| (*network, account.credit))
                .filter(|(_, credit)| *credit != Credit::default())
                .collect(),
            open_bytes: accounts()
                .map(|(network, account)| (*network, account.open_bytes))
                .filter(|(_, bytes)| *bytes != 0)
                .collect(),
            open_pairs: pairs.map(|(pair, c)| (*pair, c.open.iter().map(|entry| entry.id).collect())).collect(),
        }
    }
}

pub(super) struct Run {
    engine: Engine,
    pub(super) state: State,
    pub(super) reference: Reference,
    /// Archived since the start of the run, committed or not.
    pub(super) settled: Vec<Settled>,
    /// As of the last commit.
    durable: (View, Reference, Vec<Settled>),
    ids: u128,
    runtime: tokio::runtime::Runtime,
}

fn new_state(now: Timestamp, ids: u128) -> State {
    let mut config = Config::default();
    config.plan.free.bytes = Grant::Bytes(ByteSize(0));
    config.plan.pro.bytes = ByteSize(0);
    let (gate, links) = (Arc::new(Gate::new(config.relay.contract_linger)), Arc::new(Links::default()));
    let mut count = ids;
    let entropy = Box::new(move || {
        count += 1;
        count
    });
    State::new(Rules::new(&config), gate, links, now, entropy)
}

impl Run {
    fn new(engine: Engine) -> Self {
        let now = Timestamp::from_secs(1_700_000_000);
        let (state, reference) = (new_state(now, 0), Reference::new(now));
        let durable = (View::of(&state), reference.clone(), Vec::new());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { engine, state, reference, settled: Vec::new(), durable, ids: 0, runtime }
    }

    fn apply(&mut self, step: &Step) {
        let now = self.state.now;
        match step {
            Step::Create { source, destination, payment, bytes, stream } => {
                let side = |party: u8| Side { client_id: client(party), network_id: network(party) };
                let new = NewContract {
                    source: side(*source),
                    destination: side(*destination),
                    transfer_bytes: *bytes,
                    provide_mode: ProvideMode::Public,
                    payment: *payment,
                    stream: stream.map(|is_forced| StreamWish { is_forced, intermediary_ids: Vec::new() }),
                };
                self.create(&new);
            }
            Step::Close { contract, party, acked, unacked, is_checkpoint } => {
                let report = Report { acked: *acked, unacked: *unacked, is_checkpoint: *is_checkpoint };
                let Some(contract) = self.pick(*contract) else { return };
                let party = match party {
                    0..3 => contract.new.source.client_id,
                    3..6 => contract.new.destination.client_id,
                    _ => client(9),
                };
                self.close(party, contract.id, report);
            }
            Step::Unknown { acked } => {
                let report = Report { acked: *acked, unacked: 0, is_checkpoint: false };
                self.close(client(1), id(200), report);
            }
            Step::Grant { network: of, bytes, revenue, starts_in, lasts } => {
                let start = now + Duration::from_secs(*starts_in);
                let end = start + Duration::from_secs(*lasts);
                let balance =
                    Balance { start_bytes: *bytes, bytes: *bytes, net_revenue: *revenue, ..Balance::default() };
                let id = self.state.grant(network(*of), start, end, balance).unwrap();
                let (network, revenue) = (network(*of), *revenue);
                let (start_bytes, bytes) = (*bytes, *bytes);
                self.reference.buckets.push(super::reference::Bucket {
                    id,
                    network,
                    start,
                    end,
                    start_bytes,
                    bytes,
                    revenue,
                });
            }
            Step::Relay { contract, bytes } => {
                let Some(picked) = self.pick(*contract) else { return };
                let live = self.state.contracts.get(&picked.id);
                if let Some(traffic) = live.and_then(|live| live.traffic.as_ref()) {
                    traffic.record(*bytes as usize, now);
                    let at = self.reference.contracts.iter().position(|contract| contract.id == picked.id).unwrap();
                    self.reference.relay(at, *bytes);
                }
            }
            Step::Pass { secs } => self.pass(*secs),
            Step::Sweep { after } => {
                // A minute more than the sweeper's pause, so that every contract has its turn.
                self.pass(after + 61);
                while self.state.sweep(7).1 {}
                self.reference.sweep();
            }
            Step::Money(step) => self.apply_money(step),
            Step::Commit => self.commit(),
            Step::Crash => self.crash(),
        }
    }

    pub(super) fn pass(&mut self, secs: u64) {
        self.state.advance(self.state.now + Duration::from_secs(secs));
        self.reference.now = self.state.now;
    }

    pub(super) fn pick(&self, at: usize) -> Option<super::reference::Contract> {
        let contracts = &self.reference.contracts;
        contracts.get(at.checked_rem(contracts.len())?).cloned()
    }

    fn create(&mut self, new: &NewContract) {
        let expected = self.reference.expect_create(new);
        match self.state.create(new) {
            Ok(created) => {
                let escrow = self.state.contracts[&created.contract_id].record.escrow.clone();
                assert_eq!(expected.as_ref(), Ok(&escrow));
                self.reference.create(created.contract_id, new, escrow, created.stream_id.is_some());
            }
            Err(Refusal::NoAnchor) => assert_eq!(expected, Err(false)),
            Err(Refusal::InsufficientBalance) => assert_eq!(expected, Err(true)),
            Err(Refusal::TooMany) => assert_eq!(new.payment, Payment::Companion, "no other limit is near"),
        }
    }

    fn close(&mut self, party: ClientId, contract: ContractId, report: Report) {
        let expected = self.reference.close(party, contract, report);
        let found = match self.state.close(party, contract, report) {
            Ok(()) => Closed::Recorded,
            Err(CloseError::Malformed) => Closed::Malformed,
            // Which of the two is a matter of memory only.
            Err(CloseError::NotFound(_)) if expected == Closed::HasOutcome => Closed::HasOutcome,
            Err(CloseError::NotFound(_)) => Closed::NotFound,
            Err(CloseError::NotAParty(_)) => Closed::NotAParty,
            Err(CloseError::AlreadyClosed(..)) => Closed::HasOutcome,
            Err(CloseError::InDispute(_)) => Closed::InDispute,
            Err(CloseError::Unavailable) => unreachable!("the state machine is always there"),
        };
        assert_eq!(found, expected);
    }

    fn commit(&mut self) {
        self.gather();
        if let Some(commit) = self.state.take_commit() {
            self.runtime.block_on(self.engine.store().commit(commit)).unwrap();
        }
        self.durable = (View::of(&self.state), self.reference.clone(), self.settled.clone());
    }

    /// Takes what was settled since the last look.
    fn gather(&mut self) {
        let known = self.settled.len() - self.durable.2.len();
        self.settled.extend_from_slice(&self.state.changes.settled[known..]);
    }

    /// Loses everything since the last commit, and starts over from the rows.
    fn crash(&mut self) {
        let now = self.state.now;
        self.ids += 1 << 40;
        self.state = new_state(now, self.ids);
        self.engine.reopen();
        let store = self.engine.store();
        self.state.restore(&*store).unwrap();
        assert_eq!(View::of(&self.state), self.durable.0);
        let mut days: BTreeMap<NetworkId, i64> = BTreeMap::new();
        for_each(&*store, &NETWORK_DAYS, None, 100, |(_, network), credit| {
            *days.entry(network).or_default() += credit.provided_bytes + credit.used_bytes;
        })
        .unwrap();
        for_each(&*store, &CREDITS, None, 100, |network, credit| {
            assert_eq!(days.get(&network), Some(&(credit.provided_bytes + credit.used_bytes)));
        })
        .unwrap();
        self.reference = self.durable.1.clone();
        self.reference.now = self.state.now;
        self.reference.restart();
        self.settled = self.durable.2.clone();
    }

    /// I1 to I7 and I12, and agreement with the reference.
    fn check(&mut self) {
        self.gather();
        let (state, reference) = (&self.state, &self.reference);
        for (key, bucket) in state.balances.iter() {
            let id = key.balance_id;
            let payouts = self.settled.iter().flat_map(|settled| &settled.payouts);
            let paid: i64 = payouts.filter(|payout| payout.balance_id == id).map(|payout| payout.bytes).sum();
            assert_eq!(bucket.balance.bytes, bucket.balance.start_bytes - paid, "I1");
            assert!((0..=bucket.balance.bytes).contains(&bucket.reserved), "I1: {bucket:?}");
            assert_eq!(bucket.reserved, reference.reserved(id), "I2");
            let same = reference.buckets.iter().find(|bucket| bucket.id == id).unwrap();
            assert_eq!((bucket.balance.bytes, key.end_time), (same.bytes, same.end));
        }
        for settled in &self.settled {
            let contract = &settled.contract;
            let escrow: i64 = contract.escrow.iter().map(|(_, bytes)| bytes).sum();
            let paid: i64 = settled.payouts.iter().map(|payout| payout.bytes).sum();
            if contract.payer.is_some() {
                assert_eq!((paid, escrow), (settled.used_bytes, contract.transfer_bytes), "I3");
            } else {
                assert_eq!((paid, escrow), (0, 0), "I7");
            }
            let owner = |id: &BalanceId| reference.buckets.iter().find(|bucket| bucket.id == *id).unwrap().network;
            assert!(contract.escrow.iter().all(|(id, _)| Some(owner(id)) == contract.payer), "I12");
            let id = settled.contract_id;
            let same = reference.contracts.iter().find(|contract| contract.id == id).unwrap();
            assert!(same.is_settled && same.used == settled.used_bytes && same.payer == contract.payer, "{settled:?}");
            assert!(same.payer.is_none() || same.payee() == contract.payee());
            assert!(!state.contracts.contains_key(&id), "I6");
        }
        let mut outcomes: Vec<_> = self.settled.iter().map(|settled| settled.contract_id).collect();
        outcomes.sort();
        outcomes.dedup();
        assert_eq!(outcomes.len(), self.settled.len(), "I5: one outcome each");
        assert_eq!(outcomes.len(), reference.contracts.iter().filter(|contract| contract.is_settled).count());

        let credits: BTreeMap<_, _> = View::of(state).credits;
        let as_expected = |credit: &Credit| (credit.provided_bytes, credit.provided_revenue, credit.used_bytes);
        let credits: BTreeMap<_, _> = credits.iter().map(|(network, credit)| (*network, as_expected(credit))).collect();
        assert_eq!(credits, reference.credits, "I4");
        let provided: i128 = credits.values().map(|(provided, _, _)| i128::from(*provided)).sum();
        // Deleted ones included; of those that are not, the state has been found to be the same.
        let gone: i128 = reference.buckets.iter().map(|b| i128::from(b.start_bytes) - i128::from(b.bytes)).sum();
        assert_eq!(provided, gone, "I4");
        self.check_money();

        let open = reference.contracts.iter().filter(|contract| contract.is_open());
        let mut open: Vec<_> = open.map(|contract| contract.id).collect();
        open.sort();
        let mut indexed: Vec<_> = View::of(state).open_pairs.into_values().flatten().collect();
        indexed.sort();
        assert_eq!(indexed, open, "I6");
        let members: BTreeMap<_, _> = (state.streams.iter())
            .flat_map(|(stream, _, contracts)| contracts.iter().map(move |contract| (*contract, stream)))
            .collect();
        for (contract, stream) in &members {
            let record = &state.contracts[contract].record;
            assert!(record.dispute_time.is_none(), "I6: what is not open is in no stream");
            assert_eq!(record.stream.as_ref().map(|stream| stream.id), Some(*stream));
        }
        for contract in &open {
            let record = &state.contracts[contract].record;
            let is_young = record.create_time + LIFETIME > state.now;
            let is_member = members.contains_key(contract);
            assert!(is_member || record.stream.is_none() || !is_young, "open, and its stream lives");
        }
        let waiting: std::collections::HashSet<_> = state.checks.iter().map(|check| check.0.1).collect();
        assert!(state.contracts.keys().all(|id| waiting.contains(id)), "I6: a dispute stays in the sweeper's queue");
    }
}

fn run(engine: Engine, steps: &[Step]) {
    let mut run = Run::new(engine);
    for network in [CONSUMER, PROVIDER] {
        run.apply(&Step::Grant { network, bytes: 3000 * MIB, revenue: 777_777, starts_in: 0, lasts: 50_000 });
    }
    for step in steps {
        run.apply(step);
        run.check();
    }
    run.apply(&Step::Commit);
    run.apply(&Step::Crash);
    run.check();
    let count = |table: Vec<u8>| run.engine.store().scan(&table, None, 1000).unwrap().len();
    assert_eq!(count(CONTRACTS.prefix(&())), run.state.contracts.len());
    assert_eq!(count(BALANCES.prefix(&())), run.state.balances.iter().count());
    run.reference.money.check_rows(&*run.engine.store());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn the_ledger_agrees_with_the_plain_model(steps in prop::collection::vec(step(), 1..80)) {
        run(Engine::Memory(Arc::new(MemoryStore::new())), &steps);
    }

    #[test]
    fn the_order_in_which_the_parties_speak_does_not_matter(
        votes in prop::collection::vec((any::<bool>(), count().prop_map(|count| count.min(i64::MAX as u64)), any::<bool>()), 1..12),
        order in prop::collection::vec(any::<bool>(), 24),
        is_reply in any::<bool>(),
    ) {
        // I11: the same two sequences of reports, interleaved in two ways.
        let of = |party: bool| votes.iter().filter(move |vote| vote.0 == party).copied();
        let (mut first, mut second) = (of(true).collect::<Vec<_>>(), of(false).collect::<Vec<_>>());
        first.reverse();
        second.reverse();
        let mut mixed = Vec::new();
        for take_first in order {
            let (from, other) = if take_first { (&mut first, &mut second) } else { (&mut second, &mut first) };
            mixed.extend(from.pop().or_else(|| other.pop()));
        }
        let outcome = |votes: &[(bool, u64, bool)]| {
            let mut machine = super::votes::Machine::new();
            let (source, destination) = if is_reply { (PROVIDER, CONSUMER) } else { (CONSUMER, PROVIDER) };
            let mut contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
            if is_reply {
                contract = machine.create(source, destination, Payment::Companion);
            }
            for (is_source, acked, is_checkpoint) in votes {
                let party = client(if *is_source { source } else { destination });
                let report = Report { acked: *acked, unacked: 0, is_checkpoint: *is_checkpoint };
                // Refused once the contract is settled or disputed.
                let _ = machine.state.close(party, contract, report);
            }
            machine.pass(400);
            machine.sweep(contract);
            machine.pass(400);
            machine.sweep(contract)
        };
        prop_assert_eq!(outcome(&votes), outcome(&mixed));
    }

    #[test]
    fn a_bucket_that_is_spent_completely_shares_half_its_revenue(
        parts in prop::collection::vec(1..50 * MIB, 1..40),
        revenue in prop_oneof![0..100i64, any::<i64>().prop_map(|value| value.unsigned_abs() as i64 & i64::MAX)],
    ) {
        // I9.
        let mut state = new_state(Timestamp::from_secs(1_700_000_000), 0);
        let bytes: i64 = parts.iter().sum();
        let balance = Balance { start_bytes: bytes, bytes, net_revenue: revenue, ..Balance::default() };
        let end = state.now + crate::time::DAY;
        state.grant(network(CONSUMER), state.now, end, balance).unwrap();
        let side = |party: u8| Side { client_id: client(party), network_id: network(party) };
        for part in &parts {
            let (source, destination) = (side(CONSUMER), side(PROVIDER));
            let (provide_mode, payment) = (ProvideMode::Public, Payment::Source);
            let new = NewContract { source, destination, transfer_bytes: *part, provide_mode, payment, stream: None };
            let made = state.create(&new).unwrap().contract_id;
            let report = Report { acked: *part as u64, unacked: 0, is_checkpoint: false };
            for party in [CONSUMER, PROVIDER] {
                state.close(client(party), made, report).unwrap();
            }
        }
        let shared = i128::from(state.accounts[&network(PROVIDER)].credit.provided_revenue);
        let difference = (2 * shared - i128::from(revenue)).abs();
        prop_assert!(difference <= 2 * parts.len() as i128, "{} of {}", shared, revenue);
        prop_assert!(shared <= i128::from(revenue));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn the_ledger_comes_back_from_sled(steps in prop::collection::vec(step(), 40..80)) {
        run(Engine::sled(), &steps);
    }
}
