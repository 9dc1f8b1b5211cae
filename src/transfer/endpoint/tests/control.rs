//! The server's side towards one client.

use super::*;

const CLIENT: u8 = 1;

fn detached() -> Script {
    Script::new(EndpointConfig::control(client_id(CLIENT), Arc::new(IdGenerator::new())))
}

/// Attached, its snapshot asked for.
fn attached() -> Script {
    let mut script = detached();
    script.endpoint.attach(script.now);
    script.expect(&["needs snapshot"]);
    script
}

fn arrive(script: &mut Script, pack: Pack) -> Result<(), TransferDrop> {
    script.pack(client_id(CLIENT), pack)
}

fn push(script: &mut Script, name: u8) -> Result<MessageHandle, SendRefused> {
    script.send(client_id(CLIENT), message(name, 1))
}

#[test]
fn acks_in_order_with_one_cumulative_ack_after_the_deliveries_are_confirmed() {
    let mut script = attached();
    for number in 0..3 {
        arrive(&mut script, pack(1, number, number == 0)).unwrap();
    }
    script.expect(&["deliver [0]", "deliver [1]", "deliver [2]"]);
    script.until(secs(1), &[]);
    script.confirm_all();
    script.expect(&["ack 2"]);
}

#[test]
fn acks_wait_for_deliveries_that_are_soon_confirmed_and_no_longer() {
    let mut script = attached();
    for number in 0..3 {
        arrive(&mut script, pack(1, number, number == 0)).unwrap();
    }
    script.outputs();
    let [first, second, third] = [0, 1, 2].map(|at: usize| script.deliveries[at].id);
    script.endpoint.confirm(script.now, first);
    script.until(ms(5), &[]);
    script.endpoint.confirm(script.now, second);
    script.until(ms(100), &[(10, "ack 1")]);
    script.endpoint.confirm(script.now, third);
    script.expect(&["ack 2"]);
    script.endpoint.confirm(script.now, third);
    script.until(ms(200), &[]);
}

#[test]
fn a_later_confirmation_waits_for_the_earlier_ones() {
    let mut script = attached();
    arrive(&mut script, pack(1, 0, true)).unwrap();
    arrive(&mut script, pack(1, 1, false)).unwrap();
    script.expect(&["deliver [0]", "deliver [1]"]);
    let (first, second) = (script.deliveries[0].id, script.deliveries[1].id);
    script.endpoint.confirm(script.now, second);
    script.until(ms(100), &[]);
    script.endpoint.confirm(script.now, first);
    script.expect(&["ack 1"]);
}

#[test]
fn a_duplicate_is_acked_again_and_not_delivered_again() {
    let mut script = attached();
    for number in 0..3 {
        arrive(&mut script, pack(1, number, number == 0)).unwrap();
    }
    script.outputs();
    assert_eq!(arrive(&mut script, pack(1, 1, false)), Err(TransferDrop::Duplicate));
    script.until(ms(100), &[]);
    script.confirm_all();
    script.expect(&["ack 2"]);
    assert_eq!(arrive(&mut script, pack(1, 1, false)), Err(TransferDrop::Duplicate));
    script.until(ms(300), &[(110, "ack 2 again")]);
}

#[test]
fn a_fresh_endpoint_joins_a_running_sequence_at_its_head() {
    let mut script = attached();
    arrive(&mut script, pack(1, 7, true)).unwrap();
    script.expect(&["deliver [7]"]);
    script.confirm_all();
    script.expect(&["ack 7"]);
}

#[test]
fn a_pack_ahead_waits_for_those_before_or_for_a_head_and_is_not_acked_before_the_first_delivery() {
    let mut script = attached();
    arrive(&mut script, pack(1, 7, false)).unwrap();
    script.until(secs(1), &[]);
    arrive(&mut script, pack(1, 6, true)).unwrap();
    script.expect(&["deliver [6]", "deliver [7]"]);
    script.confirm_all();
    script.expect(&["ack 7"]);
    arrive(&mut script, pack(1, 9, false)).unwrap();
    script.until(secs(3), &[(1010, "ack only 9")]);
}

#[test]
fn a_gap_that_lasts_ends_the_sequence_and_a_head_starts_anew() {
    let mut script = attached();
    arrive(&mut script, pack(1, 0, true)).unwrap();
    script.outputs();
    script.confirm_all();
    script.expect(&["ack 0"]);
    arrive(&mut script, pack(1, 2, false)).unwrap();
    script.until(secs(61), &[(10, "ack only 2")]);
    arrive(&mut script, pack(1, 3, true)).unwrap();
    script.expect(&["deliver [3]"]);
}

