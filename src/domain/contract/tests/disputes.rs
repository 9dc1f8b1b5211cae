//! Who decides when the two ends counted differently: the average, the operator, or what the relay carried.

use super::super::create::Payment;
use super::super::record::{ARCHIVE, Outcome, Party};
use super::super::resolve::ResolveError;
use super::votes::{Machine, SIZE};
use super::*;
use crate::config::contracts::Dispute;

fn disputed(machine: &mut Machine, payment: Payment) -> ContractId {
    let contract = match payment {
        Payment::Companion => {
            machine.create(PROVIDER, CONSUMER, Payment::Source);
            machine.create(CONSUMER, PROVIDER, payment)
        }
        _ => machine.create(CONSUMER, PROVIDER, payment),
    };
    machine.report(CONSUMER, contract, 2 * MIB, false);
    machine.report(PROVIDER, contract, 40 * MIB, false);
    contract
}

fn relay(machine: &Machine, contract: ContractId, bytes: i64) {
    let traffic = machine.state.contracts[&contract].traffic.as_ref().unwrap();
    traffic.record(bytes as usize, machine.state.now);
}

fn with_relay_rule() -> Machine {
    let mut config = Config::default();
    config.contracts.dispute = Dispute::Relay;
    Machine::with_config(&config)
}

#[test]
fn the_operator_settles_a_dispute_at_one_count_and_it_stays_settled() {
    for (party, used, outcome) in [
        (Party::Source, 2 * MIB, Outcome::ResolvedToSource),
        (Party::Destination, 40 * MIB, Outcome::ResolvedToDestination),
    ] {
        let mut machine = Machine::new();
        let contract = disputed(&mut machine, Payment::Source);
        assert_eq!(machine.state.resolve(contract, party), Ok(used));
        assert_eq!(machine.settled(contract), Some(used));
        let settled = machine.state.changes.settled.last().unwrap();
        assert_eq!(settled.outcome, outcome);
        assert_eq!(machine.state.accounts[&network(PROVIDER)].credit.provided_bytes, used);
        for party in [Party::Source, Party::Destination] {
            let again = machine.state.resolve(contract, party);
            assert_eq!(again, Err(ResolveError::AlreadyClosed(contract, outcome)));
        }
        machine.pass(500);
        machine.sweep(contract);
        assert_eq!(machine.state.changes.settled.len(), 1, "the sweeper comes too late");
    }
    assert_eq!(Outcome::ResolvedToSource.to_string(), "dispute_resolved_to_source");
    assert_eq!(Outcome::ResolvedToDestination.to_string(), "dispute_resolved_to_destination");
}

#[test]
fn only_disputes_are_resolved() {
    let mut machine = Machine::new();
    let open = machine.create(CONSUMER, PROVIDER, Payment::Source);
    machine.report(CONSUMER, open, 5, true);
    assert_eq!(machine.state.resolve(open, Party::Source), Err(ResolveError::NotDisputed(open)));
    assert_eq!(machine.state.resolve(id(99), Party::Source), Err(ResolveError::NotFound(id(99))));
    let swept = disputed(&mut machine, Payment::Source);
    machine.pass(361);
    assert_eq!(machine.sweep(swept), Some(21 * MIB));
    let late = machine.state.resolve(swept, Party::Source);
    assert_eq!(late, Err(ResolveError::AlreadyClosed(swept, Outcome::Swept)));
}

#[tokio::test]
async fn a_resolution_is_archived_and_known_after_a_restart() {
    let mut world = World::new(1 << 40).await;
    let request = CreateContract { transfer_byte_count: 64 << 20, ..request(PROVIDER, false) };
    let contract = Made::new(world.ledger.create(id(CONSUMER), &request).await.unwrap()).id;
    world.close(CONSUMER, contract, 0).await;
    world.close(PROVIDER, contract, 64 * MIB).await;
    world.reopen().await;
    assert_eq!(world.ledger.resolve(contract, Party::Source).await.unwrap(), Ok(0));
    world.reopen().await;
    let again = world.ledger.resolve(contract, Party::Source).await.unwrap();
    assert_eq!(again, Err(ResolveError::AlreadyClosed(contract, Outcome::ResolvedToSource)));
    let late = world.ledger.close(id(CONSUMER), &close(contract, 1, false)).await.unwrap_err();
    assert!(late.to_string().contains("closed with outcome dispute_resolved_to_source"), "{late}");
    let rows = world.domain.store.scan(&ARCHIVE.prefix(&()), None, 10).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(world.available(CONSUMER).await, 1 << 40, "all of it came back");
}

