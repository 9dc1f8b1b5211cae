//! Each peer's frames: written, and found in what was read.

use ed25519_dalek::SigningKey;

/// What a peer speaks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Proto {
    /// The bare forwarder's WebSocket: a message is an id and a payload.
    Ws,
    /// The bare forwarder's QUIC stream: four bytes of length in front.
    Quic,
    Iroh,
    Nats,
    WarrenWs,
    WarrenQuic,
}

impl Proto {
    pub fn named(name: &str) -> Self {
        match name {
            "ws" => Self::Ws,
            "quic" => Self::Quic,
            "iroh" => Self::Iroh,
            "nats" => Self::Nats,
            "warren-ws" => Self::WarrenWs,
            "warren-quic" => Self::WarrenQuic,
            other => panic!("protocol {other}"),
        }
    }

    pub fn is_quic(self) -> bool {
        matches!(self, Self::Quic | Self::WarrenQuic)
    }

    pub fn is_warren(self) -> bool {
        matches!(self, Self::WarrenWs | Self::WarrenQuic)
    }

    /// Bytes of a message of `size` that the load may fill.
    pub fn payload(self, size: usize) -> usize {
        match self {
            Self::WarrenWs | Self::WarrenQuic => size - PATH_BYTES - 1 - varint_bytes(size - PATH_BYTES),
            _ => size - 16,
        }
    }

    /// Appends one frame from `source` to `destination`.
    pub fn encode(self, source: &[u8], destination: &[u8], payload: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Quic => {
                out.extend_from_slice(&(payload.len() as u32 + 16).to_be_bytes());
                out.extend_from_slice(destination);
                out.extend_from_slice(payload);
            }
            Self::Ws => websocket_message(&[destination, payload].concat(), out),
            Self::Iroh => websocket_message(&[&[4], destination, &[0], payload].concat(), out),
            Self::Nats => {
                out.extend_from_slice(b"PUB ");
                out.extend_from_slice(destination);
                out.extend_from_slice(format!(" {}\r\n", payload.len()).as_bytes());
                out.extend_from_slice(payload);
                out.extend_from_slice(b"\r\n");
            }
            Self::WarrenWs => websocket_message(&transfer_frame(source, destination, payload), out),
            Self::WarrenQuic => warren_message(&transfer_frame(source, destination, payload), out),
        }
    }

    /// The first frame of `bytes`; none when it is not complete.
    pub fn parse(self, bytes: &[u8]) -> Option<Found> {
        match self {
            Self::Quic => {
                let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
                found(bytes, 4, length, |_| (20, Kind::Data))
            }
            Self::Ws => {
                let (head, length) = websocket_head(bytes)?;
                found(bytes, head, length, |_| (head + 16, Kind::Data))
            }
            Self::Iroh => {
                let (head, length) = websocket_head(bytes)?;
                found(bytes, head, length, |message| match message.first() {
                    Some(6) => (head + 34, Kind::Data),
                    Some(9) => (head + 1, Kind::Ping),
                    _ => (head, Kind::Other),
                })
            }
            Self::WarrenWs => {
                let (head, length) = websocket_head(bytes)?;
                found(bytes, head, length, |message| transfer_payload(head, message))
            }
            Self::WarrenQuic => {
                let [high, low, ..] = *bytes.first_chunk::<4>()?;
                let length = usize::from(u16::from_be_bytes([high, low]));
                found(bytes, 4, length, |message| transfer_payload(4, message))
            }
            Self::Nats => nats_frame(bytes),
        }
    }

    /// The answer to a ping, or to a pack of the control id.
    pub fn pong(self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::WarrenQuic if !payload.is_empty() => warren_message(&ack(payload), &mut out),
            Self::WarrenWs if !payload.is_empty() => websocket_message(&ack(payload), &mut out),
            Self::Nats => out.extend_from_slice(b"PONG\r\n"),
            Self::WarrenQuic => warren_message(&[], &mut out),
            Self::WarrenWs => websocket_message(&[], &mut out),
            _ => websocket_message(&[&[10], payload].concat(), &mut out),
        }
        out
    }
}

/// What a frame is to the load.
#[derive(PartialEq, Clone, Copy)]
pub enum Kind {
    Data,
    Ping,
    Other,
}

/// A frame: how many bytes it takes, and where its payload is.
pub struct Found {
    pub used: usize,
    pub payload: std::ops::Range<usize>,
    pub kind: Kind,
}

fn found(bytes: &[u8], head: usize, length: usize, look: impl FnOnce(&[u8]) -> (usize, Kind)) -> Option<Found> {
    let (start, kind) = look(bytes.get(head..head + length)?);
    Some(Found { used: head + length, payload: start..head + length, kind })
}

