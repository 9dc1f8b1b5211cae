//! Cuts the QUIC stream into messages: two bytes of length, two bytes of split hint, then the payload
//! (`connect/message_framer.go`).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::MAX_FRAME_BYTES;

/// Bytes in front of each message.
pub const HEADER_BYTES: usize = 4;

/// A message longer than the transport allows; the stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes is larger than {MAX_FRAME_BYTES}")]
pub struct TooLarge(pub usize);

/// The header of a message of `length` bytes. The split hint is left 0: readers ignore it.
pub fn header(length: usize) -> [u8; HEADER_BYTES] {
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    [high, low, 0, 0]
}

/// Appends one framed message.
pub fn encode(message: &[u8], out: &mut BytesMut) {
    out.reserve(HEADER_BYTES + message.len());
    out.put_slice(&header(message.len()));
    out.put_slice(message);
}

/// Takes the next complete message off the front of `buffer`, sharing its memory; `None` when more bytes are needed.
/// An empty message is a keepalive.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Bytes>, TooLarge> {
    let Some(head) = buffer.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
    if length > MAX_FRAME_BYTES {
        return Err(TooLarge(length));
    }
    if buffer.len() < HEADER_BYTES + length {
        return Ok(None);
    }
    buffer.advance(HEADER_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_cut_anywhere_come_out_whole() {
        let mut stream = BytesMut::new();
        for message in [&b""[..], b"a", &[7; 4096]] {
            encode(message, &mut stream);
        }
        let mut buffer = BytesMut::new();
        let mut messages = Vec::new();
        for byte in stream {
            buffer.put_u8(byte);
            while let Some(message) = decode(&mut buffer).unwrap() {
                messages.push(message);
            }
        }
        assert_eq!(messages, [Bytes::new(), Bytes::from_static(b"a"), Bytes::from(vec![7; 4096])]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn the_split_hint_is_ignored() {
        let mut buffer = BytesMut::from(&[0, 1, 0xff, 0xff, 9][..]);
        assert_eq!(decode(&mut buffer), Ok(Some(Bytes::from_static(&[9]))));
    }

    #[test]
    fn a_message_above_the_limit_ends_the_stream() {
        let mut buffer = BytesMut::from(&[0x10, 0x01, 0, 0][..]);
        assert_eq!(decode(&mut buffer), Err(TooLarge(4097)));
    }
}
