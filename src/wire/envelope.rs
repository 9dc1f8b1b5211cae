//! Wraps one message for one QUIC datagram, and opens it again (`connect/transport_h3_datagram.go`, version 2).
//!
//! ```text
//! 0    "URD"                          16  CRC-32 of the message
//! 3    version, 2                     20  offset of the fragment, 0
//! 4    id of the message, not 0       24  index of the fragment, 0
//! 12   length of the message          26  fragments of the message, 1
//! 28   the message
//! ```
//!
//! Numbers are big-endian. The format could split a message; clients take whole ones only, and so does this.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::MAX_FRAME_BYTES;

/// The version that clients offer and a server accepts when they authenticate.
pub const VERSION: u8 = 2;

/// Bytes in front of the message.
pub const HEADER_BYTES: usize = 28;

/// Largest message that is put into a datagram, however large datagrams may be: what clients choose for themselves.
pub const MAX_MESSAGE_BYTES: usize = 1360 - HEADER_BYTES;

const MAGIC: &[u8; 3] = b"URD";

/// Length of the header behind the checksum: offset and index of the fragment 0, and their count 1.
const WHOLE: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];

/// Ids remembered.
const REMEMBERED: u64 = 256;

/// Why a datagram is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not one whole message in an envelope of this version.
    #[error("not a message in an envelope of version {VERSION}")]
    Malformed,
    /// The message was here before.
    #[error("a message that was here before")]
    Repeated,
}

/// Wraps the messages of one direction of a connection.
#[derive(Debug, Default)]
pub struct EnvelopeWriter {
    last_id: u64,
}

impl EnvelopeWriter {
    /// Appends one wrapped message, which must not be empty.
    pub fn wrap(&mut self, message: &[u8], out: &mut BytesMut) {
        self.last_id += 1;
        out.reserve(HEADER_BYTES + message.len());
        out.put_slice(MAGIC);
        out.put_u8(VERSION);
        out.put_u64(self.last_id);
        out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        out.put_u32(crc32fast::hash(message));
        out.put_slice(&WHOLE);
        out.put_slice(message);
    }
}

/// Opens the envelopes of one direction of a connection.
#[derive(Debug, Default)]
pub struct EnvelopeReader {
    recent: RecentIds,
}

impl EnvelopeReader {
    /// Takes the message out of a datagram, sharing its memory.
    pub fn open(&mut self, mut datagram: Bytes) -> Result<Bytes, EnvelopeError> {
        let id = check(&datagram).ok_or(EnvelopeError::Malformed)?;
        if !self.recent.insert(id) {
            return Err(EnvelopeError::Repeated);
        }
        datagram.advance(HEADER_BYTES);
        Ok(datagram)
    }
}

/// The id of a message that arrived whole and unharmed.
fn check(datagram: &[u8]) -> Option<u64> {
    let (mut header, message) = datagram.split_at_checked(HEADER_BYTES)?;
    let is_ours = header.starts_with(MAGIC) && header[MAGIC.len()] == VERSION && header.ends_with(&WHOLE);
    header.advance(MAGIC.len() + 1);
    let (id, length, checksum) = (header.get_u64(), header.get_u32(), header.get_u32());
    let is_whole = usize::try_from(length) == Ok(message.len()) && (1..=MAX_FRAME_BYTES).contains(&message.len());
    (is_ours && id != 0 && is_whole && crc32fast::hash(message) == checksum).then_some(id)
}

/// Which ids were seen, as far back as [`REMEMBERED`] from the newest. Older ones count as new: senders give ids in
/// order, and QUIC itself delivers each packet once.
#[derive(Debug, Default)]
struct RecentIds {
    newest: u64,
    /// Bit 0 is `newest`.
    seen: [u64; (REMEMBERED / u64::BITS as u64) as usize],
}