#[test]
fn a_newer_sequence_replaces_and_an_older_one_is_dropped_without_ack() {
    let mut script = attached();
    arrive(&mut script, pack(2, 0, true)).unwrap();
    script.outputs();
    assert_eq!(arrive(&mut script, pack(1, 1, true)), Err(TransferDrop::OlderSequence));
    let stale = script.deliveries[0].id;
    arrive(&mut script, pack(3, 0, true)).unwrap();
    script.expect(&["deliver [0]"]);
    script.endpoint.confirm(script.now, stale);
    script.until(secs(1), &[]);
    script.endpoint.confirm(script.now, script.deliveries[1].id);
    script.expect(&["ack 0"]);
}

#[test]
fn lanes_do_not_replace_each_other() {
    let mut script = attached();
    arrive(&mut script, pack(2, 0, true)).unwrap();
    arrive(&mut script, Pack { force_stream: true, ..pack(1, 5, true) }).unwrap();
    arrive(&mut script, Pack { logical_lane: 8, ..pack(1, 6, true) }).unwrap();
    script.expect(&["deliver [0]", "deliver [5]", "deliver [6]"]);
    assert_eq!(arrive(&mut script, Pack { logical_lane: 9, ..pack(1, 7, true) }), Err(TransferDrop::BadLane));
}

#[test]
fn a_pack_without_ack_is_delivered_and_never_acked() {
    let mut script = attached();
    arrive(&mut script, Pack { nack: true, ..pack(1, 0, false) }).unwrap();
    script.expect(&["deliver [0]"]);
    script.confirm_all();
    script.until(secs(60), &[]);
}

#[test]
fn what_the_caller_cannot_keep_up_with_is_dropped_without_ack() {
    let mut script = attached();
    let bound = script.endpoint.config.receive.max_unconfirmed as u64;
    for number in 0..bound {
        arrive(&mut script, pack(1, number, number == 0)).unwrap();
    }
    assert_eq!(script.outputs().len(), bound as usize);
    assert_eq!(arrive(&mut script, pack(1, bound, false)), Err(TransferDrop::Full));
    arrive(&mut script, pack(1, bound + 1, false)).unwrap();
    script.confirm_all();
    script.expect(&["ack 63", "ack only 65"]);
    arrive(&mut script, pack(1, bound, false)).unwrap();
    script.expect(&["deliver [64]", "deliver [65]"]);
}

#[test]
fn held_packs_are_bounded_and_the_furthest_gives_way() {
    let mut script = attached();
    for number in 10..200 {
        let _ = arrive(&mut script, pack(1, number, false));
    }
    assert_eq!(arrive(&mut script, pack(1, 250, false)), Err(TransferDrop::Full));
    arrive(&mut script, pack(1, 5, false)).unwrap();
    let held = script.endpoint.config.receive.max_held;
    arrive(&mut script, pack(1, 9, true)).unwrap();
    // 9, then 10 and on: one of the held was 5, behind the head now, and one gave way to it.
    assert_eq!(script.outputs().len(), 1 + held - 1);
}

#[test]
fn lanes_are_bounded() {
    let mut script = attached();
    let mut refused = 0;
    for logical_lane in 0..=8 {
        for bits in 0..4 {
            let (force_stream, companion_contract) = (bits & 1 != 0, bits & 2 != 0);
            let pack = Pack { logical_lane, force_stream, companion_contract, ..pack(1, 0, true) };
            refused += usize::from(arrive(&mut script, pack) == Err(TransferDrop::Full));
        }
    }
    assert_eq!(refused, 36 - script.endpoint.config.receive.max_sequences);
    // Silence makes room again.
    script.outputs();
    script.until(secs(121), &[]);
    arrive(&mut script, Pack { logical_lane: 8, ..pack(1, 0, true) }).unwrap();
}

#[test]
fn a_push_to_a_mute_client_is_resent_and_given_up_after_a_minute_with_a_snapshot_owed() {
    let mut script = attached();
    push(&mut script, 1).unwrap();
    script.expect(&["pack 0 head [1]"]);
    let sequence = script.sent[&0].sequence_id.clone();
    let copies = [2000, 6000, 14000, 22000, 30000, 38000, 46000, 54000].map(|at| (at, "pack 0 head [1]"));
    let mut expected = copies.to_vec();
    expected.push((60_000, "expired 0"));
    script.until(secs(300), &expected);
    assert_eq!(push(&mut script, 2), Err(SendRefused::SnapshotOwed));
    // Proof of life asks for the snapshot, which goes under a newer sequence.
    arrive(&mut script, pack(1, 0, true)).unwrap();
    script.expect(&["needs snapshot", "deliver [0]"]);
    push(&mut script, 3).unwrap();
    script.expect(&["pack 0 head [3]"]);
    assert!(script.sent[&0].sequence_id > sequence);
}

