//! One client towards its peers and the control id.

use super::*;

const LOCAL: u8 = 1;
const PEER: u8 = 2;

fn attached() -> Script {
    let mut script = Script::new(EndpointConfig::client(client_id(LOCAL), Arc::new(IdGenerator::new())));
    script.endpoint.attach(script.now);
    script
}

/// Attached, providing publicly under [`SECRET`].
fn provider() -> Script {
    let mut script = attached();
    let key = ProvideKey { mode: ProvideMode::Public.into(), provide_secret_key: SECRET.into() };
    script.endpoint.set_provide(&Provide { keys: vec![key] });
    script
}

/// With an acked contract of 1 MiB to the peer, and the next one asked for.
fn paid() -> Script {
    let mut script = attached();
    script.send(client_id(PEER), message(0, 100)).unwrap();
    script.expect(&["needs contract 1048576"]);
    give(&mut script, 1, 1 << 20).unwrap();
    script.expect(&["pack 0 head with contract []", "needs contract 34340864", "pack 1 [0]"]);
    script.ack(client_id(PEER), 1, false).unwrap();
    script.expect(&["acked 0"]);
    script
}

fn give(script: &mut Script, id: u8, bytes: u64) -> Result<(), ContractRefused> {
    let contract = contract(id, client_id(LOCAL), client_id(PEER), bytes);
    script.endpoint.add_contract(script.now, client_id(PEER), Lane::default(), &contract)
}

/// The peer's pack that opens contract `id`.
fn opening(sequence: u8, number: u64, id: u8, bytes: u64) -> Pack {
    let contract = contract(id, client_id(PEER), client_id(LOCAL), bytes);
    Pack { frames: vec![], contract_frame: contract_frame(&contract), ..pack(sequence, number, number == 0) }
}

#[test]
fn the_first_message_asks_for_a_contract_and_follows_the_pack_that_opens_it() {
    let mut script = paid();
    script.send(client_id(PEER), message(1, 100)).unwrap();
    // The peer has not said that it can ask for contracts again, so the head repeats it.
    script.expect(&["pack 2 head with contract [1]"]);
}

#[test]
fn a_contract_is_asked_for_again_until_the_sequence_is_given_up() {
    let mut script = attached();
    script.send(client_id(PEER), message(0, 100)).unwrap();
    script.expect(&["needs contract 1048576"]);
    let asked: Vec<(u64, &str)> =
        [1, 3, 7, 12, 17, 22, 27].iter().map(|at| (at * 1000, "needs contract 1048576")).collect();
    script.until(secs(200), &[asked, vec![(30_000, "expired 0")]].concat());
    give(&mut script, 1, 1 << 20).unwrap_err();
    script.expect(&["close 1 0+0"]);
}

#[test]
fn a_contract_that_is_used_up_to_its_share_gives_way_to_the_next_one() {
    let mut script = paid();
    // 1 MiB x 0.8 = 838860 bytes; 100 and 1 are used.
    for name in 0..3 {
        script.endpoint.send(script.now, client_id(PEER), vec![message(name, 2000)], SendOptions::default()).unwrap();
    }
    give(&mut script, 2, 34_340_864).unwrap();
    script.outputs();
    let mut number = 4;
    let mut used = 101 + 3 * 2000;
    while used + 2000 <= 838_860 {
        script.ack(client_id(PEER), number, false).unwrap();
        script.send(client_id(PEER), message(9, 2000)).unwrap();
        let outputs = script.outputs();
        assert!(outputs.iter().all(|line| !line.contains("needs") && !line.contains("close")), "{outputs:?}");
        used += 2000;
        number += 1;
    }
    script.send(client_id(PEER), message(7, 2000)).unwrap();
    let opened = format!("pack {} with contract []", number + 1);
    let follows = format!("pack {} [7]", number + 2);
    script.expect(&[&opened, "needs contract 67633152", &follows]);
    script.ack(client_id(PEER), number, false).unwrap();
    let outputs = script.outputs();
    assert_eq!(outputs.first(), Some(&format!("close 1 {used}+0")));
}

