//! Binary records of the ledger and its statistics: a version byte, then fixed fields and counted lists, integers big-endian.

use crate::ids::Id;
use crate::time::Timestamp;

/// Appends fields to a record.
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// A record that begins with its version.
    pub fn new(version: u8) -> Self {
        let mut out = Vec::with_capacity(192);
        out.push(version);
        Self(out)
    }

    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn time(&mut self, value: Timestamp) -> &mut Self {
        self.u64(value.as_millis())
    }

    pub fn id(&mut self, id: impl Id) -> &mut Self {
        self.0.extend_from_slice(&id.to_bytes());
        self
    }

    /// A presence byte, then the field when there is one.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T) -> &mut Self) -> &mut Self {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
        self
    }

    /// A length of four bytes, then the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(bytes.len() as u32);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes fields off the front of a record; `None` when it is shorter than it should be.
pub struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// Begins to read a record of this version.
    pub fn new(version: u8, bytes: &'a [u8]) -> Option<Self> {
        let (found, input) = Self::versioned(bytes)?;
        (found == version).then_some(input)
    }

    /// Begins to read a record whose version says what is in it.
    pub fn versioned(bytes: &'a [u8]) -> Option<(u8, Self)> {
        let (version, rest) = bytes.split_first()?;
        Some((*version, Self(rest)))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub fn time(&mut self) -> Option<Timestamp> {
        self.u64().map(Timestamp::from_millis)
    }

    pub fn id<I: Id>(&mut self) -> Option<I> {
        self.array().map(I::from_bytes)
    }

    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.u8()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}