/// Tag and length of the path, and two ids with theirs.
const PATH_BYTES: usize = 2 + 2 * 18;

/// The path of what the control id sends: its receiver alone follows.
const CONTROL_PATH: [u8; 4] = [0x0a, 18, 0x0a, 16];
/// The tag of a pack, behind that path and the two bytes of the frame's type.
const PACK: u8 = 0x22;

/// Acknowledges a pack of the control id and all before it: the pack begins with its id and that of its sequence.
fn ack(frame: &[u8]) -> Vec<u8> {
    let (receiver, pack) = (&frame[4..20], &frame[23..]);
    let ids = if pack[0] < 0x80 { &pack[1..] } else { &pack[2..] };
    [&[0x0a, 18, 0x12, 16], receiver, &[0x18, 1, 0x2a, 36], &ids[..36]].concat()
}

/// An encoded TransferFrame with an opaque payload, as sealed clients send it.
fn transfer_frame(source: &[u8], destination: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut frame = [&[0x0a, 36, 0x0a, 16][..], destination, &[0x12, 16], source, &[0x32]].concat();
    varint(payload.len(), &mut frame);
    frame.extend_from_slice(payload);
    frame
}

/// Where the payload of a TransferFrame that starts at `head` is. An empty message is a keepalive, which is answered
/// with one; a pack of the control id is acknowledged.
fn transfer_payload(head: usize, message: &[u8]) -> (usize, Kind) {
    if message.is_empty() || (message.starts_with(&CONTROL_PATH) && message.get(22) == Some(&PACK)) {
        return (head, Kind::Ping);
    }
    let is_relayed = message.starts_with(&[0x0a, 36]) && message.get(PATH_BYTES) == Some(&0x32);
    match message.get(PATH_BYTES + 1) {
        Some(first) if is_relayed => (head + PATH_BYTES + 1 + if *first < 0x80 { 1 } else { 2 }, Kind::Data),
        _ => (head, Kind::Other),
    }
}

fn varint(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn varint_bytes(number: usize) -> usize {
    let mut bytes = Vec::new();
    varint(number, &mut bytes);
    bytes.len()
}

/// A protobuf field of bytes.
pub fn bytes_field(tag: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(tag << 3 | 2);
    varint(value.len(), out);
    out.extend_from_slice(value);
}

/// A message on Warren's QUIC stream.
pub fn warren_message(message: &[u8], out: &mut Vec<u8>) {
    let [high, low] = (message.len() as u16).to_be_bytes();
    out.extend_from_slice(&[high, low, 0, 0]);
    out.extend_from_slice(message);
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked binary message.
pub fn websocket_message(message: &[u8], out: &mut Vec<u8>) {
    out.push(0x82);
    match message.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length => {
            out.push(0x80 | 126);
            out.extend_from_slice(&u16::try_from(length).expect("short messages").to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(message.iter().enumerate().map(|(at, byte)| byte ^ MASK[at & 3]));
}

/// Bytes of a server's header, and of the message behind it.
pub fn websocket_head(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes.get(1)? & 127 {
        126 => Some((4, u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize)),
        127 => Some((10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize)),
        short => Some((2, short as usize)),
    }
}

fn nats_frame(bytes: &[u8]) -> Option<Found> {
    let line = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    assert!(!bytes.starts_with(b"-ERR"), "{}", String::from_utf8_lossy(&bytes[..line]));
    if !bytes.starts_with(b"MSG ") {
        let kind = if bytes.starts_with(b"PING") { Kind::Ping } else { Kind::Other };
        return Some(Found { used: line, payload: 0..0, kind });
    }
    let end = line - 2;
    let space = bytes[..end].iter().rposition(|byte| *byte == b' ')?;
    let length = bytes[space + 1..end].iter().fold(0, |sum, digit| sum * 10 + (digit - b'0') as usize);
    let used = line + length + 2;
    (bytes.len() >= used).then_some(Found { used, payload: line..line + length, kind: Kind::Data })
}

/// The one user that the NATS server lets in.
pub fn nats_key() -> SigningKey {
    SigningKey::from_bytes(blake3::hash(b"peers nats user").as_bytes())
}

/// The text form of a NATS user key: base32 of prefix byte, key, CRC-16/XMODEM.
pub fn nats_public(key: &SigningKey) -> String {
    let mut raw = vec![20 << 3];
    raw.extend_from_slice(key.verifying_key().as_bytes());
    let mut crc = 0u16;
    for byte in &raw {
        crc ^= (*byte as u16) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 };
        }
    }
    raw.extend_from_slice(&crc.to_le_bytes());
    data_encoding::BASE32_NOPAD.encode(&raw)
}
