//! The lists of new and of lost clients, over whole connections.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;

use super::super::control_link;
use super::super::ports::Identity;
use super::super::testing::{TestClient, TestRelay, id};
use super::*;
use crate::domain::peer::roster::{Peer, Roster, RosterRules};
use crate::domain::push::PushSource;
use crate::domain::stream::key::StreamKey;
use crate::domain::stream::{Stream, StreamEvent};
use crate::ids::{InstanceId, NetworkId, StreamId};
use crate::wire::messages::{
    Frame, MessageType, NetworkPeersUpdate, Pack, ProvideMode, StreamClose, StreamOpen, StreamReset,
};

fn stream(name: u8, ends: (u8, u8)) -> Stream {
    Stream { id: StreamId::new([name; 16]), key: StreamKey::new(id(ends.0), &[], id(ends.1)) }
}

/// `reset` and the streams in it, `open` or `close` and the stream.
fn said(frame: &Frame) -> String {
    let body = frame.message_bytes.clone();
    match frame.message_type() {
        MessageType::TransferStreamReset => {
            let names =
                StreamReset::decode(body).unwrap().streams.into_iter().map(|open| open.stream_id[0].to_string());
            format!("reset {}", names.collect::<Vec<_>>().join(" "))
        }
        MessageType::TransferStreamOpen => format!("open {}", StreamOpen::decode(body).unwrap().stream_id[0]),
        MessageType::TransferStreamClose => format!("close {}", StreamClose::decode(body).unwrap().stream_id[0]),
        other => panic!("unexpected {other:?}"),
    }
}

