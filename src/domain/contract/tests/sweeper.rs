//! When the sweeper takes a contract, and whom it believes.

use super::super::create::Payment;
use super::votes::{Machine, SIZE};
use super::*;

/// Advances in steps of a minute, as the sweeper does, and says after how many seconds the contract was settled.
fn settled_after(machine: &mut Machine, contract: ContractId, mut each: impl FnMut(&mut Machine, u64)) -> u64 {
    for minute in 1..=1500 {
        machine.pass(60);
        each(machine, minute * 60);
        if machine.sweep(contract).is_some() {
            return minute * 60;
        }
    }
    panic!("never settled");
}

fn relay(machine: &Machine, contract: ContractId, bytes: usize) {
    if let Some(traffic) = &machine.state.contracts[&contract].traffic {
        traffic.record(bytes, machine.state.now);
    }
}

#[test]
fn a_contract_nobody_touches_is_due_after_five_minutes() {
    let mut machine = Machine::new();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    assert_eq!(settled_after(&mut machine, contract, |_, _| {}), 300);
    assert_eq!(machine.settled(contract), Some(0));
}

#[test]
fn traffic_of_the_pair_keeps_a_contract_alive_up_to_a_day() {
    let mut machine = Machine::new();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    let after = settled_after(&mut machine, contract, |machine, secs| {
        if secs <= 600 {
            relay(machine, contract, 100);
        }
    });
    assert_eq!(after, 900);
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    let after = settled_after(&mut machine, contract, |machine, _| relay(machine, contract, 100));
    assert_eq!(after, 24 * 3600);
}

#[test]
fn traffic_does_not_keep_a_contract_whose_source_is_done() {
    let mut machine = Machine::new();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    machine.report(CONSUMER, contract, 0, false);
    let after = settled_after(&mut machine, contract, |machine, _| relay(machine, contract, 100));
    assert_eq!(after, 300);
}

#[test]
fn traffic_does_not_keep_a_contract_that_both_have_voted_on() {
    let mut machine = Machine::new();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    machine.report(CONSUMER, contract, 10, true);
    machine.report(PROVIDER, contract, 10, true);
    assert_eq!(settled_after(&mut machine, contract, |machine, _| relay(machine, contract, 100)), 300);
}

#[test]
fn traffic_keeps_a_contract_that_the_source_has_only_checkpointed() {
    let mut machine = Machine::new();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    machine.report(CONSUMER, contract, 10, true);
    let after = settled_after(&mut machine, contract, |machine, secs| {
        if secs <= 600 {
            relay(machine, contract, 100);
        }
    });
    assert_eq!(after, 900);
}

#[test]
fn traffic_keeps_only_the_newest_contracts_of_a_pair() {
    let mut machine = Machine::new();
    let contracts: Vec<_> = (0..40).map(|_| machine.create(CONSUMER, PROVIDER, Payment::Source)).collect();
    let newest = *contracts.last().unwrap();
    settled_after(&mut machine, contracts[0], |machine, _| relay(machine, newest, 100));
    let left = contracts.iter().filter(|contract| machine.is_open(**contract)).count();
    assert_eq!(left, 32);
    assert!(contracts[8..].iter().all(|contract| machine.is_open(*contract)));
}

#[test]
fn a_vote_postpones_by_five_minutes() {
    let mut machine = Machine::new();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    let after = settled_after(&mut machine, contract, |machine, secs| {
        if secs == 240 {
            machine.report(CONSUMER, contract, 0, false);
        }
    });
    assert_eq!(after, 540);
}

#[test]
fn a_connect_of_either_party_counts_as_activity() {
    let mut machine = Machine::new();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    let after = settled_after(&mut machine, contract, |machine, secs| {
        if secs == 240 {
            machine.links.connected(client(PROVIDER), machine.state.now);
        }
    });
    assert_eq!(after, 540);
}

#[test]
fn when_both_are_gone_their_votes_are_final_soon() {
    let gone = |votes: &[(u8, bool)], traffic: bool| {
        let mut machine = Machine::new();
        for party in [CONSUMER, PROVIDER] {
            machine.links.connected(client(party), machine.state.now);
        }
        let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
        for (party, checkpoint) in votes {
            machine.report(*party, contract, 5, *checkpoint);
        }
        if traffic {
            machine.pass(290);
            relay(&machine, contract, 100);
        }
        for party in [CONSUMER, PROVIDER] {
            machine.links.disconnected(client(party), machine.state.now);
        }
        let offset = if traffic { 290 } else { 0 };
        offset + settled_after(&mut machine, contract, |_, _| {})
    };
    assert_eq!(gone(&[(CONSUMER, true), (PROVIDER, true)], false), 120, "both votes: a minute, and the next look");
    assert_eq!(gone(&[(PROVIDER, true)], false), 300, "one vote: not before five minutes");
    assert_eq!(gone(&[(PROVIDER, true)], true), 410, "one vote, old enough");
    assert!(gone(&[], true) >= 590, "no vote: by inactivity alone");
}

#[test]
fn a_client_that_is_back_is_not_gone() {
    let mut machine = Machine::new();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    machine.report(CONSUMER, contract, 5, true);
    machine.report(PROVIDER, contract, 5, true);
    for party in [CONSUMER, PROVIDER] {
        machine.links.connected(client(party), machine.state.now);
        machine.links.disconnected(client(party), machine.state.now);
    }
    machine.links.connected(client(PROVIDER), machine.state.now);
    assert_eq!(settled_after(&mut machine, contract, |_, _| {}), 300);
}

#[test]
fn a_lone_claim_of_the_payee_is_bounded_by_what_was_relayed() {
    let mut machine = Machine::new();
    let plain = machine.create(CONSUMER, PROVIDER, Payment::Source);
    relay(&machine, plain, 1000);
    machine.report(PROVIDER, plain, SIZE, false);
    machine.pass(361);
    assert_eq!(machine.sweep(plain), Some(1100));

    let origin = machine.create(CONSUMER, PROVIDER, Payment::Source);
    let reply = machine.create(PROVIDER, CONSUMER, Payment::Companion);
    machine.report(PROVIDER, reply, SIZE, false);
    machine.pass(361);
    assert_eq!(machine.sweep(reply), Some(0), "nothing was ever sent under it");
    assert_eq!(machine.settled(origin), Some(0));
}

#[test]
fn a_lone_claim_of_the_payer_is_believed() {
    let mut machine = Machine::new();
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    machine.report(CONSUMER, contract, 777, false);
    machine.pass(361);
    assert_eq!(machine.sweep(contract), Some(777));
}

#[test]
fn a_claim_is_believed_where_the_relay_does_not_count() {
    let mut config = Config::default();
    config.relay.contract_gate = false;
    let mut machine = Machine::with_config(&config);
    let contract = machine.create(CONSUMER, PROVIDER, Payment::Source);
    machine.report(PROVIDER, contract, 777, false);
    machine.pass(361);
    assert_eq!(machine.sweep(contract), Some(777));
}
