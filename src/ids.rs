//! 16-byte identifiers: one newtype per kind, their text forms, and the generator that makes them.
//!
//! Layout: 48-bit big-endian unix milliseconds, then 80 random bits, strictly increasing within a process
//! (ULID shape, `connect/id.go`). Text form: lower-case hex `8-4-4-4-12`.

use std::fmt;
use std::str::FromStr;

use parking_lot::Mutex;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

/// Text that is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected 36 characters (8-4-4-4-12 hex) or 32 hex digits")]
pub struct ParseIdError;

/// What all identifier newtypes share; lets generic code make and store any of them.
pub trait Id: Copy + Eq + Ord + std::hash::Hash + fmt::Display + Send + Sync + 'static {
    /// Wraps raw bytes.
    fn from_bytes(bytes: [u8; 16]) -> Self;
    /// The raw bytes.
    fn to_bytes(self) -> [u8; 16];
}

/// Parses text of 36 characters (separators at 8, 13, 18, 23 are skipped unread) or of 32 hex digits.
fn parse_text(text: &str) -> Result<[u8; 16], ParseIdError> {
    let text = text.as_bytes();
    let mut digits = [0u8; 32];
    match text.len() {
        32 => digits.copy_from_slice(text),
        36 => {
            let kept = text.iter().enumerate().filter(|(at, _)| !matches!(at, 8 | 13 | 18 | 23));
            for (slot, (_, digit)) in digits.iter_mut().zip(kept) {
                *slot = *digit;
            }
        }
        _ => return Err(ParseIdError),
    }
    let mut bytes = [0u8; 16];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| ParseIdError)?;
    Ok(bytes)
}

fn write_text(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut digits = [0u8; 32];
    hex::encode_to_slice(bytes, &mut digits).map_err(|_| fmt::Error)?;
    let digits = std::str::from_utf8(&digits).map_err(|_| fmt::Error)?;
    write!(f, "{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

macro_rules! id_type {
    ($(#[doc = $doc:literal])* $name:ident) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Wraps raw bytes.
            pub const fn new(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Reads exactly 16 bytes; any other length is `None`.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl Id for $name {
            fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
            fn to_bytes(self) -> [u8; 16] {
                self.0
            }
        }

        impl From<$name> for bytes::Bytes {
            fn from(id: $name) -> Self {
                bytes::Bytes::copy_from_slice(&id.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_text(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_text(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_text(text).map(Self)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .format(Some(SchemaFormat::Custom("uuid".into())))
                    .description(Some(concat!($($doc),*).trim()))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

id_type!(
    /// Address of a client in the network; the relay routes between these.
    ClientId
);
id_type!(
    /// A network: the account that owns clients and balances.
    NetworkId
);
id_type!(
    /// A person who administers a network.
    UserId
);
id_type!(
    /// A device; derived clients share the device of their source.
    DeviceId
);
id_type!(
    /// One process run of a client, from the transport handshake.
    InstanceId
);
id_type!(
    /// A contract between two clients.
    ContractId
);
id_type!(
    /// A bucket of bytes that a network may spend.
    BalanceId
);
id_type!(
    /// A login session; tokens derived from it share its fate.
    SessionId
);
id_type!(
    /// A multi-hop or direct peer-to-peer stream.
    StreamId
);
id_type!(
    /// A message of the transfer protocol.
    MessageId
);
id_type!(
    /// A sequence of the transfer protocol; greater bytes replace smaller ones.
    SequenceId
);
id_type!(
    /// One accepted transport.
    ConnectionId
);
id_type!(
    /// A country, region or city.
    LocationId
);
id_type!(
    /// A wallet: one of the ledger's own, or an address that a network is paid at.
    WalletId
);
id_type!(
    /// A step of a wallet that its owner must confirm.
    ChallengeId
);
id_type!(
    /// A record that no other kind names: tokens, codes, log entries.
    RecordId
);

impl ClientId {
    /// The platform's own address: 16 zero bytes, omitted on the wire.
    pub const CONTROL: ClientId = ClientId([0; 16]);

    /// Whether this is the platform's own address.
    pub fn is_control(&self) -> bool {
        self.0 == [0; 16]
    }
}

/// Makes time-ordered identifiers, strictly increasing even when the clock stalls or steps back.
#[derive(Debug, Default)]
pub struct IdGenerator {
    last: Mutex<u128>,
}

impl IdGenerator {
    /// A generator that has made nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next identifier: `now` in the upper 48 bits and `entropy` in the lower 80, or the last one plus a
    /// small random step when that would not be greater.
    pub fn next<I: Id>(&self, now: Timestamp, entropy: u128) -> I {
        const ENTROPY_MASK: u128 = (1 << 80) - 1;
        let fresh = (u128::from(now.as_millis()) << 80) | (entropy & ENTROPY_MASK);
        let mut last = self.last.lock();
        *last = if fresh > *last {
            fresh
        } else {
            // A random step keeps the next id unguessable; 2^40 steps cannot leave the 48-bit time soon.
            last.wrapping_add(1 + (entropy & 0xff_ffff_ffff))
        };
        I::from_bytes(last.to_be_bytes())
    }

    /// The next identifier with entropy from the thread's generator, which the operating system seeds: it makes many
    /// numbers at once, and every message of the control id has one.
    pub fn next_random<I: Id>(&self, now: Timestamp) -> I {
        self.next(now, rand::random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

    #[test]
    fn text_form_is_lower_case_hex_in_five_groups() {
        let id = ClientId::new(BYTES);
        assert_eq!(id.to_string(), "01020304-0506-0708-090a-0b0c0d0e0f10");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn parsing_takes_32_or_36_characters_in_either_case() {
        assert_eq!("0102030405060708090A0B0C0D0E0F10".parse(), Ok(ClientId::new(BYTES)));
        assert_eq!("01020304x0506x0708x090ax0b0c0d0e0f10".parse(), Ok(ClientId::new(BYTES)));
        for wrong in ["", "01", "0102030405060708090a0b0c0d0e0f1", "zz020304-0506-0708-090a-0b0c0d0e0f10"] {
            assert_eq!(wrong.parse::<ClientId>(), Err(ParseIdError), "{wrong}");
        }
    }

    #[test]
    fn ids_increase_when_the_clock_steps_back() {
        let ids = IdGenerator::new();
        let first: ClientId = ids.next(Timestamp::from_millis(1_000), u128::MAX);
        let second: ClientId = ids.next(Timestamp::from_millis(1_000), 0);
        let third: ClientId = ids.next(Timestamp::from_millis(10), 7);
        assert!(first < second && second < third);
    }
}