#[test]
fn an_ack_stops_the_resends_and_the_next_push_is_the_head_with_the_next_number() {
    let mut script = attached();
    push(&mut script, 1).unwrap();
    push(&mut script, 2).unwrap();
    script.expect(&["pack 0 head [1]", "pack 1 [2]"]);
    script.at(ms(100)).ack(client_id(CLIENT), 1, false).unwrap();
    script.expect(&["acked 0", "acked 1"]);
    script.until(secs(100), &[]);
    push(&mut script, 3).unwrap();
    script.expect(&["pack 2 head [3]"]);
    assert_eq!(script.ack(client_id(CLIENT), 0, false), Err(TransferDrop::UnknownAck));
}

#[test]
fn what_is_acked_is_not_resent_when_its_time_comes_and_what_is_left_is_resent_at_its_own() {
    let mut script = attached();
    push(&mut script, 1).unwrap();
    script.at(ms(300));
    push(&mut script, 2).unwrap();
    script.at(ms(700));
    push(&mut script, 3).unwrap();
    script.outputs();
    script.ack(client_id(CLIENT), 0, false).unwrap();
    script.ack(client_id(CLIENT), 2, true).unwrap();
    script.expect(&["acked 0"]);
    script.until(ms(6500), &[(2300, "pack 1 head [2]"), (6300, "pack 1 head [2]")]);
}

#[test]
fn a_resent_pack_becomes_the_head_when_those_before_it_are_acked() {
    let mut script = attached();
    push(&mut script, 1).unwrap();
    push(&mut script, 2).unwrap();
    script.outputs();
    script.at(ms(500)).ack(client_id(CLIENT), 0, false).unwrap();
    script.expect(&["acked 0"]);
    script.until(ms(2000), &[(2000, "pack 1 head [2]")]);
}

#[test]
fn a_selectively_acked_push_pauses_and_three_of_them_bring_the_missing_one_at_once() {
    let mut script = attached();
    for name in 0..4 {
        push(&mut script, name).unwrap();
    }
    script.outputs();
    for number in [1, 2] {
        script.ack(client_id(CLIENT), number, true).unwrap();
        script.ack(client_id(CLIENT), number, true).unwrap();
    }
    script.expect(&[]);
    script.ack(client_id(CLIENT), 3, true).unwrap();
    script.expect(&["pack 0 head [0]"]);
    script.until(secs(5), &[(4000, "pack 0 head [0]")]);
    script.ack(client_id(CLIENT), 3, false).unwrap();
    script.expect(&["acked 0", "acked 1", "acked 2", "acked 3"]);
}

#[test]
fn pushes_wait_while_no_transport_is_attached_and_are_all_resent_on_the_next() {
    let mut script = attached();
    push(&mut script, 1).unwrap();
    push(&mut script, 2).unwrap();
    script.outputs();
    script.endpoint.detach(script.now);
    push(&mut script, 3).unwrap();
    script.until(secs(250), &[]);
    script.endpoint.attach(script.now);
    script.expect(&["pack 0 head [1]", "pack 1 [2]", "pack 2 [3]"]);
    script.until(secs(253), &[(252_000, "pack 0 head [1]"), (252_000, "pack 1 [2]"), (252_000, "pack 2 [3]")]);
}

#[test]
fn at_most_sixteen_pushes_are_in_flight() {
    let mut script = attached();
    for name in 0..20 {
        push(&mut script, name).unwrap();
    }
    assert_eq!(script.outputs().len(), 16);
    script.ack(client_id(CLIENT), 1, false).unwrap();
    script.expect(&["acked 0", "acked 1", "pack 16 [16]", "pack 17 [17]"]);
}

#[test]
fn an_overflowing_queue_is_dropped_and_a_snapshot_is_owed_on_the_next_attach() {
    let mut script = attached();
    script.endpoint.detach(script.now);
    let bound = script.endpoint.config.send.max_queued;
    for name in 0..bound {
        push(&mut script, name as u8).unwrap();
    }
    assert_eq!(push(&mut script, 0), Err(SendRefused::QueueFull));
    assert_eq!(script.outputs().len(), bound);
    assert_eq!(push(&mut script, 0), Err(SendRefused::SnapshotOwed));
    script.endpoint.attach(script.now);
    script.expect(&["needs snapshot"]);
    push(&mut script, 9).unwrap();
    script.expect(&["pack 0 head [9]"]);
}