#[test]
fn a_contract_too_small_for_the_message_is_closed_unused() {
    let mut script = attached();
    script.send(client_id(PEER), message(0, 100)).unwrap();
    script.outputs();
    give(&mut script, 1, 126).unwrap();
    script.expect(&["close 1 0+0"]);
    give(&mut script, 2, 127).unwrap();
    script.expect(&["pack 0 head with contract []", "needs contract 34340864", "pack 1 [0]"]);
}

#[test]
fn contracts_of_another_pair_known_ones_and_garbage_are_refused() {
    let mut script = paid();
    assert_eq!(give(&mut script, 1, 1 << 20), Err(ContractRefused::InUse));
    let (to, lane) = (client_id(PEER), Lane::default());
    let other = contract(3, client_id(LOCAL), client_id(9), 1 << 20);
    assert_eq!(script.endpoint.add_contract(script.now, to, lane, &other), Err(ContractRefused::WrongPair));
    let garbage = Contract { stored_contract_bytes: Bytes::from_static(&[0xff]), ..Contract::default() };
    assert_eq!(script.endpoint.add_contract(script.now, to, lane, &garbage), Err(ContractRefused::Malformed));
    for id in 10..14 {
        give(&mut script, id, 1 << 20).unwrap();
    }
    assert_eq!(give(&mut script, 14, 1 << 20), Err(ContractRefused::NotNeeded));
    script.expect(&["close 14 0+0"]);
}

#[test]
fn an_unused_contract_is_given_back_after_two_minutes_and_the_rest_when_the_sequence_idles() {
    let mut script = paid();
    give(&mut script, 2, 1 << 20).unwrap();
    script.until(secs(400), &[(120_000, "close 2 0+0"), (300_000, "close 1 101+0")]);
    assert_eq!(script.endpoint.poll_timeout(), None);
}

#[test]
fn resends_follow_the_measured_round_trip_down_to_their_floor() {
    let mut script = attached();
    script.send(ClientId::CONTROL, message(0, 1)).unwrap();
    script.expect(&["pack 0 head [0]"]);
    script.until(ms(2000), &[(2000, "pack 0 head [0]")]);
    script.at(ms(2250)).ack(ClientId::CONTROL, 0, false).unwrap();
    script.expect(&["acked 0"]);
    script.send(ClientId::CONTROL, message(1, 1)).unwrap();
    script.expect(&["pack 1 head [1]"]);
    // Twice 250 ms, doubling.
    script.until(ms(4000), &[(2750, "pack 1 head [1]"), (3750, "pack 1 head [1]")]);
    script.ack(ClientId::CONTROL, 1, false).unwrap();
    for _ in 0..20 {
        script.send(ClientId::CONTROL, message(2, 1)).unwrap();
        let last = *script.sent.keys().max().unwrap();
        script.outputs();
        script.ack(ClientId::CONTROL, last + 1, false).unwrap();
    }
    script.outputs();
    script.send(ClientId::CONTROL, message(3, 1)).unwrap();
    script.outputs();
    script.until(ms(4300), &[(4300, "pack 22 head [3]")]);
}

#[test]
fn a_mute_peer_ends_the_sequence_after_a_minute_and_the_next_message_opens_another() {
    let mut script = paid();
    script.send(client_id(PEER), message(1, 50)).unwrap();
    script.outputs();
    let sequence = script.sent[&2].sequence_id.clone();
    script.at(secs(60));
    script.endpoint.handle_timeout(script.now);
    script.expect(&["expired 1", "close 1 101+50"]);
    script.send(client_id(PEER), message(2, 50)).unwrap();
    script.expect(&["needs contract 1048576"]);
    give(&mut script, 2, 1 << 20).unwrap();
    script.expect(&["pack 0 head with contract []", "needs contract 34340864", "pack 1 [2]"]);
    assert!(script.sent[&0].sequence_id > sequence);
}

