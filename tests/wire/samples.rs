//! One sample of every message, each field set to something that can be told from the others.

use bytes::Bytes;
use prost::Message;
use warren::wire::messages::*;

/// 16 bytes that count up from `first`.
pub fn id(first: u8) -> Bytes {
    (first..first + 16).collect::<Vec<u8>>().into()
}

/// A message by its name on the wire.
pub struct Sample {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// Decodes and encodes again; `None` for bytes that are not this message.
    pub again: fn(&[u8]) -> Option<Vec<u8>>,
}

fn sample<M: Message + Default>(name: &'static str, message: M) -> Sample {
    let again = |bytes: &[u8]| M::decode(bytes).ok().map(|message| message.encode_to_vec());
    Sample { name, bytes: message.encode_to_vec(), again }
}

fn frame() -> Frame {
    Frame {
        message_type: MessageType::IpIpPacketToProvider.into(),
        message_bytes: Bytes::from_static(&[0x45, 0, 0, 20]),
        raw: true,
    }
}

fn pack() -> Pack {
    Pack {
        message_id: id(0x20),
        sequence_id: id(0x30),
        sequence_number: 300,
        head: true,
        frames: vec![frame(), Frame::default()],
        nack: true,
        contract_frame: Some(Frame { message_type: MessageType::TransferContract.into(), ..Frame::default() }),
        tag: Some(Tag { send_time: 1_700_000_000_000 }),
        contract_id: Some(id(0x40)),
        force_stream: true,
        companion_contract: true,
        logical_lane: 8,
    }
}

fn ack() -> Ack {
    Ack {
        message_id: id(0x20),
        sequence_id: id(0x30),
        selective: true,
        tag: Some(Tag { send_time: 1 }),
        missing_contract_id: Some(id(0x40)),
        compact_contract_recovery: true,
        logical_lane_version: 1,
    }
}

fn transfer_frame() -> TransferFrame {
    TransferFrame {
        transfer_path: Some(TransferPath { destination_id: Some(id(0x10)), source_id: Some(id(1)), stream_id: None }),
        message_type: Some(MessageType::TransferPack.into()),
        session_role: Some(SequenceRole::Server.into()),
        session_companion: Some(true),
        ..TransferFrame::default()
    }
}

fn contract() -> Contract {
    Contract {
        stored_contract_bytes: Bytes::from_static(b"stored"),
        stored_contract_hmac: Bytes::from_static(b"hmac"),
        provide_mode: ProvideMode::Public.into(),
        provide_tls_certificate: vec![Bytes::from_static(b"leaf"), Bytes::from_static(b"root")],
        destination_client_public_key: Bytes::from_static(b"key"),
        destination_client_key_signed_tls_certificate: Bytes::from_static(b"signature"),
    }
}

fn create_contract() -> CreateContract {
    CreateContract {
        destination_id: Some(id(0x10)),
        transfer_byte_count: 1_048_576,
        companion: true,
        used_contract_ids: vec![id(0x40)],
        intermediary_ids: vec![id(0x50), id(0x60)],
        force_stream: Some(false),
        stream_version: Some(1),
    }
}

fn stream_open() -> StreamOpen {
    StreamOpen { destination_id: Some(id(0x10)), source_id: Some(id(1)), stream_id: id(0x70) }
}

fn network_peer() -> NetworkPeer {
    NetworkPeer {
        client_id: id(1),
        provide_modes: vec![ProvideMode::Network.into(), ProvideMode::Stream.into()],
        principal: "principal".into(),
        roles: vec!["one".into(), "two".into()],
        device_name: "name".into(),
        device_spec: "spec".into(),
        disconnect_time: Some(0),
    }
}

fn signal() -> ExchangeSignal {
    ExchangeSignal {
        signal_type: SignalType::IceCandidate.into(),
        sdp: Some(Bytes::from_static(b"sdp")),
        ice_candidate: Some(Bytes::from_static(b"ice")),
    }
}

fn provide_key() -> ProvideKey {
    ProvideKey { mode: ProvideMode::Public.into(), provide_secret_key: Bytes::from_static(b"secret") }
}

/// Every message of the protocol.
pub fn all() -> Vec<Sample> {
    let mut samples = transfer_samples();
    samples.extend(control_samples());
    samples.extend(peer_samples());
    samples
}