/// Acks the next new pack and says what is in it.
async fn hear(client: &mut TestClient, name: u8) -> Vec<String> {
    let pack = client.receive_pack().await;
    client.ack(name, &pack).await;
    pack.frames.iter().map(said).collect()
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_here_hear_at_once_and_the_others_when_they_come() {
    let relay = TestRelay::new(|_| ());
    let mut first = relay.connect(1, 1).await;
    assert_eq!(hear(&mut first, 1).await, ["reset "]);
    relay.streams.publish(vec![StreamEvent::Opened(stream(7, (1, 2)))]);
    assert_eq!(hear(&mut first, 1).await, ["open 7"]);
    let mut second = relay.connect(2, 1).await;
    assert_eq!(hear(&mut second, 2).await, ["reset 7"]);
    relay.streams.publish(vec![
        StreamEvent::Opened(stream(8, (2, 1))),
        StreamEvent::Closed(stream(7, (1, 2))),
        StreamEvent::Closed(stream(8, (1, 2))),
    ]);
    for (client, name) in [(&mut first, 1), (&mut second, 2)] {
        assert_eq!(hear(client, name).await, ["open 8", "close 7", "close 8"]);
    }
    assert_eq!(relay.streams.pushed_count(), 1 + 1 + 1 + 6);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_away_for_a_moment_hears_what_it_missed() {
    let relay = TestRelay::new(|_| ());
    let mut client = relay.connect(1, 1).await;
    hear(&mut client, 1).await;
    drop(client.socket);
    client.served.await.unwrap();
    relay.streams.publish(vec![StreamEvent::Opened(stream(7, (1, 2)))]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut same_run = relay.connect(1, 1).await;
    assert_eq!(hear(&mut same_run, 1).await, ["open 7"]);
    let mut new_run = relay.connect(1, 2).await;
    assert_eq!(hear(&mut new_run, 1).await, ["reset 7"]);
}

#[tokio::test(start_paused = true)]
async fn more_than_can_wait_becomes_a_full_list() {
    let relay = TestRelay::new(|_| ());
    let mut client = relay.connect(1, 1).await;
    hear(&mut client, 1).await;
    // 1,300 packs.
    for name in 0..100 {
        relay.streams.publish(vec![StreamEvent::Opened(stream(name, (1, 2)))]);
        for _ in 0..12 {
            relay
                .streams
                .publish(vec![StreamEvent::Closed(stream(name, (1, 2))), StreamEvent::Opened(stream(name, (1, 2)))]);
        }
    }
    // The next frame is the proof of life that a lost view waits for.
    let ack = Pack { message_id: vec![1; 16].into(), sequence_id: vec![1; 16].into(), ..Pack::default() };
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.ack(1, &ack).await;
    let mut heard: Vec<String> = Vec::new();
    while heard.len() < 51 {
        heard.extend(hear(&mut client, 1).await);
        if let Some(at) = heard.iter().position(|message| message.starts_with("reset")) {
            // What left before it was too much.
            heard.drain(..at);
        } else {
            heard.clear();
        }
    }
    let first: Vec<_> = (0..50).map(|name: u8| name.to_string()).collect();
    assert_eq!(heard.remove(0), format!("reset {}", first.join(" ")));
    assert_eq!(heard, (50..100).map(|name| format!("open {name}")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn lists_that_no_transport_was_left_for_come_with_the_next_one() {
    let relay = TestRelay::new(|_| ());
    let (identity, instance_id) =
        (Identity { client_id: id(1), network_id: NetworkId::new([9; 16]) }, InstanceId::new([1; 16]));
    let outbox = relay.relay.new_outbox();
    let resident = relay.relay.registry.join(identity, instance_id, &outbox, 16).resident;
    drop(announce(&relay.relay, &resident, true, [127, 0, 0, 1].into()));
    resident.detach(&outbox);
    control_link::serve(&relay.relay, &resident);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut client = relay.connect(1, 1).await;
    assert_eq!(hear(&mut client, 1).await, ["reset "]);
    assert!(Arc::ptr_eq(&relay.relay.registry.get(id(1)).unwrap(), &resident), "the same resident");
}

#[tokio::test(start_paused = true)]
async fn three_hundred_peers_with_long_names_arrive_whole_in_frames_that_fit() {
    let relay = TestRelay::new(|_| ());
    let rules = RosterRules { announce_delay: Duration::ZERO, grace: Duration::from_secs(60), members_max: 300 };
    let (mut roster, now) = (Roster::new(rules), relay.relay.clock.now());
    for number in 0..300u16 {
        let mut client_id = [1; 16];
        client_id[..2].copy_from_slice(&(number + 257).to_be_bytes());
        let peer = Peer {
            client_id: ClientId::new(client_id),
            provide_modes: vec![ProvideMode::Network, ProvideMode::Public, ProvideMode::Stream],
            principal: "svc-a".into(),
            roles: vec!["ops".into()],
            device_name: "ü".repeat(200),
            device_spec: "s".repeat(1000),
        };
        roster.handle_attach(now, NetworkId::new([9; 16]), peer);
    }
    while roster.poll_output().is_some() {}
    let mut client = relay.connect(1, 1).await;
    hear(&mut client, 1).await;
    roster.handle_resync(id(1));
    while let Some((client_id, pushes)) = roster.poll_output() {
        assert!(relay.relay.push(client_id, pushes));
    }
    let mut peers = Vec::new();
    while peers.len() < 299 {
        let frame = client.receive_control().await;
        assert!(frame.encoded_len() <= 4096);
        let Some(pack) = frame.pack else { continue };
        client.ack(1, &pack).await;
        let types: Vec<_> = pack.frames.iter().map(Frame::message_type).collect();
        let is_first = peers.is_empty();
        assert_eq!(types.contains(&MessageType::TransferNetworkPeersReset), is_first, "one, with the first update");
        let update = NetworkPeersUpdate::decode(pack.frames.last().unwrap().message_bytes.clone()).unwrap();
        assert!(update.peers.iter().all(|peer| peer.device_name.len() == 128 && peer.device_spec.len() == 128));
        peers.extend(update.peers.into_iter().map(|peer| peer.client_id));
    }
    peers.dedup();
    assert_eq!(peers.len(), 299, "all but itself");
}
