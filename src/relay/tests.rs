//! Whole connections over in-memory pipes, with a WebSocket client of another make at the far end.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::yield_now;
use tokio_websockets::Message;

use super::drop_reason::{DropReason, EndReason};
use super::testing::{TestRelay, ack, frame, id};
use crate::config::units::ByteSize;

use crate::wire::messages::TransferFrame;

fn relay() -> TestRelay {
    TestRelay::new(|_| ())
}

/// Lets every task that can run do so.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

fn auth_message(token: &str) -> Bytes {
    use crate::wire::control_message::frame;
    use crate::wire::messages::{Auth, MessageType};
    use prost::Message as _;
    let auth = Auth {
        by_jwt: token.to_owned(),
        app_version: "1.2.3".to_owned(),
        instance_id: Bytes::from_static(&[7; 16]),
        ..Default::default()
    };
    let mut bytes = frame(MessageType::TransferAuth, &auth).encode_to_vec();
    // A field no version knows: the echo must carry it too.
    bytes.extend([0x78, 0x2a]);
    bytes.into()
}

#[tokio::test(start_paused = true)]
async fn frames_arrive_unchanged_with_fields_nobody_knows() {
    let relay = relay();
    relay.gate.open(id(1), id(2));
    let (mut sender, mut receiver) = (relay.connect(1, 1).await, relay.connect(2, 1).await);
    let mut unknown = frame(1, 2, b"payload").to_vec();
    unknown.extend([0x7a, 3, 1, 2, 3]);
    let largest = frame(1, 2, &vec![5; 4096 - 41]);
    assert_eq!(largest.len(), 4096);
    for message in [frame(1, 2, b"one"), unknown.into(), largest] {
        sender.send(message.clone()).await;
        assert_eq!(receiver.receive().await, message);
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_pass_is_dropped_and_counted_and_the_connection_stays() {
    let relay = relay();
    relay.gate.open(id(1), id(2));
    let (mut sender, mut receiver) = (relay.connect(1, 1).await, relay.connect(2, 1).await);
    let _stranger = relay.connect(3, 1).await;
    relay.gate.open(id(1), id(4));
    let twice = [frame(1, 2, b"a"), frame(1, 2, b"b")].concat();
    // A path of 33 bytes whose destination has 15.
    let short_id = [&[0x0a, 35, 0x0a, 15][..], &[2; 15], &[0x12, 16], &[1; 16], &[0x32, 1, 0]].concat();
    for (bytes, reason, count) in [
        (frame(3, 2, b"spoofed"), DropReason::Spoofed, 1),
        (frame(0, 2, b"from nobody"), DropReason::Spoofed, 2),
        (frame(1, 1, b"to myself"), DropReason::ToSelf, 1),
        (frame(1, 3, b"without contract"), DropReason::NoContract, 1),
        (frame(1, 4, b"not there"), DropReason::Offline, 1),
        (twice.into(), DropReason::Repeated, 1),
        (short_id.into(), DropReason::BadId, 1),
        (Bytes::from_static(&[0xff; 40]), DropReason::Malformed, 1),
        (frame(1, 2, b"cut off in the middle").slice(..30), DropReason::Malformed, 2),
    ] {
        sender.send(bytes).await;
        settle().await;
        assert_eq!(relay.dropped(reason), count, "{reason:?}");
    }
    sender.send(frame(1, 2, b"still here")).await;
    assert_eq!(receiver.receive().await, frame(1, 2, b"still here"));
}

#[tokio::test(start_paused = true)]
async fn short_messages_and_text_are_transport_control() {
    let relay = relay();
    relay.gate.open(id(1), id(2));
    let (mut sender, mut receiver) = (relay.connect(1, 1).await, relay.connect(2, 1).await);
    for length in [0usize, 1, 4, 5, 15, 16] {
        sender.send(vec![9; length]).await;
    }
    sender.socket.send(Message::text("hello")).await.unwrap();
    sender.send(frame(1, 2, b"after")).await;
    assert_eq!(receiver.receive().await, frame(1, 2, b"after"));
    assert_eq!(relay.relay.metrics.frames_received.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_oversize_message_ends_its_sender_only_and_what_came_before_it_passes() {
    let relay = relay();
    relay.gate.open(id(1), id(2));
    let (mut sender, mut receiver) = (relay.connect(1, 1).await, relay.connect(2, 1).await);
    sender.socket.feed(Message::binary(frame(1, 2, b"before"))).await.unwrap();
    sender.socket.feed(Message::binary(vec![0u8; 4097])).await.unwrap();
    sender.socket.flush().await.unwrap();
    assert_eq!(receiver.receive().await, frame(1, 2, b"before"));
    assert_eq!(sender.ended().await, EndReason::Oversize);
    assert!(relay.presence.is_connected(id(2)));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_does_not_read_loses_frames_slows_nobody_and_is_closed() {
    let relay = TestRelay::new(|config| config.relay.outbox_frames = 64);
    relay.gate.open(id(1), id(2));
    relay.gate.open(id(1), id(3));
    let mut sender = relay.connect(1, 1).await;
    let mut good = relay.connect(3, 1).await;
    let stuck = relay.dial(Some("2.9"), 1, 1024);
    settle().await;
    for at in 0..500u32 {
        sender.send(frame(1, 2, &[1; 1000])).await;
        if at % 50 == 0 {
            sender.send(frame(1, 3, &at.to_be_bytes())).await;
            assert_eq!(good.receive().await, frame(1, 3, &at.to_be_bytes()));
        }
    }
    sender.send(frame(1, 3, b"last")).await;
    good.receive().await;
    let dropped = relay.dropped(DropReason::QueueFull);
    assert!((430..=440).contains(&dropped), "64 of 500 fit: {dropped}");
    // The pipe stays full: the write deadline passes.
    assert_eq!(stuck.served.await.unwrap(), EndReason::WriteTimeout);
}

#[tokio::test(start_paused = true)]
async fn a_flood_takes_turns_with_other_pairs_and_loses_nothing_when_it_is_read() {
    const FLOOD: u64 = 4000;
    let relay = relay();
    relay.gate.open(id(1), id(2));
    relay.gate.open(id(3), id(4));
    // The whole flood fits the pipes, so that it lies there at once.
    let dial = |client: u8| relay.dial(Some(&format!("{client}.9")), 1, 8 << 20);
    let (mut flooding, mut flooded) = (dial(1), dial(2));
    let (mut sender, mut receiver) = (relay.connect(3, 1).await, relay.connect(4, 1).await);
    settle().await;
    let received = || relay.relay.metrics.frames_received.get();
    let before = received();
    for _ in 0..FLOOD {
        flooding.socket.feed(Message::binary(frame(1, 2, &[1; 1000]))).await.unwrap();
    }
    flooding.socket.flush().await.unwrap();
    sender.send(frame(3, 4, b"in between")).await;
    assert_eq!(receiver.receive().await, frame(3, 4, b"in between"));
    let passed = received() - before;
    assert!(passed < FLOOD / 4, "{passed} frames of the flood went first");
    for _ in 0..FLOOD {
        flooded.receive().await;
    }
    assert_eq!(relay.dropped(DropReason::QueueFull), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_floods_can_be_cut_off() {
    const FLOOD: u64 = 4000;
    let relay = relay();
    let mut flooding = relay.dial(Some("1.9"), 1, 8 << 20);
    settle().await;
    for _ in 0..FLOOD {
        flooding.socket.feed(Message::binary(frame(1, 2, &[1; 1000]))).await.unwrap();
    }
    flooding.socket.flush().await.unwrap();
    relay.relay.disconnect(id(1));
    assert_eq!(flooding.served.await.unwrap(), EndReason::Removed);
    let received = relay.relay.metrics.frames_received.get();
    assert!(received < FLOOD / 4, "{received} frames of the flood were still taken");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_speaks_at_the_moment_it_is_cut_off_is_cut_off_at_once() {
    let relay = relay();
    for round in 0..20 {
        let mut client = relay.connect(1, round).await;
        settle().await;
        let began = tokio::time::Instant::now();
        // The write loop ends while the read loop waits for its turn with a message to read.
        relay.relay.disconnect(id(1));
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let _ = client.socket.send(Message::binary(frame(1, 2, b"a last word"))).await;
        assert_eq!(client.served.await.unwrap(), EndReason::Removed);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?} in round {round}", began.elapsed());
        drop(client.socket);
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_known_to_the_second_when_a_client_has_last_spoken() {
    let relay = relay();
    let mut client = relay.connect(1, 1).await;
    let vitals = relay.presence.connections(id(1)).pop().unwrap().vitals;
    let silence = || relay.relay.clock.now().since(vitals.last_message());
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        client.send(Bytes::new()).await;
        settle().await;
        assert!(silence() < Duration::from_secs(1), "{:?}", silence());
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let silence = silence();
    assert!((Duration::from_secs(10)..Duration::from_millis(11_100)).contains(&silence), "{silence:?}");
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_drops_for_clients_that_lag_and_for_no_others() {
    let relay = TestRelay::new(|config| config.relay.outbox_total_bytes = ByteSize(200_000));
    relay.gate.open(id(1), id(2));
    relay.gate.open(id(1), id(3));
    let (mut sender, mut good) = (relay.connect(1, 1).await, relay.connect(3, 1).await);
    let lagging = relay.dial(Some("2.9"), 1, 1024);
    settle().await;
    for _ in 0..300 {
        sender.send(frame(1, 2, &[1; 1000])).await;
        sender.send(frame(1, 3, b"good")).await;
        assert_eq!(good.receive().await, frame(1, 3, b"good"));
    }
    let dropped = relay.dropped(DropReason::MemoryFull);
    assert!((100..=110).contains(&dropped), "192 of 300 fit: {dropped}");
    assert!(relay.relay.metrics.outbox_bytes.get() >= 190_000);
    drop(lagging.socket);
    lagging.served.await.unwrap();
    settle().await;
    assert!(relay.relay.metrics.outbox_bytes.get() < 1000);
}

#[tokio::test(start_paused = true)]
async fn frames_go_to_the_newest_transport_of_an_instance_and_to_the_older_when_it_ends() {
    let relay = relay();
    relay.gate.open(id(1), id(2));
    let mut sender = relay.connect(1, 1).await;
    let mut old = relay.connect(2, 1).await;
    sender.send(frame(1, 2, b"first")).await;
    assert_eq!(old.receive().await, frame(1, 2, b"first"));
    let mut new = relay.connect(2, 1).await;
    sender.send(frame(1, 2, b"second")).await;
    assert_eq!(new.receive().await, frame(1, 2, b"second"));
    drop(new.socket);
    new.served.await.unwrap();
    sender.send(frame(1, 2, b"third")).await;
    assert_eq!(old.receive().await, frame(1, 2, b"third"));
    assert!(relay.presence.is_connected(id(2)));
}

#[tokio::test(start_paused = true)]
async fn the_newest_instance_closes_the_other_and_a_bad_token_closes_nobody() {
    let relay = relay();
    relay.gate.open(id(1), id(2));
    let mut sender = relay.connect(1, 1).await;
    let old = relay.connect(2, 1).await;
    let rejected = relay.dial(Some("2"), 2, 1024);
    assert_eq!(rejected.ended().await, EndReason::Unauthorized);
    assert!(!old.served.is_finished());
    let mut new = relay.connect(2, 2).await;
    assert_eq!(old.ended().await, EndReason::Replaced);
    sender.send(frame(1, 2, b"to the new one")).await;
    assert_eq!(new.receive().await, frame(1, 2, b"to the new one"));
}

#[tokio::test(start_paused = true)]
async fn above_the_limit_of_transports_the_oldest_is_closed() {
    let relay = TestRelay::new(|config| config.relay.transports_per_client = 2);
    let first = relay.connect(1, 1).await;
    let second = relay.connect(1, 1).await;
    let _third = relay.connect(1, 1).await;
    assert_eq!(first.ended().await, EndReason::Surplus);
    assert!(!second.served.is_finished());
}

#[tokio::test(start_paused = true)]
async fn the_first_message_is_echoed_byte_for_byte_even_if_the_token_is_bad() {
    let relay = relay();
    for (token, is_good) in [("1.9", true), ("nonsense", false), ("busy", false)] {
        let mut client = relay.dial(None, 0, 1 << 16);
        let message = auth_message(token);
        client.send(message.clone()).await;
        let echo = client.socket.next().await.unwrap().unwrap();
        assert!(echo.is_binary());
        assert_eq!(Bytes::from(echo.into_payload()), message);
        settle().await;
        assert_eq!(client.served.is_finished(), !is_good, "{token}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_authentication_closes_and_silence_does_after_the_deadline() {
    let relay = relay();
    for message in [Message::text("hello"), Message::binary(Bytes::new()), Message::binary(frame(1, 2, b"too early"))] {
        let mut client = relay.dial(None, 0, 1 << 16);
        client.socket.send(message).await.unwrap();
        assert_eq!(client.ended().await, EndReason::NoAuth);
    }
    let started = tokio::time::Instant::now();
    assert_eq!(relay.dial(None, 0, 1 << 16).ended().await, EndReason::AuthTimeout);
    assert_eq!(started.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn frames_sent_right_behind_the_upgrade_wait_for_the_check() {
    let relay = relay();
    relay.gate.open(id(1), id(2));
    let mut receiver = relay.connect(2, 1).await;
    let mut sender = relay.dial(Some("1.9"), 1, 1 << 16);
    sender.send(frame(1, 2, b"eager")).await;
    assert_eq!(receiver.receive().await, frame(1, 2, b"eager"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_hears_something_every_five_seconds_and_is_closed_after_thirty() {
    let relay = relay();
    let mut client = relay.connect(1, 1).await;
    let started = tokio::time::Instant::now();
    let (mut keepalives, mut last) = (0, started);
    while let Some(Ok(message)) = client.socket.next().await {
        // Messages of the control id count as well: it is silence that is filled.
        assert!(last.elapsed().as_millis() <= 5010);
        last = tokio::time::Instant::now();
        keepalives += u32::from(message.is_binary() && message.as_payload().is_empty());
    }
    assert_eq!(client.served.await.unwrap(), EndReason::ReadTimeout);
    assert!(keepalives >= 2);
    assert_eq!(started.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_keepalives_stays_and_pings_are_answered_but_do_not_count() {
    let relay = relay();
    let mut client = relay.connect(1, 1).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        client.send(Bytes::new()).await;
    }
    assert!(!client.served.is_finished());
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        client.socket.send(Message::ping("ping")).await.unwrap();
        while !client.socket.next().await.unwrap().unwrap().is_pong() {}
    }
    assert_eq!(client.ended().await, EndReason::ReadTimeout);
}

#[tokio::test(start_paused = true)]
async fn a_removed_client_and_a_removed_network_lose_their_transports() {
    let relay = relay();
    let (first, second) = (relay.connect(1, 1).await, relay.connect(2, 1).await);
    let other = relay.dial(Some("3.8"), 1, 1 << 16);
    settle().await;
    relay.relay.disconnect(id(1));
    assert_eq!(first.ended().await, EndReason::Removed);
    assert!(!second.served.is_finished());
    relay.relay.disconnect_network(crate::ids::NetworkId::new([9; 16]));
    assert_eq!(second.ended().await, EndReason::Removed);
    assert!(!other.served.is_finished());
    settle().await;
    assert_eq!(relay.relay.resident_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_resident_outlives_its_transports_for_the_linger() {
    let relay = relay();
    let client = relay.connect(1, 1).await;
    drop(client.socket);
    client.served.await.unwrap();
    assert!(!relay.presence.is_connected(id(1)));
    tokio::time::sleep(Duration::from_secs(299)).await;
    assert_eq!(relay.relay.resident_count(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(relay.relay.resident_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_refuses_upgrades_and_closes_everything() {
    let relay = relay();
    let client = relay.connect(1, 1).await;
    let waiting = relay.dial(None, 0, 1 << 16);
    relay.relay.drain().await;
    let refused = relay.relay.websocket_response(&TestRelay::upgrade(Some("1.9"), 1), [127, 0, 0, 1].into(), None);
    let response = refused.unwrap_err();
    assert_eq!((response.status().as_u16(), *response.body()), (503, "draining"));
    assert_eq!(client.ended().await, EndReason::Drained);
    assert_eq!(waiting.ended().await, EndReason::Drained);
}

#[tokio::test(start_paused = true)]
async fn too_many_transports_of_one_address_are_answered_and_closed() {
    let relay = TestRelay::new(|config| config.relay.transports_per_address = 1);
    let request = TestRelay::upgrade(Some("1.9"), 1);
    let address = [203, 0, 113, 1].into();
    let (_, first) = relay.relay.websocket_response(&request, address, None).unwrap();
    let (response, second) = relay.relay.websocket_response(&request, address, None).unwrap();
    assert_eq!(response.status(), 101);
    let (_client, server) = tokio::io::duplex(64);
    let (read, write) = tokio::io::split(server);
    assert_eq!(relay.relay.serve_websocket(read, write, &[], second).await, EndReason::TooMany);
    drop(first);
    let (_, third) = relay.relay.websocket_response(&request, address, None).unwrap();
    let (client, server) = tokio::io::duplex(64);
    drop(client);
    let (read, write) = tokio::io::split(server);
    assert_eq!(relay.relay.serve_websocket(read, write, &[], third).await, EndReason::PeerClosed);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_spoofed_frames_ends_its_connection() {
    let relay = relay();
    let mut client = relay.connect(1, 1).await;
    for _ in 0..1001 {
        if client.socket.feed(Message::binary(frame(2, 3, b"spoofed"))).await.is_err() {
            break;
        }
    }
    let _ = client.socket.flush().await;
    assert_eq!(client.ended().await, EndReason::Abuse);
}

#[tokio::test(start_paused = true)]
async fn a_client_removed_while_it_joins_is_cut() {
    let relay = relay();
    let mut client = relay.dial(None, 0, 1 << 16);
    client.send(auth_message("1.9")).await;
    // The check passes, then the token dies before the transport is joined: the second check sees it.
    relay.revoke(1);
    assert!(matches!(client.ended().await, EndReason::Removed | EndReason::Unauthorized));
}

/// Ten thousand clients that do nothing are the usual case, and each keeps these for as long as it is there.
#[tokio::test(start_paused = true)]
async fn what_an_idle_client_keeps_is_small() {
    let relay = relay();
    let (_, ticket) =
        relay.relay.websocket_response(&TestRelay::upgrade(Some("1.9"), 1), [127, 0, 0, 1].into(), None).unwrap();
    let (read, write) = tokio::io::split(tokio::io::duplex(64).0);
    let connection = size_of_val(&relay.relay.serve_websocket(read, write, &[], ticket));
    // With what the runtime adds to each task, 104 bytes or 112, they fill 1024 bytes.
    assert!(connection <= 912, "{connection}");
    let quic = size_of_result(|incoming| relay.relay.serve_quic(incoming));
    assert!(quic <= 912, "{quic}");
}

/// What the future of a function takes that cannot be called here.
fn size_of_result<T, F>(_: impl Fn(T) -> F) -> usize {
    size_of::<F>()
}

/// What a client reads at once, after the answer that its ticket owes.
async fn read_behind_answer(relay: &TestRelay, token: Option<&str>, instance: u8) -> (Vec<u8>, DuplexStream) {
    let (_, ticket) =
        relay.relay.websocket_response(&TestRelay::upgrade(token, instance), [203, 0, 113, 1].into(), None).unwrap();
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let (read, write) = tokio::io::split(server);
    tokio::spawn(relay.relay.serve_websocket(read, write, &[], ticket.owing(b"answer".to_vec())));
    let mut bytes = vec![0; 1 << 16];
    let length = client.read(&mut bytes).await.unwrap();
    (bytes[..length].strip_prefix(b"answer").expect("the answer").to_vec(), client)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_owed_goes_out_with_the_first_words() {
    let relay = TestRelay::new(|config| config.relay.transports_per_address = 5);
    let began = tokio::time::Instant::now();
    let (lists, mut first) = read_behind_answer(&relay, Some("1.9"), 1).await;
    assert_eq!(lists[0], 0x82, "the first list");
    let pack = TransferFrame::decode(&lists[2..]).unwrap().pack.unwrap();
    let ack = ack(1, &pack);
    first.write_all(&[&[0x82, 0x80 | ack.len() as u8, 0, 0, 0, 0], &ack[..]].concat()).await.unwrap();
    for _ in 0..20 {
        yield_now().await;
    }
    let (nothing, _second) = read_behind_answer(&relay, Some("1.9"), 1).await;
    assert_eq!(nothing, b"", "a process run that has its lists");
    let (nothing, _third) = read_behind_answer(&relay, None, 0).await;
    assert_eq!(nothing, b"", "a client that has not said who it is");
    let (goodbye, _) = read_behind_answer(&relay, Some("nobody"), 1).await;
    assert_eq!(goodbye, [0x88, 2, 3, 0xe8]);
    let (lists, _fourth) = read_behind_answer(&relay, Some("2.9"), 1).await;
    assert_eq!(lists[0], 0x82);
    let (lists, _fifth) = read_behind_answer(&relay, Some("3.9"), 1).await;
    assert_eq!(lists[0], 0x82);
    let (nothing, _) = read_behind_answer(&relay, Some("4.9"), 1).await;
    assert_eq!(nothing, b"", "too many of one address");
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody waits for a timer");
}
