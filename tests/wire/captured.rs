//! Frames the Go client wrote (`connect` of 2026-08-22, plain, one transport): it publishes its key and provide modes
//! to control, opens a contract with the client `02…02`, sends it twelve messages, and acks a push of control and a
//! pack of that client. The contract is signed with 32 bytes of 7 in mode Public.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use warren::ids::{ClientId, IdGenerator};
use warren::time::Timestamp;
use warren::transfer::endpoint::Endpoint;
use warren::transfer::output::{Delivery, Output, TransferDrop};
use warren::transfer::settings::EndpointConfig;
use warren::wire::messages::{MessageType, Provide, ProvideKey, ProvideMode, SimpleMessage, TransferFrame};
use warren::wire::path::peek_path;

const RECEIVER: ClientId = ClientId::new([2; 16]);

/// The frames in the order they were written.
fn frames() -> Vec<Bytes> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/captured");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 16);
    files.into_iter().map(|file| std::fs::read(file).unwrap().into()).collect()
}

/// Feeds every frame to an endpoint whose id it carries; returns the deliveries and the acks of them.
fn replay(endpoint: &mut Endpoint) -> (Vec<Delivery>, usize) {
    let mut now = Timestamp::from_secs(1_800_000_000);
    endpoint.attach(now);
    let (mut deliveries, mut acks) = (Vec::new(), 0);
    let mut take = |endpoint: &mut Endpoint, now: Timestamp| {
        while let Some(output) = endpoint.poll_output() {
            match output {
                Output::Deliver(delivery) => {
                    endpoint.confirm(now, delivery.id);
                    deliveries.push(delivery);
                }
                Output::Transmit(frame) => {
                    assert!(TransferFrame::decode(frame).unwrap().ack.is_some());
                    acks += 1;
                }
                Output::NeedsSnapshot => {}
                other => panic!("{other:?}"),
            }
        }
    };
    for frame in frames() {
        let is_ack = TransferFrame::decode(frame.clone()).unwrap().ack.is_some();
        if peek_path(&frame).unwrap().destination == endpoint.local() {
            let expected = if is_ack { Err(TransferDrop::UnknownAck) } else { Ok(()) };
            assert_eq!(endpoint.handle_frame(now, frame), expected);
        }
        take(endpoint, now);
    }
    now = now + Duration::from_millis(10);
    endpoint.handle_timeout(now);
    take(endpoint, now);
    (deliveries, acks)
}

#[test]
fn our_encoder_writes_the_same_bytes() {
    for frame in frames() {
        assert_eq!(TransferFrame::decode(frame.clone()).unwrap().encode_to_vec(), frame);
    }
}

#[test]
fn control_takes_the_key_and_the_provide_modes_and_acks_once() {
    let sender = peek_path(&frames()[0]).unwrap().source;
    let mut control = Endpoint::new(EndpointConfig::control(sender, Arc::new(IdGenerator::new())));
    let (deliveries, acks) = replay(&mut control);
    let types: Vec<i32> =
        deliveries.iter().flat_map(|delivery| &delivery.frames).map(|frame| frame.message_type).collect();
    assert_eq!(types, [MessageType::TransferProvide.into(), MessageType::TransferClientKey.into()] as [i32; 2]);
    assert_eq!(acks, 1);
}

#[test]
fn a_client_verifies_the_contract_and_gets_the_messages_in_order() {
    let mut client = Endpoint::new(EndpointConfig::client(RECEIVER, Arc::new(IdGenerator::new())));
    let key = ProvideKey { mode: ProvideMode::Public.into(), provide_secret_key: vec![7; 32].into() };
    client.set_provide(&Provide { keys: vec![key] });
    let (deliveries, acks) = replay(&mut client);
    let indexes: Vec<u32> = deliveries
        .iter()
        .flat_map(|delivery| &delivery.frames)
        .map(|frame| SimpleMessage::decode(frame.message_bytes.clone()).unwrap().message_index)
        .collect();
    assert_eq!(indexes, (0..12).collect::<Vec<_>>());
    assert!(deliveries.iter().all(|delivery| {
        delivery.contract.as_ref().is_some_and(|contract| contract.provide_mode == ProvideMode::Public)
    }));
    assert_eq!(acks, 1);
}
