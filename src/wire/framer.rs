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

/// Messages that are complete at the front of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Complete {
    /// How many.
    pub count: u32,
    /// Their bytes with headers.
    pub bytes: usize,
    /// Their bytes without.
    pub payload_bytes: u32,
}

/// Finds the complete messages at the front of `stream`, `at_most` so many, and leaves their split hints 0. One that is
/// too large is an error once it stands in front.
#[inline]
pub fn scan(stream: &mut [u8], at_most: u32) -> Result<Complete, TooLarge> {
    let mut complete = Complete::default();
    let mut rest = stream;
    while complete.count < at_most {
        let Some((head, behind)) = rest.split_first_chunk_mut::<HEADER_BYTES>() else { break };
        let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
        if length > MAX_FRAME_BYTES {
            return if complete.count == 0 { Err(TooLarge(length)) } else { Ok(complete) };
        }
        let Some((_, behind)) = behind.split_at_mut_checked(length) else { break };
        (head[2], head[3]) = (0, 0);
        complete.count += 1;
        complete.bytes += HEADER_BYTES + length;
        complete.payload_bytes += length as u32;
        rest = behind;
    }
    Ok(complete)
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
    fn complete_messages_are_found_and_lose_their_hints() {
        let mut stream = [0, 0, 9, 9, 0, 2, 0xff, 1, 7, 8, 0, 3, 5, 5, 1, 2];
        let complete = |count, bytes, payload_bytes| Ok(Complete { count, bytes, payload_bytes });
        assert_eq!(scan(&mut stream.clone(), 1), complete(1, 4, 0));
        assert_eq!(scan(&mut stream, u32::MAX), complete(2, 10, 2));
        assert_eq!(stream, [0, 0, 0, 0, 0, 2, 0, 0, 7, 8, 0, 3, 5, 5, 1, 2], "half a message is left alone");
        for length in 0..4 {
            assert_eq!(scan(&mut stream[..length], u32::MAX), complete(0, 0, 0));
        }
    }

    #[test]
    fn a_message_above_the_limit_ends_the_stream() {
        let mut buffer = BytesMut::from(&[0x10, 0x01, 0, 0][..]);
        assert_eq!(scan(&mut buffer, u32::MAX), Err(TooLarge(4097)));
        assert_eq!(decode(&mut buffer), Err(TooLarge(4097)));
        let mut behind = [0, 1, 0, 0, 9, 0x10, 0x01, 0, 0];
        assert_eq!(scan(&mut behind, u32::MAX).map(|complete| complete.bytes), Ok(5), "what came before it is good");
    }
}
