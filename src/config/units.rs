//! Sizes and durations as they are written in the file: `"4KiB"`, `"30s"`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes, written with a binary unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl ByteSize {
    /// `count` times 1024.
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }
    /// `count` times 1024².
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }
    /// `count` times 1024³.
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }
    /// `count` times 1024⁴.
    pub const fn tib(count: u64) -> Self {
        Self(count << 40)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, bytes) in UNITS {
            if self.0 >= bytes && self.0.is_multiple_of(bytes) {
                return write!(f, "{}{unit}", self.0 / bytes);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for ByteSize {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, unit) =
            UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes))).unwrap_or((text, 1));
        let number: u64 =
            number.trim().parse().map_err(|_| format!("'{text}' is not a size such as 64KiB, 30GiB or 1TiB"))?;
        number.checked_mul(unit).map(ByteSize).ok_or_else(|| format!("'{text}' is too large"))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Durations written `"30s"`, `"5m"`, `"365d"`; for `#[serde(with = "duration")]`.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    const UNITS: [(&str, u64); 5] = [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

    /// The text form: the largest unit that divides it.
    pub fn format(duration: Duration) -> String {
        let millis = duration.as_millis() as u64;
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
            if millis >= size && millis.is_multiple_of(size) {
                return format!("{}{unit}", millis / size);
            }
        }
        if millis == 0 { "0s".into() } else { format!("{millis}ms") }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Duration, String> {
        let complaint = || format!("'{text}' is not a duration such as 500ms, 30s, 5m or 365d");
        let (number, size) = UNITS
            .iter()
            .find_map(|(unit, size)| Some((text.trim().strip_suffix(unit)?, *size)))
            .ok_or_else(complaint)?;
        let number: u64 = number.trim().parse().map_err(|_| complaint())?;
        let millis = number.checked_mul(size).ok_or_else(complaint)?;
        Ok(Duration::from_millis(millis))
    }

    /// Serde's writing half.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format(*duration))
    }

    /// Serde's reading half.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sizes_round_trip() {
        for text in ["0B", "17B", "64KiB", "30GiB", "1TiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        assert!("1TB".parse::<ByteSize>().is_err());
        assert!("-1KiB".parse::<ByteSize>().is_err());
        assert!("99999999999TiB".parse::<ByteSize>().is_err());
    }

    #[test]
    fn durations_round_trip() {
        for text in ["0s", "250ms", "30s", "5m", "12h", "365d"] {
            assert_eq!(duration::format(duration::parse(text).unwrap()), text);
        }
        assert_eq!(duration::parse("90s"), Ok(Duration::from_secs(90)));
        assert!(duration::parse("30").is_err());
        assert!(duration::parse("soon").is_err());
    }
}