impl RecentIds {
    /// Remembers an id; false when it was there already.
    fn insert(&mut self, id: u64) -> bool {
        if id > self.newest {
            self.shift(id - self.newest);
            self.newest = id;
        }
        let age = self.newest - id;
        let Some(word) = usize::try_from(age / 64).ok().and_then(|word| self.seen.get_mut(word)) else { return true };
        let bit = 1 << (age % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Makes every remembered id older.
    fn shift(&mut self, by: u64) {
        if by >= REMEMBERED {
            self.seen = [0; _];
            return;
        }
        let (words, bits) = ((by / 64) as usize, by % 64);
        for at in (0..self.seen.len()).rev() {
            let word = |back: usize| at.checked_sub(words + back).map_or(0, |from| self.seen[from]);
            let carried = if bits == 0 { 0 } else { word(1) >> (64 - bits) };
            self.seen[at] = word(0) << bits | carried;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn wrapped(writer: &mut EnvelopeWriter, message: &[u8]) -> Bytes {
        let mut out = BytesMut::new();
        writer.wrap(message, &mut out);
        out.freeze()
    }

    #[test]
    fn a_message_is_wrapped_as_in_the_vector_of_the_protocol() {
        let message: Vec<u8> = (0..20).collect();
        let vector = "555244020000000000000001000000143bddffa40000000000000001000102030405060708090a0b0c0d0e0f10111213";
        let mut writer = EnvelopeWriter::default();
        let envelope = wrapped(&mut writer, &message);
        assert_eq!(hex::encode(&envelope), vector);
        assert_eq!(EnvelopeReader::default().open(envelope), Ok(message.into()));
        assert_eq!(wrapped(&mut writer, b"next")[4..12], [0, 0, 0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn anything_but_one_whole_message_is_malformed() {
        let good = wrapped(&mut EnvelopeWriter::default(), b"a message");
        let changed = |at: usize, to: u8| {
            let mut bytes = good.to_vec();
            bytes[at] = to;
            Bytes::from(bytes)
        };
        let cases = [
            ("magic", changed(2, b'd')),
            ("version 1", changed(3, 1)),
            ("version 3", changed(3, 3)),
            ("id 0", changed(11, 0)),
            ("longer than it is", changed(15, 10)),
            ("shorter than it is", changed(15, 8)),
            ("length 0", changed(15, 0)),
            ("checksum", changed(16, good[16] ^ 1)),
            ("message", changed(30, b'x')),
            ("offset", changed(23, 1)),
            ("index", changed(25, 1)),
            ("no fragment", changed(27, 0)),
            ("two fragments", changed(27, 2)),
            ("nothing", Bytes::new()),
            ("half a header", good.slice(..20)),
            ("a header alone", good.slice(..HEADER_BYTES)),
            ("a message cut off", good.slice(..good.len() - 1)),
            ("too large", wrapped(&mut EnvelopeWriter::default(), &[7; MAX_FRAME_BYTES + 1])),
            ("empty", wrapped(&mut EnvelopeWriter::default(), b"")),
        ];
        let mut reader = EnvelopeReader::default();
        for (name, datagram) in cases {
            assert_eq!(reader.open(datagram), Err(EnvelopeError::Malformed), "{name}");
        }
        assert_eq!(reader.open(good), Ok(Bytes::from_static(b"a message")), "a damaged copy takes no id away");
        let largest = wrapped(&mut EnvelopeWriter { last_id: 1 }, &[7; MAX_FRAME_BYTES]);
        assert_eq!(reader.open(largest).map(|message| message.len()), Ok(MAX_FRAME_BYTES));
    }

    #[test]
    fn a_message_that_comes_again_within_256_is_repeated() {
        let mut writer = EnvelopeWriter::default();
        let sent: Vec<Bytes> = (0..257u32).map(|number| wrapped(&mut writer, &number.to_be_bytes())).collect();
        let mut reader = EnvelopeReader::default();
        for envelope in &sent[..256] {
            assert!(reader.open(envelope.clone()).is_ok());
        }
        for envelope in &sent[..256] {
            assert_eq!(reader.open(envelope.clone()), Err(EnvelopeError::Repeated));
        }
        assert!(reader.open(sent[256].clone()).is_ok());
        assert_eq!(reader.open(sent[1].clone()), Err(EnvelopeError::Repeated));
        assert!(reader.open(sent[0].clone()).is_ok(), "the 257th last is forgotten");
    }

    proptest! {
        #[test]
        fn every_message_comes_out_as_it_went_in(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=MAX_FRAME_BYTES), 1..8),
        ) {
            let (mut writer, mut reader) = (EnvelopeWriter::default(), EnvelopeReader::default());
            for message in messages {
                let envelope = wrapped(&mut writer, &message);
                prop_assert_eq!(envelope.len(), HEADER_BYTES + message.len());
                prop_assert_eq!(reader.open(envelope), Ok(message.into()));
            }
        }

        #[test]
        fn damaged_bytes_are_refused(
            message in prop::collection::vec(any::<u8>(), 1..200),
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let mut bytes = wrapped(&mut EnvelopeWriter::default(), &message).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let is_id = (4..12).contains(&at) && bytes[4..12] != [0; 8];
            prop_assert_eq!(EnvelopeReader::default().open(bytes.into()).is_ok(), is_id, "only the id may be any");
        }

        #[test]
        fn noise_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = EnvelopeReader::default().open([&b"URD\x02"[..], &bytes].concat().into());
            let _ = EnvelopeReader::default().open(bytes.into());
        }

        #[test]
        fn ids_in_any_order_are_remembered_as_far_back_as_256(
            ids in prop::collection::vec(prop_oneof![1..600u64, 1..u64::MAX, Just(u64::MAX)], 1..400),
        ) {
            let (mut recent, mut model) = (RecentIds::default(), BTreeSet::new());
            for id in ids {
                let newest = model.last().copied().unwrap_or(0).max(id);
                let is_remembered = newest - id < REMEMBERED;
                let is_new = model.insert(id);
                prop_assert_eq!(recent.insert(id), is_new || !is_remembered, "{}", id);
            }
        }
    }
}