#[test]
fn a_message_without_ack_waits_for_the_proof_of_its_contract() {
    let mut script = attached();
    let options = SendOptions { ack: false, ..SendOptions::default() };
    script.endpoint.send(script.now, client_id(PEER), vec![message(0, 10)], options).unwrap();
    script.outputs();
    give(&mut script, 1, 1 << 20).unwrap();
    script.expect(&["pack 0 head with contract []", "needs contract 34340864", "pack 1 [0]"]);
    script.ack(client_id(PEER), 0, false).unwrap();
    script.endpoint.send(script.now, client_id(PEER), vec![message(1, 10)], options).unwrap();
    script.expect(&["pack 0 nack naming contract [1]", "acked 1"]);
}

#[test]
fn a_peer_that_can_ask_again_gets_heads_that_name_the_contract_and_all_of_it_when_it_asks() {
    let mut script = paid();
    script.send(client_id(PEER), message(1, 10)).unwrap();
    script.outputs();
    let able = Ack {
        message_id: script.sent[&2].message_id.clone(),
        sequence_id: script.sent[&2].sequence_id.clone(),
        compact_contract_recovery: true,
        ..Ack::default()
    };
    script.frame(client_id(PEER), TransferFrame { ack: Some(able.clone()), ..TransferFrame::default() }).unwrap();
    script.expect(&["acked 1"]);
    script.send(client_id(PEER), message(2, 10)).unwrap();
    script.expect(&["pack 3 head naming contract [2]"]);
    let lost =
        Ack { message_id: script.sent[&3].message_id.clone(), missing_contract_id: Some(vec![1; 16].into()), ..able };
    script.frame(client_id(PEER), TransferFrame { ack: Some(lost), ..TransferFrame::default() }).unwrap();
    script.expect(&["pack 3 head with contract [2]"]);
    // It was not an ack.
    script.ack(client_id(PEER), 3, false).unwrap();
    script.expect(&["acked 2"]);
}

#[test]
fn a_verified_contract_pays_for_packs_and_tells_who_sends() {
    let mut script = provider();
    script.pack(client_id(PEER), opening(1, 0, 7, 1000)).unwrap();
    script.pack(client_id(PEER), pack(1, 1, false)).unwrap();
    script.expect(&["deliver [1]"]);
    let verified = script.deliveries[0].contract.clone().unwrap();
    assert_eq!(verified.contract_id, ContractId::new([7; 16]));
    assert_eq!(verified.provide_mode, ProvideMode::Public);
    // Who the sender is counts only within a network.
    assert!(verified.roles.is_empty() && verified.principal.is_empty());
    script.until(secs(200), &[(10, "ack 1"), (120_000, "checkpoint 7 2+0")]);
}

#[test]
fn the_paying_contract_is_the_one_of_the_pack_in_order_and_superseded_ones_are_closed() {
    let mut script = provider();
    let mut number = 0;
    for id in 1..=6 {
        script.pack(client_id(PEER), opening(1, number, id, 1000)).unwrap();
        script.pack(client_id(PEER), pack(1, number + 1, false)).unwrap();
        number += 2;
    }
    script.expect(&[
        "deliver [1]",
        "deliver [3]",
        "deliver [5]",
        "deliver [7]",
        "close 1 2+0",
        "deliver [9]",
        "close 2 2+0",
        "deliver [11]",
    ]);
    script.endpoint.close(script.now, Ending::Pause);
    script.expect(&["ack 11", "close 3 2+0", "close 4 2+0", "close 5 2+0", "checkpoint 6 2+0"]);
}

#[test]
fn a_final_ending_closes_the_current_contract_too() {
    let mut script = provider();
    script.pack(client_id(PEER), opening(1, 0, 7, 1000)).unwrap();
    script.endpoint.close(script.now, Ending::Final);
    script.expect(&["ack 0", "close 7 1+0"]);
}

