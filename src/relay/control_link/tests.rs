use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Wake;

use bytes::Bytes;
use prost::Message as _;

use super::*;
use crate::ids::{InstanceId, NetworkId};
use crate::relay::frames::Frames;
use crate::relay::outbox::Taken;
use crate::relay::ports::Identity;
use crate::relay::testing::{TestClient, TestRelay, ack, id};
use crate::wire::control_message::Request;
use crate::wire::messages::{CloseContract, NetworkPeersUpdate, Pack, TransferFrame, TransferPath};

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn relay() -> TestRelay {
    TestRelay::new(|_| ())
}

fn pack_frame(number: u64, head: bool, requests: &[Request]) -> Vec<u8> {
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
    frame.encode_to_vec()
}

async fn send_pack(client: &mut TestClient, number: u64, head: bool, requests: &[Request]) {
    client.send(pack_frame(number, head, requests)).await;
}

/// Acks nothing until what was pushed is given up: the next frame asks for the lists.
async fn stay_mute(client: &mut TestClient) {
    for _ in 0..7 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        client.send(Bytes::new()).await;
    }
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
    tokio::time::sleep(Duration::from_millis(1)).await;
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
    stay_mute(&mut client).await;
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

#[tokio::test(start_paused = true)]
async fn a_push_and_its_ack_wake_the_write_loop_alone_and_once() {
    let relay = relay();
    let outbox = relay.relay.new_outbox();
    let identity = Identity { client_id: id(1), network_id: NetworkId::new([9; 16]) };
    let resident = relay.relay.registry.join(identity, InstanceId::new([1; 16]), &outbox, 16).resident;
    serve(&relay.relay, &resident);
    let (wakes, mut batch) = (Arc::<Wakes>::default(), VecDeque::new());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut take = || {
        batch.clear();
        outbox.poll_take(&mut Context::from_waker(&waker), &mut batch).map(|taken| (taken, batch.clone()))
    };
    assert!(take().is_pending());
    assert!(relay.relay.push(id(1), vec![Push::NetworkPeersReset]));
    assert!(relay.relay.push(id(1), vec![Push::NetworkPeersReset]));
    let Poll::Ready((Taken::Frames { count: 2, .. }, sent)) = take() else { panic!("both packs") };
    let packs: Vec<Pack> =
        sent.iter().flat_map(Frames::iter).map(|frame| TransferFrame::decode(frame).unwrap().pack.unwrap()).collect();
    assert!(take().is_pending());
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    packs.iter().for_each(|pack| assert!(resident.control.queue.push_frame(ack(1, pack).into())));
    serve(&relay.relay, &resident);
    assert!(take().is_pending());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(take().is_pending(), "what is acked is not sent again");
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_pushed_while_no_transport_is_left_comes_with_the_next_one() {
    let relay = relay();
    let mut client = relay.connect(1, 1).await;
    let first = client.receive_pack().await;
    client.ack(1, &first).await;
    let (mut older, newer) = (client, relay.connect(1, 1).await);
    // The newest transport is going.
    relay.relay.registry.get(id(1)).unwrap().newest().unwrap().close(EndReason::PeerClosed);
    relay.relay.push(id(1), vec![Push::NetworkPeersReset]);
    assert_eq!(older.receive_pack().await.sequence_number, 1, "the older one is there");
    newer.served.await.unwrap();
    drop(older.socket);
    older.served.await.unwrap();
    relay.relay.push(id(1), vec![Push::NetworkPeersReset]);
    let mut client = relay.connect(1, 1).await;
    let numbers = [client.receive_pack().await.sequence_number, client.receive_pack().await.sequence_number];
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_resident_leaves_nothing_behind_when_it_is_removed_or_has_lingered() {
    let relay = TestRelay::new(|config| config.relay.resident_linger = Duration::from_secs(30));
    let residents = || relay.relay.metrics.residents.get();
    let client = relay.connect(1, 1).await;
    assert_eq!(residents(), 1);
    relay.relay.disconnect(id(1));
    assert_eq!((client.ended().await, residents()), (EndReason::Removed, 0));
    let client = relay.connect(2, 1).await;
    drop(client.socket);
    client.served.await.unwrap();
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(residents(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((residents(), relay.relay.registry.len()), (0, 0));
    let _client = relay.connect(3, 1).await;
    relay.relay.drain().await;
    assert_eq!(residents(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_costs_its_client_the_connection_and_nobody_else() {
    let relay = relay();
    let mut other = relay.connect(2, 1).await;
    *relay.control.is_panicking.lock() = true;
    let mut client = relay.connect(1, 1).await;
    send_pack(&mut client, 0, true, &[Request::ControlPing]).await;
    assert_eq!(client.ended().await, EndReason::Unstored);
    *relay.control.is_panicking.lock() = false;
    other.receive_pack().await;
    let mut client = relay.connect(1, 1).await;
    send_pack(&mut client, 0, true, &[Request::ControlPing]).await;
    assert_eq!(receive_ack(&mut client).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_panics_begins_anew() {
    let relay = relay();
    let mut client = relay.connect(1, 1).await;
    let first = client.receive_pack().await;
    stay_mute(&mut client).await;
    *relay.peers.is_panicking.lock() = true;
    send_pack(&mut client, 0, true, &[Request::ControlPing]).await;
    assert_eq!(client.served.await.unwrap(), EndReason::Unstored);
    *relay.peers.is_panicking.lock() = false;
    let mut client = relay.connect(1, 1).await;
    assert_ne!(client.receive_pack().await.sequence_id, first.sequence_id);
    send_pack(&mut client, 0, true, &[Request::ControlPing]).await;
    assert_eq!(receive_ack(&mut client).await, 0);
}

#[tokio::test(start_paused = true)]
async fn who_serves_a_client_that_always_says_more_lets_others_go_on() {
    let relay = relay();
    let _client = relay.connect(1, 1).await;
    let resident = relay.relay.registry.get(id(1)).unwrap();
    // Each pack that is handled is followed by the next one.
    let (next, number) = (Arc::downgrade(&resident), AtomicU64::new(1));
    *relay.control.then.lock() = Some(Box::new(move || {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let frame = pack_frame(number, false, &[Request::ControlPing]);
        assert!(next.upgrade().unwrap().control.queue.push_frame(frame.into()));
    }));
    resident.control.queue.push_frame(pack_frame(0, true, &[Request::ControlPing]).into());
    serve(&relay.relay, &resident);
    assert_eq!(relay.control.handled.lock().len(), MAX_PASSES);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(relay.control.handled.lock().len() > MAX_PASSES, "it goes on");
}

/// Ten thousand clients that do nothing are the usual case, and each keeps these for as long as it is there.
#[test]
fn what_an_idle_client_keeps_is_small() {
    // Its conversation is part of it; what stands beside it in an `Arc` takes 16 bytes.
    let resident = size_of::<Resident>() + 16;
    assert!(resident <= 640, "{resident}");
}
