//! Probes over whole connections, answered by a WebSocket client of another make.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use super::drop_reason::DropReason;
use super::testing::{TestClient, TestRelay, frame, id};
use crate::domain::vitals::Vitals;

/// A client of this transport version, whose transport counts as a provider's.
async fn provider(relay: &TestRelay, version: &str) -> (TestClient, Arc<Vitals>) {
    let mut request = TestRelay::upgrade(Some("2.9"), 1);
    request.headers.insert("x-ur-transportversion", version.parse().unwrap());
    let client = relay.dial_with(request, 1 << 20);
    loop {
        if let Some(connection) = relay.presence.connections(id(2)).pop() {
            connection.vitals.set_provider(true);
            return (client, connection.vitals);
        }
        tokio::task::yield_now().await;
    }
}

/// Lives for so long as a client of version 2 does: it sends back what is to be sent back, and a keepalive now and then.
/// Says what it received for itself, and how many messages it sent back.
async fn live(client: &mut TestClient, time: Duration) -> (Vec<Bytes>, usize) {
    let (mut own, mut echoed, mut is_echoing) = (Vec::new(), 0, false);
    let end = tokio::time::Instant::now() + time;
    let mut keepalive = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            message = client.socket.next() => {
                let message = Bytes::from(message.expect("open").unwrap().into_payload());
                let is_mark = message.len() == 17 && matches!(message[0], 1 | 2);
                match (message.len(), is_echoing || is_mark) {
                    (0, _) => {}
                    (16, _) | (_, true) => {
                        is_echoing = if is_mark { message[0] == 1 } else { is_echoing };
                        echoed += 1;
                        client.send(message).await;
                    }
                    _ => own.push(message),
                }
            }
            _ = keepalive.tick() => client.send(Bytes::new()).await,
            () = tokio::time::sleep_until(end) => return (own, echoed),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_distance_of_a_provider_is_measured() {
    let relay = TestRelay::new(|_| ());
    let (mut client, vitals) = provider(&relay, "2").await;
    live(&mut client, Duration::from_secs(70)).await;
    assert!(vitals.latency().is_some());
    assert_eq!((vitals.speed(), vitals.most_reached()), (None, 0.0));
}

#[tokio::test(start_paused = true)]
async fn older_clients_and_networks_that_want_none_see_no_probes() {
    let off = TestRelay::new(|config| config.discovery.latency_probes = false);
    let on = TestRelay::new(|_| ());
    for (relay, version) in [(&on, "1"), (&on, "x"), (&off, "2")] {
        let (mut client, vitals) = provider(relay, version).await;
        assert_eq!(live(&mut client, Duration::from_secs(200)).await.1, 0, "{version}");
        assert_eq!(vitals.latency(), None);
        drop(client);
        while relay.presence.is_connected(id(2)) {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn frames_are_held_while_a_speed_is_measured_and_arrive_after_it() {
    let relay = TestRelay::new(|config| {
        (config.discovery.latency_probes, config.discovery.speed_probes) = (false, true);
    });
    relay.gate.open(id(1), id(2));
    relay.gate.open(id(2), id(1));
    let mut sender = relay.connect(1, 1).await;
    let (mut client, vitals) = provider(&relay, "2").await;
    let mut keepalive = tokio::time::interval(Duration::from_secs(5));
    let mark = loop {
        tokio::select! {
            message = client.socket.next() => {
                let message = Bytes::from(message.expect("open").unwrap().into_payload());
                if message.len() == 17 {
                    break message;
                }
            }
            _ = keepalive.tick() => {
                client.send(Bytes::new()).await;
                sender.send(Bytes::new()).await;
            }
        }
    };
    let held = frame(1, 2, b"while it is measured");
    sender.send(held.clone()).await;
    let own = frame(2, 1, b"from the provider itself");
    client.send(own.clone()).await;
    assert_eq!(sender.receive().await, own, "the provider's own frames pass");
    client.send(mark).await;
    let mut chunks = 0;
    loop {
        let message = client.socket.next().await.expect("open").unwrap();
        assert!(message.is_binary());
        let message = Bytes::from(message.into_payload());
        if message.is_empty() {
            continue;
        }
        assert_ne!(message, held, "it comes after the probe");
        let is_stop = message.len() == 17;
        chunks += usize::from(!is_stop);
        client.send(message).await;
        if is_stop {
            break;
        }
    }
    assert!(chunks < 40, "the frame that waits ends the probe: {chunks}");
    assert_eq!(client.receive().await, held);
    assert_eq!(vitals.speed(), None, "too little was measured");
    assert_eq!(relay.dropped(DropReason::Spoofed), 0);
    assert_eq!(relay.dropped(DropReason::Malformed), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_provider_shows_its_speed_once() {
    let relay = TestRelay::new(|config| config.discovery.speed_probes = true);
    let (mut client, vitals) = provider(&relay, "2").await;
    let (own, echoed) = live(&mut client, Duration::from_secs(150)).await;
    assert!(own.iter().all(|message| message.len() < 1024), "chunks are not frames");
    // Latencies, the two marks and the chunks.
    assert_eq!(echoed, 8 + 2 + 512);
    assert!(vitals.speed().is_some() || vitals.most_reached() > 0.0);
    assert_eq!(live(&mut client, Duration::from_secs(3600)).await.1, 0);
}