#[test]
fn every_frame_fits_the_transport_and_larger_messages_are_refused() {
    let mut script = attached();
    let to = client_id(CLIENT);
    let bound = script.endpoint.config.send.max_message_bytes;
    assert_eq!(script.send(to, message(1, bound)), Err(SendRefused::TooLarge));
    assert_eq!(script.endpoint.send(script.now, to, vec![], SendOptions::default()), Err(SendRefused::Empty));
    script.send(to, message(1, bound - 16)).unwrap();
    let Some(Output::Transmit(frame)) = script.endpoint.poll_output() else { panic!("a frame was expected") };
    assert!(frame.len() <= MAX_FRAME_BYTES);
}

#[test]
fn a_clock_that_jumps_back_delays_no_resend() {
    let mut script = attached();
    push(&mut script, 1).unwrap();
    script.outputs();
    script.start = script.start.before(secs(3600));
    script.at(secs(0));
    script.endpoint.handle_timeout(script.now);
    script.expect(&[]);
    script.until(secs(3), &[(2000, "pack 0 head [1]")]);
}

#[test]
fn frames_that_are_not_between_the_client_and_control_are_dropped() {
    let mut script = attached();
    assert_eq!(script.pack(client_id(2), pack(1, 0, true)), Err(TransferDrop::WrongPath));
    assert_eq!(script.pack(ClientId::CONTROL, pack(1, 0, true)), Err(TransferDrop::WrongPath));
    let client = client_id(CLIENT);
    assert_eq!(script.frame(client, TransferFrame::default()), Err(TransferDrop::Malformed));
    let both = TransferFrame { pack: Some(pack(1, 0, true)), ack: Some(Ack::default()), ..TransferFrame::default() };
    assert_eq!(script.frame(client, both), Err(TransferDrop::Malformed));
    let sealed = TransferFrame { encrypted_transfer_frame: Some(Bytes::new()), ..TransferFrame::default() };
    assert_eq!(script.frame(client, sealed), Err(TransferDrop::Sealed));
    let short = Pack { message_id: Bytes::from_static(&[1; 15]), ..pack(1, 0, true) };
    assert_eq!(arrive(&mut script, short), Err(TransferDrop::Malformed));
    script.until(secs(60), &[]);
}

#[test]
fn the_carrier_before_version_2_is_understood() {
    let mut script = attached();
    let carrier = crate::wire::control_message::frame(MessageType::TransferPack, &pack(1, 0, true));
    script.frame(client_id(CLIENT), TransferFrame { frame: Some(carrier), ..TransferFrame::default() }).unwrap();
    script.expect(&["deliver [0]"]);
}

#[test]
fn the_vectors_of_the_protocol_are_answered_byte_for_byte() {
    let client: ClientId = "01020304-0506-0708-090a-0b0c0d0e0f10".parse().unwrap();
    let mut script = Script::new(EndpointConfig::control(client, Arc::new(IdGenerator::new())));
    let asked = "0a1212100102030405060708090a0b0c0d0e0f10180022330a10a0a1a2a3a4a5a6a7a8a9aaabacadaeaf1210b0b1b2b3b4b5\
                 b6b7b8b9babbbcbdbebf20012a02081242070880d095ffbc31";
    script.endpoint.handle_frame(script.now, hex::decode(asked).unwrap().into()).unwrap();
    assert_eq!(script.endpoint.poll_output(), Some(Output::NeedsSnapshot));
    let Some(Output::Deliver(delivery)) = script.endpoint.poll_output() else { panic!("a delivery was expected") };
    assert_eq!(delivery.frames[0].message_type, i32::from(MessageType::TransferControlPing));
    script.endpoint.confirm(script.now, delivery.id);
    script.endpoint.handle_timeout(script.now + ms(10));
    let Some(Output::Transmit(ack)) = script.endpoint.poll_output() else { panic!("an ack was expected") };
    let answer = "0a120a100102030405060708090a0b0c0d0e0f1018012a2d0a10a0a1a2a3a4a5a6a7a8a9aaabacadaeaf1210b0b1b2b3b4\
                  b5b6b7b8b9babbbcbdbebf22070880d095ffbc31";
    assert_eq!(hex::encode(ack), answer);
}
