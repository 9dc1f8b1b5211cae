//! Reads the address of a TransferFrame from raw bytes: no allocation, no copy, the payload is stepped over.
//!
//! Stricter than protobuf on purpose (`control-and-routing`, traps): a decoder that merges repeated submessages
//! and one that takes the first would see different addresses, so exactly one path and no repeated id is accepted.

use crate::ids::ClientId;

/// Where a frame comes from and goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Sender; the control id when absent.
    pub source: ClientId,
    /// Receiver; the control id when absent.
    pub destination: ClientId,
    /// A non-zero stream id is present: never valid on the relay.
    pub has_stream: bool,
}

/// Why a frame has no usable address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Not protobuf, or no path in it.
    #[error("no transfer path")]
    Malformed,
    /// An id of another length than 16.
    #[error("an id is not 16 bytes long")]
    BadId,
    /// More than one path, or an id given twice.
    #[error("the transfer path is given twice")]
    Repeated,
}

const TAG_TRANSFER_PATH: u64 = (1 << 3) | 2;
const TAG_DESTINATION: u64 = (1 << 3) | 2;
const TAG_SOURCE: u64 = (2 << 3) | 2;
const TAG_STREAM: u64 = (3 << 3) | 2;

/// Reads the address of an encoded TransferFrame.
#[inline]
pub fn peek_path(frame: &[u8]) -> Result<Path, PathError> {
    match peek_usual(frame) {
        Some((path, rest)) => peek_rest(Some(path), rest),
        None => peek_rest(None, frame),
    }?
    .ok_or(PathError::Malformed)
}

/// Reads the fields that follow a path which is known, or not yet.
#[inline]
fn peek_rest(mut path: Option<Path>, rest: &[u8]) -> Result<Option<Path>, PathError> {
    let mut rest = Reader(rest);
    while !rest.0.is_empty() {
        let tag = rest.varint()?;
        if tag == TAG_TRANSFER_PATH {
            let bytes = rest.length_delimited()?;
            if path.replace(peek_ids(bytes)?).is_some() {
                return Err(PathError::Repeated);
            }
        } else {
            // Field 1 with another wire type would be read differently by other decoders.
            if tag >> 3 <= 1 {
                return Err(PathError::Malformed);
            }
            rest.skip(tag)?;
        }
    }
    Ok(path)
}

/// The bytes of a path as encoders write it. Frames of one client to another begin with the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathBytes([u8; 38]);

impl PathBytes {
    /// Those of a path without a stream.
    pub fn new(source: ClientId, destination: ClientId) -> Self {
        let mut bytes = [0; 38];
        bytes[..4].copy_from_slice(&[0x0a, 36, 0x0a, 16]);
        bytes[4..20].copy_from_slice(destination.as_bytes());
        bytes[20..22].copy_from_slice(&[0x12, 16]);
        bytes[22..].copy_from_slice(source.as_bytes());
        Self(bytes)
    }

    /// Where the path leads to.
    pub fn destination(&self) -> Option<ClientId> {
        self.0[4..].first_chunk().copied().map(ClientId::new)
    }

    /// Whether [`peek_path`] reads the same path from another frame. False may mean that this look was too short.
    #[inline]
    pub fn are_in(&self, frame: &[u8]) -> bool {
        let Some((path, rest)) = frame.split_first_chunk() else { return false };
        *path == self.0 && is_rest_usual(rest)
    }
}

/// Whether nothing but whole fields behind the path follows, each with a number below 16.
#[inline]
fn is_rest_usual(rest: &[u8]) -> bool {
    let mut rest = Reader(rest);
    while let Some((&tag, behind)) = rest.0.split_first() {
        rest.0 = behind;
        if !(2 << 3..0x80).contains(&tag) || rest.skip(u64::from(tag)).is_err() {
            return false;
        }
    }
    true
}

