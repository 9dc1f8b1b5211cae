//! Damaged bytes are refused or read as something else; they end nothing and reserve nothing.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use prost::Message;
use warren::ids::{ClientId, IdGenerator};
use warren::time::Timestamp;
use warren::transfer::endpoint::Endpoint;
use warren::transfer::settings::EndpointConfig;
use warren::wire::control_message::Request;
use warren::wire::framer;
use warren::wire::messages::{Frame, TransferFrame, TransferPath};
use warren::wire::path::peek_path;

use crate::messages::arbitrary_transfer_frame;
use crate::samples;

const CLIENT: ClientId = ClientId::new([7; 16]);

fn read_all_ways(bytes: &[u8]) {
    let _ = peek_path(bytes);
    for sample in samples::all() {
        let _ = (sample.again)(bytes);
    }
    for message_type in 0..40 {
        let message_bytes = Bytes::copy_from_slice(bytes);
        let _ = Request::decode(&Frame { message_type, message_bytes, raw: false });
    }
}

/// An endpoint of either role takes these bytes.
fn feed(endpoint: &mut Endpoint, now: Timestamp, bytes: &[u8]) {
    let _ = endpoint.handle_frame(now, Bytes::copy_from_slice(bytes));
    while endpoint.poll_output().is_some() {}
}

fn endpoints() -> [Endpoint; 2] {
    let ids = Arc::new(IdGenerator::new());
    [EndpointConfig::control(CLIENT, Arc::clone(&ids)), EndpointConfig::client(ClientId::new([9; 16]), ids)]
        .map(Endpoint::new)
}

#[test]
fn every_message_cut_short_or_with_a_flipped_bit_is_read_without_panic() {
    for sample in samples::all() {
        for length in 0..sample.bytes.len() {
            read_all_ways(&sample.bytes[..length]);
            let mut flipped = sample.bytes.clone();
            flipped[length] ^= 1 << (length % 8);
            read_all_ways(&flipped);
        }
    }
}

proptest! {
    #[test]
    fn noise_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_all_ways(&bytes);
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = framer::decode(&mut buffer) {}
    }

    #[test]
    fn an_endpoint_survives_whatever_arrives(
        frames in proptest::collection::vec(
            (arbitrary_transfer_frame(), proptest::collection::vec((0usize..200, any::<u8>()), 0..3)), 1..40,
        ),
    ) {
        for endpoint in &mut endpoints() {
            let mut now = Timestamp::from_secs(1_700_000_000);
            endpoint.attach(now);
            for (frame, damage) in &frames {
                let path = TransferPath {
                    destination_id: (!endpoint.local().is_control()).then(|| endpoint.local().into()),
                    source_id: Some(CLIENT.into()),
                    stream_id: None,
                };
                let mut bytes = TransferFrame { transfer_path: Some(path), ..frame.clone() }.encode_to_vec();
                for (at, value) in damage {
                    if let Some(byte) = bytes.get_mut(*at) {
                        *byte = *value;
                    }
                }
                feed(endpoint, now, &bytes);
                now = now + std::time::Duration::from_millis(37);
                endpoint.handle_timeout(now);
            }
            // Whatever it took in, time lets go of it.
            for _ in 0..100 {
                while endpoint.poll_output().is_some() {}
                let Some(due) = endpoint.poll_timeout() else { break };
                now = now.max(due);
                endpoint.handle_timeout(now);
            }
            prop_assert!(endpoint.poll_timeout().is_none());
        }
    }
}
