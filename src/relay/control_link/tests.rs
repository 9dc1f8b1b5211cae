use prost::Message as _;

use super::*;
use crate::relay::testing::{TestClient, TestRelay, id};
use crate::wire::control_message::Request;
use crate::wire::messages::{CloseContract, NetworkPeersUpdate, Pack, TransferFrame, TransferPath};

fn relay() -> TestRelay {
    TestRelay::new(|_| ())
}

async fn send_pack(client: &mut TestClient, number: u64, head: bool, requests: &[Request]) {
    let pack = Pack {
        message_id: Bytes::from(vec![number as u8; 16]),
        sequence_id: Bytes::from_static(&[0xb0; 16]),
        sequence_number: number,
        head,
        frames: requests.iter().map(Request::to_frame).collect(),
        ..Pack::default()
    };
    let path = TransferPath { source_id: Some(id(1).into()), ..TransferPath::default() };
    let frame = TransferFrame { transfer_path: Some(path), pack: Some(pack), ..TransferFrame::default() };
    client.send(frame.encode_to_vec()).await;
}

async fn receive_ack(client: &mut TestClient) -> u8 {
    loop {
        if let Some(ack) = client.receive_control().await.ack {
            assert_eq!(ack.sequence_id, Bytes::from_static(&[0xb0; 16]));
            assert!(!ack.selective);
            return ack.message_id[0];
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pack_is_acked_once_its_effects_are_durable_and_a_repeated_one_is_not_handled_again() {
    let relay = relay();
    *relay.control.delay.lock() = Duration::from_millis(700);
    let mut client = relay.connect(1, 1).await;
    let sent = Instant::now();
    send_pack(&mut client, 0, true, &[Request::ControlPing, Request::ProvidePing]).await;
    assert_eq!(receive_ack(&mut client).await, 0);
    assert!(sent.elapsed() >= Duration::from_millis(700));
    send_pack(&mut client, 0, true, &[Request::ControlPing, Request::ProvidePing]).await;
    assert_eq!(receive_ack(&mut client).await, 0);
    let handled = relay.control.handled.lock().clone();
    assert_eq!(handled.len(), 1);
    assert_eq!((handled[0].0, handled[0].1.len()), (id(1), 2));
}

#[tokio::test(start_paused = true)]
async fn a_pack_that_cannot_be_stored_is_not_acked_and_its_client_comes_back_to_send_it_again() {
    let relay = relay();
    *relay.control.is_failing.lock() = true;
    let mut client = relay.connect(1, 1).await;
    send_pack(&mut client, 0, true, &[Request::ControlPing]).await;
    assert_eq!(client.served.await.unwrap(), EndReason::Unstored);
    *relay.control.is_failing.lock() = false;
    let mut client = relay.connect(1, 1).await;
    send_pack(&mut client, 0, true, &[Request::ControlPing]).await;
    assert_eq!(receive_ack(&mut client).await, 0);
    assert_eq!(relay.control.handled.lock().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_ack_leaves_when_it_is_due_wherever_between_two_milliseconds_that_is() {
    let relay = relay();
    tokio::time::advance(Duration::from_micros(500)).await;
    let mut client = relay.connect(1, 1).await;
    send_pack(&mut client, 0, true, &[Request::ControlPing]).await;
    let acked = tokio::time::timeout(Duration::from_millis(100), receive_ack(&mut client)).await;
    assert_eq!(acked, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn closes_that_wait_are_handled_together_and_nothing_else_is_or_changes_places() {
    let relay = relay();
    *relay.control.delay.lock() = Duration::from_millis(700);
    let mut client = relay.connect(1, 1).await;
    let close = |number: u8| {
        Request::CloseContract(CloseContract { contract_id: vec![number; 16].into(), ..CloseContract::default() })
    };
    let packs: Vec<Request> =
        (0..30).map(|number| if number == 20 { Request::ControlPing } else { close(number) }).collect();
    for (number, request) in packs.iter().enumerate() {
        send_pack(&mut client, number as u64, number == 0, std::slice::from_ref(request)).await;
        // Time is paused: this ends when nothing else can run.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut acks = vec![receive_ack(&mut client).await];
    while acks.last() != Some(&29) {
        acks.push(receive_ack(&mut client).await);
    }
    let handled = relay.control.handled.lock().clone();
    let frames: Vec<_> = handled.iter().flat_map(|(_, frames)| frames.clone()).collect();
    assert_eq!(frames, packs.iter().map(Request::to_frame).collect::<Vec<_>>());
    let counts: Vec<_> = handled.iter().map(|(_, frames)| frames.len()).collect();
    assert_eq!(counts, [1, 19, 1, 9], "the first is alone, and the ping stays between its neighbours");
    assert_eq!(acks, [0, 19, 20, 29], "one acknowledgement for all that were handled together");
}

#[tokio::test(start_paused = true)]
async fn a_new_resident_joins_a_running_sequence_at_its_head() {
    let relay = relay();
    let mut client = relay.connect(1, 1).await;
    send_pack(&mut client, 7, true, &[Request::ControlPing]).await;
    assert_eq!(receive_ack(&mut client).await, 7);
}

#[tokio::test(start_paused = true)]
async fn a_new_process_run_gets_its_lists_until_it_acks_them() {
    let relay = relay();
    let mut client = relay.connect(1, 1).await;
    let started = Instant::now();
    let first = client.receive_pack().await;
    assert!(first.head);
    let types: Vec<i32> = first.frames.iter().map(|frame| frame.message_type).collect();
    assert_eq!(types, [i32::from(MessageType::TransferStreamReset)]);
    assert_eq!(*relay.peers.resynced.lock(), [id(1)], "the list of peers is asked for");
    let again = client.receive_pack().await;
    assert_eq!((again.sequence_number, started.elapsed().as_secs()), (0, 2));
    client.ack(1, &again).await;
    relay.relay.push(id(1), vec![Push::NetworkPeersUpdate(NetworkPeersUpdate::default())]);
    let next = client.receive_pack().await;
    assert_eq!((next.sequence_number, next.head), (1, true));
    assert_eq!(next.sequence_id, first.sequence_id);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_acked_comes_again_over_the_next_transport() {
    let relay = relay();
    let mut client = relay.connect(1, 1).await;
    let first = client.receive_pack().await;
    drop(client.socket);
    client.served.await.unwrap();
    relay.relay.push(id(1), vec![Push::NetworkPeersReset]);
    tokio::time::sleep(Duration::from_secs(90)).await;
    let mut client = relay.connect(1, 1).await;
    let (again, pushed) = (client.receive_pack().await, client.receive_pack().await);
    assert_eq!((again.message_id, again.head), (first.message_id, true));
    assert_eq!((pushed.sequence_number, pushed.sequence_id), (1, first.sequence_id));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_acks_gets_full_lists_with_its_next_frame() {
    let relay = relay();
    let mut client = relay.connect(1, 1).await;
    let first = client.receive_pack().await;
    for _ in 0..7 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        client.send(Bytes::new()).await;
    }
    relay.peers.resynced.lock().clear();
    send_pack(&mut client, 0, true, &[Request::ControlPing]).await;
    let fresh = loop {
        let pack = client.receive_pack().await;
        if pack.sequence_id != first.sequence_id {
            break pack;
        }
    };
    assert!(fresh.head && fresh.sequence_id > first.sequence_id);
    assert_eq!(*relay.peers.resynced.lock(), [id(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_packs_goes_at_once_and_a_flood_is_paced() {
    let now = Instant::now();
    let mut pace = Pace { spent_until: now };
    for number in 0..60_u32 {
        let begins = pace.next(now);
        assert_eq!(begins - now, PACE * (number + 1).saturating_sub(BURST), "{number}");
    }
    let rested = now + PACE * 60;
    let delays: Vec<_> = (0..=BURST).map(|_| pace.next(rested) - rested).collect();
    assert_eq!(delays.last(), Some(&PACE), "no more than the burst gathers");
    assert!(delays.iter().rev().skip(1).all(Duration::is_zero));
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_on_connecting_is_handled_at_once() {
    let relay = relay();
    let mut client = relay.connect(1, 1).await;
    let started = Instant::now();
    for number in 0..u64::from(BURST) {
        send_pack(&mut client, number, number == 0, &[Request::ControlPing]).await;
    }
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!((relay.control.handled.lock().len(), started.elapsed()), (BURST as usize, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_packs_is_paced_and_nothing_is_acked_that_was_not_handled() {
    let relay = relay();
    let mut client = relay.connect(1, 1).await;
    let started = Instant::now();
    for number in 0..60 {
        send_pack(&mut client, number, number == 0, &[Request::ControlPing]).await;
    }
    while receive_ack(&mut client).await != 59 {}
    assert!(started.elapsed() >= PACE * (60 - BURST));
    assert_eq!(relay.control.handled.lock().len(), 60);
}