/// The path as encoders write it: in front of everything, destination, then source, nothing else. Also what follows it.
/// A shortcut only: the loops below read the same from these bytes, at five times the cost.
#[inline]
fn peek_usual(frame: &[u8]) -> Option<(Path, &[u8])> {
    let (&[0x0a, 36, 0x0a, 16], frame) = frame.split_first_chunk()? else { return None };
    let (&destination, frame) = frame.split_first_chunk()?;
    let (&[0x12, 16], frame) = frame.split_first_chunk()? else { return None };
    let (&source, rest) = frame.split_first_chunk()?;
    let (source, destination) = (ClientId::new(source), ClientId::new(destination));
    Some((Path { source, destination, has_stream: false }, rest))
}

#[inline]
fn peek_ids(bytes: &[u8]) -> Result<Path, PathError> {
    let (mut destination, mut source, mut stream) = (None, None, None);
    let mut rest = Reader(bytes);
    while !rest.0.is_empty() {
        let tag = rest.varint()?;
        let slot: &mut Option<ClientId> = match tag {
            TAG_DESTINATION => &mut destination,
            TAG_SOURCE => &mut source,
            TAG_STREAM => &mut stream,
            _ if tag >> 3 <= 3 => return Err(PathError::Malformed),
            _ => {
                rest.skip(tag)?;
                continue;
            }
        };
        let id = ClientId::from_slice(rest.length_delimited()?).ok_or(PathError::BadId)?;
        if slot.replace(id).is_some() {
            return Err(PathError::Repeated);
        }
    }
    Ok(Path {
        source: source.unwrap_or(ClientId::CONTROL),
        destination: destination.unwrap_or(ClientId::CONTROL),
        has_stream: stream.is_some_and(|id| !id.is_control()),
    })
}

