//! The nine states of two votes, the tolerance, repeated reports, and what the sweeper makes of each.

use super::super::close::{ACCEPTABLE_DIFFERENCE_BYTES, Report};
use super::super::create::{NewContract, Payment};
use super::super::gate::Gate;
use super::super::links::Links;
use super::super::record::{Balance, Party, Side};
use super::super::state::{Rules, State};
use super::super::{CloseError, pairs};
use super::*;
use crate::time::Timestamp;

pub(super) const SIZE: i64 = 64 * MIB;

/// A state machine with one payer, at a time that tests move.
pub(super) struct Machine {
    pub(super) state: State,
    pub(super) links: Arc<Links>,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self::with_config(&Config::default())
    }

    pub(super) fn with_config(config: &Config) -> Self {
        let mut rules = Rules::new(config);
        rules.free = Grant::Bytes(ByteSize(0));
        let (gate, links) = (Arc::new(Gate::new(config.relay.contract_linger)), Arc::new(Links::default()));
        let mut count = 0;
        let entropy = Box::new(move || {
            count += 1;
            count
        });
        let now = Timestamp::from_secs(1_700_000_000);
        let mut state = State::new(rules, gate, links.clone(), now, entropy);
        for payer in [CONSUMER, PROVIDER] {
            let balance = Balance { start_bytes: 1 << 40, bytes: 1 << 40, net_revenue: 1 << 40, ..Balance::default() };
            state.grant(network(payer), Timestamp::ZERO, now + crate::time::DAY * 9, balance).unwrap();
        }
        Self { state, links }
    }

    pub(super) fn create(&mut self, source: u8, destination: u8, payment: Payment) -> ContractId {
        let side = |party| Side { client_id: client(party), network_id: network(party) };
        let new = NewContract {
            source: side(source),
            destination: side(destination),
            transfer_bytes: SIZE,
            provide_mode: ProvideMode::Public,
            payment,
            stream: None,
        };
        self.state.create(&new).unwrap().contract_id
    }

    pub(super) fn report(&mut self, party: u8, contract: ContractId, acked: i64, checkpoint: bool) {
        let report = Report { acked: acked as u64, unacked: 0, is_checkpoint: checkpoint };
        self.state.close(client(party), contract, report).unwrap();
    }

    pub(super) fn pass(&mut self, secs: u64) {
        self.state.advance(self.state.now + Duration::from_secs(secs));
    }

    /// Sweeps everything that is due; says whether this contract was settled, and for how much.
    pub(super) fn sweep(&mut self, contract: ContractId) -> Option<i64> {
        while self.state.sweep(64).1 {}
        self.settled(contract)
    }

    /// Makes durable what changed.
    pub(super) async fn commit(&mut self, store: &dyn Store) {
        if let Some(commit) = self.state.take_commit() {
            store.commit(commit).await.unwrap();
        }
    }

    pub(super) fn settled(&self, contract: ContractId) -> Option<i64> {
        let settled = self.state.changes.settled.iter().find(|settled| settled.contract_id == contract)?;
        Some(settled.used_bytes)
    }

    pub(super) fn is_open(&self, contract: ContractId) -> bool {
        let live = self.state.contracts.get(&contract);
        live.is_some_and(|live| live.record.dispute_time.is_none())
    }

    fn reserved(&self) -> i64 {
        self.state.balances.iter().map(|(_, bucket)| bucket.reserved).sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cast {
    None,
    Checkpoint,
    Final,
}

const CASTS: [Cast; 3] = [Cast::None, Cast::Checkpoint, Cast::Final];

#[test]
fn every_pair_of_votes_ends_as_the_tables_say() {
    for payment in [Payment::None, Payment::Source, Payment::Companion] {
        for source in CASTS {
            for destination in CASTS {
                let what = format!("{payment:?} {source:?} {destination:?}");
                let mut machine = Machine::new();
                if payment == Payment::Companion {
                    machine.create(PROVIDER, CONSUMER, Payment::Source);
                }
                let contract = machine.create(CONSUMER, PROVIDER, payment);
                // Enough is relayed for any one-sided claim to be believed.
                let traffic = machine.state.contracts[&contract].traffic.clone().unwrap();
                traffic.record(10_000, machine.state.now);
                for (party, cast, acked) in [(CONSUMER, source, 1000), (PROVIDER, destination, 1501)] {
                    if cast != Cast::None {
                        machine.report(party, contract, acked, cast == Cast::Checkpoint);
                    }
                }
                let both_final = source == Cast::Final && destination == Cast::Final;
                assert_eq!(machine.settled(contract), both_final.then_some(1250), "{what}");
                assert_eq!(machine.is_open(contract), !both_final, "{what}");
                if both_final {
                    continue;
                }
                machine.pass(299);
                assert_eq!(machine.sweep(contract), None, "{what}: too early");
                machine.pass(61);
                let expected = match (source, destination) {
                    (Cast::None, Cast::None) => 0,
                    (_, Cast::None) => 1000,
                    (Cast::None, _) => 1501,
                    _ => 1250,
                };
                assert_eq!(machine.sweep(contract), Some(expected), "{what}");
                if payment == Payment::None {
                    assert_eq!(machine.reserved(), 0, "{what}");
                }
            }
        }
    }
}

#[test]
fn the_tolerance_is_inclusive_and_a_dispute_settles_at_the_average() {
    let mut machine = Machine::new();
    let near = machine.create(CONSUMER, PROVIDER, Payment::Source);
    machine.report(CONSUMER, near, 0, false);
    machine.report(PROVIDER, near, ACCEPTABLE_DIFFERENCE_BYTES, false);
    assert_eq!(machine.settled(near), Some(8 * MIB));

    let far = machine.create(CONSUMER, PROVIDER, Payment::Source);
    machine.report(CONSUMER, far, 0, false);
    machine.report(PROVIDER, far, ACCEPTABLE_DIFFERENCE_BYTES + 1, false);
    assert!(machine.settled(far).is_none() && !machine.is_open(far));
    assert_eq!(machine.reserved(), SIZE, "a dispute keeps its reservation");
    let payer = &machine.state.accounts[&network(CONSUMER)];
    assert_eq!(payer.open_bytes, 0, "but is not open");
    let report = Report { acked: 1, unacked: 0, is_checkpoint: false };
    assert_eq!(machine.state.close(client(CONSUMER), far, report), Err(CloseError::InDispute(far)));
    let (pair, now) = ((client(CONSUMER), client(PROVIDER)), machine.state.now);
    assert!(machine.state.gate.admit(pair.0, pair.1, now).is_none());
    assert_eq!(machine.state.pairs.anchor(pair, now).map(|anchor| anchor.id), Some(near), "plain, and earliest");

    machine.pass(361);
    assert_eq!(machine.sweep(far), Some(8 * MIB));
    assert_eq!(machine.reserved(), 0);
    let settled = machine.state.changes.settled.len();
    machine.pass(361);
    machine.sweep(far);
    assert_eq!(machine.state.changes.settled.len(), settled, "a second sweep does nothing");
}

#[test]
fn a_disputed_contract_is_an_anchor_for_300_seconds() {
    let mut machine = Machine::new();
    let far = machine.create(CONSUMER, PROVIDER, Payment::Source);
    machine.report(CONSUMER, far, 0, false);
    machine.report(PROVIDER, far, SIZE, false);
    machine.pass(pairs::COMPANION_LINGER.as_secs());
    let pair = (client(CONSUMER), client(PROVIDER));
    assert!(machine.state.pairs.anchor(pair, machine.state.now).is_some());
    machine.pass(1);
    assert!(machine.state.pairs.anchor(pair, machine.state.now).is_none());
}

#[test]
fn distant_checkpoints_become_a_dispute_first_and_are_settled_after() {
    let mut machine = Machine::new();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    machine.report(CONSUMER, contract, 0, true);
    machine.report(PROVIDER, contract, SIZE, true);
    machine.pass(301);
    assert_eq!(machine.sweep(contract), None);
    assert!(!machine.is_open(contract));
    machine.pass(61);
    assert_eq!(machine.sweep(contract), Some(SIZE / 2));
}

#[test]
fn a_reply_that_its_sender_never_used_returns_at_once() {
    let mut machine = Machine::new();
    let origin = machine.create(CONSUMER, PROVIDER, Payment::Source);
    let reply = |machine: &mut Machine| machine.create(PROVIDER, CONSUMER, Payment::Companion);
    let unused = reply(&mut machine);
    assert_eq!(machine.reserved(), 2 * SIZE);
    machine.report(PROVIDER, unused, 0, false);
    assert_eq!((machine.settled(unused), machine.reserved()), (Some(0), SIZE));

    // A receiver may yet see something, and so may the one that pays for it; a sender may go on after a checkpoint.
    machine.report(PROVIDER, origin, 0, false);
    let resumed = reply(&mut machine);
    machine.report(PROVIDER, resumed, 0, true);
    let paid = reply(&mut machine);
    machine.report(CONSUMER, paid, 0, false);
    let sent = reply(&mut machine);
    let unacked = Report { acked: 0, unacked: 1, is_checkpoint: false };
    machine.state.close(client(PROVIDER), sent, unacked).unwrap();
    assert!([origin, resumed, paid, sent].iter().all(|contract| machine.is_open(*contract)));

    machine.report(PROVIDER, paid, 0, false);
    machine.report(CONSUMER, sent, 1000, false);
    assert_eq!((machine.settled(paid), machine.settled(sent)), (Some(0), Some(500)));
    machine.report(CONSUMER, resumed, 1000, false);
    machine.report(PROVIDER, resumed, 0, false);
    assert_eq!(machine.settled(resumed), Some(0), "whoever spoke first");
}

#[test]
fn checkpoints_add_up_final_votes_do_not() {
    let mut machine = Machine::new();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    machine.report(PROVIDER, contract, 100, true);
    machine.report(PROVIDER, contract, 50, true);
    machine.report(PROVIDER, contract, 7, false);
    machine.report(PROVIDER, contract, 1000, false);
    machine.report(PROVIDER, contract, 1000, true);
    machine.report(CONSUMER, contract, 157, false);
    assert_eq!(machine.settled(contract), Some(157));
}

#[test]
fn the_same_checkpoint_again_within_a_minute_counts_once() {
    let mut machine = Machine::new();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    let used =
        |machine: &Machine| machine.state.contracts[&contract].record.vote(Party::Destination).unwrap().used_bytes;
    machine.report(PROVIDER, contract, 100, true);
    machine.pass(59);
    machine.report(PROVIDER, contract, 100, true);
    assert_eq!(used(&machine), 100);
    machine.pass(1);
    machine.report(PROVIDER, contract, 100, true);
    assert_eq!(used(&machine), 200);
    let other = Report { acked: 100, unacked: 1, is_checkpoint: true };
    machine.state.close(client(PROVIDER), contract, other).unwrap();
    assert_eq!(used(&machine), 300);
    for _ in 0..2 {
        machine.report(PROVIDER, contract, i64::MAX, true);
        machine.pass(60);
    }
    assert_eq!(used(&machine), SIZE, "clamped, without overflow");
}

#[test]
fn a_vote_shuts_the_gate_to_new_flows_only() {
    let mut machine = Machine::new();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    let now = machine.state.now;
    let flow = machine.state.gate.admit(client(PROVIDER), client(CONSUMER), now).unwrap();
    machine.report(PROVIDER, contract, 1, true);
    assert!(machine.state.gate.admit(client(PROVIDER), client(CONSUMER), now).is_none());
    assert!(flow.is_live(now));
    machine.report(PROVIDER, contract, 1, false);
    machine.report(CONSUMER, contract, 1, false);
    machine.pass(299);
    assert!(flow.is_live(machine.state.now));
    machine.pass(1);
    assert!(!flow.is_live(machine.state.now));
    machine.pass(1);
    machine.state.forget_old(10);
    assert_eq!(machine.state.gate.pair_count(), 0);
    assert_eq!(machine.state.pairs.iter().count(), 0);
}
