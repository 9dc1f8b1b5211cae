//! What each message looks like, and that encoding and decoding undo each other.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use warren::wire::control_message::Request;
use warren::wire::framer;
use warren::wire::messages::*;

use crate::samples::{self, id};

/// Name and hex of every sample; read against the field tables of the protocol.
const SNAPSHOTS: &str = include_str!("snapshots.txt");

#[test]
fn every_message_has_the_bytes_of_its_snapshot() {
    let expected: BTreeMap<&str, &str> = SNAPSHOTS.lines().filter_map(|line| line.split_once(": ")).collect();
    let samples = samples::all();
    for sample in &samples {
        let bytes = hex::encode(&sample.bytes);
        assert_eq!(expected.get(sample.name), Some(&bytes.as_str()), "{}: {bytes}", sample.name);
    }
    assert_eq!(expected.len(), samples.len(), "a snapshot without a sample");
}

#[test]
fn every_message_survives_decoding() {
    for sample in samples::all() {
        assert_eq!((sample.again)(&sample.bytes), Some(sample.bytes), "{}", sample.name);
    }
}

#[test]
fn unknown_enum_numbers_and_unknown_fields_do_not_stop_a_decoder() {
    let frame = Frame { message_type: 4000, ..Frame::default() };
    assert_eq!(Frame::decode(&frame.encode_to_vec()[..]).unwrap().message_type, 4000);
    let mut bytes = CloseContract { contract_id: id(1), ..CloseContract::default() }.encode_to_vec();
    // Field 15, a varint.
    bytes.extend([0x78, 5]);
    assert_eq!(CloseContract::decode(&bytes[..]).unwrap().contract_id, id(1));
}

#[test]
fn the_error_without_permission_is_written_although_it_is_zero() {
    let refused = CreateContractResult { error: Some(ContractError::NoPermission.into()), ..Default::default() };
    assert_eq!(refused.encode_to_vec(), [0x08, 0x00]);
}

#[test]
fn requests_survive_their_frames() {
    let requests = [
        Request::Provide(Provide { keys: vec![ProvideKey { mode: 3, provide_secret_key: id(1) }] }),
        Request::CreateContract(CreateContract { destination_id: Some(id(1)), ..CreateContract::default() }),
        Request::CloseContract(CloseContract { contract_id: id(1), acked_byte_count: 7, ..CloseContract::default() }),
        Request::EncryptedKey(EncryptedKey { provide_tls_certificate: vec![id(1)], ..EncryptedKey::default() }),
        Request::ClientKey(ClientKey { public_key: id(1) }),
        Request::PeerAudit(PeerAudit { peer_id: id(1), abuse: true, ..PeerAudit::default() }),
        Request::ControlPing,
        Request::ProvidePing,
    ];
    for request in requests {
        assert_eq!(Request::decode(&request.to_frame()), Ok(request));
    }
}

fn arbitrary_id() -> impl Strategy<Value = Bytes> {
    any::<[u8; 16]>().prop_map(|id| Bytes::copy_from_slice(&id))
}

fn arbitrary_frame() -> impl Strategy<Value = Frame> {
    (0i32..40, proptest::collection::vec(any::<u8>(), 0..200), any::<bool>())
        .prop_map(|(message_type, message_bytes, raw)| Frame { message_type, message_bytes: message_bytes.into(), raw })
}

/// Any pack between any two clients.
pub fn arbitrary_transfer_frame() -> impl Strategy<Value = TransferFrame> {
    let path = (proptest::option::of(arbitrary_id()), proptest::option::of(arbitrary_id()));
    let ids = (arbitrary_id(), arbitrary_id(), any::<u64>());
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), 0u32..12);
    let frames = proptest::collection::vec(arbitrary_frame(), 0..4);
    let contract = proptest::option::of(arbitrary_frame());
    (path, ids, flags, frames, contract, proptest::option::of(any::<u64>())).prop_map(
        |((destination_id, source_id), (message_id, sequence_id, sequence_number), flags, frames, contract, tag)| {
            let (head, nack, force_stream, companion_contract, logical_lane) = flags;
            let pack = Pack {
                message_id,
                sequence_id,
                sequence_number,
                head,
                frames,
                nack,
                contract_frame: contract,
                tag: tag.map(|send_time| Tag { send_time }),
                contract_id: None,
                force_stream,
                companion_contract,
                logical_lane,
            };
            TransferFrame {
                transfer_path: Some(TransferPath { destination_id, source_id, stream_id: None }),
                pack: Some(pack),
                ..TransferFrame::default()
            }
        },
    )
}

proptest! {
    #[test]
    fn any_pack_survives_decoding(frame in arbitrary_transfer_frame()) {
        prop_assert_eq!(TransferFrame::decode(Bytes::from(frame.encode_to_vec())), Ok(frame));
    }

    #[test]
    fn framed_messages_survive_any_cut(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4096), 0..6),
        cut in 1usize..5000,
    ) {
        let mut stream = bytes::BytesMut::new();
        messages.iter().for_each(|message| framer::encode(message, &mut stream));
        let (mut buffer, mut out) = (bytes::BytesMut::new(), Vec::new());
        for piece in stream.chunks(cut) {
            buffer.extend_from_slice(piece);
            while let Some(message) = framer::decode(&mut buffer).unwrap() {
                out.push(message.to_vec());
            }
        }
        prop_assert_eq!(out, messages);
    }
}