#[test]
fn by_setting_a_dispute_is_settled_at_once_at_what_the_relay_carried_and_a_tenth() {
    let mut machine = with_relay_rule();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    relay(&machine, contract, 10 * MIB);
    machine.report(CONSUMER, contract, 2 * MIB, false);
    machine.report(PROVIDER, contract, 40 * MIB, false);
    assert_eq!(machine.settled(contract), Some(11 * MIB));

    let modest = machine.create(CONSUMER, PROVIDER, Payment::Source);
    relay(&machine, modest, 60 * MIB);
    machine.report(PROVIDER, modest, 3 * MIB, false);
    machine.report(CONSUMER, modest, 60 * MIB, false);
    assert_eq!(machine.settled(modest), Some(3 * MIB), "the payee gets no more than it claims");
}

#[test]
fn by_setting_a_lone_report_of_the_payer_is_bounded_too() {
    for (mut machine, used) in [(Machine::new(), 40 * MIB), (with_relay_rule(), 11 * MIB)] {
        let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
        relay(&machine, contract, 10 * MIB);
        machine.report(CONSUMER, contract, 40 * MIB, false);
        machine.pass(361);
        assert_eq!(machine.sweep(contract), Some(used));
    }
}

#[test]
fn where_the_relay_has_not_counted_a_dispute_settles_at_the_average() {
    let mut config = Config::default();
    config.contracts.dispute = Dispute::Relay;
    config.relay.contract_gate = false;
    let mut machine = Machine::with_config(&config);
    let contract = disputed(&mut machine, Payment::Source);
    assert_eq!(machine.settled(contract), None);
    machine.pass(361);
    assert_eq!(machine.sweep(contract), Some(21 * MIB));
}

#[test]
fn settling_takes_from_what_ends_first_and_returns_the_rest() {
    let mut machine = Machine::new();
    let now = machine.state.now;
    let soon = Balance { start_bytes: 20 * MIB, bytes: 20 * MIB, ..Balance::default() };
    let soon = machine.state.grant(network(CONSUMER), now, now + crate::time::DAY, soon).unwrap();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    let escrow = machine.state.contracts[&contract].record.escrow.clone();
    assert_eq!(escrow.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), [20 * MIB, SIZE - 20 * MIB]);
    assert_eq!(escrow[0].0, soon);
    for party in [CONSUMER, PROVIDER] {
        machine.report(party, contract, 21 * MIB, false);
    }
    let payouts = &machine.state.changes.settled.last().unwrap().payouts;
    assert_eq!(payouts.iter().map(|payout| payout.bytes).collect::<Vec<_>>(), [20 * MIB, MIB]);
    assert!(machine.state.balances.iter().all(|(_, bucket)| bucket.reserved == 0));
}

#[test]
fn a_contract_within_a_network_is_an_anchor_and_its_reply_is_paid_by_that_network() {
    let mut machine = Machine::new();
    machine.create(CONSUMER, SIBLING, Payment::None);
    let reply = machine.create(SIBLING, CONSUMER, Payment::Companion);
    let record = machine.state.contracts[&reply].record.clone();
    assert_eq!((record.payer, record.payee()), (Some(network(CONSUMER)), network(CONSUMER)));
    for party in [SIBLING, CONSUMER] {
        machine.report(party, reply, MIB, false);
    }
    let credit = machine.state.accounts[&network(CONSUMER)].credit;
    assert_eq!((credit.provided_bytes, credit.used_bytes), (MIB, MIB), "it pays itself");
}