#[test]
fn a_contract_that_does_not_verify_refuses_its_sequence_and_older_ones_until_a_newer_one() {
    let mut script = provider();
    let mut forged = contract(7, client_id(PEER), client_id(LOCAL), 1000);
    forged.stored_contract_hmac = Bytes::from_static(&[0; 32]);
    let foreign = contract(7, client_id(3), client_id(LOCAL), 1000);
    let unprovided =
        Contract { provide_mode: ProvideMode::Network.into(), ..contract(7, client_id(PEER), client_id(LOCAL), 9) };
    let legacy = {
        let good = contract(7, client_id(PEER), client_id(LOCAL), 1000);
        let hmac = contract_signature::sign(HmacForm::Legacy, SECRET, &good.stored_contract_bytes);
        Contract { stored_contract_hmac: hmac, ..good }
    };
    for (sequence, bad) in [(2, forged), (4, foreign), (6, unprovided), (8, legacy)] {
        let bad = Pack { contract_frame: contract_frame(&bad), ..opening(sequence, 0, 7, 1000) };
        assert_eq!(script.pack(client_id(PEER), bad), Err(TransferDrop::BadContract));
        for refused in [sequence, sequence - 1] {
            let good = opening(refused, 0, 7, 1000);
            assert_eq!(script.pack(client_id(PEER), good), Err(TransferDrop::BadContract));
        }
    }
    script.expect(&[]);
    script.pack(client_id(PEER), opening(9, 0, 7, 1000)).unwrap();
    script.until(ms(10), &[(10, "ack 0")]);
}

#[test]
fn a_pack_beyond_the_contract_or_without_one_ends_the_sequence() {
    let mut script = provider();
    script.pack(client_id(PEER), opening(1, 0, 7, 2)).unwrap();
    script.pack(client_id(PEER), pack(1, 1, false)).unwrap();
    assert_eq!(script.pack(client_id(PEER), pack(1, 2, false)), Err(TransferDrop::NoContract));
    script.expect(&["deliver [1]", "ack 1", "checkpoint 7 2+0"]);
    assert_eq!(script.pack(client_id(PEER), pack(1, 2, true)), Err(TransferDrop::NoContract));
    script.expect(&[]);
}

#[test]
fn a_pack_without_ack_needs_an_open_contract_of_its_sequence() {
    let mut script = provider();
    let nack = |id: u8| Pack { nack: true, contract_id: Some(vec![id; 16].into()), ..pack(1, 0, false) };
    assert_eq!(script.pack(client_id(PEER), nack(7)), Err(TransferDrop::NoContract));
    script.pack(client_id(PEER), opening(1, 0, 7, 1000)).unwrap();
    script.pack(client_id(PEER), nack(7)).unwrap();
    assert_eq!(script.pack(client_id(PEER), nack(8)), Err(TransferDrop::NoContract));
    script.expect(&["deliver [0]"]);
}

#[test]
fn a_head_that_names_an_unknown_contract_is_answered_with_a_request_for_it() {
    let mut script = provider();
    let naming = Pack { contract_id: Some(vec![7; 16].into()), ..pack(1, 5, true) };
    assert_eq!(script.pack(client_id(PEER), naming), Err(TransferDrop::NoContract));
    script.until(ms(10), &[(0, "ask contract for 5 again")]);
    script.pack(client_id(PEER), Pack { head: true, ..opening(1, 5, 7, 1000) }).unwrap();
    script.until(ms(20), &[(20, "ack 5")]);
    let naming = Pack { contract_id: Some(vec![7; 16].into()), ..pack(1, 6, true) };
    script.pack(client_id(PEER), naming).unwrap();
    script.expect(&["deliver [6]"]);
}

