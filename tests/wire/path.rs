//! The peek and the full decoder read the same address.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use warren::ids::ClientId;
use warren::wire::messages::TransferFrame;
use warren::wire::path::peek_path;

use crate::messages::arbitrary_transfer_frame;
use crate::samples;

/// The address as the full decoder sees it: source, destination, and whether a stream is named. `None` for bytes that
/// are no frame, or one with an id of another length than 16.
fn decoded(bytes: &[u8]) -> Option<(ClientId, ClientId, bool)> {
    let path = TransferFrame::decode(bytes).ok()?.transfer_path?;
    let id = |bytes: Option<Bytes>| bytes.map_or(Some(ClientId::CONTROL), |bytes| ClientId::from_slice(&bytes));
    Some((id(path.source_id)?, id(path.destination_id)?, !id(path.stream_id)?.is_control()))
}

fn peeked(bytes: &[u8]) -> Option<(ClientId, ClientId, bool)> {
    peek_path(bytes).ok().map(|path| (path.source, path.destination, path.has_stream))
}

/// The peek may refuse what the decoder takes, and take what the decoder finds broken further on; where both read an
/// address, it is the same.
fn agree(bytes: &[u8]) -> bool {
    match (peeked(bytes), decoded(bytes)) {
        (Some(peeked), Some(decoded)) => peeked == decoded,
        _ => true,
    }
}

proptest! {
    #[test]
    fn they_agree_on_every_well_formed_frame(frame in arbitrary_transfer_frame()) {
        let bytes = frame.encode_to_vec();
        prop_assert_eq!(peeked(&bytes), decoded(&bytes));
        prop_assert!(peeked(&bytes).is_some());
    }

    #[test]
    fn they_never_disagree_on_damaged_bytes(
        frame in arbitrary_transfer_frame(),
        damage in proptest::collection::vec((0usize..80, any::<u8>()), 1..6),
        length in 0usize..400,
    ) {
        let mut bytes = frame.encode_to_vec();
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(length);
        prop_assert!(agree(&bytes), "{}", hex::encode(&bytes));
    }

    #[test]
    fn they_never_disagree_on_noise(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        prop_assert!(agree(&bytes), "{}", hex::encode(&bytes));
    }

    #[test]
    fn they_never_disagree_when_frames_are_spliced(
        first in arbitrary_transfer_frame(), second in arbitrary_transfer_frame(), cut in 0usize..60,
    ) {
        let (first, second) = (first.encode_to_vec(), second.encode_to_vec());
        let spliced = [&first[..], second.get(cut..).unwrap_or_default()].concat();
        prop_assert!(agree(&spliced), "{}", hex::encode(&spliced));
    }
}

#[test]
fn they_agree_on_every_single_bit_of_the_samples() {
    for sample in samples::all().into_iter().filter(|sample| sample.name.starts_with("TransferFrame")) {
        for at in 0..sample.bytes.len() * 8 {
            let mut bytes = sample.bytes.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(agree(&bytes), "{} bit {at}", sample.name);
        }
    }
}