fn transfer_samples() -> Vec<Sample> {
    let sealed = Bytes::from_static(b"sealed");
    vec![
        sample("Frame", frame()),
        sample("TransferPath", transfer_frame().transfer_path.unwrap()),
        sample("Pack", pack()),
        sample("Ack", ack()),
        sample("TransferFrame pack", TransferFrame { pack: Some(pack()), ..transfer_frame() }),
        sample("TransferFrame ack", TransferFrame { ack: Some(ack()), ..transfer_frame() }),
        sample("TransferFrame legacy", TransferFrame { frame: Some(frame()), ..transfer_frame() }),
        sample("TransferFrame sealed", TransferFrame { encrypted_transfer_frame: Some(sealed), ..transfer_frame() }),
        sample("Contract", contract()),
        sample(
            "StoredContract",
            StoredContract {
                contract_id: id(0x40),
                transfer_byte_count: 1_048_576,
                source_id: Some(id(1)),
                destination_id: Some(id(0x10)),
                stream_id: Some(id(0x70)),
                priority: Some(0),
                provide_tls_certificate: vec![Bytes::from_static(b"leaf")],
                destination_client_public_key: Bytes::from_static(b"key"),
                destination_client_key_signed_tls_certificate: Bytes::from_static(b"signature"),
                roles: vec!["role".into()],
                principal: "principal".into(),
            },
        ),
    ]
}

fn control_samples() -> Vec<Sample> {
    vec![
        sample(
            "Auth",
            Auth {
                by_jwt: "jwt".into(),
                app_version: "1.2.3".into(),
                instance_id: id(1),
                h3_datagram_version: 1,
                h3_datagram_accepted_version: 2,
            },
        ),
        sample("Provide", Provide { keys: vec![provide_key(), ProvideKey::default()] }),
        sample("CreateContract", create_contract()),
        sample(
            "CreateContractResult",
            CreateContractResult {
                error: Some(ContractError::NoPermission.into()),
                contract: Some(contract()),
                create_contract: Some(create_contract()),
            },
        ),
        sample(
            "CloseContract",
            CloseContract { contract_id: id(0x40), acked_byte_count: 5, unacked_byte_count: 6, checkpoint: true },
        ),
        sample(
            "PeerAudit",
            PeerAudit {
                peer_id: id(1),
                duration: 2,
                abuse: true,
                bad_contract_count: 4,
                discarded_byte_count: 5,
                discarded_count: 6,
                bad_message_byte_count: 7,
                bad_message_count: 8,
                send_byte_count: 9,
                send_count: 10,
                resend_byte_count: 11,
                resend_count: 12,
                stream_id: id(0x70),
            },
        ),
        sample(
            "EncryptedKey",
            EncryptedKey {
                provide_tls_certificate: vec![Bytes::from_static(b"leaf")],
                client_key_signed_tls_certificate: Bytes::from_static(b"signature"),
            },
        ),
        sample("ClientKey", ClientKey { public_key: Bytes::from_static(b"key") }),
        sample("ControlPing", ControlPing {}),
        sample("ProvidePing", ProvidePing {}),
        sample("StreamOpen", stream_open()),
        sample("StreamClose", StreamClose { stream_id: id(0x70) }),
        sample("StreamReset", StreamReset { streams: vec![stream_open(), StreamOpen::default()] }),
        sample("NetworkPeersReset", NetworkPeersReset {}),
        sample("NetworkPeersUpdate", NetworkPeersUpdate { peers: vec![network_peer()] }),
        sample("ResidentMigrate", ResidentMigrate { migrate_time: 1_700_000_000_000 }),
    ]
}

fn peer_samples() -> Vec<Sample> {
    let ip_packet = || Some(IpPacket { packet_bytes: Bytes::from_static(&[0x45]) });
    vec![
        sample(
            "ExchangeSignals",
            ExchangeSignals {
                stream_id: id(0x70),
                reset_signals: true,
                signals: vec![signal()],
                sender_generation_id: id(0x60),
            },
        ),
        sample(
            "EncryptedControl",
            EncryptedControl {
                control_type: EncryptedControlType::EncryptedControlIdentityProof.into(),
                payload: Bytes::from_static(b"payload"),
                session_role: SequenceRole::Client.into(),
                companion: true,
                epoch_id: Some(id(0x60)),
            },
        ),
        sample("IpPacketToProvider", IpPacketToProvider { ip_packet: ip_packet() }),
        sample("IpPacketFromProvider", IpPacketFromProvider { ip_packet: ip_packet() }),
        sample("IpPing", IpPing {}),
        sample("SimpleMessage", SimpleMessage { message_index: 1, message_count: 2, content: "content".into() }),
    ]
}