#[test]
fn packs_of_control_need_no_contract_and_are_acked_with_the_capabilities() {
    let mut script = attached();
    script.pack(ClientId::CONTROL, pack(1, 0, true)).unwrap();
    script.expect(&["deliver [0]"]);
    script.endpoint.handle_timeout(script.now + ms(10));
    let Some(Output::Transmit(frame)) = script.endpoint.poll_output() else { panic!("an ack was expected") };
    let ack = TransferFrame::decode(frame).unwrap().ack.unwrap();
    assert!(ack.compact_contract_recovery && ack.logical_lane_version == 1);
}

#[test]
fn lanes_have_their_own_sequences_and_say_so_on_the_wire() {
    let mut script = attached();
    let lane = Lane { force_stream: true, ..Lane::default() }.reply(true);
    let options = SendOptions { lane, ack: true };
    script.endpoint.send(script.now, client_id(PEER), vec![message(0, 1)], options).unwrap();
    let asked = Output::NeedsContract { to: client_id(PEER), lane, transfer_byte_count: 1_048_576 };
    assert_eq!(script.endpoint.poll_output(), Some(asked));
    let given = contract(1, client_id(LOCAL), client_id(PEER), 1 << 20);
    script.endpoint.add_contract(script.now, client_id(PEER), lane, &given).unwrap();
    let Some(Output::Transmit(frame)) = script.endpoint.poll_output() else { panic!("a pack was expected") };
    let frame = TransferFrame::decode(frame).unwrap();
    assert_eq!((frame.session_role, frame.session_companion), (Some(2), None));
    let pack = frame.pack.unwrap();
    assert!(pack.force_stream && pack.companion_contract && pack.logical_lane == 0);
}

#[test]
fn an_abandoned_lane_expires_its_messages_and_frees_its_contracts() {
    let mut script = attached();
    script.send(client_id(PEER), message(0, 10)).unwrap();
    script.outputs();
    script.endpoint.abandon(script.now, client_id(PEER), Lane::default());
    script.expect(&["expired 0"]);
    assert_eq!(script.endpoint.poll_timeout(), None);
}

#[test]
fn nothing_spins_while_detached() {
    let mut script = paid();
    script.send(client_id(PEER), message(1, 10)).unwrap();
    script.outputs();
    script.endpoint.detach(script.now);
    script.send(client_id(9), message(2, 10)).unwrap();
    script.until(secs(100), &[(60_000, "expired 1"), (60_000, "close 1 101+10")]);
}

#[test]
fn a_full_queue_refuses_without_losing_what_is_in_it() {
    let mut script = attached();
    let bound = script.endpoint.config.send.max_queued;
    for _ in 0..bound {
        script.send(ClientId::CONTROL, message(1, 1)).unwrap();
    }
    assert_eq!(script.send(ClientId::CONTROL, message(1, 1)), Err(SendRefused::QueueFull));
    assert!(script.outputs().iter().all(|line| line.starts_with("pack")));
}

#[test]
fn what_peers_make_an_endpoint_hold_is_bounded_over_all_of_them() {
    let mut script = provider();
    let bound = 1 << 20;
    Arc::make_mut(&mut script.endpoint.config.receive).max_total_held_bytes = bound;
    // Ahead of a gap, so that nothing is delivered and no contract is asked for: the cheapest way to be a burden.
    let ahead = |number| Pack { frames: vec![Frame::default(); 1000], ..pack(1, number, false) };
    let mut refused = 0;
    for peer in 100..110 {
        for number in 10..20 {
            refused += u32::from(script.pack(client_id(peer), ahead(number)) == Err(TransferDrop::Full));
        }
    }
    assert!(refused > 0);
    let held: usize = script.endpoint.receiving.values().map(|sequence| sequence.held_bytes()).sum();
    assert_eq!(held, script.endpoint.held_bytes);
    assert!(held <= bound && held > bound / 2, "{held}");
    // The gaps last too long, and so does the silence of those who found no room.
    script.until(secs(121), &[]);
    assert_eq!(script.endpoint.held_bytes, 0);
    assert_eq!(script.endpoint.receiving.len(), 0);
}