/// A cursor over protobuf bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    fn varint(&mut self) -> Result<u64, PathError> {
        if let Some((&short @ ..0x80, rest)) = self.0.split_first() {
            self.0 = rest;
            return Ok(u64::from(short));
        }
        let mut value = 0u64;
        for (at, byte) in self.0.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Ok(value);
            }
        }
        Err(PathError::Malformed)
    }

    #[inline]
    fn take(&mut self, length: u64) -> Result<&'a [u8], PathError> {
        let length = usize::try_from(length).map_err(|_| PathError::Malformed)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(PathError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn length_delimited(&mut self) -> Result<&'a [u8], PathError> {
        let length = self.varint()?;
        self.take(length)
    }

    /// Steps over the value of a field; groups do not occur in this protocol.
    #[inline]
    fn skip(&mut self, tag: u64) -> Result<(), PathError> {
        match tag & 7 {
            0 => self.varint().map(drop),
            1 => self.take(8).map(drop),
            2 => self.length_delimited().map(drop),
            5 => self.take(4).map(drop),
            _ => Err(PathError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(first: u8) -> ClientId {
        let mut bytes = [0; 16];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = first + at as u8;
        }
        ClientId::new(bytes)
    }

    fn frame(path: &[u8], tail: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x0a, path.len() as u8];
        frame.extend_from_slice(path);
        frame.extend_from_slice(tail);
        frame
    }

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![(number << 3) | 2, bytes.len() as u8];
        field.extend_from_slice(bytes);
        field
    }

    #[test]
    fn reads_the_relayed_vector_of_the_protocol() {
        let head = hex::decode("0a240a101112131415161718191a1b1c1d1e1f2012100102030405060708090a0b0c0d0e0f10").unwrap();
        let path = peek_path(&head).unwrap();
        assert_eq!(path, Path { source: id(0x01), destination: id(0x11), has_stream: false });
    }

    #[test]
    fn an_absent_or_zero_destination_is_the_control_id() {
        let absent = frame(&field(2, id(1).as_bytes()), &[]);
        let zero = frame(&[field(1, &[0; 16]), field(2, id(1).as_bytes())].concat(), &[]);
        for bytes in [absent, zero] {
            assert!(peek_path(&bytes).unwrap().destination.is_control());
        }
    }

    #[test]
    fn unknown_fields_are_stepped_over() {
        // Field 15 as varint, fixed64, bytes and fixed32, after the path.
        let tail = [0x78, 0x01, 0x79, 0, 0, 0, 0, 0, 0, 0, 0, 0x7a, 1, 9, 0x7d, 0, 0, 0, 0];
        let bytes = frame(&field(2, id(1).as_bytes()), &tail);
        assert_eq!(peek_path(&bytes).unwrap().source, id(1));
    }

    #[test]
    fn two_readings_of_one_frame_are_refused() {
        let path = field(2, id(1).as_bytes());
        let twice = [frame(&path, &[]), frame(&path, &[])].concat();
        assert_eq!(peek_path(&twice), Err(PathError::Repeated));
        let ids = [path.clone(), path].concat();
        assert_eq!(peek_path(&frame(&ids, &[])), Err(PathError::Repeated));
    }

    #[test]
    fn the_usual_path_is_read_as_any_other_and_what_follows_it_is_checked() {
        let usual = [field(1, id(1).as_bytes()), field(2, id(2).as_bytes())].concat();
        let other_order = [field(2, id(2).as_bytes()), field(1, id(1).as_bytes())].concat();
        for tail in [&[][..], &[0x32, 2, 8, 9], &[0x32, 2, 8], &[0x0a, 0], &[0x08, 1], &[0x80]] {
            assert_eq!(peek_path(&frame(&usual, tail)), peek_path(&frame(&other_order, tail)), "{tail:?}");
        }
        let whole = frame(&usual, &[]);
        assert!(peek_usual(&whole).is_some() && peek_usual(&frame(&other_order, &[])).is_none());
        for length in 0..whole.len() {
            assert_eq!(peek_path(&whole[..length]), Err(PathError::Malformed), "{length}");
        }
        let known = PathBytes::new(id(2), id(1));
        assert_eq!((&known.0[..], known.destination()), (&whole[..], Some(id(1))));
        for tail in [&[][..], &[0x32, 2, 8, 9], &[0x10, 0xff, 1, 0x1a, 0]] {
            assert!(known.are_in(&frame(&usual, tail)), "{tail:?}");
        }
        assert!(!known.are_in(&frame(&usual, &[0x32, 2, 8])) && !known.are_in(&whole[..37]));
        let with_stream = [usual, field(3, id(3).as_bytes())].concat();
        assert!(peek_path(&frame(&with_stream, &[])).unwrap().has_stream);
    }

    proptest! {
        #[test]
        fn a_known_path_is_found_only_where_it_is_read(
            tail in prop::collection::vec(prop_oneof![0..12u8, 0x0a..0x30u8, any::<u8>()], 0..24),
            damaged in prop::option::of((0..38usize, any::<u8>())),
        ) {
            let usual = [field(1, id(1).as_bytes()), field(2, id(2).as_bytes())].concat();
            let known = PathBytes::new(id(2), id(1));
            let mut bytes = frame(&usual, &tail);
            if let Some((at, to)) = damaged {
                bytes[at] = to;
            }
            if known.are_in(&bytes) {
                prop_assert_eq!(peek_path(&bytes), peek_path(&frame(&usual, &[])));
            }
        }
    }

    #[test]
    fn ids_of_another_length_are_refused() {
        for length in [0usize, 15, 17] {
            let bytes = frame(&field(2, &vec![7; length]), &[]);
            assert_eq!(peek_path(&bytes), Err(PathError::BadId), "{length}");
        }
    }

    #[test]
    fn a_stream_id_is_reported_unless_zero() {
        let with = |stream: &[u8]| frame(&[field(2, id(1).as_bytes()), field(3, stream)].concat(), &[]);
        assert!(peek_path(&with(id(3).as_bytes())).unwrap().has_stream);
        assert!(!peek_path(&with(&[0; 16])).unwrap().has_stream);
    }
}
